"""Seeded choices of rows: stratified orders, splits and per-class picks. Every choice depends on the seed alone."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class DataError(ValueError):
    """Data that cannot be used as it is. The message names the file, row or argument, and what would do."""


def stratified_order(labels: Tensor, seed: int) -> Tensor:
    """A random order of the rows in which every prefix has the classes in their overall proportions.

    The k-th row (from 0) of a class with m rows sorts at k/m. So the first C rows show all C classes, no class is more
    than one row above its share of a prefix, and prefixes of the same seed are nested.

    Parameters
    ----------
    labels
        Class of each row, int64, shape (n,).
    seed
        Seed of the order.

    Returns
    -------
    Tensor
        A permutation of 0..n−1, int64, shape (n,), on the CPU.

    Examples
    --------
    >>> labels = torch.tensor([0, 0, 0, 0, 1, 1])
    >>> labels[stratified_order(labels, seed=0)[:3]].sort().values.tolist()
    [0, 0, 1]
    """
    labels = labels.cpu()
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    ties = torch.rand(len(labels), generator=generator, dtype=torch.float64)
    position = torch.empty(len(labels), dtype=torch.float64)
    for c in labels.unique():
        rows = shuffled[labels[shuffled] == c]
        position[rows] = torch.arange(len(rows), dtype=torch.float64) / len(rows)
    return torch.from_numpy(np.lexsort((ties.numpy(), position.numpy())))


def random_order(n: int, seed: int) -> Tensor:
    """A random permutation of 0..n−1, for targets that have no classes."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def rows_per_class(labels: Tensor, classes: Sequence[str], k: int, seed: int) -> Tensor:
    """`k` rows of every class, grouped by class: shape (k · classes,).

    Raises
    ------
    DataError
        A class has fewer than `k` rows.
    """
    order = stratified_order(labels, seed)
    in_order = labels.cpu()[order]
    chosen = []
    for c, name in enumerate(classes):
        rows = order[in_order == c]
        if len(rows) < k:
            raise DataError(f"k={k} examples of every class are asked for, but class {name!r} has {len(rows)}")
        chosen.append(rows[:k])
    return torch.cat(chosen)


def split_rows(
    labels: Tensor | None, n: int, test_fraction: float, seed: int, classes: Sequence[str] = ()
) -> tuple[Tensor, Tensor]:
    """Rows of a training and a test split, each in ascending order.

    With `labels`, every class is on both sides, as near to `test_fraction` as whole rows allow.

    Raises
    ------
    DataError
        `test_fraction` is not inside 0..1 or leaves one side empty, or a class has only one row.
    """
    if not 0 < test_fraction < 1:
        raise DataError(f"test_fraction={test_fraction} must lie between 0 and 1, for example 0.25")
    held_out = round(n * test_fraction)
    if held_out in (0, n):
        empty = "training" if held_out else "test"
        raise DataError(f"test_fraction={test_fraction} of {n} rows leaves no {empty} rows")
    if labels is None:
        order = random_order(n, seed)
        return order[held_out:].sort().values, order[:held_out].sort().values
    present, counts = labels.cpu().unique(return_counts=True)
    if int(counts.min()) < 2:
        alone = int(present[counts.argmin()])
        raise DataError(
            f"class {classes[alone] if alone < len(classes) else alone!r} has one example: "
            "at least two are needed, one to train on and one to test"
        )
    order = stratified_order(labels, seed)
    in_order = labels.cpu()[order]
    train, test = [], []
    for c, share in zip(present, _apportion(counts, held_out).tolist(), strict=True):
        rows = order[in_order == c]
        test.append(rows[:share])
        train.append(rows[share:])
    return torch.cat(train).sort().values, torch.cat(test).sort().values


def _apportion(counts: Tensor, total: int) -> Tensor:
    """Whole shares of `total` nearest to proportional to `counts`, each in 1..count − 1."""
    quota = counts.double() * total / counts.sum()
    share = quota.floor().long().clamp(min=1).minimum(counts - 1)
    while int(share.sum()) != total:
        step = 1 if int(share.sum()) < total else -1
        free = share < counts - 1 if step == 1 else share > 1
        if not bool(free.any()):
            break  # fewer rows are wanted than there are classes: one of each is the nearest
        gap = (step * (quota - share)).masked_fill(~free, -torch.inf)
        share[gap.argmax()] += step
    return share
