"""Which modes of an exact mixture samples are in, how evenly, and when along the noise a mode is decided."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import chdtri, entr
from torch import Tensor

from workbench.diffusion.judging.metrics import DRAWS, Measure, Measured, Z, diversity, share_of
from workbench.diffusion.teachers.mixture import GaussianMixture


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
    look = _once(lambda samples, condition: mode_coverage(samples, mixture, condition))

    def of(what: str) -> Measure:
        return lambda samples, condition: getattr(look(samples, condition), what)

    return {what: of(what) for what in ("entropy", "modes", "quality")} | {"diversity": diversity}


def class_measures(images: GaussianMixture) -> dict[str, Measure]:
    """What `hand_over` measures of images, by the nearest image of a kernel density with classes.

    `entropy` and `modes` (see `ModeCoverage`) of the classes of the nearest images; `quality`, the share of samples
    that are near an image, of the class asked for if there was one; `diversity`.
    """
    if images.labels is None:
        raise ValueError("the mixture has no classes to count by: pass a kernel density with conditional=True")
    labels = images.labels

    look = _once(lambda samples, _: mode_coverage(samples, images, groups=labels))

    def of(what: str) -> Measure:
        return lambda samples, condition: getattr(look(samples, condition), what)

    def quality(samples: Tensor, condition: Tensor | None) -> Measured:
        distance, nearest = images.distances(samples).min(1)
        near = distance <= _reach(images)
        return share_of(near if condition is None else near & ((labels[nearest] == condition) | (condition < 0)))

    return {"entropy": of("entropy"), "modes": of("modes"), "quality": quality, "diversity": diversity}


Look = Callable[[Tensor, Tensor | None], ModeCoverage]


def _once(look: Look) -> Look:
    """Several measures of the same samples, asked for one after the other, look once."""
    last: list[tuple[Tensor, Tensor | None, ModeCoverage]] = []

    def told(samples: Tensor, condition: Tensor | None) -> ModeCoverage:
        if not last or last[0][0] is not samples or last[0][1] is not condition:
            last[:] = [(samples, condition, look(samples, condition))]
        return last[0][2]

    return told


def _reach(mixture: GaussianMixture) -> float:
    """Squared distance within which a sample is near a mode: 3 standard deviations in two dimensions."""
    return float(chdtri(math.prod(mixture.shape), math.exp(-4.5)))
