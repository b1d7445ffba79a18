"""Read Tiny ImageNet from its own layout, a folder or a zip that stays packed."""

from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from workbench.data.assemble import Part
from workbench.data.picture_files import PictureFolder, open_pictures
from workbench.data.sampling import DataError

FOLDER = "tiny-imagenet-200"
ARCHIVE = f"{FOLDER}.zip"
FILES = (ARCHIVE, f"{FOLDER}/ (train/WNID/images/*.JPEG, val/images/*.JPEG, val/val_annotations.txt)")
_ANNOTATIONS = "val/val_annotations.txt"
_SIDE = 64


def read_tiny_imagenet(root: Path) -> tuple[Part, Part, tuple[str, ...]]:
    """The train part, the validation part (whose labels are public; those of the test images are not), class names.

    `root` is ``tiny-imagenet-200`` or ``tiny-imagenet-200.zip``, or a folder with one of them. A class is called by
    the first of its words in ``words.txt`` where that names no other class, else by its WordNet id; classes are in the
    order of their ids.

    Raises
    ------
    DataError
        A file is missing, cannot be read or has another size than 64×64, or a row of the annotations is wrong.
    """
    with open_pictures(_place(root)) as pictures:
        top = _top(pictures, root)
        listed = [file for file in pictures.files if file.is_relative_to(top)]
        train = [file for file in listed if _is_train(file.relative_to(top))]
        if not train:
            raise DataError(f"{pictures.show(top)} holds no images in train/WNID/images")
        ids = sorted({file.relative_to(top).parts[1] for file in train})
        number = {one: c for c, one in enumerate(ids)}
        train_labels = [number[file.relative_to(top).parts[1]] for file in train]
        val, val_labels = _annotated(pictures, top, number)
        parts = [
            Part(_pixels(pictures, files), torch.tensor(labels), torch.arange(len(files)))
            for files, labels in ((train, train_labels), (val, val_labels))
        ]
        return parts[0], parts[1], _names(pictures, top, ids)


def _place(root: Path) -> Path:
    if root.is_dir() and not (root / "train").is_dir():
        for place in (root / FOLDER, root / ARCHIVE):
            if place.exists():
                return place
        raise DataError(f"{root} holds neither train/, {FOLDER}/ nor {ARCHIVE}")
    return root


def _top(pictures: PictureFolder, root: Path) -> PurePosixPath:
    """Where train and val lie: a zip has one folder around them."""
    for top in (PurePosixPath(), PurePosixPath(FOLDER)):
        if pictures.holds(top / _ANNOTATIONS):
            return top
    raise DataError(f"{root} lacks {_ANNOTATIONS}: copy or unpack {ARCHIVE} again")


def _is_train(file: PurePosixPath) -> bool:
    return len(file.parts) == 4 and file.parts[0] == "train" and file.parts[2] == "images"


def _annotated(
    pictures: PictureFolder, top: PurePosixPath, number: dict[str, int]
) -> tuple[list[PurePosixPath], list[int]]:
    """The validation images and their classes, as ``val_annotations.txt`` lists them, by name."""
    table = top / _ANNOTATIONS
    have, labels = set(pictures.files), dict[PurePosixPath, int]()
    for row, line in enumerate(pictures.text(table).splitlines(), 1):
        if not line.strip():
            continue
        name, one, *_ = [*line.split("\t"), ""]
        file = top / "val" / "images" / name
        if one not in number:
            raise DataError(f"row {row} of {pictures.show(table)} names no class of train/: {one[:40]!r}")
        if PurePosixPath(name).name != name or file not in have:
            raise DataError(f"row {row} of {pictures.show(table)} names no picture of val/images: {name[:40]!r}")
        if file in labels:
            raise DataError(f"row {row} of {pictures.show(table)} names {name!r} again")
        labels[file] = number[one]
    if not labels:
        raise DataError(f"{pictures.show(table)} lists no pictures")
    files = sorted(labels)
    return files, [labels[file] for file in files]


def _names(pictures: PictureFolder, top: PurePosixPath, ids: list[str]) -> tuple[str, ...]:
    words = {}
    if pictures.holds(top / "words.txt"):
        for line in pictures.text(top / "words.txt").splitlines():
            one, _, said = line.partition("\t")
            words[one] = said.split(",")[0].strip()
    found = [words.get(one) or one for one in ids]
    times = Counter(found)
    return tuple(one if times[name] > 1 else name for one, name in zip(ids, found, strict=True))


def _pixels(pictures: PictureFolder, files: list[PurePosixPath]) -> torch.Tensor:
    """uint8, (n, 3, 64, 64)."""
    pixels = np.empty((len(files), 3, _SIDE, _SIDE), dtype=np.uint8)
    for i, file in enumerate(files):
        one = pictures.pixels(file, None, grey=False)
        if one.shape != (_SIDE, _SIDE, 3):
            raise DataError(f"{pictures.show(file)} is {one.shape[0]}×{one.shape[1]} pixels instead of {_SIDE}×{_SIDE}")
        pixels[i] = one.transpose(2, 0, 1)
    return torch.from_numpy(pixels)
