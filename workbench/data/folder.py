"""Your own images: a folder, or a zip that stays packed, with one folder per class."""

import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import torch

from workbench.data.assemble import Part, assemble, held_out
from workbench.data.dataset import Dataset
from workbench.data.picture_files import PictureFolder, open_pictures
from workbench.data.sampling import DataError

Colour = Literal["grey", "rgb"]
_MOST_BYTES = 8 * 2**30
"""Of all pixels together, as they are read; as the numbers that a network takes they need four times that."""
_TEST_NAMES = ("test", "val", "valid", "validation")


def image_folder(
    path: str | os.PathLike,
    *,
    size: int | tuple[int, int] | None = None,
    colour: Colour | None = None,
    seed: int = 0,
    test_fraction: float = 0.25,
    device: torch.device | str = "cpu",
    name: str | None = None,
) -> Dataset:
    """A dataset of the images under `path`, where the folder that holds an image is its class.

    Two layouts are understood, each also inside one enclosing folder: ``class/image.png``, split by `seed`, and
    ``train/class/image.png`` with ``test/class/image.png`` (``val`` where there is no ``test``). Hidden files and files
    that are no images are passed over.

    Parameters
    ----------
    path
        Folder or zip file. A zip is read in place, not unpacked.
    size
        Side, or (height, width), of the images: cropped about the centre to that aspect, then resized. By default they
        are taken as they are, and must all have one size.
    colour
        ``"grey"`` or ``"rgb"``; by default grey when every image is.
    seed, test_fraction
        The stratified split, where the folders do not make one.
    device
        Where the tensors live.
    name
        What the dataset is called; by default the file's name.

    Returns
    -------
    Dataset
        ``index`` is the position of each image in the sorted list of paths of its split (of all paths when split here).

    Raises
    ------
    DataError
        Names the image that cannot be read, lies outside the class folders, or has another size; or says that there
        are no images, or only one class.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib, workbench as wb
    >>> from PIL import Image
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> for i in range(8):
    ...     place = root / ("dark", "light")[i % 2]
    ...     place.mkdir(exist_ok=True)
    ...     Image.fromarray(np.full((9, 9), 200 * (i % 2) + i, np.uint8)).save(place / f"{i}.png")
    >>> wb.data.image_folder(root, size=8, name="shades")
    Dataset('shades', 6 train + 2 test × 1×8×8, 2 classes, cpu)
    """
    path = Path(path).expanduser()
    target = _target(size)
    if colour not in (None, "grey", "rgb"):
        raise DataError(f"colour={colour!r} must be 'grey', 'rgb' or None")
    with open_pictures(path) as pictures:
        listings = listings_of(pictures, path)
        classes = listings[0].classes
        if len(classes) < 2:
            raise DataError(f"{path} has one class, {classes[0]!r}: at least two folders of images are needed")
        files = [file for listing in listings for file in listing.files]
        grey = colour == "grey" or (colour is None and all(map(pictures.is_grey, files)))
        images = torch.from_numpy(_read(pictures, files, target, grey=grey))
    parts = [
        Part(x, torch.tensor(listing.labels), torch.arange(len(x)))
        for x, listing in zip(images.split([len(listing.files) for listing in listings]), listings, strict=True)
    ]
    train, test = parts if len(parts) == 2 else held_out(parts[0], test_fraction, seed, classes)
    return assemble(name or path.stem, train, test, classes, device=device)


@dataclass(frozen=True)
class Listing:
    """The files of one split, each with its class."""

    classes: tuple[str, ...]
    files: list[PurePosixPath]
    labels: list[int]


def listings_of(pictures: PictureFolder, path: Path) -> list[Listing]:
    """One listing (to be split), or a train and a test listing, of the files by their folders."""
    files = pictures.files
    if not files:
        read = ", ".join(sorted(pictures.suffixes))
        raise DataError(f"there are no {pictures.kind} in {path}; these are read: {read}")
    top = _enclosing(files)
    inside = {p.relative_to(top).parts[0] for p in files if len(p.relative_to(top).parts) > 1}
    tests = [name for name in _TEST_NAMES if name in inside]
    if "train" not in inside or not tests or inside - {"train", *_TEST_NAMES}:
        return [_listing(pictures, top, files)]
    for p in files:
        if p.parent == top:
            raise DataError(f"{pictures.show(p)} lies beside the folders train and {tests[0]}, in no class")
    train, test = ([p for p in files if p.is_relative_to(top / part)] for part in ("train", tests[0]))
    listed = _listing(pictures, top / "train", train)
    return [listed, _listing(pictures, top / tests[0], test, listed.classes)]


def _listing(
    pictures: PictureFolder, top: PurePosixPath, files: list[PurePosixPath], classes: tuple[str, ...] | None = None
) -> Listing:
    for p in files:
        depth = len(p.relative_to(top).parts)
        if depth == 1:
            raise DataError(f"{pictures.show(p)} lies beside the class folders, in no class")
        if depth > 2:
            raise DataError(
                f"{pictures.show(p)} lies {depth - 1} folders deep: {pictures.kind} lie directly in the folder of "
                "their class"
            )
    found = {p.parent.name for p in files}
    for folder in pictures.folders:
        if folder.parent == top and folder.name not in found:
            raise DataError(f"the class folder {pictures.show(folder)} holds no {pictures.kind}: fill or remove it")
    if classes is None:
        classes = tuple(sorted(found))
    elif strange := sorted(found - set(classes)):
        raise DataError(
            f"{pictures.show(top / strange[0])} is no class of the training {pictures.kind}, which are "
            f"{', '.join(classes)}"
        )
    number = {name: c for c, name in enumerate(classes)}
    return Listing(classes, files, [number[p.parent.name] for p in files])


def _enclosing(files: list[PurePosixPath]) -> PurePosixPath:
    """The folder that holds the class folders: zips often have one folder around everything."""
    top = PurePosixPath(posixpath.commonpath([p.parent for p in files]))
    # With one class only, the common folder is that class: its parent holds the (single) class folder.
    return top.parent if all(p.parent == top for p in files) else top


def _target(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    target = (size, size) if isinstance(size, int) else size
    if target is not None and (len(target) != 2 or min(target) < 1):
        raise DataError(f"size={size} must be a side in pixels or (height, width)")
    return target


def _read(
    pictures: PictureFolder, files: Sequence[PurePosixPath], size: tuple[int, int] | None, *, grey: bool
) -> np.ndarray:
    """Pixels of all files, uint8 (n, 1 or 3, height, width)."""
    first = pictures.pixels(files[0], size, grey=grey)
    if len(files) * first.nbytes > _MOST_BYTES:
        raise DataError(
            f"{len(files):,} images of {first.shape[0]}×{first.shape[1]} pixels in {pictures.root} would take "
            f"{len(files) * first.nbytes / 2**30:.0f} GiB: pass size= to make them smaller"
        )
    pixels = np.empty((len(files), *first.shape), dtype=np.uint8)
    for i, file in enumerate(files):
        image = first if i == 0 else pictures.pixels(file, size, grey=grey)
        if image.shape != first.shape:
            raise DataError(
                f"{pictures.show(file)} is {image.shape[0]}×{image.shape[1]} pixels, {pictures.show(files[0])} is "
                f"{first.shape[0]}×{first.shape[1]}: pass size= to make them alike"
            )
        pixels[i] = image
    return np.ascontiguousarray(pixels[:, None] if grey else pixels.transpose(0, 3, 1, 2))
