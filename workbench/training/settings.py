"""A method's hyperparameters as the plain values that a record keeps."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from workbench.records import Record
from workbench.training.fit import plain


def plain_settings(method: Any) -> dict[str, Any]:
    """A method's hyperparameters as plain values, with those of the methods inside it.

    Examples
    --------
    >>> @dataclasses.dataclass
    ... class Method:
    ...     rate: float = 0.1
    >>> plain_settings(Method())
    {'rate': 0.1}
    """
    return {field.name: _plain(getattr(method, field.name)) for field in dataclasses.fields(method)}


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.summary()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__name__} | plain_settings(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return plain(value)
