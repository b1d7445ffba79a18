"""A pool of examples without labels beside a labelled split: what distillation can use and supervision cannot.

    pool = unlabelled(photographs, like=data.train)        # nobody knows what they show
    everything = joined(data.train, pool)                   # one split; labels of the pool are UNLABELLED

A pool is a `Split` all of whose labels are `UNLABELLED`, so it is taken from, moved, shown and trained on as any other.
Losses of labels count nothing where there is none (the sum over a batch is still divided by all of it), curves of
training accuracy are NaN there, and a teacher is asked about all alike.
"""

import dataclasses
from typing import Any

import torch

from workbench.data.dataset import UNLABELLED, Dataset, Split
from workbench.data.doors import as_split
from workbench.data.sampling import DataError


def unlabelled(data: Any, like: Dataset | Split | None = None) -> Split:
    """The examples alone, as a pool; whatever labels they came with are forgotten.

    Parameters
    ----------
    data
        A `Split`, the training part of a `Dataset`, or whatever `workbench.data.as_split` takes, bare inputs too.
    like
        The labelled data beside which the pool stands: it gives classes and normalisation, and says what one example
        must look like. None: the classes and normalisation of `data` itself. Inputs that are no `Split` are taken as
        normalised in the same way.

    Returns
    -------
    Split
        All labels are `UNLABELLED`.

    Raises
    ------
    DataError
        An example has another shape than those of `like`; or there are no classes (a regression has no unlabelled
        examples here).

    Examples
    --------
    >>> import workbench as wb
    >>> digits = wb.data.load("digits")
    >>> pool = unlabelled(digits.train, like=digits)
    >>> pool.labels.unique().tolist(), bool(pool.labelled.any())
    ([-100], False)
    """
    taken = isinstance(data, Dataset | Split)
    split = data.train if isinstance(data, Dataset) else as_split(data, labelled=False)
    model = split if like is None else _train(like)
    if not model.classes:
        raise DataError("like has no classes: only classes can be unknown")
    if split.shape != model.shape:
        raise DataError(f"data has examples of shape {split.shape}; those of like have {model.shape}")
    if split.inputs.is_floating_point() != model.inputs.is_floating_point():
        raise DataError(f"data has inputs of {split.inputs.dtype}; those of like are {model.inputs.dtype}")
    inputs = split.inputs
    if taken and not (torch.equal(split.mean, model.mean) and torch.equal(split.std, model.std)):
        if split.whitening is not None or model.whitening is not None:
            raise DataError("the images are whitened: make the pool before they are")
        inputs = (inputs * split.std + split.mean - model.mean) / model.std
    labels = torch.full((len(split),), UNLABELLED, device=inputs.device)
    return dataclasses.replace(model, inputs=inputs, labels=labels, index=split.index)


def joined(first: Split, *others: Split) -> Split:
    """Several splits of one kind as one, in this order; `index` is that of each in its own source.

    Raises
    ------
    DataError
        They differ in shape, classes or normalisation.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").train
    >>> both = joined(data.subset(100), unlabelled(data))
    >>> len(both), int(both.labelled.sum())
    (1300, 100)
    """
    for other in others:
        for what in ("shape", "classes"):
            if getattr(first, what) != getattr(other, what):
                raise DataError(f"splits differ in {what}: {getattr(first, what)} and {getattr(other, what)}")
        if not (torch.equal(first.mean, other.mean) and torch.equal(first.std, other.std)):
            raise DataError("splits differ in normalisation: make the pool with unlabelled(…, like=…)")
    every = (first, *others)
    return dataclasses.replace(
        first,
        inputs=torch.cat([split.inputs for split in every]),
        labels=torch.cat([split.labels for split in every]),
        index=torch.cat([split.index for split in every]),
    )


def beside(labelled: Split, pool: Split, *, seed: int = 0) -> Split:
    """Every example of a pool with a labelled one beside it: a batch then holds as many of the one as of the other.

    Parameters
    ----------
    labelled
        Each of its examples stands beside equally many of the pool, up to one.
    pool
        Of the same kind, as `unlabelled` makes it; whatever labels it has are not kept.
    seed
        Of who stands beside whom.

    Returns
    -------
    Split
        Inputs (n, 2, …): the labelled example, then that of the pool; labels and `index` of the former.

    Examples
    --------
    >>> import workbench as wb
    >>> digits = wb.data.load("digits").train
    >>> beside(digits.per_class(4), unlabelled(digits.take(slice(0, 600))))
    Split(600 × 2×1×8×8, 10 classes, cpu)
    """
    joined(labelled, pool)  # refuses what differs
    if not len(labelled) or not bool(labelled.labelled.all()):
        raise DataError("labelled has examples without a label, or none at all")
    generator = torch.Generator().manual_seed(seed)
    rounds = -(-len(pool) // len(labelled))
    order = torch.cat([torch.randperm(len(labelled), generator=generator) for _ in range(rounds)])[: len(pool)]
    mine = labelled.take(order)
    return dataclasses.replace(mine, inputs=torch.stack([mine.inputs, pool.inputs.to(mine.inputs)], 1))


def _train(data: Dataset | Split) -> Split:
    return data.train if isinstance(data, Dataset) else data
