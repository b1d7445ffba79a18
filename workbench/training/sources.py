"""Trained sources, made once per machine: teachers, experts, reference samples that several studies start from.

A source is kept under a key of its recipe, its data, and the code of what trains it; so it is made anew when one of
these changes, and never by mistake found again.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from filelock import FileLock, Timeout

from workbench import code, models, records
from workbench.data import Dataset, Split, cache_dir, fingerprint
from workbench.records import Record, RecordError, TrainingRecord
from workbench.training import distributed
from workbench.training.fit import fit

Made = TypeVar("Made", bound=Record)

MOST_BYTES = 4 * 2**30
"""What the folder holds at most; the sources that nobody has asked for longest go first."""

WAIT = 3600.0
"""Seconds that one process waits for another to make the same source, before it makes its own."""


@dataclass(frozen=True)
class Kept:
    """A source that is kept: its file, what it is, its size and when it was last asked for."""

    path: Path
    what: str
    size: int
    used: float


def fitted(
    network: str,
    data: Dataset,
    *,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    name: str = "",
    **training: Any,
) -> TrainingRecord:
    """A network of the workbench trained on data, as `fit` trains it; from the cache if it is there.

    Parameters
    ----------
    network, options
        As `workbench.models.build` takes them.
    seed
        Of the weights and of training.
    training
        Further arguments of `workbench.training.fit`: plain values only, since they are part of the key.

    Examples
    --------
    >>> import workbench as wb
    >>> digits = wb.data.load("digits").subset(100)
    >>> teacher = fitted("mlp", digits, options={"width": [8]}, epochs=1, name="teacher")
    >>> teacher.accuracy == fitted("mlp", digits, options={"width": [8]}, epochs=1).accuracy
    True
    """
    given = dict(options or {})

    def make() -> TrainingRecord:
        built = models.build(network, data, seed=seed, **given)
        return fit(built, data, seed=seed, device=device, progress=False, name=name, **training)

    recipe = {"network": network, "options": given, "seed": seed, **training}
    found = source(make, what=network, recipe=recipe, data=data, device=device)
    return found if found.name == name else found.replace(name=name)


def source(
    make: Callable[[], Made],
    *,
    what: str,
    recipe: Mapping[str, Any],
    data: Dataset | Split | None = None,
    device: str | torch.device = "auto",
    modules: tuple[str, ...] = (),
) -> Made:
    """What `make` makes, made once per machine.

    Parameters
    ----------
    make
        Makes the record; called where none is kept. Whatever decides about its result must be in the key: `recipe`,
        `data`, the device, and the code.
    what
        What it is, in a word or two, for the list.
    recipe
        Plain values: numbers, texts, and lists and dicts of them.
    data
        What it is trained on.
    modules
        Modules of the workbench whose code makes it, beyond the module that `make` stands in.

    Raises
    ------
    TypeError
        The recipe holds something else, such as a function, which no key can tell from another.
    """
    path = folder() / f"{_slug(what)}-{_key(make, recipe, data, device, modules)}.safetensors"
    if (found := _opened(path)) is not None:
        return found  # type: ignore[return-value]
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=WAIT)
    except Timeout:
        return make()
    try:
        if (found := _opened(path)) is not None:  # another process has made it meanwhile
            return found  # type: ignore[return-value]
        made = make()
        if not getattr(made, "interrupted", False):
            made.save(path)
            _shrink(path.parent, MOST_BYTES)
        return made
    finally:
        lock.release()


def folder() -> Path:
    """Where the sources are kept; the folder need not exist yet."""
    return cache_dir() / "sources"


def kept() -> list[Kept]:
    """All sources that are kept, the last asked for first."""
    files = [(path, path.stat()) for path in folder().glob("*.safetensors")]
    found = [
        Kept(path, path.stem.rpartition("-")[0], status.st_size, max(status.st_atime, status.st_mtime))
        for path, status in files
    ]
    return sorted(found, key=lambda one: -one.used)


def clear(older_than: float = 0.0) -> int:
    """Remove the sources that nobody has asked for in the last `older_than` seconds; returns the bytes freed."""
    limit, freed = time.time() - older_than, 0
    for one in kept():
        if one.used <= limit:
            one.path.unlink(missing_ok=True)
            one.path.with_suffix(".lock").unlink(missing_ok=True)
            freed += one.size
    return freed


def _opened(path: Path) -> Record | None:
    if not path.is_file():
        return None
    try:
        found = records.open(path)
    except (RecordError, FileNotFoundError):
        path.unlink(missing_ok=True)  # damaged: it is made again
        return None
    os.utime(path)
    return found


def _shrink(folder: Path, most: int) -> None:
    total = 0
    for one in kept():
        total += one.size
        if total > most and one.path.parent == folder:
            one.path.unlink(missing_ok=True)


def _key(
    make: Callable[[], Record],
    recipe: Mapping[str, Any],
    data: Dataset | Split | None,
    device: str | torch.device,
    modules: tuple[str, ...],
) -> str:
    here = make.__module__ if make.__module__.startswith("workbench.") else __name__
    told = {
        "recipe": _plain(recipe, "recipe"),
        "data": "" if data is None else fingerprint(data),
        "code": code.fingerprint(here, *modules),
        "torch": torch.__version__.split("+")[0],
        "device": distributed.pick(device).type,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{where} is a {type(value).__name__}; a recipe holds numbers, texts, lists and dicts only")


def _slug(what: str) -> str:
    return "".join(sign if sign.isalnum() else "_" for sign in what)[:40] or "source"
