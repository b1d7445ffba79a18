"""Read MNIST and Fashion-MNIST from their own files: idx, plain or gzipped."""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from workbench.data.assemble import Part
from workbench.data.sampling import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
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
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is not a complete gzip file ({error}): copy or download it again") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise DataError(f"{path} is not an idx file: it should begin with two zero bytes and a type code")
    kind, axes = np.dtype(_TYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    if len(content) < start:
        raise DataError(f"{path} ends inside its header")
    shape = struct.unpack(f">{axes}I", content[4:start])
    wanted = math.prod(shape) * kind.itemsize
    if len(content) - start != wanted:
        raise DataError(
            f"{path} holds {len(content) - start} bytes of data where its header announces {wanted}: "
            "copy or download it again"
        )
    return np.frombuffer(content, kind, offset=start).reshape(shape).astype(kind.newbyteorder("="))


def _find(places: list[Path], stem: str, ending: str) -> Path:
    for place in places:
        for joint in ("-", "."):  # some mirrors renamed "-idx3" to ".idx3"
            for suffix in ("", ".gz"):
                path = place / f"{stem}{joint}{ending}{suffix}"
                if path.is_file():
                    return path
    looked = ", ".join(map(str, places))
    raise DataError(f"{stem}-{ending} or {stem}-{ending}.gz is missing; looked in {looked}")
