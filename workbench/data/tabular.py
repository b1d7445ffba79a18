"""Tables: scikit-learn's bundled ones and any DataFrame, encoded, split and normalised."""

import difflib
from typing import Literal

import numpy as np
import pandas as pd
import torch
from pandas.api import types

from workbench.data.assemble import Part, assemble, held_out
from workbench.data.dataset import Dataset
from workbench.data.sampling import DataError

Task = Literal["classification", "regression"]
BUNDLED = ("breast_cancer", "diabetes", "iris", "wine")
_MOST_LEVELS = 100


def table(
    source: str | pd.DataFrame,
    target: str | None = None,
    *,
    task: Task | None = None,
    seed: int = 0,
    test_fraction: float = 0.25,
    device: torch.device | str = "cpu",
    name: str | None = None,
) -> Dataset:
    """A dataset of the rows of a table.

    Parameters
    ----------
    source
        ``"breast_cancer"``, ``"diabetes"``, ``"iris"``, ``"wine"``, or a DataFrame.
    target
        Column to predict; needed for a DataFrame.
    task
        ``"classification"`` or ``"regression"``. By default text, booleans, categories and whole numbers of at most 20
        values are classes, other numbers a regression target.
    seed, test_fraction
        The split; stratified for classes.
    device
        Where the tensors live.
    name
        What the dataset is called.

    Returns
    -------
    Dataset
        Inputs of shape (n, features): numbers as they are, booleans 0 and 1, text and categories one column per value,
        each standardised; ``train.features`` names them. A regression target is standardised too (``target_mean``,
        ``target_std``).

    Raises
    ------
    DataError
        Names the row and column of a missing value, or the column that cannot be used.

    Examples
    --------
    >>> import pandas as pd, workbench as wb
    >>> wb.data.table("breast_cancer")
    Dataset('breast_cancer', 427 train + 142 test × 30, 2 classes, cpu)
    >>> frame = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "hue": ["red", "blue"] * 2, "ripe": list("nnyy")})
    >>> wb.data.table(frame, target="ripe", test_fraction=0.5).train.features
    ('size', 'hue=blue', 'hue=red')
    """
    classes: tuple[str, ...] | None = None
    if isinstance(source, str):
        frame, target, classes = _bundled(source, target)
        name = name or source
        task = task or ("classification" if classes else "regression")
    elif isinstance(source, pd.DataFrame):
        frame = source
    else:
        raise DataError(f"source is a {type(source).__name__}; a DataFrame or one of {', '.join(BUNDLED)} is needed")
    target = _check_columns(frame, target)
    _check_missing(frame)
    labels, names = _labels(frame[target], task)
    inputs, features = _inputs(frame.drop(columns=target))
    names = classes if classes and names else names
    whole = Part(torch.from_numpy(inputs), torch.from_numpy(labels), torch.arange(len(frame)))
    train, test = held_out(whole, test_fraction, seed, names)
    return assemble(name or "table", train, test, names, device=device, features=features)


def _bundled(source: str, target: str | None) -> tuple[pd.DataFrame, str, tuple[str, ...] | None]:
    from sklearn import datasets  # noqa: PLC0415 - scikit-learn loads only when its data are asked for

    if source not in BUNDLED:
        raise DataError(f"there is no bundled table {source!r}: {', '.join(BUNDLED)}")
    if target not in (None, "target"):
        raise DataError(f"target={target!r} is fixed for {source}: leave it out, or pass a DataFrame")
    bunch = getattr(datasets, f"load_{source}")(as_frame=True)
    classes = tuple(map(str, bunch.target_names)) if "target_names" in bunch else None
    return bunch.frame, "target", classes


def _check_columns(frame: pd.DataFrame, target: str | None) -> str:
    columns = list(frame.columns)
    if target is None:
        raise DataError(f"target is needed: the column to predict, one of {', '.join(map(str, columns))}")
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise DataError(f"column {repeated[0]!r} is there twice: rename one")
    if target not in columns:
        near = difflib.get_close_matches(str(target), map(str, columns), n=3, cutoff=0.3) or map(str, columns[:5])
        raise DataError(f"target={target!r} is not a column; nearest: {', '.join(near)}")
    if len(columns) < 2:
        raise DataError(f"the table has only the target column {target!r}: nothing to predict it from")
    if len(frame) < 2:
        raise DataError(f"the table has {len(frame)} rows; at least two are needed, one for each split")
    return target


def _check_missing(frame: pd.DataFrame) -> None:
    for column in frame.columns:
        values = frame[column]
        if types.is_object_dtype(values):
            for row, value in enumerate(values):
                if not types.is_scalar(value):
                    raise DataError(
                        f"row {frame.index[row]!r} of column {column!r} is a {type(value).__name__}; numbers, text and "
                        "booleans are read"
                    )
        bad = values.isna().to_numpy()
        if types.is_numeric_dtype(values) and not types.is_bool_dtype(values) and not types.is_complex_dtype(values):
            bad = bad | np.isinf(values.to_numpy(dtype=np.float64, na_value=np.nan))
        if bad.any():
            row = int(bad.argmax())
            raise DataError(
                f"row {frame.index[row]!r} of column {column!r} is {values.iloc[row]} "
                f"({int(bad.sum())} such rows): fill or drop them"
            )


def _labels(values: pd.Series, task: Task | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels (n,) and class names (none for regression)."""
    if task not in (None, "classification", "regression"):
        raise DataError(f"task={task!r} must be 'classification' or 'regression'")
    number = types.is_numeric_dtype(values) and not types.is_bool_dtype(values)
    if task is None:
        classes = not number or (types.is_integer_dtype(values) and values.nunique() <= 20)
        task = "classification" if classes else "regression"
    if task == "regression":
        if not number or types.is_complex_dtype(values):
            raise DataError(f"target {values.name!r} is of type {values.dtype}: regression needs numbers")
        y = values.to_numpy(dtype=np.float64, copy=True)
        if (y == y[0]).all():
            raise DataError(f"target {values.name!r} is {y[0]:g} in every row: there is nothing to learn")
        return y, ()
    levels = sorted(values.unique(), key=lambda level: level if number else str(level))
    if len(levels) < 2:
        raise DataError(f"target {values.name!r} is {levels[0]!r} in every row: at least two classes are needed")
    codes = values.map({level: code for code, level in enumerate(levels)})
    return codes.to_numpy(dtype=np.int64, copy=True), tuple(str(level) for level in levels)


def _inputs(frame: pd.DataFrame) -> tuple[np.ndarray, tuple[str, ...]]:
    """Encoded inputs, float64 (n, features), and their names."""
    columns: list[np.ndarray] = []
    names: list[str] = []
    for column in frame.columns:
        values = frame[column]
        if (
            types.is_complex_dtype(values)
            or types.is_datetime64_any_dtype(values)
            or types.is_timedelta64_dtype(values)
        ):
            raise DataError(f"column {column!r} is of type {values.dtype}: turn it into numbers first")
        if types.is_numeric_dtype(values) or types.is_bool_dtype(values):
            columns.append(values.to_numpy(dtype=np.float64))
            names.append(str(column))
            continue
        text = values.astype(str).to_numpy()
        levels = np.unique(text)
        if len(levels) > _MOST_LEVELS:
            raise DataError(
                f"column {column!r} has {len(levels)} different values, more than the {_MOST_LEVELS} that are encoded: "
                "drop it if it names the rows, or group its values"
            )
        columns.extend((text == level).astype(np.float64) for level in levels)
        names.extend(f"{column}={level}" for level in levels)
    return np.stack(columns, axis=1), tuple(names)
