"""A study's rows over its seeds: one row per method and setting, with the mean of each measure and its interval."""

import pandas as pd
from scipy.special import stdtrit


def over_seeds(table: pd.DataFrame, seed: str = "seed") -> pd.DataFrame:
    """Means over the seeds, with half the width of their 95 % t interval.

    A column is part of the setting (method, size, …) where each of its values occurs with every seed; other columns of
    numbers are measures, and other texts are left out. Of a single seed, numbers with a fraction are measures.

    Returns
    -------
    pandas.DataFrame
        The setting's columns, ``seeds`` (how many), and of each measure its mean and, as ``± NAME``, the half width
        (NaN for a single seed), in the order of the rows. The table itself where it has no column of seeds.

    Examples
    --------
    >>> rows = [
    ...     {"method": m, "seed": s, "accuracy": a + 0.1 * s} for m, a in (("KL", 0.5), ("CE", 0.25)) for s in (0, 1)
    ... ]
    >>> over_seeds(pd.DataFrame(rows)).round(3).values.tolist()
    [['KL', 2, 0.55, 0.635], ['CE', 2, 0.3, 0.635]]
    """
    if seed not in table or not len(table):
        return table
    others = [name for name in table.columns if name != seed]
    setting = [name for name in others if _of_the_setting(table, name, seed)]
    measures = [name for name in others if name not in setting and pd.api.types.is_numeric_dtype(table[name])]
    groups = table.groupby(setting, sort=False, dropna=False) if setting else table.groupby(lambda _: 0)
    rows = []
    for key, part in groups:
        found = dict(zip(setting, key if isinstance(key, tuple) else (key,), strict=False))
        found["seeds"] = part[seed].nunique()
        for name in measures:
            values = part[name].astype(float).dropna()
            found[name] = values.mean()
            n = len(values)
            found[f"± {name}"] = float(stdtrit(n - 1, 0.975)) * values.std() / n**0.5 if n > 1 else float("nan")
        rows.append(found)
    return pd.DataFrame(rows)


def _of_the_setting(table: pd.DataFrame, name: str, seed: str) -> bool:
    column = table[name]
    repeated = table[seed].nunique()
    if repeated == 1:
        return not pd.api.types.is_float_dtype(column)
    if column.map(lambda value: isinstance(value, list | dict)).any():
        return False
    seeds = table[seed].groupby(column, dropna=False).nunique()
    return bool((seeds == repeated).all())
