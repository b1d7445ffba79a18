"""How good and how varied samples are: distances between sets of samples, modes found, spread; each with an interval.

Every measure is `Measured`: its value, and a 95 % interval over the samples that it was estimated from. A distance
between two finite sets is above zero even where both come from one distribution: give the teacher's distance to itself
beside it. Images are compared as pixels, or as what a `Judge` sees in them.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from workbench.kernels.kernel_sums import Kernel, kernel_sums

Z = 1.959963984540054  # of a 95 % interval
DRAWS = 200
"""Bootstrap resamples, drawn by a fixed seed."""

PROJECTED = 1 << 21
"""Projections that exist at a time."""


class Measured(NamedTuple):
    """A value and its 95 % interval over samples."""

    value: float
    low: float
    high: float


Measure = Callable[[Tensor, Tensor | None], Measured]
"""What `hand_over` takes: a function of samples (n, ...) and their classes, (n,) or None."""


def sliced_wasserstein(x: Tensor, y: Tensor, *, directions: int = 200, seed: int = 0) -> Measured:
    """SW₂: the root of the mean over random directions of the squared 2-Wasserstein distance of both projections.

    Parameters
    ----------
    x, y
        Samples, shapes (n, ...) and (m, ...).
    directions
        How many, drawn by `seed` uniformly on the sphere.

    Notes
    -----
    The interval follows from the variance of the optimal potentials (del Barrio & Loubes 2019), averaged over the
    directions; it does not tell of the bias, which is the distance of two finite sets of one distribution.

    Examples
    --------
    >>> points = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    >>> told = sliced_wasserstein(points, points + torch.tensor([1.0, 0.0]))
    >>> abs(told.value - 0.5**0.5) < 0.05  # a shift, projected: E cos² = 1/2
    True
    """
    a, b = _pair(x, y)
    way = torch.randn(a.shape[1], directions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    way = (way / way.norm(dim=0)).to(a)
    squared, own, other = 0.0, a.new_zeros(len(a)), b.new_zeros(len(b))
    for some in way.split(max(1, PROJECTED // (len(a) + len(b))), dim=1):
        (p, order_a), (q, order_b) = ((each @ some).sort(dim=0) for each in (a, b))
        longer, shorter = (p, q) if len(p) >= len(q) else (q, p)
        squared += float((longer - _matched(longer, shorter)).square().mean(0).sum()) / directions
        own += _potential(p, q, order_a).sum(1) / directions
        other += _potential(q, p, order_b).sum(1) / directions
    half = Z * math.sqrt(float(own.var()) / len(a) + float(other.var()) / len(b))
    return Measured(squared**0.5, max(squared - half, 0.0) ** 0.5, (squared + half) ** 0.5)


def _matched(own: Tensor, other: Tensor) -> Tensor:
    """Where optimal transport takes each of sorted points, (n, directions)."""
    places = (torch.arange(len(own), device=own.device, dtype=torch.float64) + 0.5) / len(own)
    return other[(places * len(other)).long()]


def _potential(own: Tensor, other: Tensor, order: Tensor) -> Tensor:
    """Kantorovich's potential φ at each point of `own`, (n, directions): φ' = 2 (x − T x)."""
    slope = 2 * (own - _matched(own, other))
    rise = (slope[1:] + slope[:-1]) / 2 * own.diff(dim=0)
    potential = torch.cat([torch.zeros_like(slope[:1]), rise.cumsum(0)])
    return torch.zeros_like(potential).scatter_(0, order, potential)


def mmd(x: Tensor, y: Tensor, *, kernel: Kernel = "rbf", bandwidth: float | None = None) -> Measured:
    """Squared maximum mean discrepancy, unbiased (Gretton et al. 2012); it may be negative.

    Parameters
    ----------
    x, y
        Samples, shapes (n, ...) and (m, ...), two each at least.
    bandwidth
        Of the kernel; None: the median distance within `y`, the reference (of up to 1,000 samples).

    Notes
    -----
    The interval is that of the first-order terms of the U-statistic, which vanish where both distributions are one.
    """
    a, b = _pair(x, y)
    n, m = len(a), len(b)
    if min(n, m) < 2:
        raise ValueError(f"there are {n} and {m} samples; mmd needs two on either side")
    wide = float(torch.pdist(b[:1_000]).median()) if bandwidth is None else bandwidth
    if not wide > 0:
        raise ValueError(f"bandwidth is {wide:g}; it must be positive (are all samples of y the same?)")

    def means(p: Tensor, q: Tensor, own: int = 0) -> Tensor:
        """Without the pair of each point with itself, whose kernel is 1, where both are one set."""
        return (kernel_sums(p, q, kernel=kernel, bandwidth=wide).double() - own) / (len(q) - own)

    aa, bb, ab, ba = means(a, a, own=1), means(b, b, own=1), means(a, b), means(b, a)
    value = float(aa.mean() + bb.mean() - ab.mean() - ba.mean())
    half = Z * math.sqrt(float((2 * (aa - ab)).var()) / n + float((2 * (bb - ba)).var()) / m)
    return Measured(value, value - half, value + half)


def share_of(hits: Tensor) -> Measured:
    """Share of true ones with Wilson's interval, from a boolean tensor (n,)."""
    n, p = len(hits), float(hits.double().mean())
    middle, half = p + Z**2 / (2 * n), Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n * n))
    return Measured(p, (middle - half) / (1 + Z**2 / n), (middle + half) / (1 + Z**2 / n))


