"""Arrays from ``.npy`` and ``.npz`` files that a stranger made: headers are read word by word, sizes have limits."""

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from workbench.data.plain_arrays import plain_array
from workbench.data.sampling import DataError

LARGEST_UNPACKED = 256 * 2**20
"""Bytes of all entries together that a packed file may always unpack to, as one zipped picture may."""
MOST_TIMES = 8
"""… or this many times its own size: images of numbers are never packed tighter than that by much."""
_LONGEST_HEADER = 10_000
_LONGEST_WORD = 10_000

_HEADER = re.compile(
    rb"""\s*\{\s*'descr':\s*'(?P<order>[<>|=]?)(?P<code>[biufUS]\d+)'\s*,\s*'fortran_order':\s*(?P<fortran>True|False)
    \s*,\s*'shape':\s*\((?P<shape>[\d\sL,]*)\)\s*,?\s*\}\s*""",
    re.VERBOSE,
)


def read_npy(path: Path) -> np.ndarray:
    """The array in a ``.npy`` file, of plain numbers or of text.

    Raises
    ------
    DataError
        The file is damaged, or holds objects, fields, or anything else than numbers and text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    return _array(content, str(path))


def read_npz(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Those of the named arrays that an ``.npz`` file holds; others are not unpacked.

    Raises
    ------
    DataError
        The file is damaged, unpacks to more than `LARGEST_UNPACKED` and `MOST_TIMES` its size, or an array holds
        anything else than numbers and text.
    """
    wanted = {f"{name}.npy": name for name in names}
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename in wanted]
            _check_entries(path, entries)
            contents = {entry.filename: archive.read(entry) for entry in entries}
            return {wanted[name]: _array(content, f"{name} in {path}") for name, content in contents.items()}
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - damaged archives fail in ways that cannot be listed
        raise DataError(f"{path} cannot be read: {error}") from None


def names_in(path: Path) -> list[str]:
    """What an ``.npz`` file calls its arrays, for messages."""
    with zipfile.ZipFile(path) as archive:
        return [entry.removesuffix(".npy") for entry in archive.namelist()]


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    total = sum(entry.file_size for entry in entries)
    most = max(LARGEST_UNPACKED, MOST_TIMES * path.stat().st_size)
    if total > most:
        raise DataError(
            f"{path} unpacks to {total / 2**20:,.0f} MiB, more than the {most / 2**20:,.0f} MiB that a file of its "
            "size may"
        )
    if len({entry.filename for entry in entries}) < len(entries):
        raise DataError(f"{path} holds an array twice")


def _array(content: bytes, where: str) -> np.ndarray:
    """The array that the bytes of a ``.npy`` file hold, in C order and the machine's byte order."""
    version = content[6:8]
    if content[:6] != b"\x93NUMPY" or version not in (b"\1\0", b"\2\0", b"\3\0"):
        raise DataError(f"{where} is no array file: it should begin with \\x93NUMPY and a version")
    start = 10 if version == b"\1\0" else 12
    length = int.from_bytes(content[8:start], "little")
    if length > _LONGEST_HEADER or start + length > len(content):
        raise DataError(f"{where} is damaged: its header of {length:,} bytes cannot be")
    header = _HEADER.fullmatch(content[start : start + length])
    if header is None:
        raise DataError(f"{where} holds objects or fields, or is damaged; arrays of plain numbers or text are read")
    code, order = header["code"].decode(), header["order"].decode() or "="
    shape = tuple(int(n) for n in header["shape"].replace(b"L", b"").split(b",") if n.strip())
    fortran = header["fortran"] == b"True"
    body = content[start + length :]
    try:
        if code[0] in "US":
            return _words(body, code, order, shape, fortran=fortran)
        return plain_array(body, code, order, shape, fortran=fortran)
    except ValueError as error:
        raise DataError(f"{where} is damaged: {error}") from None


def _words(content: bytes, code: str, order: str, shape: tuple[int, ...], *, fortran: bool) -> np.ndarray:
    """Text of fixed length, decoded; numpy itself takes any number for a letter."""
    size = int(code[1:])
    if not 0 < size <= _LONGEST_WORD:
        raise ValueError(f"words of {size:,} letters")
    letters = plain_array(content, "u1" if code[0] == "S" else "u4", order, (*shape, size))
    if code[0] == "U" and (((letters > 0xD7FF) & (letters < 0xE000)) | (letters > 0x10FFFF)).any():
        raise ValueError("a letter that is none")
    words = letters.view(f"{code[0]}{size}").reshape(shape, order="F" if fortran else "C")
    return words if code[0] == "U" else np.char.decode(words, "utf-8", "replace")
