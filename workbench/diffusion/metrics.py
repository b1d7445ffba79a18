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
from scipy.special import chdtri, entr
from torch import Tensor

from workbench.diffusion.mixture import GaussianMixture
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


class ModeCoverage(NamedTuple):
    """Which modes of a mixture samples are in.

    Attributes
    ----------
    entropy
        Of the histogram of nearest modes, over that of evenly filled ones: 1 is even, 0 a single mode.
    modes
        How many hold more than a quarter of their share.
    quality
        Share of samples near a mode, in 0..1: within 3 standard deviations in two dimensions, in others within what
        holds as much of the mode (98.9 %).
    counts
        Samples nearest to each mode (or group of them), int64, shape (K,).
    """

    entropy: Measured
    modes: Measured
    quality: Measured
    counts: Tensor


def mode_coverage(
    samples: Tensor, mixture: GaussianMixture, condition: Tensor | None = None, *, groups: Tensor | None = None
) -> ModeCoverage:
    """How evenly samples fill the modes of a mixture, and how many are off all of them.

    Parameters
    ----------
    samples
        Shape (n, ...).
    mixture
        Its components are the modes.
    condition
        The class asked for, (n,), −1 for any; each sample then belongs to the nearest mode of its class, and the
        entropy is averaged over the classes.
    groups
        What is counted as one mode, an integer for each component, (K,): the classes of the images of a kernel density.

    Examples
    --------
    >>> from workbench.diffusion import ring
    >>> samples, _ = ring().sample(2_000, torch.Generator().manual_seed(0))
    >>> told = mode_coverage(samples, ring())
    >>> told.entropy.value > 0.995, told.modes.value, told.quality.value > 0.97
    (True, 8.0, True)
    """
    distance = mixture.distances(samples, condition)
    nearest, labels, weights = distance.argmin(1).cpu(), mixture.labels, mixture.weights.double().cpu()
    group = torch.arange(len(weights)) if groups is None else groups.cpu()
    observed, shares = [], []
    for c in [-1] if condition is None else condition.unique().tolist():
        mine = nearest if condition is None else nearest[condition.cpu() == c]
        meant = slice(None) if c < 0 or labels is None else labels.cpu() == c
        counted = group[meant].unique()
        observed.append(torch.bincount(group[mine], minlength=int(group.max()) + 1)[counted].numpy())
        share = torch.bincount(group[meant], weights[meant])[counted]
        shares.append((share / share.sum()).numpy())

    def evenness(found: list[np.ndarray]) -> float:
        parts = [1.0 if len(n) == 1 else entr(n / n.sum()).sum() / math.log(len(n)) for n in found]
        return float(np.average(parts, weights=[n.sum() for n in found]))

    def held(found: list[np.ndarray]) -> float:
        return float(sum((n > n.sum() * share / 4).sum() for n, share in zip(found, shares, strict=True)))

    rng = np.random.default_rng(0)
    redrawn = [[rng.multinomial(n.sum(), n / n.sum()) for n in observed] for _ in range(DRAWS)]
    return ModeCoverage(
        _bootstrapped(evenness, observed, redrawn, most=1.0),
        _bootstrapped(held, observed, redrawn, most=float(sum(map(len, observed)))),
        share_of(distance.amin(1) <= _reach(mixture)),
        torch.bincount(group[nearest], minlength=int(group.max()) + 1),
    )


def _bootstrapped(
    statistic: Callable[[list[np.ndarray]], float],
    observed: list[np.ndarray],
    redrawn: list[list[np.ndarray]],
    *,
    most: float,
) -> Measured:
    value = statistic(observed)
    half = Z * float(np.std([statistic(each) for each in redrawn], ddof=1))
    return Measured(value, max(0.0, value - half), min(most, value + half))


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


def mode_uncertainty(
    mixture: GaussianMixture, times: Tensor, *, n: int = 4_000, seed: int = 0, groups: Tensor | None = None
) -> Tensor:
    """When structure is decided: E H(k | x_t) / log K, float64, shape of `times`; it never grows as t falls.

    The exact posterior over the mixture's components (or groups of them, as in `mode_coverage`), at `n` states drawn
    from the true marginal of each time: the same examples and noise at every time.

    Examples
    --------
    >>> from workbench.diffusion import ring
    >>> mode_uncertainty(ring(), torch.tensor([0.75, 0.25])).round(decimals=1).tolist()
    [1.0, 0.3]
    """
    generator = torch.Generator().manual_seed(seed)
    x0, _ = mixture.sample(n, generator)
    noise = torch.randn(x0.shape, generator=generator, dtype=x0.dtype)
    found = []
    for t in times:
        r = mixture.responsibilities(mixture.schedule.diffuse(x0, noise, t), t).double()
        if groups is not None:
            r = r.new_zeros(n, int(groups.max()) + 1).index_add_(1, groups, r)
        found.append(-torch.xlogy(r, r).sum(1).mean() / math.log(r.shape[1]))
    return torch.stack(found)


def coverage_measures(mixture: GaussianMixture) -> dict[str, Measure]:
    """What `hand_over` measures of points: `entropy`, `modes`, `quality` (see `ModeCoverage`) and `diversity`."""

    def of(what: str) -> Measure:
        return lambda samples, condition: getattr(mode_coverage(samples, mixture, condition), what)

    return {what: of(what) for what in ("entropy", "modes", "quality")} | {"diversity": diversity}


def class_measures(images: GaussianMixture) -> dict[str, Measure]:
    """What `hand_over` measures of images, by the nearest image of a kernel density with classes.

    `entropy` and `modes` (see `ModeCoverage`) of the classes of the nearest images; `quality`, the share of samples
    that are near an image, of the class asked for if there was one; `diversity`.
    """
    if images.labels is None:
        raise ValueError("the mixture has no classes to count by: pass a kernel density with conditional=True")
    labels = images.labels

    def of(what: str) -> Measure:
        return lambda samples, _: getattr(mode_coverage(samples, images, groups=labels), what)

    def quality(samples: Tensor, condition: Tensor | None) -> Measured:
        distance, nearest = images.distances(samples).min(1)
        near = distance <= _reach(images)
        return share_of(near if condition is None else near & ((labels[nearest] == condition) | (condition < 0)))

    return {"entropy": of("entropy"), "modes": of("modes"), "quality": quality, "diversity": diversity}


def _reach(mixture: GaussianMixture) -> float:
    """Squared distance within which a sample is near a mode: 3 standard deviations in two dimensions."""
    return float(chdtri(math.prod(mixture.shape), math.exp(-4.5)))


def _apart(x: Tensor, y: Tensor) -> Tensor:
    """Distances (n, m), of a point to itself exactly 0, which a product of matrices would not give."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _pair(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if x.shape[1:] != y.shape[1:] or not len(x) or not len(y):
        raise ValueError(f"samples have shapes {tuple(x.shape)} and {tuple(y.shape)}; only their numbers may differ")
    return x.flatten(1), y.flatten(1)
