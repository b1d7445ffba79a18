"""Seeded choices of rows: stratified orders, splits and per-class picks. Every choice depends on the seed alone."""

from collections.abc import Sequence

import torch
from torch import Tensor


class DataError(ValueError):
    """Data that cannot be used as it is. The message names the file, row or argument, and what would do."""


def stratified_order(labels: Tensor, seed: int) -> Tensor:
    """A random order of the rows in which every prefix has the classes in their overall proportions.

    The k-th row of a class with m rows sorts at k/m, so the first C rows show all C classes, the counts in a prefix
    are within one of proportional for balanced classes, and prefixes of the same seed are nested.

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
    >>> order = stratified_order(torch.tensor([0, 0, 0, 0, 1, 1]), seed=0)
    >>> sorted(torch.tensor([0, 0, 0, 0, 1, 1])[order[:3]].tolist())
    [0, 0, 1]
    """
    labels = labels.cpu()
    n = len(labels)
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(n, generator=generator)
    ties = torch.rand(n, generator=generator, dtype=torch.float64)
    position = torch.empty(n, dtype=torch.float64)
    for c in labels.unique():
        rows = shuffled[labels[shuffled] == c]
        position[rows] = torch.arange(len(rows), dtype=torch.float64) / len(rows)
    return torch.from_numpy(_lexsort(position, ties))


def _lexsort(first: Tensor, second: Tensor):  # noqa: ANN202
    import numpy as np

    return np.lexsort((second.numpy(), first.numpy()))


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
            raise DataError(f"k={k} rows of every class are asked for, but class {name!r} has {len(rows)}")
        chosen.append(rows[:k])
    return torch.cat(chosen)


def split_rows(labels: Tensor | None, n: int, test_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Rows of a training and a test split, each in ascending order; stratified when `labels` are given.

    Raises
    ------
    DataError
        `test_fraction` is not inside 0..1, or leaves one side empty or without one of the classes.
    """
    if not 0 < test_fraction < 1:
        raise DataError(f"test_fraction={test_fraction} must lie between 0 and 1, for example 0.25")
    held_out = round(n * test_fraction)
    if held_out in (0, n):
        raise DataError(
            f"test_fraction={test_fraction} of {n} rows leaves {'no test' if not held_out else 'no training'} rows"
        )
    if labels is None:
        order = random_order(n, seed)
        return order[held_out:].sort().values, order[:held_out].sort().values
    test = []
    train = []
    order = stratified_order(labels, seed)
    in_order = labels.cpu()[order]
    classes, counts = labels.cpu().unique(return_counts=True)
    wanted = _apportion(counts, held_out)
    for c, share in zip(classes, wanted.tolist(), strict=True):
        rows = order[in_order == c]
        test.append(rows[:share])
        train.append(rows[share:])
    return torch.cat(train).sort().values, torch.cat(test).sort().values


def _apportion(counts: Tensor, total: int) -> Tensor:
    """Largest-remainder shares of `total` by `counts`, at least one and at most count − 1 for every class of two or more."""
    quota = counts.double() * total / counts.sum()
    share = quota.floor().long()
    for c in (quota - share).argsort(descending=True, stable=True)[: total - int(share.sum())]:
        share[c] += 1
    return share.clamp(min=1).minimum(counts - 1).clamp(min=0)
