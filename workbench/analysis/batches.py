"""The examples of a comparison: checked at the door, then cut into batches of nearly equal size."""

import dataclasses

import torch
from torch import Tensor

from workbench.data import Dataset, Split, as_dataset

__all__ = ["as_split", "equal_batches"]

FIFTHS = ("lowest fifth", "second fifth", "middle fifth", "fourth fifth", "highest fifth")


def as_split(data: object) -> Split:
    """The examples to compare on: a split, the test split of a dataset, or bare inputs of shape (n, ...); or whatever
    `workbench.data.as_dataset` takes, such as ``(x, y)``, a torch data set or loader, a dict of tensors.

    Regression targets become classes, the fifths of their range of ranks, so that views can be ordered and coloured.

    Raises
    ------
    TypeError, workbench.data.DataError
        `data` is none of these; the message says what would do.

    Examples
    --------
    >>> import workbench as wb
    >>> target = torch.tensor([0.1, 9.0, 3.0, 4.0, 2.0])
    >>> zero, one = torch.zeros(()), torch.ones(())
    >>> split = wb.data.Split(inputs=torch.zeros(5, 2), labels=target, classes=(), mean=zero, std=one)
    >>> as_split(split).labels
    tensor([0, 4, 2, 3, 1])
    """
    if isinstance(data, Tensor):
        labels = torch.zeros(len(data), dtype=torch.int64, device=data.device)
        one, none = torch.ones((), device=data.device), torch.zeros((), device=data.device)
        return Split(inputs=data, labels=labels, classes=("all",), mean=none, std=one)
    found = as_dataset(data, labelled=False)
    split = found.test if isinstance(found, Dataset) else found
    if split.classes:
        return split
    groups = split.labels.argsort(stable=True).argsort() * len(FIFTHS) // max(len(split), 1)
    return dataclasses.replace(split, labels=groups, classes=FIFTHS)


def equal_batches(n: int, batch_size: int, *, seed: int | None, least: int, needs: str) -> list[Tensor]:
    """Positions 0 … n−1 in ⌈n / batch_size⌉ batches whose sizes differ by at most one.

    A last batch of a few leftovers would count as much as a full one and be far noisier, hence the equal sizes.

    Parameters
    ----------
    n, batch_size
        Number of examples, and the most that a batch may hold.
    seed
        Of the shuffling; None keeps the order. Data sorted by class must be shuffled: a batch of one class only shows
        what sets its members apart.
    least
        Fewest examples per batch.
    needs
        What needs them, for the message.

    Examples
    --------
    >>> [len(rows) for rows in equal_batches(10, 4, seed=0, least=2, needs="this")]
    [4, 3, 3]
    """
    if n < least:
        raise ValueError(f"data has {n} examples; {needs} needs at least {least}")
    if batch_size < least:
        raise ValueError(f"batch_size={batch_size}; {needs} needs at least {least} examples in every batch")
    order = torch.arange(n) if seed is None else torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    count = min(-(-n // batch_size), n // least)
    return list(order.tensor_split(count))
