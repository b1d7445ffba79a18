"""What the inspector of a similarity map shows: each layer's own picture of a few examples, small enough to keep."""

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor

from workbench.data import DataError, Split
from workbench.kernels import hsic
from workbench.records import Examples, LayerViews

__all__ = ["ViewBuilder", "examples_of", "spread_over_classes"]

_GRAM_BYTES = 4_000_000
"""All Gram matrices of a map together; decides how many examples each shows."""


def spread_over_classes(labels: Tensor, count: int) -> Tensor:
    """Positions of `count` of the examples, as evenly from all classes as can be, ordered by class: shape (count,).

    Examples
    --------
    >>> spread_over_classes(torch.tensor([2, 0, 0, 0, 1, 2]), 4)
    tensor([1, 2, 4, 0])
    """
    order = labels.argsort(stable=True)
    grouped = labels[order]
    # An example's rank within its class: ask for the firsts of all classes before the seconds of any.
    rank = torch.arange(len(labels)) - torch.searchsorted(grouped, grouped)
    chosen = rank.argsort(stable=True)[:count].sort().values
    return order[chosen]


def examples_of(split: Split, rows: Tensor) -> Examples:
    """The record of the examples at `rows` of a split, with pictures where its inputs are pictures."""
    few = split.take(rows)
    try:
        images = few.images()
    except DataError:  # inputs that are no pictures
        images = None
    return Examples(labels=few.labels.cpu(), images=images, index=rows.cpu())


@dataclass
class ViewBuilder:
    """Collects `LayerViews` of one network, one moment of training after the other.

    Attributes
    ----------
    labels
        Labels of the m examples, ordered by class, shape (m,).
    total
        Number of layer views the whole map will hold (both networks, all epochs).
    """

    labels: Tensor
    total: int
    _projections: list[Tensor] = field(default_factory=list)
    _explained: list[Tensor] = field(default_factory=list)
    _grams: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        side = int((_GRAM_BYTES / max(self.total, 1)) ** 0.5)
        self.gram_examples = spread_over_classes(self.labels, min(len(self.labels), max(32, min(side, 128))))

    def add(self, linear: Tensor, shown: Tensor) -> None:
        """The next moment.

        Parameters
        ----------
        linear
            Linear Gram matrices of the m examples, shape (L, m, m); their eigenvectors are the principal components.
        shown
            Gram matrices of the measure's own kernel, which may be the same.
        """
        linear, shown = linear.double().cpu(), shown.double().cpu()
        broken = ~linear.isfinite().flatten(1).all(1)
        linear, shown = (each.masked_fill(broken[:, None, None], 0) for each in (linear, shown))
        previous = list(self._projections[-1].double()) if self._projections else [None] * len(linear)
        pairs = [
            _components(each, before)
            for each, before in zip(hsic.center(linear, debiased=False), previous, strict=True)
        ]
        self._projections.append(torch.stack([cloud for cloud, _ in pairs]).float())
        self._explained.append(torch.stack([share for _, share in pairs]).float())
        few = shown[:, self.gram_examples][:, :, self.gram_examples]
        few = hsic.center(few, debiased=False)
        largest = few.abs().amax((1, 2), keepdim=True)
        self._grams.append((few * (127 / largest.where(largest > 0, 1.0))).round().to(torch.int8))

    def result(self) -> LayerViews:
        return LayerViews(
            projections=torch.stack(self._projections),
            explained=torch.stack(self._explained),
            grams=torch.stack(self._grams),
            gram_examples=self.gram_examples,
        )


def _components(gram: Tensor, previous: Tensor | None) -> tuple[Tensor, Tensor]:
    """Coordinates (m, 2) on the first two principal components of a centred Gram matrix, and their share of variance.

    Which way a component points is arbitrary. Without `previous` the farthest example is put on the positive side;
    with it, the plane is turned onto the previous picture (orthogonal Procrustes), so that a moving cloud neither
    flips nor spins.
    """
    m = len(gram)
    values, vectors = eigh(gram.numpy(), subset_by_index=[max(m - 2, 0), m - 1])
    values, vectors = np.flip(values, 0).clip(min=0), np.flip(vectors, 1)
    cloud = torch.zeros(m, 2, dtype=torch.float64)
    cloud[:, : len(values)] = torch.from_numpy(vectors * np.sqrt(values))
    if previous is None:
        farthest = cloud.gather(0, cloud.abs().argmax(0, keepdim=True))
        cloud = cloud * torch.where(farthest < 0, -1.0, 1.0)
    else:
        u, _, v = torch.linalg.svd(cloud.mT @ previous)
        cloud = cloud @ (u @ v)
    total = gram.trace()
    return cloud, cloud.square().sum(0) / total if total > 0 else torch.zeros(2, dtype=torch.float64)
