"""Files of images and labels as others publish them, read without running code from them."""

import csv
import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.condensation.files.exporting import ABOUT
from workbench.data import DataError
from workbench.data.picture_files import PictureFolder, open_pictures


@dataclass(frozen=True)
class Found:
    """What a file holds, as it stands there."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...] | None = None
    constants: tuple[Tensor, Tensor] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


def torch_file(path: Path, labels: Path | None, experiment: int) -> Found:
    """What ``torch.save`` wrote: images with labels, or images with a file of labels beside it."""
    content = _load(path)
    if isinstance(content, Tensor):
        beside = labels or path.with_name(path.name.replace("images_zca_", "labels_").replace("images", "labels"))
        if beside == path or not beside.is_file():
            raise DataError(f"{path} holds images alone: pass labels=, the file of their labels")
        answer = _load(beside)
        if not isinstance(answer, Tensor):
            raise DataError(f"{beside} holds {_describe(answer)}; a tensor of labels is needed")
        return Found(content, answer)
    if isinstance(content, dict) and isinstance(content.get("data"), list | tuple):
        runs = content["data"]
        if not 0 <= experiment < len(runs):
            raise DataError(f"experiment is {experiment}; {path} holds {len(runs)}, from 0")
        content = runs[experiment]
    if isinstance(content, list | tuple) and len(content) == 2 and all(isinstance(part, Tensor) for part in content):
        return Found(*content)
    raise DataError(
        f"{path} holds {_describe(content)}; what is read: a dict whose 'data' lists (images, labels), as DC and DM "
        "save it, a tensor of images with one of labels beside it, as MTT does, or a pair of both"
    )


def _load(path: Path) -> Any:
    # The public code notes accuracies as numpy numbers: those are let in besides tensors and plain values.
    number = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [np.dtype, type(np.dtype("f4")), type(np.dtype("f8")), type(np.dtype("i8"))]
    allowed += [(number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(f"{path} holds more than tensors and numbers, and is not read: it could run code") from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise DataError(f"{path} is damaged or was not written by torch.save ({_first_line(error)})") from None


def npz_file(path: Path) -> Found:
    """Arrays ``images`` and ``labels``; of an exported set also all that makes it exact."""
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {key: file[key] for key in file.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise DataError(f"{path} cannot be read: {_first_line(error)}") from None
    if not {"images", "labels"} <= held.keys():
        raise DataError(f"{path} holds {', '.join(held) or 'nothing'}; 'images' and 'labels' are needed")
    for key in ("images", "labels"):
        if held[key].dtype.kind not in "fiu":
            raise DataError(f"{key} in {path} are {held[key].dtype}; numbers are needed")
        if held[key].dtype.kind in "iu":
            held[key] = held[key].astype(np.int64)
    about = _json(path, str(held["about"])) if "about" in held else {}
    ours = {"mean", "std"} <= held.keys()
    return Found(
        torch.from_numpy(held["images"]),
        torch.from_numpy(held["labels"]),
        tuple(map(str, held["classes"])) if "classes" in held else None,
        (torch.from_numpy(held["mean"]).flatten(), torch.from_numpy(held["std"]).flatten()) if ours else None,
        about,
    )


def picture_files(path: Path, classes: tuple[str, ...]) -> Found:
    """Pictures by class folder, or with ``metadata.jsonl`` or ``metadata.csv`` beside them."""
    about = _json(path / ABOUT, (path / ABOUT).read_text(encoding="utf-8")) if (path / ABOUT).is_file() else {}
    classes = tuple(map(str, about.get("classes") or ())) or classes
    tables = [path / place / f"metadata.{end}" for place in ("", "train") for end in ("jsonl", "csv")]
    table = next((one for one in tables if one.is_file()), None)
    if table is not None:
        files, labels, classes = _listed(table, classes)
        with PictureFolder(table.parent) as pictures:
            images = _pixels(pictures, files)
    else:
        with open_pictures(path) as pictures:
            files, labels, classes = _sorted_by_folder(pictures, classes, about.get("folders"))
            images = _pixels(pictures, files)
    ours = "mean" in about and "std" in about
    constants = (torch.tensor(about["mean"]), torch.tensor(about["std"])) if ours else None
    return Found(images, labels, classes, constants, about)


def _sorted_by_folder(
    pictures: PictureFolder, classes: tuple[str, ...], folders: list[str] | None
) -> tuple[list[PurePosixPath], Tensor, tuple[str, ...]]:
    if not pictures.files:
        raise DataError(f"there are no pictures in {pictures.root}")
    names = [file.parent.name for file in pictures.files]
    if "" in names:
        raise DataError(f"{pictures.show(pictures.files[names.index('')])} lies in no folder of a class")
    classes = classes or tuple(sorted(set(names)))
    known = folders or list(classes)
    strange = sorted(set(names) - set(known))
    if strange:
        raise DataError(f"the folder {strange[0]!r} in {pictures.root} is none of the classes {', '.join(known)}")
    return list(pictures.files), torch.tensor([known.index(name) for name in names]), classes


def _listed(table: Path, classes: tuple[str, ...]) -> tuple[list[PurePosixPath], Tensor, tuple[str, ...]]:
    """Files, labels and class names as a table of metadata lists them."""
    text = table.read_text(encoding="utf-8")
    if table.suffix == ".csv":
        rows: list[Mapping[str, Any]] = list(csv.DictReader(text.splitlines()))
    else:
        rows = [_json(table, line) for line in text.splitlines() if line.strip()]
    if not rows:
        raise DataError(f"{table} lists no pictures")
    for number, row in enumerate(rows, 1):
        if not row.get("file_name") or row.get("label") in (None, ""):
            raise DataError(f"row {number} of {table} lacks file_name or label")
        if PurePosixPath(row["file_name"]).is_absolute() or ".." in PurePosixPath(row["file_name"]).parts:
            raise DataError(f"row {number} of {table} names a file outside the folder: {row['file_name']}")
    files = [PurePosixPath(row["file_name"]) for row in rows]
    if all("soft_label" in row for row in rows):
        return files, torch.tensor([row["soft_label"] for row in rows], dtype=torch.float32), classes
    given = [str(row["label"]) for row in rows]
    if all(label.isdecimal() for label in given) and not set(given) <= set(classes):
        return files, torch.tensor([int(label) for label in given]), classes
    classes = classes or tuple(sorted(set(given)))
    strange = sorted(set(given) - set(classes))
    if strange:
        raise DataError(f"the label {strange[0]!r} in {table} is none of the classes {', '.join(classes)}")
    return files, torch.tensor([classes.index(label) for label in given]), classes


def _pixels(pictures: PictureFolder, files: list[PurePosixPath]) -> Tensor:
    """uint8, (n, channels, height, width)."""
    missing = next((file for file in files if file not in set(pictures.files)), None)
    if missing is not None:
        raise DataError(f"there is no picture {pictures.show(missing)}")
    grey = all(map(pictures.is_grey, files))
    read = [pictures.pixels(file, None, grey=grey) for file in files]
    for file, one in zip(files, read, strict=True):
        if one.shape != read[0].shape:
            raise DataError(
                f"{pictures.show(file)} has {one.shape[1]}×{one.shape[0]} pixels, {pictures.show(files[0])} "
                f"{read[0].shape[1]}×{read[0].shape[0]}: all images of a set have one size"
            )
    stacked = torch.from_numpy(np.stack(read))
    return stacked[:, None] if grey else stacked.permute(0, 3, 1, 2)


def _json(path: Path, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is no valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise DataError(f"{path} holds {_describe(found)} where a JSON object is needed")
    return found


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"a dict with {', '.join(map(repr, list(content)[:5])) or 'nothing'}"
    if isinstance(content, list | tuple):
        return f"a {type(content).__name__} of {len(content)}"
    return f"a {type(content).__name__}"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
