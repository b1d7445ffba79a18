"""Read MNIST and Fashion-MNIST from their own files: idx, plain or gzipped."""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np
import torch

from workbench.data.assemble import Part
from workbench.data.plain_arrays import CODES, plain_array
from workbench.data.sampling import DataError

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
_UNPACKED = 256 * 2**20
_MOST_TIMES = 64
"""A file may unpack to the first many bytes, or this many times its own size; digits are packed 5 times."""

_PARTS = {"train": "train", "test": "t10k"}


def expected_files() -> tuple[str, ...]:
    """Names of the four files, gzipped as they are distributed."""
    return tuple(f"{stem}-{what}-ubyte.gz" for stem in _PARTS.values() for what in ("images-idx3", "labels-idx1"))


def read_idx_folder(root: Path, folders: tuple[str, ...]) -> tuple[Part, Part]:
    """The train and test part from the four files in `root`, or in one of its `folders`.

    Raises
    ------
    DataError
        A file is missing, damaged, or does not fit its partner; the message names it.
    """
    places = [root, *(root / folder for folder in folders)]
    parts = []
    for stem in _PARTS.values():
        image_path = _find(places, f"{stem}-images", "idx3-ubyte")
        label_path = _find(places, f"{stem}-labels", "idx1-ubyte")
        images, labels = read_idx(image_path), read_idx(label_path)
        if images.ndim != 3 or images.dtype != np.uint8:
            raise DataError(f"{image_path} holds {images.dtype} of shape {images.shape}, not grey images (n, h, w)")
        if labels.ndim != 1 or labels.dtype != np.uint8:
            raise DataError(f"{label_path} holds {labels.dtype} of shape {labels.shape}, not labels (n,)")
        if len(images) != len(labels):
            raise DataError(
                f"{image_path} holds {len(images)} images but {label_path} {len(labels)} labels: "
                "they do not belong together"
            )
        if len(labels) and labels.max() > 9:
            row = int((labels > 9).argmax())
            raise DataError(f"{label_path}: row {row} has label {labels[row]}; labels are 0..9")
        parts.append(
            Part(torch.from_numpy(images)[:, None], torch.from_numpy(labels).long(), torch.arange(len(labels)))
        )
    return parts[0], parts[1]


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """The array in an idx file; a name ending in ``.gz`` is decompressed.

    Raises
    ------
    DataError
        The file is not idx, is truncated, or is longer than its header says.
    """
    path = Path(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            code, shape = _header(file, path)
            wanted = math.prod(shape) * CODES[code]
            _check_announced(path, wanted)
            content = file.read()[: wanted + 1] if path.suffix != ".gz" else file.read(wanted + 1)
        _check_length(path, len(content), wanted)
        return plain_array(content, code, ">", shape)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{path} holds no array: {error}") from None
    except (EOFError, zlib.error, OSError) as error:
        kind = "complete gzip file" if path.suffix == ".gz" else "file that can be read"
        raise DataError(f"{path} is not a {kind} ({error}): copy or download it again") from None


def _check_announced(path: Path, wanted: int) -> None:
    most = max(_UNPACKED, _MOST_TIMES * path.stat().st_size)
    if wanted > most:
        raise DataError(
            f"{path} announces {wanted / 2**20:,.0f} MiB, more than the {most / 2**20:,.0f} MiB that a file of its "
            "size may hold"
        )


def _check_length(path: Path, length: int, wanted: int) -> None:
    if length != wanted:
        some = f"more than {wanted}" if length > wanted else length
        raise DataError(
            f"{path} holds {some} bytes of data where its header announces {wanted}: copy or download it again"
        )


def _header(file: gzip.GzipFile | IO[bytes], path: Path) -> tuple[str, tuple[int, ...]]:
    """The kind of number, and the shape."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES:
        raise DataError(f"{path} is not an idx file: it should begin with two zero bytes and a type code")
    sizes = file.read(4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise DataError(f"{path} ends inside its header")
    return _TYPES[start[2]], struct.unpack(f">{start[3]}I", sizes)


def _find(places: list[Path], stem: str, ending: str) -> Path:
    for place in places:
        for joint in ("-", "."):  # some mirrors renamed "-idx3" to ".idx3"
            for suffix in ("", ".gz"):
                path = place / f"{stem}{joint}{ending}{suffix}"
                if path.is_file():
                    return path
    looked = ", ".join(map(str, places))
    raise DataError(f"{stem}-{ending} or {stem}-{ending}.gz is missing; looked in {looked}")
