"""`load`: a dataset by its name, or by the path of your own images, sounds or text."""

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from workbench.data import cifar, idx, openml, tiny_imagenet
from workbench.data.assemble import Part, assemble
from workbench.data.bundled_text import descriptions
from workbench.data.dataset import Dataset
from workbench.data.digits import digit_pairs, digits
from workbench.data.folder import image_folder
from workbench.data.instructions import instructions
from workbench.data.sampling import DataError
from workbench.data.scenes import digit_scenes
from workbench.data.sound import holds_sound, sounds
from workbench.data.tabular import BUNDLED, table
from workbench.data.text import SUFFIXES, text
from workbench.data.words import words

_GENERATED: dict[str, Callable[..., Dataset]] = {
    "digits": digits,
    "digit-pairs": digit_pairs,
    "digit-scenes": digit_scenes,
    "instructions": instructions,
    "descriptions": descriptions,
    "words": words,
}
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CLASSES = {"mnist": tuple("0123456789"), "fashion-mnist": _FASHION, "cifar10": cifar.CLASSES}
_FOLDERS = ("cifar100", "cifar100-coarse", "tiny-imagenet")
"""Read from a folder only."""

_STANDARD = (*openml.SOURCES, *_FOLDERS)
_PLACES = {"mnist": ("MNIST/raw", "mnist"), "fashion-mnist": ("FashionMNIST/raw", "fashion-mnist", "fashion")}
"""Folders below `root` that other libraries use for the same files."""


def names() -> tuple[str, ...]:
    """Names that `load` knows.

    Examples
    --------
    >>> names()
    ('digits', 'digit-pairs', 'digit-scenes', 'instructions', 'descriptions', 'words', 'mnist', 'fashion-mnist',
     'cifar10', 'cifar100', 'cifar100-coarse', 'tiny-imagenet', 'breast_cancer', 'diabetes', 'iris', 'wine')
    """
    return (*_GENERATED, *_STANDARD, *BUNDLED)


def load(
    name: str | os.PathLike = "digits",
    root: str | os.PathLike | None = None,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Dataset:
    """A dataset by name, or your own images, sounds or text by path.

    Parameters
    ----------
    name
        ``"digits"`` (bundled, 8×8), ``"digit-pairs"`` (made of those, 8×16, 100 classes), ``"digit-scenes"`` (a digit
        somewhere in 16×16, among distractors), ``"instructions"`` (text with one right answer), ``"descriptions"``
        (some English), ``"words"`` (twenty synthetic spoken words, 8 kHz), ``"mnist"``,
        ``"fashion-mnist"``, ``"cifar10"``, ``"cifar100"`` (its 100 fine classes), ``"cifar100-coarse"`` (its 20 coarse
        ones), ``"tiny-imagenet"`` (64×64, 200 classes; tested on the validation images), a bundled table
        (``"breast_cancer"``, ``"diabetes"``, ``"iris"``, ``"wine"``), or the path of a folder or zip of images (see
        `image_folder`) or of WAV files (see `sounds`), or of a text file or a folder of them (see `text`).
    root
        Folder with the standard files of ``mnist``, ``fashion-mnist`` (idx, idx.gz) or ``cifar10`` (python batches, or
        their tar.gz). Without it, these three are downloaded once from OpenML into ``$WORKBENCH_CACHE`` or the
        platform's cache folder. ``cifar100`` needs it (``cifar-100-python.tar.gz``, or its folder), and so does
        ``tiny-imagenet`` (``tiny-imagenet-200.zip``, or its folder with ``train/WNID/images`` and
        ``val/val_annotations.txt``). What runs code is never read.
    seed
        Seed of the split, where it is not given by the source.
    device
        Where the tensors live.
    options
        ``digit-pairs``: see `digit_pairs`. ``digit-scenes``: see `digit_scenes`. ``instructions``: see `instructions`.
        ``descriptions``: as `text`. ``words``: see `workbench.data.words`.
        Paths: see `image_folder`, `sounds` and `text`. Tables: see `table`.

    Returns
    -------
    Dataset
        Same arguments: same bits.

    Raises
    ------
    DataError
        The name is unknown, a file is missing, damaged or unsafe, or there is no network; the message says what to do.

    Examples
    --------
    >>> import workbench as wb
    >>> wb.data.load("digits")
    Dataset('digits', 1,200 train + 597 test × 1×8×8, 10 classes, cpu)
    >>> wb.data.load("digit-pairs", tens=range(1, 5), ones=range(6), n_train=240, n_test=48)
    Dataset('digit-pairs', 240 train + 48 test × 1×8×16, 24 classes, cpu)
    """
    if name in _STANDARD:
        _accept(name, None, options)
        train, test, classes = _standard(str(name), None if root is None else Path(root))
        return assemble(str(name), train, test, classes, device=device)
    if root is not None:
        raise DataError(f"root is for {', '.join(_STANDARD)}; name={str(name)!r} does not read from it")
    if name in _GENERATED:
        _accept(name, _GENERATED[str(name)], options)
        return _GENERATED[str(name)](seed=seed, device=device, **options)
    if name in BUNDLED:
        _accept(name, table, options, ("source", "name"))
        return table(str(name), seed=seed, device=device, **options)
    path = Path(name).expanduser()
    if _is_text(path):
        _accept(name, text, options, ("path",))
        return text(path, seed=seed, device=device, **options)
    if path.exists() and holds_sound(path):
        _accept(name, sounds, options, ("path",))
        return sounds(path, seed=seed, device=device, **options)
    if path.exists():
        _accept(name, image_folder, options, ("path",))
        return image_folder(path, seed=seed, device=device, **options)
    raise DataError(f"name={str(name)!r} is neither a folder or zip file nor one of {', '.join(names())}")


def _is_text(path: Path) -> bool:
    """A text file, or a folder that holds such files and nothing else at its top."""
    if path.is_dir():
        files = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
        return bool(files) and all(entry.suffix.lower() in SUFFIXES for entry in files)
    return path.is_file() and path.suffix.lower() in SUFFIXES


def _standard(name: str, root: Path | None) -> tuple[Part, Part, tuple[str, ...]]:
    files = _files(name)
    if root is None and name in _FOLDERS:
        raise DataError(f"{name} is read from a folder: pass root=, a folder with {' or '.join(files)}")
    if root is None:
        return (*openml.fetch(name, files), _CLASSES[name])
    root = root.expanduser()
    if not root.exists():
        raise DataError(f"root={str(root)!r} does not exist; {name} is read from a folder with {', '.join(files)}")
    if name == "tiny-imagenet":
        return tiny_imagenet.read_tiny_imagenet(root)
    if name in cifar.LAYOUTS:
        return (*cifar.read_cifar(name, root), cifar.LAYOUTS[name].classes)
    return (*idx.read_idx_folder(root, _PLACES[name]), _CLASSES[name])


def _files(name: str) -> tuple[str, ...]:
    if name == "tiny-imagenet":
        return tiny_imagenet.FILES
    return cifar.LAYOUTS[name].files if name in cifar.LAYOUTS else idx.expected_files()


def _accept(
    name: object, loader: Callable[..., Dataset] | None, options: dict[str, Any], fixed: Sequence[str] = ()
) -> None:
    """Refuse an option that the loader does not have, naming those that it has."""
    accepted = set(inspect.signature(loader).parameters) if loader else set()
    accepted -= {"seed", "device", *fixed}
    unknown = sorted(set(options) - accepted)
    if unknown:
        takes = f"it takes {', '.join(sorted(accepted))}" if accepted else "it takes none"
        raise DataError(f"{name} has no option {unknown[0]!r}: {takes}")
