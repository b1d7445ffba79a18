"""Disturbed labels: the setting in which methods that trust their teacher differ from those that trust the labels."""

from dataclasses import replace

import torch

from workbench.data import Dataset


def with_label_noise(data: Dataset, share: float, seed: int = 0) -> Dataset:
    """The data with a share of its training labels replaced, each by another class drawn evenly.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(200)
    >>> noisy = with_label_noise(data, 0.2, seed=1)
    >>> int((noisy.train.labels != data.train.labels).sum())
    40
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; it must lie in 0..1")
    generator = torch.Generator().manual_seed(seed)
    n, classes = len(data.train), len(data.classes)
    changed = torch.randperm(n, generator=generator)[: round(share * n)]
    shift = torch.randint(1, classes, (len(changed),), generator=generator)
    labels = data.train.labels.cpu().clone()
    labels[changed] = (labels[changed] + shift) % classes
    return replace(data, train=replace(data.train, labels=labels.to(data.train.labels.device)))
