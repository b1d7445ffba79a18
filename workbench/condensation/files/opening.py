"""`open_images`: the distilled images of others, from the files that they publish."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from workbench.condensation.files.published import Found, npz_file, picture_files, tensor_file
from workbench.condensation.making.synthetic import views_of
from workbench.data import DataError, Dataset, Split
from workbench.records import DistilledSet

Values = Literal["normalised", "unit", "bytes"]

MOST_UNNAMED = 50_000
"""Classes that are named by their numbers where nothing names them; a larger label is no class."""

CONSTANTS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "MNIST": ((0.1307,), (0.3081,)),
    "FashionMNIST": ((0.2861,), (0.3530,)),
    "SVHN": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "CIFAR10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "CIFAR100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "TinyImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and standard deviation per channel that the public code of DC, DM and MTT normalises each data set with."""


def open_images(
    path: str | os.PathLike,
    data: Dataset | Split | None = None,
    *,
    labels: str | os.PathLike | None = None,
    classes: Sequence[str] | None = None,
    constants: str | tuple[Sequence[float], Sequence[float]] | None = None,
    values: Values | None = None,
    experiment: int = 0,
    name: str = "",
) -> DistilledSet:
    """Open distilled images that someone else made.

    Parameters
    ----------
    path
        ``.pt``: ``res_….pt`` of DC, DSA or DM (a dict with ``data``); ``images_….pt`` of MTT, FTD and kin, with
        ``labels_….pt`` beside it; or a pair (images, labels). ``images_….npy`` with ``labels_….npy`` beside it.
        ``.npz`` with ``images`` and ``labels``. A folder or zip with a folder of pictures per class, or with
        ``metadata.jsonl`` or ``.csv`` beside them.
    data
        The data that the images stand for: gives class names, and the normalisation where `constants` is not given.
    labels
        The file of labels, where it does not lie beside that of the images under its usual name.
    classes
        Class names; by default those of the file, of `data`, or "0", "1", ….
    constants
        What the images are normalised with: a name of `CONSTANTS` (``"CIFAR10"``), or mean and standard deviation per
        channel.
    values
        What a number means: ``"normalised"`` (by default, of floating point numbers), ``"unit"`` (0..1), or ``"bytes"``
        (0..255; by default, of whole numbers).
    experiment
        Which run of a ``res_….pt``, from 0.
    name
        What the set is called in legends; by default the file's name.

    Returns
    -------
    DistilledSet
        Sorted by class. Normalised images that leave the value range here and there are taken as they are: many methods
        do not hold them in it.

    Raises
    ------
    DataError
        The file holds something else than images and labels (it is then not read: it could run code), shapes do not
        fit, a label is outside the classes, or values are outside their range.
    FileNotFoundError
        There is no such file.

    Examples
    --------
    >>> import pathlib, tempfile, torch, workbench as wb
    >>> place = pathlib.Path(tempfile.mkdtemp())
    >>> torch.save(torch.randn(4, 1, 8, 8), place / "images_best.pt")
    >>> torch.save(torch.tensor([0, 0, 1, 1]), place / "labels_best.pt")
    >>> wb.condensation.open_images(place / "images_best.pt", constants="MNIST").ipc
    2
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"there is nothing at {path}")
    split = data.train if isinstance(data, Dataset) else data
    if path.suffix in (".pt", ".pth", ".npy"):
        found = tensor_file(path, None if labels is None else Path(labels).expanduser(), experiment)
    elif path.suffix == ".safetensors":
        raise DataError(f"{path} is no set of another's: what workbench saves is opened by workbench.records.open")
    elif path.suffix == ".npz":
        found = npz_file(path)
    else:
        found = picture_files(path, tuple(classes) if classes else split.classes if split else ())
    if classes or found.classes is None:
        given = tuple(classes) if classes else split.classes if split else ()
        found = replace(found, classes=given or None)
    return _assembled(path, found, split, constants, values, name)


def _assembled(
    path: Path,
    found: Found,
    split: Split | None,
    constants: str | tuple[Sequence[float], Sequence[float]] | None,
    values: Values | None,
    name: str,
) -> DistilledSet:
    images = _as_images(found.images, path)
    labels = _as_labels(found.labels, len(images), path)
    soft = labels.ndim == 2
    count = labels.shape[1] if soft else int(labels.max()) + 1
    if found.classes is None and count > MOST_UNNAMED:
        raise DataError(
            f"{path} has a label {count - 1:,}, and no class names: classes count from 0; pass classes= if there are "
            "so many"
        )
    classes = found.classes or tuple(map(str, range(count)))
    if split is not None and split.shape != tuple(images.shape[1:]):
        raise DataError(f"{path} holds images of shape {tuple(images.shape[1:])}, the data's have {split.shape}")
    if (soft and count != len(classes)) or count > len(classes):
        raise DataError(
            f"{path} has {f'labels of {count} classes' if soft else f'a label {count - 1}'}, but there are "
            f"{len(classes)} classes (0..{len(classes) - 1}): pass the right data= or classes="
        )
    kind = _meaning(path, images, values, own=found.constants is not None)
    said = _constants(path, constants, found, split, images.shape[1])
    if said is None and kind == "normalised":
        raise DataError(
            f"what the images in {path} are normalised with is not known: pass constants= (a name such as 'CIFAR10', "
            "or mean and standard deviation), data=, or say values='unit'"
        )
    mean, std = said or (torch.zeros(images.shape[1], 1, 1), torch.ones(images.shape[1], 1, 1))
    stored, raw = images.double(), images.double() / (255 if kind == "bytes" else 1)
    if kind == "normalised":
        raw = stored * std + mean
    else:
        stored = (raw - mean) / std
    _check_range(path, raw, kind, own=found.constants is not None)
    order = (labels.argmax(1) if soft else labels).argsort(stable=True)
    try:
        return DistilledSet(
            name=name or _word(found.about, "name") or path.stem,
            method=_word(found.about, "method") or "file",
            images=stored.float()[order],
            labels=labels[order],
            classes=classes,
            mean=mean.float(),
            std=std.float(),
            **_use(path, found.about, len(order)),
            settings={"file": path.name, "values": kind},
        )
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{path} holds no set of images: {error}") from None


def _word(about: Mapping[str, Any], key: str) -> str:
    found = about.get(key)
    return found if isinstance(found, str) else ""


def _use(path: Path, about: Mapping[str, Any], n: int) -> dict[str, Any]:
    """How an exported set of n images wants to be used, as it says itself."""
    view, rates, seen = about.get("view") or {}, about.get("step_size"), about.get("step_images")
    try:
        views_of(view)
        fields: dict[str, Any] = {"view": dict(view)}
        fields["step_size"] = None if rates is None else torch.tensor(rates, dtype=torch.float32)
        if seen is not None:
            fields["step_images"] = torch.zeros(0 if rates is None else len(rates), n, dtype=torch.bool)
            for step, rows in zip(fields["step_images"], seen, strict=True):
                step[torch.tensor(rows, dtype=torch.int64)] = True
    except (TypeError, ValueError, IndexError, AttributeError, RuntimeError, OverflowError) as error:
        raise DataError(f"{path} says something of its view or steps that cannot be: {error}") from None
    return fields


def _as_images(images: Tensor, path: Path) -> Tensor:
    """As (n, channels, height, width)."""
    if images.layout != torch.strided:
        raise DataError(f"{path} holds images as a sparse tensor: save them by tensor.to_dense()")
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or not images.numel() or images.is_complex():
        raise DataError(
            f"{path} holds images of shape {tuple(images.shape)}; (n, channels, height, width) is needed, "
            "(n, height, width, channels) or (n, height, width)"
        )
    images = images.float() if images.dtype == torch.bool else images
    last = images.shape[1] not in (1, 3) and images.shape[3] in (1, 3)
    return (images.permute(0, 3, 1, 2) if last else images).detach().contiguous()


def _as_labels(labels: Tensor, n: int, path: Path) -> Tensor:
    """Classes, int64, (n,), or distributions, float32, (n, classes)."""
    labels = labels.detach()
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim not in (1, 2) or len(labels) != n:
        raise DataError(f"{path} has {n} images, but labels of shape {tuple(labels.shape)}")
    if labels.ndim == 2:
        soft = labels.float()
        off = ((soft.double().sum(1) - 1).abs() > 1e-3) | (soft < 0).any(1) | ~soft.isfinite().all(1)
        if bool(off.any()):
            row = int(off.nonzero()[0])
            raise DataError(
                f"soft label {row} of {path} is no distribution: it sums to {soft[row].sum().item():.4g} and its least "
                f"is {soft[row].min().item():.4g}; logits need a softmax first"
            )
        return soft
    if labels.is_floating_point() and not bool((labels == labels.round()).all()):
        raise DataError(f"labels of {path} are no whole numbers, such as {labels[labels != labels.round()][0].item()}")
    hard = labels.long()
    if bool((hard < 0).any()):
        row = int((hard < 0).nonzero()[0])
        raise DataError(f"image {row} of {path} has label {int(hard[row])}; classes count from 0")
    return hard


def _meaning(path: Path, images: Tensor, values: Values | None, *, own: bool) -> Values:
    """What a number means; `own`: the file brings its constants, so that it holds what they belong to."""
    if values is not None:
        if values not in ("normalised", "unit", "bytes"):
            raise DataError(f"values is {values!r}; it can be 'normalised', 'unit' (0..1) or 'bytes' (0..255)")
        return values
    if not images.is_floating_point():
        return "bytes"
    if not own and bool(((images >= 0) & (images <= 1)).all()):
        raise DataError(
            f"all values in {path} lie in 0..1: say values='unit' if they are brightness, values='normalised' if they "
            "are what a network takes"
        )
    return "normalised"


def _constants(
    path: Path,
    constants: str | tuple[Sequence[float], Sequence[float]] | None,
    found: Found,
    split: Split | None,
    channels: int,
) -> tuple[Tensor, Tensor] | None:
    """Mean and standard deviation, each float64, (channels, 1, 1), from whoever says it first."""
    if isinstance(constants, str):
        if constants not in CONSTANTS:
            raise DataError(f"constants is {constants!r}; known are {', '.join(CONSTANTS)}, or pass (mean, std)")
        constants = CONSTANTS[constants]
    if constants is not None:
        said = tuple(torch.tensor(part, dtype=torch.float64).flatten() for part in constants)
    elif found.constants is not None:
        said = found.constants
    elif split is not None:
        said = split.mean, split.std
    else:
        return None
    mean, std = (part.double().cpu().reshape(-1, 1, 1) for part in said)
    if len(mean) != channels or len(std) != channels or not bool((std > 0).all()):
        raise DataError(
            f"images in {path} have {channels} channels; mean and standard deviation (above 0) have {len(mean)} and "
            f"{len(std)} entries"
        )
    return mean, std


def _check_range(path: Path, raw: Tensor, kind: Values, *, own: bool) -> None:
    finite = raw.flatten(1).isfinite().all(1)
    if not bool(finite.all()):
        raise DataError(f"image {int((~finite).nonzero()[0])} of {path} holds NaN or infinite values")
    outside = (raw < -1e-6) | (raw > 1 + 1e-6)
    if kind == "normalised":
        # Methods that leave pixels free may move most of them outside; bytes read as normalised values all are.
        share = outside.double().mean().item()
        if share > 0.9 and not own:
            raise DataError(
                f"{share:.0%} of the pixels in {path} are outside the value range when undone with these constants: "
                "pass those the images were normalised with as constants=, or say values='unit' or 'bytes'"
            )
    elif bool(outside.any()):
        row, top = int(outside.flatten(1).any(1).nonzero()[0]), 255 if kind == "bytes" else 1
        worst = raw[row].flatten()[(raw[row] - 0.5).abs().argmax()].item() * top
        raise DataError(
            f"image {row} of {path} has the value {worst:.4g}, outside 0..{top}: say what values= mean "
            "('normalised', 'unit', 'bytes'), or cut them off first"
        )
