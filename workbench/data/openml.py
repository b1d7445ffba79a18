"""Datasets that are downloaded once, through scikit-learn's OpenML client, into a cache of checked pixel files."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from workbench.data.assemble import Part
from workbench.data.sampling import DataError


@dataclass(frozen=True)
class Source:
    """Where OpenML keeps a dataset, and what must be true of it.

    Attributes
    ----------
    data_id
        OpenML's number of the dataset (it fixes the version too).
    shape
        (channels, height, width) of one image.
    train_counts, test_counts
        Images of each class in the official splits, in file order: what came is checked against them.
    """

    data_id: int
    shape: tuple[int, int, int]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]


SOURCES = {
    "mnist": Source(
        554,
        (1, 28, 28),
        (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    ),
    "fashion-mnist": Source(40996, (1, 28, 28), (6000,) * 10, (1000,) * 10),
    "cifar10": Source(40927, (3, 32, 32), (5000,) * 10, (1000,) * 10),
}


def cache_dir() -> Path:
    """Where downloads are kept: ``$WORKBENCH_CACHE``, else the platform's place for caches."""
    if chosen := os.environ.get("WORKBENCH_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "distillation-workbench"


def fetch(name: str, files: Sequence[str]) -> tuple[Part, Part]:
    """The train and test part of a dataset, from the cache or else from OpenML.

    An interrupted download loses only the file under way: those that are complete stay in the cache, with the checksum
    that OpenML publishes checked when they arrived.

    Parameters
    ----------
    name
        ``"mnist"``, ``"fashion-mnist"`` or ``"cifar10"``.
    files
        The dataset's own files, for the message that says what to do without a network.

    Raises
    ------
    DataError
        There is no network, or what came is not what was announced; the message says which files to put where.
    """
    source = SOURCES[name]
    kept = cache_dir() / f"{name}.safetensors"
    if not kept.is_file():
        _keep(kept, *_download(name, source, files))
    try:
        with safe_open(kept, framework="pt") as file:
            images, labels = file.get_tensor("images"), file.get_tensor("labels")
    except (SafetensorError, OSError) as error:
        raise DataError(f"{kept} is damaged ({error}): delete it, and it is downloaded again") from None
    _verify(name, source, images, labels, f"{kept}: delete it, and it is downloaded again")
    cut = sum(source.train_counts)
    row = torch.arange(len(labels))
    return Part(images[:cut], labels[:cut], row[:cut]), Part(images[cut:], labels[cut:], row[cut:])


def _download(name: str, source: Source, files: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    from sklearn.datasets import fetch_openml  # noqa: PLC0415 - scikit-learn loads only when its data are asked for

    remedy = f"put {', '.join(files)} into a folder and load({name!r}, root=FOLDER), or run it once with a network"
    try:
        bunch = fetch_openml(
            data_id=source.data_id, as_frame=False, data_home=str(cache_dir()), cache=True, n_retries=3, delay=2.0
        )
    except (URLError, TimeoutError, ConnectionError) as error:
        raise DataError(f"{name} is not in {cache_dir()} and cannot be downloaded ({error}): {remedy}") from None
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{name} arrived damaged from OpenML ({error}): try again; or {remedy}") from None
    pixels = np.asarray(bunch.data)
    size = int(np.prod(source.shape))
    if pixels.ndim != 2 or pixels.shape[1] != size:
        raise DataError(f"{name} arrived with shape {pixels.shape} instead of (n, {size}): {remedy}")
    try:
        labels = torch.from_numpy(np.asarray(bunch.target).astype(np.int64))
    except ValueError as error:
        raise DataError(f"{name} arrived with labels that are no numbers ({error}): {remedy}") from None
    images = torch.from_numpy(pixels.astype(np.uint8)).reshape(-1, *source.shape)
    _verify(name, source, images, labels, remedy)
    return images, labels


def _verify(name: str, source: Source, images: torch.Tensor, labels: torch.Tensor, remedy: str) -> None:
    """The official splits are recognised by how many images of each class they have; a shuffled copy is refused."""
    cut, total = sum(source.train_counts), sum(source.train_counts) + sum(source.test_counts)
    if len(images) != total or len(labels) != total:
        raise DataError(f"{name} has {len(images)} images and {len(labels)} labels instead of {total}: {remedy}")
    for part, counts in ((labels[:cut], source.train_counts), (labels[cut:], source.test_counts)):
        if int(part.min()) < 0 or torch.bincount(part, minlength=10).tolist() != list(counts):
            raise DataError(f"{name} does not have the official numbers of images per class in its splits: {remedy}")


def _keep(path: Path, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Write whole or not at all, so that an interruption leaves no half file to trip over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    try:
        save_file({"images": images.contiguous(), "labels": labels}, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
