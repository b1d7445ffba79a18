"""Grids of runs on joblib: processes here, a dask or ray cluster where one machine is too small.

>>> from workbench import sweeps
>>> cells = sweeps.grid(pow, [{"base": 2}, {"base": 3}], exp=[1, 2], n_jobs=1, progress=False)
>>> [(cell.settings["base"], cell.settings["exp"], cell.result) for cell in cells]
[(2, 1, 2), (2, 2, 4), (3, 1, 3), (3, 2, 9)]

Nothing changes for a cluster but the backend::

    with joblib.parallel_config(backend="dask"):
        sweeps.grid(study, seed=range(10), folder="runs")

A cell that fails, or that ends the process it runs in, costs itself and no other; workers end with the process that
started them.
"""

import dataclasses
import hashlib
import itertools
import json
import os
import re
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from workbench import records, workers
from workbench.records.writing import written


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes
    ----------
    settings
        The keyword arguments of the run.
    result
        What the function returned; None when it failed. A result that could not be written is kept here all the same.
    error
        The traceback of a run that failed, or what ended its worker; empty otherwise.
    seconds
        Wall time of the run.
    """

    settings: dict[str, Any]
    result: Any = None
    error: str = ""
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        return bool(self.error)


def grid(
    function: Callable[..., Any],
    points: Iterable[Mapping[str, Any]] = ({},),
    /,
    *,
    folder: str | os.PathLike | None = None,
    n_jobs: int = -1,
    progress: bool = True,
    **axes: object,
) -> list[Cell]:
    """Call `function` at every point of a grid; a failing cell is kept as such and the others finish.

    Parameters
    ----------
    function
        Called with one keyword argument per axis. It returns a record or, with `folder`, any JSON value.
    points
        Settings that belong together, one mapping per point; every point meets every combination of the axes.
    folder
        Where each finished cell is written at once, whole or not at all. A later call with the same folder runs only
        what is missing; tuples, and keys that are no strings, come back as they were.
    n_jobs
        Workers, as joblib counts them; −1 takes all that the backend in force offers. 1 runs in this process, which a
        cell that crashes takes along.
    progress
        Show a progress bar.
    **axes
        A list, tuple or range is an axis; anything else is the same in every cell.

    Returns
    -------
    list of Cell
        In the order of the grid: the last axis runs fastest. A cell whose worker process dies is run once more, alone;
        if that process dies too, the cell is kept as failed. An interrupt ends the grid and returns what is finished.

    Raises
    ------
    ValueError
        An axis is empty, or a point names an axis.
    TypeError
        With `folder`: a setting that cannot be recognised again in another process.
    """
    cells = _settings(points, axes)
    store = None if folder is None else _Store(Path(folder), function)
    found = {} if store is None else {i: cell for i, s in enumerate(cells) if (cell := store.read(s)) is not None}
    tasks = {i: (i, function, settings, store, os.getpid()) for i, settings in enumerate(cells) if i not in found}
    with tqdm(total=len(cells), initial=len(found), disable=not progress, unit="run") as bar:
        try:
            for i, cell in workers.finished(_run, tasks, n_jobs):
                found[i] = cell if isinstance(cell, Cell) else Cell(cells[i], error=cell)
                bar.update()
                bar.set_postfix(failed=sum(c.failed for c in found.values()), refresh=False)
        except KeyboardInterrupt:
            print(
                f"Interrupted after {len(found):,} of {len(cells):,} cells, which are returned; the others are failed."
            )
    return [
        found.get(i, Cell(cells[i], error="Interrupted: the grid was stopped before this cell ended"))
        for i in range(len(cells))
    ]


def frame(cells: Iterable[Cell]) -> pd.DataFrame:
    """The cells as a tidy table: settings, the rows of each result, `seconds`, and `error` (its last line).

    A result that is a mapping gives columns, a record with ``to_frame`` as many rows as that has, anything else
    a column ``result``.
    """
    rows: list[dict[str, Any]] = []
    for cell in cells:
        about = {name: value if _plain(value) else str(value) for name, value in cell.settings.items()}
        end = {"seconds": cell.seconds, "error": cell.error.strip().rpartition("\n")[2]}
        rows += [about | row | end for row in _rows(cell.result)]
    return pd.DataFrame(rows)


def _settings(points: Iterable[Mapping[str, Any]], axes: Mapping[str, object]) -> list[dict[str, Any]]:
    ranges = {name: list(v) if isinstance(v, list | tuple | range) else [v] for name, v in axes.items()}
    for name, values in ranges.items():
        if not values:
            raise ValueError(f"axis {name!r} is empty: give it at least one value")
    given = [dict(point) for point in points]
    if twice := sorted({name for point in given for name in point} & set(ranges)):
        raise ValueError(f"{', '.join(twice)} is both in the points and an axis: drop one of the two")
    return [
        point | dict(zip(ranges, values, strict=True))
        for point in given
        for values in itertools.product(*ranges.values())
    ]


def _run(
    index: int, function: Callable[..., Any], settings: dict[str, Any], store: "_Store | None", parent: int
) -> tuple[int, Cell]:
    workers.end_with(parent)
    if store is not None and (kept := store.read(settings)) is not None:
        return index, kept  # finished by a worker that died afterwards, before it could say so
    started = time.perf_counter()
    cell = Cell(settings)
    try:
        cell = Cell(settings, function(**settings), seconds=time.perf_counter() - started)
        if store is not None:
            store.write(cell)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - also SystemExit: what one cell raises must not end the others; it carries it
        seconds = time.perf_counter() - started
        cell = Cell(settings, cell.result, error=traceback.format_exc(), seconds=seconds)
    return index, cell


def _rows(result: object) -> list[dict[str, Any]]:
    if result is None:
        return [{}]
    if isinstance(result, records.Record):
        return [{str(k): v for k, v in row.items()} for row in result.to_frame().to_dict("records")]
    if isinstance(result, Mapping):
        return [{str(name): value for name, value in result.items()}]
    return [{"result": result}]


def _plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


class _Store:
    """A folder with one JSON file per finished cell, and a record file beside it where the result is a record."""

    def __init__(self, folder: Path, function: Callable[..., Any]) -> None:
        self.folder = folder
        self.function = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', repr(function))}"
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, settings: Mapping[str, object]) -> Path:
        text = json.dumps([self.function, {name: _stable(name, value) for name, value in sorted(settings.items())}])
        words = "-".join(f"{name}={value}" for name, value in settings.items() if _plain(value))
        readable = re.sub(r"[^\w=.+-]+", "_", words)[:80]
        return self.folder / f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"

    def read(self, settings: dict[str, Any]) -> Cell | None:
        path = self.path(settings)
        if not path.is_file():
            return None
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            result = records.open(self.folder / saved["record"]) if "record" in saved else _untagged(saved["value"])
            return Cell(settings, result, seconds=saved["seconds"])
        except (ValueError, KeyError, TypeError, FileNotFoundError):  # damaged, or its record is gone: it is run again
            return None

    def write(self, cell: Cell) -> None:
        path = self.path(cell.settings)
        saved: dict[str, Any] = {"settings": {k: _stable(k, v) for k, v in cell.settings.items()}}
        saved["seconds"] = cell.seconds
        if isinstance(cell.result, records.Record):
            saved["record"] = cell.result.save(path.with_suffix(".safetensors")).name
        else:
            saved["value"] = _tagged(cell.result)
        with written(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
            json.dump(saved, file)


def _tagged(value: object) -> Any:
    """A JSON value that `_untagged` makes the same of: JSON knows neither tuples nor keys that are no strings."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return {"$tuple": [_tagged(item) for item in value]}
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _tagged(item) for key, item in value.items()}
        return {"$items": [[_tagged(key), _tagged(item)] for key, item in value.items()]}
    return value


def _untagged(value: object) -> Any:
    if isinstance(value, list):
        return [_untagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$tuple"}:
        return tuple(_untagged(item) for item in value["$tuple"])
    if value.keys() == {"$items"}:
        return {_untagged(key): _untagged(item) for key, item in value["$items"]}
    return {key: _untagged(item) for key, item in value.items()}


def _stable(name: str, value: object) -> Any:
    """A JSON value by which a setting is recognised in a later process."""
    if _plain(value):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_stable(name, item) for item in value]
    if isinstance(value, Mapping):  # 1 and "1" are different keys
        named = {key if isinstance(key, str) else f"{type(key).__name__} {key!r}": item for key, item in value.items()}
        return {key: _stable(name, item) for key, item in sorted(named.items())}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _stable(name, getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {type(value).__qualname__: fields}
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    raise TypeError(
        f"{name!r} holds a {type(value).__name__}, which a later process cannot recognise: with folder=, settings are "
        "numbers, strings, dataclasses, named functions, and lists or dicts of those"
    )
