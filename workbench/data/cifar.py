"""Read CIFAR-10 from its python batches without trusting them: they are pickles, and a pickle can run code.

The unpickler here admits numbers, bytes, strings, lists, dicts and numpy arrays of plain numbers, and nothing else.
"""

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench.data.assemble import Part
from workbench.data.sampling import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
_BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}


def expected_files() -> tuple[str, ...]:
    """What a folder must hold: the archive as it is distributed, or the folder in it."""
    return (ARCHIVE, f"{FOLDER}/ ({', '.join(name for names in _BATCHES.values() for name in names)})")


def read_cifar10(root: Path) -> tuple[Part, Part]:
    """The train and test part from ``cifar-10-python.tar.gz``, or from its unpacked folder, in `root`.

    Raises
    ------
    DataError
        A file is missing, damaged, would run code, or holds a label outside 0..9; the message names file and row.
    """
    batches = _batch_bytes(root)
    parts = []
    for names in _BATCHES.values():
        pieces = [_batch(*batches[name]) for name in names]
        images = np.concatenate([images for images, _ in pieces])
        labels = np.concatenate([labels for _, labels in pieces])
        parts.append(Part(torch.from_numpy(images), torch.from_numpy(labels), torch.arange(len(labels))))
    return parts[0], parts[1]


def _batch_bytes(root: Path) -> dict[str, tuple[str, bytes]]:
    """Each batch's name → where it lies, and its bytes."""
    wanted = [name for names in _BATCHES.values() for name in names]
    for folder in (root, root / FOLDER):
        if (folder / wanted[0]).is_file():
            missing = [name for name in wanted if not (folder / name).is_file()]
            if missing:
                raise DataError(f"{folder} lacks {', '.join(missing)}")
            return {name: (str(folder / name), (folder / name).read_bytes()) for name in wanted}
    archive = root if root.is_file() else root / ARCHIVE
    if not archive.is_file():
        raise DataError(f"{root} holds neither {ARCHIVE} nor {FOLDER}/")
    found = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                stream = tar.extractfile(member) if name in wanted and member.isfile() else None
                if stream is not None:
                    found[name] = (f"{archive}:{member.name}", stream.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{archive} is not a complete tar.gz ({error}): copy or download it again") from None
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(f"{archive} lacks {', '.join(missing)}")
    return found


def _batch(where: str, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """One batch as images uint8 (n, 3, 32, 32) and labels int64 (n,)."""
    batch = restricted_loads(content, where)
    if not isinstance(batch, dict):
        raise DataError(f"{where} holds a {type(batch).__name__}, not a CIFAR batch")
    fields = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    images, labels = fields.get("data"), fields.get("labels")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != 3072:
        raise DataError(f"{where}: 'data' is not an array of bytes of shape (n, 3072)")
    if not isinstance(labels, list) or len(labels) != len(images):
        raise DataError(f"{where}: 'labels' is not a list of {len(images)} numbers, one for each image")
    for row, label in enumerate(labels):
        if not isinstance(label, int | np.integer) or not 0 <= label <= 9:
            raise DataError(f"{where}: row {row} has label {label!r}; labels are 0..9")
    return images.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)


class _RefusedError(Exception):
    """A pickle asks for something that a CIFAR batch does not hold."""


class _Restricted(pickle.Unpickler):
    """Refuses every name but the few that rebuild a numpy array."""

    def find_class(self, module: str, name: str) -> Any:
        # numpy moved these between modules over the years; a batch names them as they were when it was made.
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return _empty_array
        if name == "_frombuffer" and module in ("numpy.core.numeric", "numpy._core.numeric"):
            return _array_of_bytes
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if (module, name) == ("_codecs", "encode"):  # how python 2 compatible pickles write bytes
            return _latin1
        raise _RefusedError(f"it asks for {module}.{name}")


def restricted_loads(content: bytes, where: str) -> Any:
    """Unpickle plain values and numpy arrays; anything that could run code is refused.

    Raises
    ------
    DataError
        The pickle asks for something else, or is damaged.
    """
    try:
        return _Restricted(io.BytesIO(content), encoding="bytes").load()
    except _RefusedError as error:
        raise DataError(
            f"{where} is refused: {error}. A CIFAR batch holds plain values and numpy arrays, and nothing else is read"
        ) from None
    except Exception as error:  # noqa: BLE001 - a damaged pickle fails in ways that cannot be listed
        raise DataError(f"{where} is damaged or is no CIFAR batch ({type(error).__name__}: {error})") from None


def _empty_array(kind: Any, shape: Any, dtype: Any) -> np.ndarray:  # noqa: ARG001
    """What ``numpy._reconstruct`` gives for an array: empty, filled in by the pickled state that follows."""
    if kind is not np.ndarray:
        raise _RefusedError(f"it rebuilds a {kind!r} as an array")
    return np.empty(0, dtype=np.uint8)


def _array_of_bytes(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """What ``numpy._frombuffer`` gives, which pickles of protocol 5 use."""
    if not isinstance(content, bytes | bytearray) or not isinstance(dtype, np.dtype):
        raise _RefusedError("it builds an array of something else than bytes")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order=order)


def _latin1(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", b"latin1"):
        raise _RefusedError(f"it encodes text as {encoding!r}")
    return text.encode("latin1")
