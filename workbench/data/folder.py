"""Your own images: a folder, or a zip that stays packed, with one folder per class."""

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from workbench.data.assemble import Part, assemble, held_out
from workbench.data.dataset import Dataset
from workbench.data.sampling import DataError

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
_TEST_NAMES = ("test", "val", "valid", "validation")
_LARGEST_FILE = 256 * 2**20
"""Bytes; a zip entry that unpacks to more is a mistake or an attack, not a picture to train on."""

Colour = Literal["grey", "rgb"]


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
    ``train/class/image.png`` with ``test/class/image.png`` (or ``val``). Hidden files and files that are no images are
    passed over.

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
    path = Path(path)
    target = _target(size)
    if colour not in (None, "grey", "rgb"):
        raise DataError(f"colour={colour!r} must be 'grey', 'rgb' or None")
    with _open(path) as tree:
        layout = _layout(tree, path)
        grey = colour == "grey" or (colour is None and all(tree.is_grey(f) for part in layout for f in part.files))
        parts = [_read(tree, part, target, grey=grey) for part in layout]
    classes = layout[0].classes
    if len(classes) < 2:
        raise DataError(f"{path} has one class, {classes[0]!r}: at least two folders of images are needed")
    if len(parts) == 1:
        parts = held_out(parts[0], test_fraction, seed, classes)
    return assemble(name or path.stem, parts[0], parts[1], classes, device=device)


class _Folder:
    """Files below a folder, by their relative posix path."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __enter__(self) -> "_Folder":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def paths(self) -> Iterator[str]:
        """Relative paths of all files; a folder ends in a slash."""
        for found in self.root.rglob("*"):
            yield found.relative_to(self.root).as_posix() + ("/" if found.is_dir() else "")

    def show(self, file: str) -> str:
        return str(self.root / file)

    def open(self, file: str) -> Image.Image:
        return Image.open(self.root / file)

    def is_grey(self, file: str) -> bool:
        return _looks_grey(self, file)


class _Zip(_Folder):
    """Files inside a zip."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        try:
            self.archive = zipfile.ZipFile(root)
        except zipfile.BadZipFile as error:
            raise DataError(f"{root} is not a complete zip file ({error})") from None

    def __exit__(self, *_: object) -> None:
        self.archive.close()

    def paths(self) -> Iterator[str]:
        yield from self.archive.namelist()

    def show(self, file: str) -> str:
        return f"{self.root}:{file}"

    def open(self, file: str) -> Image.Image:
        entry = self.archive.getinfo(file)
        if entry.file_size > _LARGEST_FILE:
            raise DataError(f"{self.show(file)} unpacks to {entry.file_size / 2**20:.0f} MiB: too large for an image")
        return Image.open(io.BytesIO(self.archive.read(entry)))


def _open(path: Path) -> _Folder:
    if path.is_dir():
        return _Folder(path)
    if path.is_file():
        return _Zip(path)
    raise DataError(f"there is no folder or zip file at {path}")


class _Listing:
    """The images of one split: class names, files, and the class of each file."""

    def __init__(self, classes: tuple[str, ...], files: list[str], labels: list[int]) -> None:
        self.classes = classes
        self.files = files
        self.labels = labels


def _layout(tree: _Folder, path: Path) -> list[_Listing]:
    """One listing (to be split), or a train and a test listing."""
    every = [PurePosixPath(p) for p in tree.paths() if not _hidden(PurePosixPath(p))]
    files = sorted(p for p in every if p.suffix.lower() in _SUFFIXES and p not in _folders(tree))
    if not files:
        raise DataError(f"there are no images in {path}: {', '.join(sorted(_SUFFIXES))} are read")
    top = PurePosixPath()
    while len({p.relative_to(top).parts[0] for p in files}) == 1 and len(files[0].relative_to(top).parts) > 2:
        top = top / files[0].relative_to(top).parts[0]  # one enclosing folder, as many zips have
    folders = {p.relative_to(top).parts[0] for p in files if len(p.relative_to(top).parts) > 1}
    tests = [name for name in _TEST_NAMES if name in folders]
    if "train" not in folders or not tests or folders - {"train", *_TEST_NAMES}:
        return [_listing(tree, top, files, empty=_empty_classes(tree, top, files))]
    train_files, test_files = ([p for p in files if p.is_relative_to(top / part)] for part in ("train", tests[0]))
    loose = [p for p in files if len(p.relative_to(top).parts) == 1]
    if loose:
        raise DataError(f"{tree.show(str(loose[0]))} lies beside the folders train and {tests[0]}, in no class")
    train = _listing(tree, top / "train", train_files, empty=_empty_classes(tree, top / "train", train_files))
    test = _listing(tree, top / tests[0], test_files, classes=train.classes)
    return [train, test]


