"""What a stranger's words say of images: JSON objects, lists of names, and tables of files with their labels."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from workbench.data import DataError
from workbench.data.picture_files import PictureFolder

_LONGEST_LINE = 2**20
_MOST_NAMES = 100_000
_Rows = list[Mapping[str, Any]]


def json_object(where: Path | str, text: str) -> dict[str, Any]:
    """The JSON object in a text.

    Raises
    ------
    DataError
        It is no JSON, is nested too deeply, or is no object.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:  # no JSON, numbers of thousands of digits, nests
        raise DataError(f"{where} is no valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise DataError(f"{where} holds {described(found)} where a JSON object is needed")
    return found


def words(where: Path | str, what: str, names: Any) -> tuple[str, ...]:
    """A list of names as text; numbers are written out."""
    if not isinstance(names, list | tuple) or not all(isinstance(name, str | int | float) for name in names):
        raise DataError(f"the {what} in {where} are {described(names)}; a list of names is needed")
    if len(names) > _MOST_NAMES:
        raise DataError(f"there are {len(names):,} {what} in {where}, more than {_MOST_NAMES:,}")
    return tuple(map(str, names))


def listed(
    pictures: PictureFolder, table: PurePosixPath, classes: tuple[str, ...]
) -> tuple[list[PurePosixPath], Tensor, tuple[str, ...]]:
    """Files, labels and class names as a table of metadata lists them.

    Raises
    ------
    DataError
        A row lacks a file or label, names a file outside the folder or again, or a label that is none.
    """
    where = pictures.show(table)
    rows = _rows(pictures.text(table), where, table.suffix)
    if not rows:
        raise DataError(f"{where} lists no pictures")
    files: dict[PurePosixPath, None] = {}
    for number, row in enumerate(rows, 1):
        name, label = row.get("file_name"), row.get("label")
        if not name or label in (None, ""):
            raise DataError(f"row {number} of {where} lacks file_name or label")
        if not isinstance(name, str) or not isinstance(label, str | int | float):
            raise DataError(f"row {number} of {where} has {described(label)} as label and {described(name)} as name")
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\0" in name:
            raise DataError(f"row {number} of {where} names a file outside the folder: {name[:200]!r}")
        if table.parent / path in files:
            raise DataError(f"row {number} of {where} names {name[:200]!r} again")
        files[table.parent / path] = None
    if all("soft_label" in row for row in rows):
        return list(files), _soft([row["soft_label"] for row in rows], where), classes
    given = [str(row["label"]) for row in rows]
    if all(label.isdecimal() and len(label) < 10 for label in given) and not set(given) <= set(classes):
        return list(files), torch.tensor([int(label) for label in given]), classes
    classes = classes or tuple(sorted(set(given)))
    strange = sorted(set(given) - set(classes))
    if strange:
        raise DataError(f"the label {strange[0][:200]!r} in {where} is none of the classes {', '.join(classes)[:1000]}")
    position = {name: c for c, name in reversed(list(enumerate(classes)))}
    return list(files), torch.tensor([position[label] for label in given]), classes


def _rows(text: str, where: str, suffix: str) -> _Rows:
    lines = text.split("\n")  # not splitlines: inside a JSON text, other ends of lines are letters
    for number, line in enumerate(lines, 1):
        if len(line) > _LONGEST_LINE:
            raise DataError(f"line {number} of {where} has {len(line):,} letters, more than {_LONGEST_LINE:,}")
    if suffix == ".csv":
        try:
            return [*csv.DictReader(io.StringIO(text, newline=""))]
        except csv.Error as error:
            raise DataError(f"{where} is no table ({error})") from None
    return [json_object(f"line {number} of {where}", line) for number, line in enumerate(lines, 1) if line.strip()]


def _soft(labels: list[Any], where: str) -> Tensor:
    first = labels[0]
    for number, label in enumerate(labels, 1):
        numbers = isinstance(label, list) and all(isinstance(value, int | float) for value in label)
        if not numbers or len(label) != len(first) or not label:
            raise DataError(f"row {number} of {where} has a soft_label that is no list of as many numbers as the first")
    try:
        return torch.tensor(labels, dtype=torch.float64).float()
    except (OverflowError, RuntimeError):
        raise DataError(f"a soft_label of {where} holds a number that is none") from None


def described(content: Any) -> str:
    """What a value is, in a few words."""
    if isinstance(content, Mapping):
        shown = ", ".join(repr(key)[:40] for key in list(content)[:5] if isinstance(key, str | int | float))
        return f"a dict with {shown or 'nothing'}"
    if isinstance(content, list | tuple):
        return f"a {type(content).__name__} of {len(content)}"
    return f"a {type(content).__name__}"
