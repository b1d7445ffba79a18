"""Picture files in a folder or a zip: which there are, and their pixels as uint8; and files of other suffixes."""

import io
import warnings
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Self

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from workbench.data.sampling import DataError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
LARGEST_FILE = 256 * 2**20
"""Bytes; a zip entry that unpacks to more is a mistake or an attack, not a picture to train on."""
MOST_PIXELS = 89_478_485
"""Pixels of one picture (Pillow warns from there on): a small file can announce, and decode to, far more."""
_TIFF_BITS, _TIFF_NUMBERS = 258, 339  # tags BitsPerSample and SampleFormat


class PictureFolder:
    """The picture files below a folder. `files` and `folders` are sorted relative paths; hidden ones are left out.

    `suffixes` says which files are meant, `kind` what messages call them.
    """

    def __init__(self, root: Path, suffixes: Collection[str] = SUFFIXES, kind: str = "images") -> None:
        self.root, self.suffixes, self.kind = root, suffixes, kind
        every = [(path, is_folder) for path, is_folder in self._list() if not _hidden(path)]
        self.files = sorted(p for p, is_folder in every if not is_folder and p.suffix.lower() in suffixes)
        self.folders = sorted(p for p, is_folder in every if is_folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """A folder needs no closing."""

    def show(self, path: PurePosixPath) -> str:
        """The path as messages name it."""
        return str(self.root / path)

    def is_grey(self, path: PurePosixPath) -> bool:
        """Whether the file stores one channel (only its header is read)."""
        with _readable(self.show(path)), self._image(path) as image:
            return image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16")

    def pixels(self, path: PurePosixPath, size: tuple[int, int] | None, *, grey: bool) -> np.ndarray:
        """uint8 of shape (height, width) if `grey`, else (height, width, 3); cropped and resized to `size` if given.

        Transparency is laid on white, 9 to 16 bits of grey are scaled to 8, floating point numbers must lie in 0..1, a
        camera's rotation mark is obeyed, and of an animation the first frame is taken.

        Raises
        ------
        DataError
            The file cannot be read, holds more than `MOST_PIXELS`, or its numbers have no known range.
        """
        with _readable(self.show(path)), self._image(path) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise DataError(
                    f"{self.show(path)} has {opened.width}×{opened.height} pixels, more than the {MOST_PIXELS:,} that "
                    "are read: make it smaller first"
                )
            deep = _scaled(opened, self.show(path))
            image: Image.Image = ImageOps.exif_transpose(deep or opened)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("L" if grey else "RGB")
            if size is not None and image.size != size[::-1]:
                image = ImageOps.fit(image, size[::-1], Image.Resampling.BICUBIC)
            return np.asarray(image)

    def holds(self, path: PurePosixPath) -> bool:
        """Whether there is a file of that relative path, picture or not."""
        return (self.root / path).is_file()

    def text(self, path: PurePosixPath) -> str:
        """What a text file says.

        Raises
        ------
        DataError
            It is too large, cannot be read, or is no UTF-8.
        """
        try:
            return self.content(path).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.show(path)} is no text in UTF-8 ({error})") from None

    def content(self, path: PurePosixPath) -> bytes:
        """What a file holds.

        Raises
        ------
        DataError
            It is too large, or cannot be read.
        """
        try:
            size = (self.root / path).stat().st_size
            content = (self.root / path).read_bytes() if size <= LARGEST_FILE else b""
        except OSError as error:
            raise DataError(f"{self.show(path)} cannot be read ({error})") from None
        return self._small(path, size, content)

    def _small(self, path: PurePosixPath, size: int, content: bytes) -> bytes:
        if size > LARGEST_FILE:
            raise DataError(
                f"{self.show(path)} has {size / 2**20:,.0f} MiB; at most {LARGEST_FILE / 2**20:.0f} are read"
            )
        return content

    def _list(self) -> Iterator[tuple[PurePosixPath, bool]]:
        for path in self.root.rglob("*"):
            relative = PurePosixPath(path.relative_to(self.root).as_posix())
            is_folder = path.is_dir()
            if not is_folder and not path.is_file() and path.suffix.lower() in self.suffixes and not _hidden(relative):
                # Reading from a pipe or a device might never end; a link may lead nowhere.
                raise DataError(f"{path} is no file: a link that leads nowhere, a pipe or a device")
            yield relative, is_folder

    def _image(self, path: PurePosixPath) -> Image.Image:
        return _opened(self.root / path)


