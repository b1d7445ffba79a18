"""Files of images and labels as others publish them, read without running code from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.condensation.files.exporting import ABOUT
from workbench.condensation.files.listing import described, json_object, listed, words
from workbench.data import DataError
from workbench.data.array_files import names_in, read_npy, read_npz
from workbench.data.picture_files import PictureFolder, open_pictures
from workbench.models.torch_files import UnreadableError, UnsafeError, fault_of, read_torch, repeats

MOST_BYTES = 2 * 2**30
"""Of the pixels of a set of pictures; as the numbers that are kept they need eight times that for a while."""


@dataclass(frozen=True)
class Found:
    """What a file holds, as it stands there."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...] | None = None
    constants: tuple[Tensor, Tensor] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


def tensor_file(path: Path, labels: Path | None, experiment: int) -> Found:
    """What ``torch.save`` or ``np.save`` wrote: images with labels, or images with a file of labels beside it."""
    content = _load(path)
    if isinstance(content, Tensor):
        beside = labels or path.with_name(path.name.replace("images_zca_", "labels_").replace("images", "labels"))
        if beside == path or not beside.is_file():
            raise DataError(f"{path} holds images alone: pass labels=, the file of their labels")
        answer = _load(beside)
        if not isinstance(answer, Tensor):
            raise DataError(f"{beside} holds {described(answer)}; a tensor of labels is needed")
        return Found(_plain(content, path), _plain(answer, beside))
    if isinstance(content, dict) and isinstance(content.get("data"), list | tuple):
        runs = content["data"]
        if not 0 <= experiment < len(runs):
            raise DataError(f"experiment is {experiment}; {path} holds {len(runs)}, from 0")
        content = runs[experiment]
    if isinstance(content, list | tuple) and len(content) == 2 and all(isinstance(part, Tensor) for part in content):
        return Found(_plain(content[0], path), _plain(content[1], path))
    raise DataError(
        f"{path} holds {described(content)}; what is read: a dict whose 'data' lists (images, labels), as DC and DM "
        "save it, a tensor of images with one of labels beside it, as MTT does, or a pair of both"
    )


def _load(path: Path) -> Any:
    if path.suffix == ".npy":
        return _tensor(read_npy(path), str(path))
    try:
        # The public code notes accuracies as numpy numbers: those are let in besides tensors and plain values.
        return read_torch(path)
    except UnsafeError:
        raise DataError(f"{path} holds more than tensors and numbers, and is not read: it could run code") from None
    except UnreadableError as error:
        raise DataError(f"{path} is damaged or was not written by torch.save ({error})") from None


def _plain(tensor: Tensor, path: Path) -> Tensor:
    fault = fault_of(tensor)
    if not fault and repeats(tensor):
        fault = "a tensor that repeats its numbers: save tensor.clone()"
    if fault:
        raise DataError(f"{path} holds {fault}")
    return tensor.detach()


def npz_file(path: Path) -> Found:
    """Arrays ``images`` and ``labels``; of an exported set also all that makes it exact."""
    held = read_npz(path, ("images", "labels", "classes", "mean", "std", "about"))
    if not {"images", "labels"} <= held.keys():
        names = ", ".join(names_in(path))[:200] or "nothing"
        raise DataError(f"{path} holds {names}; 'images' and 'labels' are needed")
    images, labels = (_tensor(held[key], f"{key} in {path}") for key in ("images", "labels"))
    ours = {"mean", "std"} <= held.keys()
    about = json_object(path, str(held["about"])) if "about" in held else {}
    return Found(
        images,
        labels,
        words(path, "classes", held["classes"].tolist()) if "classes" in held else None,
        (_constant(held["mean"], path), _constant(held["std"], path)) if ours else None,
        about,
    )


def _tensor(array: np.ndarray, where: str) -> Tensor:
    if array.dtype.kind not in "fiu":
        raise DataError(f"{where} are {array.dtype}; numbers are needed")
    return torch.from_numpy(array.astype(np.int64) if array.dtype.kind in "iu" else np.array(array))


