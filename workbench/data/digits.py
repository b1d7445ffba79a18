"""Handwritten digits that come with scikit-learn, alone and in pairs: real images that need no download."""

from collections.abc import Sequence
from functools import cache

import torch

from workbench.data.assemble import Part, assemble, held_out
from workbench.data.dataset import Dataset
from workbench.data.sampling import DataError

HELD_OUT = 597
"""Test images of the 1,797, which leaves 1,200 to train on."""

CLASSES = tuple("0123456789")


def digits(*, seed: int = 0, device: torch.device | str = "cpu") -> Dataset:
    """1,797 grey 8×8 images of the digits 0..9: 1,200 to train on, 597 to test, stratified by `seed`."""
    train, test = split_digits(seed)
    return assemble("digits", train, test, CLASSES, device=device)


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
    other; all classes have equally many pairs, up to one.

    Parameters
    ----------
    seed
        Seed of the split of the single digits (the same as `digits` has) and of the pairing.
    device
        Where the tensors live.
    n_train, n_test
        Number of pairs in each split.
    tens, ones
        Digits allowed on the left and on the right: ``tens=range(1, 5), ones=range(6)`` makes 24 classes.

    Returns
    -------
    Dataset
        ``index`` names both halves of a pair as positions among the 1,797 digits: left · 1797 + right.

    Raises
    ------
    DataError
        There are fewer pairs than classes, or a digit is not in 0..9.

    Examples
    --------
    >>> few = digit_pairs(tens=[3], ones=[1, 7], n_train=20, n_test=10)
    >>> few.classes, few.shape
    (('31', '37'), (1, 8, 16))
    """
    tens, ones = tuple(tens), tuple(ones)
    for which, allowed in (("tens", tens), ("ones", ones)):
        if not allowed or len(set(allowed)) < len(allowed) or not set(allowed) <= set(range(10)):
            raise DataError(f"{which}={allowed} must be different digits in 0..9")
    classes = tuple(f"{a}{b}" for a in tens for b in ones)
    for which, n in (("n_train", n_train), ("n_test", n_test)):
        if n < len(classes):
            raise DataError(f"{which}={n} must be at least {len(classes)}, one for each class")
    generator = torch.Generator().manual_seed(seed)
    train, test = (
        _pairs(single, n, (tens, ones), generator)
        for single, n in zip(split_digits(seed), (n_train, n_test), strict=True)
    )
    return assemble("digit-pairs", train, test, classes, device=device)


def _pairs(single: Part, n: int, allowed: tuple[Sequence[int], Sequence[int]], generator: torch.Generator) -> Part:
    tens, ones = allowed
    labels = torch.arange(n) % (len(tens) * len(ones))
    labels = labels[torch.randperm(n, generator=generator)]
    draws = torch.rand(2, n, generator=generator, dtype=torch.float64)
    halves = []
    for side, draw, which in ((tens, draws[0], labels // len(ones)), (ones, draws[1], labels % len(ones))):
        rows = torch.empty(n, dtype=torch.int64)
        for k, digit in enumerate(side):
            of_digit = (single.labels == digit).nonzero()[:, 0]
            here = which == k
            rows[here] = of_digit[(draw[here] * len(of_digit)).long()]
        halves.append(rows)
    left, right = halves
    index = single.index[left] * len(_whole()) + single.index[right]
    return Part(torch.cat([single.inputs[left], single.inputs[right]], dim=-1), labels, index)


def split_digits(seed: int) -> list[Part]:
    """The 1,797 digits before normalisation, as a train and a test part stratified by `seed`; pixels in 0..1."""
    return held_out(_whole(), HELD_OUT / len(_whole()), seed, CLASSES)


@cache
def _whole() -> Part:
    from sklearn.datasets import load_digits  # noqa: PLC0415 - scikit-learn loads only when its data are asked for

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float()[:, None] / 16  # the bundled pixels run from 0 to 16
    return Part(images, torch.from_numpy(bunch.target).long(), torch.arange(len(images)))