def diversity(samples: Tensor, condition: Tensor | None = None) -> Measured:
    """Mean distance between two samples; with classes, of the same class, averaged over the samples.

    Raises
    ------
    ValueError
        A class (or all) has a single sample.

    Examples
    --------
    >>> diversity(torch.tensor([[0.0, 0.0], [3.0, 4.0]])).value
    5.0
    """
    x = samples.flatten(1)
    groups = [x] if condition is None else [x[condition == c] for c in condition.unique()]
    if min(map(len, groups)) < 2:
        raise ValueError("diversity needs two samples, with classes two of each class")
    value = variance = 0.0
    for own in groups:
        share = len(own) / len(x)
        each = torch.cat([torch.cdist(rows, own).sum(1, dtype=torch.float64) for rows in own.split(1_024)])
        each = each / (len(own) - 1)
        value += share * float(each.mean())
        variance += share**2 * 4 * float(each.var()) / len(own)  # of a U-statistic of two
    half = Z * variance**0.5
    return Measured(value, max(0.0, value - half), value + half)


class PrecisionRecall(NamedTuple):
    """Precision: share of samples among real ones; recall: share of real ones among samples."""

    precision: Measured
    recall: Measured


def precision_recall(samples: Tensor, real: Tensor, *, neighbours: int = 3) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019).

    A point is among others when it is nearer to one of them than that one's k-th nearest neighbour.

    Parameters
    ----------
    samples, real
        Points or features, shapes (n, ...) and (m, ...), more than `neighbours` each.
    neighbours
        k.
    """
    a, b = _pair(samples, real)
    if min(len(a), len(b)) <= neighbours:
        raise ValueError(f"there are {len(a)} samples and {len(b)} real ones; more than neighbours={neighbours} needed")

    def among(points: Tensor, others: Tensor) -> Measured:
        reach = torch.cat([_apart(rows, others).kthvalue(neighbours + 1).values for rows in others.split(1_024)])
        return share_of(torch.cat([(_apart(rows, others) <= reach).any(1) for rows in points.split(1_024)]))

    return PrecisionRecall(among(a, b), among(b, a))


def frechet(samples: Tensor, real: Tensor) -> Measured:
    """Fréchet distance of two sets of features: ‖μ − μ′‖² + tr(C + C′ − 2 (C C′)^½) (Heusel et al. 2017).

    Parameters
    ----------
    samples, real
        Features, shapes (n, d) and (m, d); of images, what a `Judge` sees. With few samples it is too large.

    Examples
    --------
    >>> points = torch.randn(2_000, 3, generator=torch.Generator().manual_seed(0))
    >>> abs(frechet(points, points + 1).value - 3) < 1e-6
    True
    """
    a, b = (each.double().cpu() for each in _pair(samples, real))
    value = _frechet(a, b)
    generator = torch.Generator().manual_seed(0)

    def again(rows: Tensor) -> Tensor:
        return rows[torch.randint(len(rows), (len(rows),), generator=generator)]

    half = Z * float(np.std([_frechet(again(a), again(b)) for _ in range(DRAWS // 4)], ddof=1))
    return Measured(value, max(0.0, value - half), value + half)


def _frechet(a: Tensor, b: Tensor) -> float:
    (mean_a, cov_a), (mean_b, cov_b) = ((each.mean(0), each.mT.cov().view(each.shape[1], -1)) for each in (a, b))
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.mT
    crossed = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    return float((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * crossed)


def _apart(x: Tensor, y: Tensor) -> Tensor:
    """Distances (n, m), of a point to itself exactly 0, which a product of matrices would not give."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _pair(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if x.shape[1:] != y.shape[1:] or not len(x) or not len(y):
        raise ValueError(f"samples have shapes {tuple(x.shape)} and {tuple(y.shape)}; only their numbers may differ")
    return x.flatten(1), y.flatten(1)
