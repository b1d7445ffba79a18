"""Picture files in a folder or a zip: which there are, and their pixels as uint8."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Self

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from workbench.data.sampling import DataError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
_LARGEST_FILE = 256 * 2**20
"""Bytes; a zip entry that unpacks to more is a mistake or an attack, not a picture to train on."""


class PictureFolder:
    """The picture files below a folder. `files` and `folders` are sorted relative paths; hidden ones are left out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        every = [(path, is_folder) for path, is_folder in self._list() if not _hidden(path)]
        self.files = sorted(p for p, is_folder in every if not is_folder and p.suffix.lower() in SUFFIXES)
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

        Transparency is laid on white, 16-bit grey scaled to 8 bits, a camera's rotation mark obeyed, and of an
        animation the first frame taken.
        """
        with _readable(self.show(path)), self._image(path) as opened:
            image: Image.Image = ImageOps.exif_transpose(opened)
            if image.mode == "I" or image.mode.startswith("I;16"):
                deep = np.asarray(image, dtype=np.int64).clip(0, 65535)
                image = Image.fromarray((deep // 257).astype(np.uint8))
            elif image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("L" if grey else "RGB")
            if size is not None and image.size != size[::-1]:
                image = ImageOps.fit(image, size[::-1], Image.Resampling.BICUBIC)
            return np.asarray(image)

    def _list(self) -> Iterator[tuple[PurePosixPath, bool]]:
        for path in self.root.rglob("*"):
            yield PurePosixPath(path.relative_to(self.root).as_posix()), path.is_dir()

    def _image(self, path: PurePosixPath) -> Image.Image:
        return Image.open(self.root / path)


class PictureZip(PictureFolder):
    """The picture files inside a zip, read in place."""

    def __init__(self, root: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(root)
        except zipfile.BadZipFile as error:
            raise DataError(f"{root} is not a complete zip file ({error})") from None
        super().__init__(root)

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def show(self, path: PurePosixPath) -> str:
        return f"{self.root}:{path}"

    def _list(self) -> Iterator[tuple[PurePosixPath, bool]]:
        folders = set()
        for entry in self._archive.infolist():
            path = PurePosixPath(entry.filename)
            if entry.is_dir():
                folders.add(path)
            else:
                yield path, False
            folders.update(path.parents)  # many zips list no folders of their own
        yield from ((path, True) for path in folders - {PurePosixPath()})

    def _image(self, path: PurePosixPath) -> Image.Image:
        entry = self._archive.getinfo(str(path))
        if entry.file_size > _LARGEST_FILE:
            raise DataError(f"{self.show(path)} unpacks to {entry.file_size / 2**20:.0f} MiB: too large for an image")
        return Image.open(io.BytesIO(self._archive.read(entry)))


def open_pictures(path: Path) -> PictureFolder:
    """The picture files of a folder or zip; use it in a ``with``."""
    if path.is_dir():
        return PictureFolder(path)
    if path.is_file():
        return PictureZip(path)
    raise DataError(f"there is no folder or zip file at {path}")


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
