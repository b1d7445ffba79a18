"""What every record is: a frozen dataclass of tensors and plain values that saves to, and opens from, one file.

The file is a safetensors file whose header carries the record's plain values as JSON. Opening one runs no code from it,
whoever made it, and a record made on a GPU opens on a machine without one.
"""

import dataclasses
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Self

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

import workbench
from workbench.records.checking import check_layout, check_types
from workbench.records.writing import written

SCHEMA = 1
_HEADER = "workbench"


class RecordError(ValueError):
    """A file that is no record, is damaged, or was written by a newer workbench. The message is one sentence."""


@dataclass(frozen=True)
class Provenance:
    """Where a record comes from: enough to make it again.

    Attributes
    ----------
    seed
        The seed the run was given (for several seeds: the first).
    device
        ``"cpu"``, or the accelerator's name.
    versions
        Version of python and of each package that decides a number.
    wall_time
        Seconds the run took.
    created
        UTC time, ISO 8601.
    """

    seed: int = 0
    device: str = "cpu"
    versions: dict[str, str] = field(default_factory=dict)
    wall_time: float = 0.0
    created: str = ""

    @classmethod
    def capture(cls, *, seed: int, device: "torch.device | str" = "cpu", started: float | None = None) -> Self:
        """Provenance of a run that ends now. `started` is the ``time.perf_counter()`` at which it began."""
        device = torch.device(device)
        return cls(
            seed=seed,
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            versions={"python": platform.python_version(), "workbench": workbench.__version__}
            | {name: metadata.version(name) for name in ("torch", "numpy")},
            wall_time=0.0 if started is None else time.perf_counter() - started,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """Base of all records.

    A subclass is a frozen keyword-only dataclass; its fields may hold tensors, numbers, strings, ``None``, other
    records, and tuples, lists and dicts of those.

    Examples
    --------
    >>> import torch, tempfile, pathlib
    >>> from workbench import records
    >>> similar = records.SimilarityMap(
    ...     values=torch.eye(2), layers_a=("conv1", "conv2"), layers_b=("fc1", "fc2"), measure="cka", n=100
    ... )
    >>> path = similar.save(pathlib.Path(tempfile.mkdtemp()) / "eye.safetensors")
    >>> records.open(path).layers_b
    ('fc1', 'fc2')
    """

    provenance: Provenance = field(default_factory=Provenance)

    types: ClassVar[dict[str, type]] = {"Provenance": Provenance}
    layout: ClassVar[Mapping[str, str]] = {}
    """Kind and shape of the tensors, checked on opening: see `workbench.records.checking`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        Record.types[cls.__name__] = cls

    def check(self) -> None:
        """Refuse what `summary` and `to_frame` could not show; called on every record that is opened.

        Raises
        ------
        ValueError
            Names the field, and what it was.
        """
        check_layout(self, self.layout)

    def summary(self) -> str:
        """One or two lines of plain text that say what this record holds."""
        return type(self).__name__

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """What a notebook shows of a record left on the last line of a cell: the summary, not the tensors."""
        return {"text/plain": self.summary()}

    def to_frame(self) -> pd.DataFrame:
        """The record's numbers as a tidy table: one row per observation."""
        raise TypeError(f"{type(self).__name__} has no tabular form")

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def save(self, path: str | os.PathLike) -> Path:
        """Write the record to one file; the file appears whole or not at all. Returns its path."""
        path = Path(path)
        tensors: dict[str, torch.Tensor] = {}
        body = _encode(self, "", tensors)
        header = {_HEADER: json.dumps({"schema": SCHEMA, "record": body}, allow_nan=False)}
        with written(path) as unfinished:
            save_file(tensors, unfinished, metadata=header)
        return path


def open(path: str | os.PathLike) -> Record:  # noqa: A001 - read as `records.open(path)`
    """Open a record saved by `Record.save`, on the CPU.

    Raises
    ------
    RecordError
        The file is not a record, is truncated, holds something else than its type promises, or was written by a newer
        workbench.
    FileNotFoundError
        There is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no record at {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return decoded((file.metadata() or {}).get(_HEADER), _Once(file.get_tensor), str(path))
    except (SafetensorError, OSError) as error:
        raise RecordError(f"{path} is damaged or is not a workbench record ({error})") from None


def decoded(header: str | None, tensors: Mapping[str, torch.Tensor], path: str) -> Record:
    """The record that a file's header and tensors make; `path` is what messages call it.

    Raises
    ------
    RecordError
        They make none.
    """
    try:
        record = _decode(_document(header, path)["record"], tensors)
    except (SafetensorError, json.JSONDecodeError) as error:
        raise RecordError(f"{path} is damaged or is not a workbench record ({error})") from None
    except RecordError as error:
        raise RecordError(str(error) if path in str(error) else f"{path}: {error}") from None
    except Exception as error:  # noqa: BLE001 - what a stranger's values do to a record's own checks cannot be listed
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RecordError(f"{path} does not hold what its type promises ({reason})") from None
    if not isinstance(record, Record):
        raise RecordError(f"{path} holds a {type(record).__name__}, not a record")
    return record


def _document(header: str | None, path: str) -> dict[str, Any]:
    if header is None:
        raise RecordError(f"{path} is a safetensors file, but not a workbench record")
    document: dict[str, Any] = json.loads(header)
    schema = document.get("schema")
    if not isinstance(schema, int) or schema > SCHEMA:
        raise RecordError(
            f"{path} was written by a newer workbench (schema {str(schema)[:40]}; this one reads up to {SCHEMA}): "
            "update the workbench to open it"
        )
    return document


class _Once(dict[str, torch.Tensor]):
    """Each tensor of a file, read once however often the header names it: a small file cannot fill the memory."""

    def __init__(self, read: Callable[[str], torch.Tensor]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, name: str) -> torch.Tensor:
        self[name] = self._read(name)
        return self[name]


def _encode(value: object, key: str, tensors: dict[str, torch.Tensor]) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else {"$float": str(value)}
        case torch.Tensor():
            name = key.lstrip(".") or "tensor"
            tensors[name] = value.detach().cpu().contiguous().clone()  # safetensors refuses tensors that share memory
            return {"$tensor": name}
        case tuple():
            return {"$tuple": [_encode(item, f"{key}.{i}", tensors) for i, item in enumerate(value)]}
        case list():
            return [_encode(item, f"{key}.{i}", tensors) for i, item in enumerate(value)]
        case Mapping():
            if all(isinstance(name, str) and not name.startswith("$") for name in value):
                return {name: _encode(item, f"{key}.{name}", tensors) for name, item in value.items()}
            return {
                "$items": [
                    [_encode(name, f"{key}.k{i}", tensors), _encode(item, f"{key}.{i}", tensors)]
                    for i, (name, item) in enumerate(value.items())
                ]
            }
        case _ if dataclasses.is_dataclass(value) and type(value).__name__ in Record.types:
            fields = {
                f.name: _encode(getattr(value, f.name), f"{key}.{f.name}", tensors) for f in dataclasses.fields(value)
            }
            return {"$record": type(value).__name__, "fields": fields}
    raise TypeError(f"a record cannot hold {key.lstrip('.') or 'this'}: {type(value).__name__}")


def _decode(value: object, file: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, file) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return file[value["$tensor"]]
    if "$float" in value:
        return float(value["$float"])
    if "$tuple" in value:
        return tuple(_decode(item, file) for item in value["$tuple"])
    if "$items" in value:
        return {_decode(name, file): _decode(item, file) for name, item in value["$items"]}
    if "$record" in value:
        name = value["$record"]
        if name not in Record.types:
            raise RecordError(f"unknown record type {name!r}: it may need a newer workbench")
        cls, fields = Record.types[name], {key: _decode(item, file) for key, item in value["fields"].items()}
        check_types(cls, fields)
        found = cls(**fields)
        if isinstance(found, Record):
            found.check()
        return found
    return {key: _decode(item, file) for key, item in value.items()}
