"""`export`: a distilled set as files that other programs read: a PNG sheet, an .npz, folders of pictures."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from torch import Tensor

from workbench.records import DistilledSet
from workbench.records.writing import written

Form = Literal["sheet", "npz", "folder", "huggingface"]
ABOUT = "distilled.json"


def export(distilled: DistilledSet, path: str | os.PathLike, form: Form | None = None) -> Path:
    """Write a distilled set for other programs to read; `workbench.condensation.open_images` reads all but the sheet.

    Pictures (all but ``npz``) are 8-bit: values are rounded to 1/255, and those outside the range are cut off.

    Parameters
    ----------
    distilled
        Images of 1 or 3 channels (``npz``: of any number).
    path
        File or folder. A folder must be new or empty.
    form
        ``"sheet"``: one PNG, a row per class; small images are enlarged by a whole number. ``"npz"``: ``images``
        (normalised float32), ``labels``, ``classes``, ``mean``, ``std`` and ``about``, all exact. ``"folder"``: a
        folder of PNGs per class. ``"huggingface"``: what ``datasets.load_dataset("imagefolder", data_dir=path)`` reads:
        PNGs beside a ``metadata.jsonl`` of labels, soft ones included. By default the suffix says it, ``.png`` or
        ``.npz``; none: a folder.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    ValueError
        The suffix says nothing, the images are no pictures, or the folder is not empty.

    Examples
    --------
    >>> import pathlib, tempfile, workbench as wb
    >>> made = wb.condensation.condense(wb.data.load("digits"), wb.condensation.Random(ipc=2))
    >>> place = pathlib.Path(tempfile.mkdtemp())
    >>> wb.condensation.export(made, place / "digits.png").name
    'digits.png'
    >>> sorted(p.name for p in wb.condensation.export(made, place / "digits").iterdir())[:4]
    ['0', '1', '2', '3']
    """
    path = Path(path).expanduser()
    chosen = form or _form(path)
    if chosen not in WRITERS:
        raise ValueError(f"form is {form!r}; it can be {', '.join(WRITERS)}")
    if chosen != "npz" and distilled.images.shape[1] not in (1, 3):
        raise ValueError(f"images have {distilled.images.shape[1]} channels, pictures 1 or 3: use form='npz'")
    if chosen in ("folder", "huggingface"):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ValueError(f"{path} exists and is not an empty folder: choose another, or empty it")
        path.mkdir(parents=True, exist_ok=True)
        WRITERS[chosen](distilled, path)
    else:
        with written(path) as unfinished:
            WRITERS[chosen](distilled, unfinished)
    return path


def _form(path: Path) -> str:
    known = {".png": "sheet", ".npz": "npz", "": "folder"}
    if path.suffix not in known:
        raise ValueError(f"{path.name} could be anything: end it with .png or .npz, or say form='folder'")
    return known[path.suffix]


def _sheet(distilled: DistilledSet, path: Path) -> None:
    pictures, labels = _pictures(distilled), distilled.hard_labels.tolist()
    height, width = pictures[0].shape[:2]
    factor = max(1, round(64 / max(height, width)))
    gap = 2
    rows = [[i for i, label in enumerate(labels) if label == c] for c in range(len(distilled.classes))]
    rows = [row for row in rows if row]
    step = (height * factor + gap, width * factor + gap)
    size = (max(map(len, rows)) * step[1] + gap, len(rows) * step[0] + gap)
    sheet = Image.new("L" if pictures.ndim == 3 else "RGB", size, "white")
    for r, row in enumerate(rows):
        for k, i in enumerate(row):
            one = Image.fromarray(pictures[i]).resize((width * factor, height * factor), Image.Resampling.NEAREST)
            sheet.paste(one, (gap + k * step[1], gap + r * step[0]))
    sheet.save(path, "PNG")


def _npz(distilled: DistilledSet, path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            images=distilled.images.numpy(),
            labels=distilled.labels.numpy(),
            classes=np.array(distilled.classes),
            mean=distilled.mean.numpy(),
            std=distilled.std.numpy(),
            about=np.array(json.dumps(_about(distilled))),
        )


def _folder(distilled: DistilledSet, path: Path) -> None:
    folders = _folder_names(distilled.classes)
    for i, (picture, label) in enumerate(zip(_pictures(distilled), distilled.hard_labels.tolist(), strict=True)):
        place = path / folders[label]
        place.mkdir(exist_ok=True)
        Image.fromarray(picture).save(place / f"{i:06d}.png")
    about = _about(distilled) | {"folders": folders, **_constants(distilled)}
    (path / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")


def _huggingface(distilled: DistilledSet, path: Path) -> None:
    place = path / "train"
    place.mkdir()
    lines = []
    for i, (picture, label) in enumerate(zip(_pictures(distilled), distilled.hard_labels.tolist(), strict=True)):
        Image.fromarray(picture).save(place / f"{i:06d}.png")
        line = {"file_name": f"{i:06d}.png", "label": label, "class": distilled.classes[label]}
        lines.append(line | ({"soft_label": distilled.labels[i].tolist()} if distilled.soft else {}))
    (place / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (path / ABOUT).write_text(json.dumps(_about(distilled) | _constants(distilled), indent=1), encoding="utf-8")
    (path / "README.md").write_text(_card(distilled), encoding="utf-8")


WRITERS: dict[str, Callable[[DistilledSet, Path], None]] = {
    "sheet": _sheet,
    "npz": _npz,
    "folder": _folder,
    "huggingface": _huggingface,
}


def _pictures(distilled: DistilledSet) -> np.ndarray:
    """uint8, (n, h, w) of grey images, else (n, h, w, 3)."""
    shown: Tensor = distilled.pictures().permute(0, 2, 3, 1)
    return np.ascontiguousarray(shown.squeeze(3).numpy() if shown.shape[3] == 1 else shown.numpy())


def _about(distilled: DistilledSet) -> dict[str, Any]:
    return {
        "name": distilled.name,
        "method": distilled.method,
        "classes": list(distilled.classes),
        "view": distilled.view,
        "step_size": None if distilled.step_size is None else distilled.step_size.tolist(),
        "step_images": None if distilled.step_images is None else _step_images(distilled),
    }


def _step_images(distilled: DistilledSet) -> list[list[int]]:
    """Of each step, the images it sees: positions among the images sorted by class."""
    assert distilled.step_images is not None
    seen = distilled.step_images[:, distilled.hard_labels.argsort(stable=True)]
    return [rows.nonzero().flatten().tolist() for rows in seen]


def _constants(distilled: DistilledSet) -> dict[str, Any]:
    return {"mean": distilled.mean.flatten().tolist(), "std": distilled.std.flatten().tolist()}


def _folder_names(classes: tuple[str, ...]) -> list[str]:
    """A name for each class that every file system takes, none twice."""
    names: list[str] = []
    for c, name in enumerate(classes):
        safe = re.sub(r"[^\w\-. ]", "_", name)[:60].strip(". ")
        taken = {other.lower() for other in names}
        names.append(safe if safe and safe.lower() not in taken else f"{safe or 'class'} {c}")
    return names


def _card(distilled: DistilledSet) -> str:
    """A data set card of plain text; what the set was called is shown as code, so that it can carry no markup."""
    count, shape = len(distilled), "×".join(map(str, distilled.images.shape[1:]))
    quoted = ", ".join("`" + name.replace("`", "'") + "`" for name in distilled.classes)
    return f"""---
task_categories:
- image-classification
tags:
- dataset-distillation
---

# Distilled images

{count} images {shape} of {len(distilled.classes)} classes, in this order: {quoted}.
Method: `{distilled.method.replace("`", "'")}`. Rounded to 8 bits.

    from datasets import load_dataset
    images = load_dataset("imagefolder", data_dir=".", split="train")
"""