class PictureZip(PictureFolder):
    """The picture files inside a zip, read in place."""

    def __init__(self, root: Path, suffixes: Collection[str] = SUFFIXES, kind: str = "images") -> None:
        try:
            self._archive = zipfile.ZipFile(root)
        except Exception as error:  # noqa: BLE001 - damaged archives fail in ways that cannot be listed
            raise DataError(f"{root} is not a complete zip file ({error})") from None
        try:
            super().__init__(root, suffixes, kind)
        except DataError:
            self._archive.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def show(self, path: PurePosixPath) -> str:
        return f"{self.root}:{path}"

    def holds(self, path: PurePosixPath) -> bool:
        return str(path) in self._archive.NameToInfo

    def content(self, path: PurePosixPath) -> bytes:
        entry = self._archive.getinfo(str(path))
        try:
            content = self._archive.read(entry) if entry.file_size <= LARGEST_FILE else b""
        except Exception as error:  # noqa: BLE001 - damaged archives fail in ways that cannot be listed
            raise DataError(f"{self.show(path)} cannot be read ({error})") from None
        return self._small(path, entry.file_size, content)

    def _list(self) -> Iterator[tuple[PurePosixPath, bool]]:
        folders: set[PurePosixPath] = set()
        files: set[PurePosixPath] = set()
        for entry in self._archive.infolist():
            path = PurePosixPath(entry.filename)
            if path.is_absolute() or ".." in path.parts:
                raise DataError(f"{self.show(path)} lies outside the zip's own folder: it is not read")
            if entry.is_dir():
                folders.add(path)
            else:
                if path in files:
                    raise DataError(f"{self.show(path)} is there twice")
                files.add(path)
                yield path, False
            folders.update(path.parents)  # many zips list no folders of their own
        yield from ((path, True) for path in folders - {PurePosixPath()})

    def _image(self, path: PurePosixPath) -> Image.Image:
        entry = self._archive.getinfo(str(path))
        if entry.file_size > LARGEST_FILE:
            raise DataError(f"{self.show(path)} unpacks to {entry.file_size / 2**20:.0f} MiB: too large for an image")
        return _opened(io.BytesIO(self._archive.read(entry)))


def open_pictures(path: Path, suffixes: Collection[str] = SUFFIXES, kind: str = "images") -> PictureFolder:
    """The picture files of a folder or zip, or those of other suffixes; use it in a ``with``."""
    if path.is_dir():
        return PictureFolder(path, suffixes, kind)
    if path.is_file():
        return PictureZip(path, suffixes, kind)
    raise DataError(f"there is no folder or zip file at {path}")


def _opened(file: Path | io.BytesIO) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `pixels` refuses those by name
        return Image.open(file)


def _scaled(image: Image.Image, where: str) -> Image.Image | None:
    """A grey picture of more than 8 bits per pixel as one of 8, by the range of its format; None: it needs no scaling.

    Pillow itself cuts such numbers off at 255, or shows those of a smaller range as black.
    """
    tags = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        bits = int(tags.get(_TIFF_BITS, (16,))[0])  # of I, Pillow has already scaled those of a PGM to 16 bits
        if not 9 <= bits <= 16:
            raise DataError(f"{where} holds whole numbers of {bits} bits: save it with 8 or 16")
        deep = np.asarray(image, dtype=np.int64).clip(0, 2**bits - 1)
        return _like(image, (deep * 255 // (2**bits - 1)).astype(np.uint8))
    if image.mode == "F":
        real = np.asarray(image, dtype=np.float64)
        if not (np.isfinite(real).all() and real.min() >= 0 and real.max() <= 1):
            raise DataError(
                f"{where} holds floating point numbers from {real.min():.4g} to {real.max():.4g}: only brightness in "
                "0..1 has a known meaning; divide by its range, or save it with 8 or 16 bits"
            )
        return _like(image, (real * 255).round().astype(np.uint8))
    if image.mode == "I":
        bits = int(tags.get(_TIFF_BITS, (32,))[0])
        sign = "signed" if tags.get(_TIFF_NUMBERS, (2,))[0] == 2 else "unsigned"
        raise DataError(
            f"{where} holds {sign} whole numbers of {bits} bits, whose white has no known value: save it with 8 or 16 "
            "unsigned bits"
        )
    return None


def _like(image: Image.Image, pixels: np.ndarray) -> Image.Image:
    made = Image.fromarray(pixels)
    made.getexif().update(image.getexif())  # says how the camera was held
    return made


class _readable:  # noqa: N801 - reads as the statement it is: `with _readable(file):`
    """Turns whatever a decoder raises into an error that names the file."""

    def __init__(self, file: str) -> None:
        self.file = file

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        # Decoders of damaged files fail in ways that cannot be listed: OSError, SyntaxError, struct.error, zlib.error…
        if isinstance(error, Exception) and not isinstance(error, DataError):
            reason = "no known image format" if isinstance(error, UnidentifiedImageError) else str(error)
            raise DataError(f"{self.file} cannot be read as an image ({reason or type(error).__name__})") from None


def _hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
