"""What ``torch.save`` wrote, read without running code from it, or handing a stranger's numbers to C code unchecked.

`torch.load` with ``weights_only`` calls no function but those it knows. That leaves small files that take all memory
(an entry packed a thousand times, a tensor class called with a size) or never end (a key that takes years to hash), and
numpy's own ``dtype``, which must not be given its state by a stranger. So the pickle is first read by an interpreter of
our own, in which every name is a placeholder, and only then by torch, with stand-ins in numpy's place.
"""

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workbench.data.plain_arrays import Kind, number
from workbench.data.plain_pickle import Buildable, DamagedError, PlainReader, RefusedError

LARGEST_PICKLE = 64 * 2**20
"""Bytes of the description of the tensors, without their numbers."""

_NUMBERS = [(number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
_ALLOWED: list[Any] = [(Kind, "numpy.dtype"), *_NUMBERS]


class UnsafeError(Exception):
    """The file holds more than tensors and plain values."""


class UnreadableError(Exception):
    """The file is damaged, or was not written by ``torch.save``; the message says why."""


def read_torch(path: Path) -> Any:
    """Tensors, numbers, text, and lists, tuples and dicts of those.

    Raises
    ------
    UnsafeError
        The file holds something else, which could run code.
    UnreadableError
        The file is damaged.
    """
    try:
        _vet(path)
        with warnings.catch_warnings(), torch.serialization.safe_globals(_ALLOWED):
            warnings.simplefilter("ignore")  # of old protocols and formats: they are read
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RefusedError) as error:
        raise UnsafeError(_first_line(error)) from None
    except Exception as error:  # noqa: BLE001 - damaged files fail in ways that cannot be listed
        raise UnreadableError(_first_line(error)) from None


def fault_of(tensor: Tensor) -> str:
    """What keeps a tensor from being read as plain numbers, in words; "" for nothing."""
    if tensor.layout != torch.strided or tensor.is_nested:
        return "a sparse tensor: save it by tensor.to_dense()"
    if tensor.is_quantized or tensor.is_complex():
        return f"numbers of kind {tensor.dtype}"
    if tensor.device.type != "cpu":
        return f"a tensor without its numbers ({tensor.device})"
    return ""


def repeats(tensor: Tensor) -> bool:
    """A plain tensor has more entries than numbers: a file of a few bytes can hold one that fills all memory."""
    return tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()


class _Placeholder(Buildable):
    """Stands for whatever a name makes."""

    def build(self, state: Any) -> None:
        """Nothing is kept."""


def _placeholder(*_: Any) -> Any:
    return _Placeholder()


class _Mapping(dict[Any, Any], _Placeholder):
    """Stands for an OrderedDict, whose state (the versions of a module's weights) is passed over."""


def _mapping(*_: Any) -> _Mapping:
    return _Mapping()


_TENSORS = {
    "torch": ("Size", "device", "Tensor"),
    "torch._utils": ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_sparse_tensor"),
    "torch._tensor": ("_rebuild_from_type_v2",),
    "torch.nn.parameter": ("Parameter",),
    "torch.serialization": ("_get_layout",),
    "numpy": ("dtype",),
    "numpy.core.multiarray": ("scalar",),
    "numpy._core.multiarray": ("scalar",),
    "_codecs": ("encode",),
}
_KINDS = [name for name, value in vars(torch).items() if isinstance(value, torch.dtype)]
_STORAGES = [name for name in vars(torch) if name.endswith("Storage")]
_PLACEHOLDERS = (
    {("collections", name): _mapping for name in ("OrderedDict", "Counter", "defaultdict")}
    | {(module, name): _placeholder for module, names in _TENSORS.items() for name in names}
    | {("torch", name): _placeholder for name in (*_KINDS, *_STORAGES)}
    | {(f"torch.{module}", name): _placeholder for module in ("cuda", "storage") for name in _STORAGES}
)
"""What files of tensors name. torch knows more: classes of tensors that set memory aside when called with a size."""


def _vet(path: Path) -> None:
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > size:
                    raise DamagedError(f"{entry.filename[:60]!r} is packed, which torch.save never does")
            described = [entry for entry in archive.infolist() if entry.filename.endswith("data.pkl")]
            if len(described) != 1 or described[0].file_size > LARGEST_PICKLE:
                raise DamagedError("it holds no single data.pkl of a size that can be")
            _read(archive.read(described[0]), 0, size)
        return
    with path.open("rb") as file:
        head = file.read(LARGEST_PICKLE)
    if head[:2] == b"PK":
        raise DamagedError("it is cut short")
    position = 0
    for _ in range(5):  # the old format: a number, a version, the machine, the content, the order of the numbers
        position = _read(head, position, size)


def _read(content: bytes, position: int, size: int) -> int:
    def stored(what: Any) -> _Placeholder:
        # ("storage", kind, key, device, how many numbers, …): torch sets memory aside for as many as are announced
        if not isinstance(what, tuple) or len(what) < 5 or type(what[4]) is not int or not 0 <= what[4] <= size:
            raise DamagedError("a tensor announces more numbers than the file has bytes")
        return _Placeholder()

    reader = PlainReader(content, _PLACEHOLDERS, position=position, stored=stored)
    reader.load()
    return reader.position


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