def _constant(values: Any, path: Path) -> Tensor:
    """Mean or standard deviation per channel."""
    try:
        found = torch.tensor(values.tolist() if isinstance(values, np.ndarray) else values, dtype=torch.float64)
        found = found.flatten()
    except (ValueError, TypeError, RuntimeError, OverflowError):
        found = torch.empty(0)
    if not 0 < len(found) < 10_000 or not bool(found.isfinite().all()):
        raise DataError(f"the mean or std in {path} are not a few numbers, one for each channel")
    return found


def picture_files(path: Path, classes: tuple[str, ...]) -> Found:
    """Pictures by class folder, or with ``metadata.jsonl`` or ``metadata.csv`` beside them; of a folder or zip."""
    with open_pictures(path) as pictures:
        beside = PurePosixPath(ABOUT)
        about = json_object(path / ABOUT, pictures.text(beside)) if pictures.holds(beside) else {}
        classes = words(path / ABOUT, "classes", about.get("classes") or []) or classes
        tables = [PurePosixPath(place) / f"metadata.{end}" for place in ("", "train") for end in ("jsonl", "csv")]
        table = next((one for one in tables if pictures.holds(one)), None)
        if table is not None:
            files, labels, classes = listed(pictures, table, classes)
        else:
            folders = words(path / ABOUT, "folders", about.get("folders") or [])
            files, labels, classes = _sorted_by_folder(pictures, classes, folders)
        images = _pixels(pictures, files)
    ours = "mean" in about and "std" in about
    constants = (_constant(about["mean"], path / ABOUT), _constant(about["std"], path / ABOUT)) if ours else None
    return Found(images, labels, classes, constants, about)


def _sorted_by_folder(
    pictures: PictureFolder, classes: tuple[str, ...], folders: tuple[str, ...]
) -> tuple[list[PurePosixPath], Tensor, tuple[str, ...]]:
    if not pictures.files:
        raise DataError(f"there are no pictures in {pictures.root}")
    names = [file.parent.name for file in pictures.files]
    if "" in names:
        raise DataError(f"{pictures.show(pictures.files[names.index('')])} lies in no folder of a class")
    classes = classes or tuple(sorted(set(names)))
    known = folders or classes
    strange = sorted(set(names) - set(known))
    if strange:
        raise DataError(f"the folder {strange[0]!r} in {pictures.root} is none of the classes {', '.join(known)}")
    position = {name: c for c, name in reversed(list(enumerate(known)))}
    return list(pictures.files), torch.tensor([position[name] for name in names]), classes


def _pixels(pictures: PictureFolder, files: list[PurePosixPath]) -> Tensor:
    """uint8, (n, channels, height, width)."""
    have = set(pictures.files)
    missing = next((file for file in files if file not in have), None)
    if missing is not None:
        raise DataError(f"there is no picture {pictures.show(missing)}")
    grey = all(map(pictures.is_grey, files))
    read = [pictures.pixels(files[0], None, grey=grey)]
    if len(files) * read[0].nbytes > MOST_BYTES:
        raise DataError(
            f"{len(files):,} images of {read[0].shape[1]}×{read[0].shape[0]} pixels in {pictures.root} would take "
            f"{len(files) * read[0].nbytes / 2**30:.0f} GiB: no distilled set is so large"
        )
    for file in files[1:]:
        one = pictures.pixels(file, None, grey=grey)
        if one.shape != read[0].shape:
            raise DataError(
                f"{pictures.show(file)} has {one.shape[1]}×{one.shape[0]} pixels, {pictures.show(files[0])} "
                f"{read[0].shape[1]}×{read[0].shape[0]}: all images of a set have one size"
            )
        read.append(one)
    stacked = torch.from_numpy(np.stack(read))
    return stacked[:, None] if grey else stacked.permute(0, 3, 1, 2)
