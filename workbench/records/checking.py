"""Whether a record that was opened holds what its type promises: types, shapes, kinds of numbers, lengths.

A record is frozen and small, but a file is a stranger's: what is not looked at on opening fails later, far from the
file's name. A record class declares `layout`, a line for each tensor field (or dict of tensors): the kind of number,
and the size of each axis, as in ``{"values": "float layers_a layers_b", "intervals": "number layers_a layers_b 2"}``.
An axis named as a field is as long as that field (or as its whole number says), another name is the same size wherever
it stands, a number is itself, ``_`` is any size, and ``…`` at the end any further axes.
"""

import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, get_args, get_origin

import torch
from torch import Tensor

_REAL = {torch.float16, torch.float32, torch.float64}
_FLOAT = _REAL | {torch.bfloat16}
_WHOLE = {torch.int32, torch.int64}
_SMALL = {torch.uint8, torch.int8, torch.int16, torch.bool}
KINDS: Mapping[str, set[torch.dtype]] = {
    "real": _REAL, "float": _FLOAT, "number": _REAL | _WHOLE | _SMALL, "whole": _WHOLE, "truth": {torch.bool},
    "byte": {torch.uint8}, "grade": {torch.int8},
}  # fmt: skip
_LARGEST = 2**64


def check_types(cls: type, fields: Mapping[str, object]) -> None:
    """Refuse a value that its field's annotation does not allow.

    Raises
    ------
    TypeError
        Names the field.
    """
    hints = _hints(cls)
    for name, value in fields.items():
        if name in hints and not _fits(value, hints[name]):
            raise TypeError(f"{name} of {cls.__name__} is {_described(value)}")


def check_layout(record: object, layout: Mapping[str, str]) -> None:
    """Refuse tensors of another shape or kind than the layout says.

    Raises
    ------
    ValueError
        Names the field, and what it was.
    """
    sizes: dict[str, int] = {}
    for name, line in layout.items():
        kind, *axes = line.split()
        for where, tensor in _tensors(name, getattr(record, name)):
            if tensor.dtype not in KINDS[kind]:
                raise ValueError(f"{where} is of {tensor.dtype}, where {kind} numbers belong")
            _check_axes(where, tensor, axes, record, sizes)


def _check_axes(where: str, tensor: Tensor, axes: list[str], record: object, sizes: dict[str, int]) -> None:
    further = bool(axes) and axes[-1] == "…"
    named = axes[:-1] if further else axes
    right = tensor.ndim >= len(named) if further else tensor.ndim == len(named)
    for axis, size in zip(named, tensor.shape, strict=False):
        if axis == "_":
            continue
        wanted = int(axis) if axis.isdecimal() else _length(record, axis)
        right = right and size == (sizes.setdefault(axis, size) if wanted is None else wanted)
    if not right:
        raise ValueError(f"{where} has shape {tuple(tensor.shape)}, where ({', '.join(axes)}) belongs")


def _length(record: object, axis: str) -> int | None:
    value = getattr(record, axis, None)
    return value if isinstance(value, int) else len(value) if isinstance(value, tuple) else None


def _tensors(name: str, value: object) -> list[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        return [(name, value)]
    if isinstance(value, Mapping):
        return [found for key, inner in value.items() for found in _tensors(f"{name}[{str(key)[:60]!r}]", inner)]
    return []


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _fits(value: object, hint: object) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(inner) == 2 and inner[1] is Ellipsis:
            return all(_fits(item, inner[0]) for item in value)
        return len(value) == len(inner) and all(map(_fits, value, inner))
    if origin is dict:
        if not isinstance(value, dict):
            return False
        return all(_fits(key, inner[0]) and _fits(item, inner[1]) for key, item in value.items())
    if hint is float:
        return isinstance(value, float) or (isinstance(value, int) and abs(value) <= _LARGEST)
    if hint is int:
        return isinstance(value, int) and abs(value) <= _LARGEST
    if hint is type(None):
        return value is None
    return not isinstance(hint, type) or isinstance(value, hint)


def _described(value: object) -> str:
    if isinstance(value, int) and abs(value) > _LARGEST:
        return "a number beyond 2⁶⁴"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, tuple | dict):
        return f"a {type(value).__name__} of {len(value)} with something else in it than belongs there"
    return f"a {type(value).__name__}"