def _listing(
    tree: _Folder,
    top: PurePosixPath,
    files: list[PurePosixPath],
    *,
    classes: tuple[str, ...] | None = None,
    empty: list[str] | None = None,
) -> _Listing:
    if empty:
        raise DataError(f"the class folder {tree.show(str(top / empty[0]))} holds no images: fill or remove it")
    for p in files:
        inner = p.relative_to(top).parts
        if len(inner) == 1:
            raise DataError(f"{tree.show(str(p))} lies beside the class folders, in no class")
        if len(inner) > 2:
            raise DataError(
                f"{tree.show(str(p))} lies {len(inner) - 1} folders deep: images lie directly in their class's folder"
            )
    found = tuple(sorted({p.parent.name for p in files}))
    if classes is not None:
        strange = [name for name in found if name not in classes]
        if strange:
            raise DataError(
                f"{tree.show(str(top / strange[0]))} is a class that train has not: it has {', '.join(classes)}"
            )
    classes = classes or found
    return _Listing(classes, [str(p) for p in files], [classes.index(p.parent.name) for p in files])


def _hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _folders(tree: _Folder) -> set[PurePosixPath]:
    return {PurePosixPath(p) for p in tree.paths() if p.endswith("/")}


def _empty_classes(tree: _Folder, top: PurePosixPath, files: list[PurePosixPath]) -> list[str]:
    """Folders beside the class folders that hold no image."""
    beside = {p.name for p in _folders(tree) if p.parent == top and not _hidden(p)}
    return sorted(beside - {p.relative_to(top).parts[0] for p in files})


def _target(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    target = (size, size) if isinstance(size, int) else size
    if target is not None and (len(target) != 2 or min(target) < 1):
        raise DataError(f"size={size} must be a side in pixels or (height, width)")
    return None if target is None else (int(target[0]), int(target[1]))


def _looks_grey(tree: _Folder, file: str) -> bool:
    try:
        with tree.open(file) as image:
            return image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16")
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - decoders of damaged files fail in ways that cannot be listed
        raise _unreadable(tree, file, error) from None


def _read(tree: _Folder, listing: _Listing, target: tuple[int, int] | None, *, grey: bool) -> Part:
    pictures: np.ndarray | None = None
    for i, file in enumerate(listing.files):
        try:
            with tree.open(file) as image:
                pixels = _pixels(image, target, grey=grey)
        except DataError:
            raise
        except Exception as error:  # noqa: BLE001 - decoders of damaged files fail in ways that cannot be listed
            raise _unreadable(tree, file, error) from None
        if pictures is None:
            pictures = np.empty((len(listing.files), *pixels.shape), dtype=np.uint8)
        if pixels.shape != pictures.shape[1:]:
            here, first = (f"{s[0]}×{s[1]}" for s in (pixels.shape, pictures.shape[1:]))
            raise DataError(
                f"{tree.show(file)} is {here} pixels, {tree.show(listing.files[0])} is {first}: pass size= to make "
                "them alike"
            )
        pictures[i] = pixels
    assert pictures is not None
    channels_first = np.ascontiguousarray(pictures[:, None] if grey else pictures.transpose(0, 3, 1, 2))
    labels = torch.tensor(listing.labels)
    return Part(torch.from_numpy(channels_first), labels, torch.arange(len(labels)))


def _pixels(image: Image.Image, target: tuple[int, int] | None, *, grey: bool) -> np.ndarray:
    """uint8, (height, width) or (height, width, 3). Transparency is laid on white, 16-bit grey scaled to 8."""
    image = ImageOps.exif_transpose(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image, dtype=np.int64).clip(0, 65535) // 257).astype(np.uint8))
    elif image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if grey else "RGB")
    if target is not None and image.size != target[::-1]:
        image = ImageOps.fit(image, target[::-1], Image.Resampling.BICUBIC)
    return np.asarray(image)


def _unreadable(tree: _Folder, file: str, error: Exception) -> DataError:
    reason = (
        "no known image format" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
    )
    return DataError(f"{tree.show(file)} cannot be read as an image ({reason})")
