"""Handwritten digits that come with scikit-learn, alone and in pairs: real images that need no download."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from workbench.data.assemble import assemble
from workbench.data.dataset import Dataset
from workbench.data.sampling import DataError, split_rows

HELD_OUT = 597
"""Test images of 1,797: what the published small-scale figures of the methods here were measured with."""


def digits(*, seed: int = 0, device: torch.device | str = "cpu") -> Dataset:
    """1,797 grey 8×8 images of the digits 0..9: 1,200 to train on, 597 to test, stratified by `seed`."""
    images, labels = _bundled()
    parts = [
        (images[rows], labels[rows], rows) for rows in split_rows(labels, len(labels), HELD_OUT / len(labels), seed)
    ]
    return assemble("digits", parts, tuple("0123456789"), device=device)


def digit_pairs(
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    n_train: int = 6000,
    n_test: int = 2000,
    tens: Sequence[int] = range(10),
    ones: Sequence[int] = range(10),
) -> Dataset:
    """Two digits side by side, read as one number: grey 8×16 images of up to 100 classes with shared structure.

    Wrong classes differ in how wrong they are ("37" is closer to "31" than to "84"), which is what a teacher's
    probabilities and rankings can teach. Pairs are made within each split, so no digit image crosses from one to the
    other; every class has the same number of pairs, up to one.

    Parameters
    ----------
    seed
        Seed of the split of the single digits and of the pairing.
    device
        Where the tensors live.
    n_train, n_test
        Number of pairs in each split.
    tens, ones
        Digits allowed on the left and on the right: ``tens=range(1, 5), ones=range(6)`` makes 24 classes.

    Raises
    ------
    DataError
        There are fewer pairs than classes, or a digit is not in 0..9.
    """
    tens, ones = tuple(tens), tuple(ones)
    for which, allowed in (("tens", tens), ("ones", ones)):
        if not allowed or len(set(allowed)) < len(allowed) or not set(allowed) <= set(range(10)):
            raise DataError(f"{which}={allowed} must be different digits in 0..9")
    classes = tuple(f"{a}{b}" for a in tens for b in ones)
    for which, n in (("n_train", n_train), ("n_test", n_test)):
        if n < len(classes):
            raise DataError(f"{which}={n} must be at least {len(classes)}, one for each class")
    images, labels = _bundled()
    splits = split_rows(labels, len(labels), HELD_OUT / len(labels), seed)
    generator = torch.Generator().manual_seed(seed)
    parts = [
        _pairs(images, labels, rows, n, tens, ones, generator)
        for rows, n in zip(splits, (n_train, n_test), strict=True)
    ]
    return assemble("digit-pairs", parts, classes, device=device)


def _pairs(
    images: Tensor,
    labels: Tensor,
    rows: Tensor,
    n: int,
    tens: Sequence[int],
    ones: Sequence[int],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    of_digit = {d: rows[labels[rows] == d] for d in {*tens, *ones}}
    y = torch.arange(n) % (len(tens) * len(ones))
    y = y[torch.randperm(n, generator=generator)]
    draws = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    chosen = torch.empty(n, 2, dtype=torch.int64)
    for side, (allowed, which) in enumerate(((tens, y // len(ones)), (ones, y % len(ones)))):
        for k, d in enumerate(allowed):
            here = which == k
            chosen[here, side] = of_digit[d][(draws[here, side] * len(of_digit[d])).long()]
    # The index names both halves: left · (number of images) + right.
    index = chosen[:, 0] * len(labels) + chosen[:, 1]
    return torch.cat([images[chosen[:, 0]], images[chosen[:, 1]]], dim=-1), y, index


@cache
def _bundled() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float()[:, None] / 16  # the bundled pixels run from 0 to 16
    return images, torch.from_numpy(bunch.target).long()
