"""Claims and the estimates behind them: a mean over independent repetitions with its 95 % t interval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit
from scipy.stats import spearmanr

from workbench.records import Claim


@dataclass(frozen=True)
class Estimate:
    """A mean over `seeds` independent repetitions and its 95 % interval."""

    mean: float
    interval: tuple[float, float]
    seeds: int


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and 95 % Student t interval; one value alone has an infinite interval.

    Examples
    --------
    >>> estimate([1.0, 2.0, 3.0])
    Estimate(mean=2.0, interval=(-0.484..., 4.484...), seeds=3)
    """
    if not len(values):
        raise ValueError("values is empty: there is nothing to estimate from")
    array = np.asarray(values, dtype=float)
    mean = float(array.mean())
    if len(array) == 1:
        return Estimate(mean, (-float("inf"), float("inf")), 1)
    half = float(stdtrit(len(array) - 1, 0.975) * array.std(ddof=1) / len(array) ** 0.5)
    return Estimate(mean, (mean - half, mean + half), len(array))


def exact(value: float) -> Estimate:
    """A number that no seed changes, such as a theorem's or a count: its interval is itself.

    Examples
    --------
    >>> exact(0.5).interval
    (0.5, 0.5)
    """
    return Estimate(float(value), (float(value), float(value)), 1)


def resampled(statistic: Callable[[Sequence[int]], float], seeds: Sequence[int], draws: int = 500) -> Estimate:
    """A statistic that is no mean (a rank, a correlation) with its 95 % bootstrap interval over seeds.

    Parameters
    ----------
    statistic
        Function of a list of seeds, in which some may occur more than once.
    seeds
        The seeds there are.
    draws
        Number of resamples, drawn by a fixed seed.

    Examples
    --------
    >>> resampled(lambda seeds: float(max(seeds)), [1, 2, 3]).mean
    3.0
    """
    generator = np.random.default_rng(0)
    values = [statistic([seeds[i] for i in generator.integers(len(seeds), size=len(seeds))]) for _ in range(draws)]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return Estimate(statistic(seeds), (float(low), float(high)), len(seeds))


def asserted(statement: str, measured: Estimate, relation: str, margin: float, note: str = "") -> Claim:
    """A claim known to show at this scale: a run in which it does not fails."""
    return _claim(statement, measured, relation, margin, note, asserted=True)


def reported(statement: str, measured: Estimate, relation: str, margin: float, note: str = "") -> Claim:
    """A claim that is only reported: "does not show here" is a normal outcome."""
    return _claim(statement, measured, relation, margin, note, asserted=False)


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation, in −1..1.

    Examples
    --------
    >>> rank_correlation([1, 2, 3], [10, 30, 20])
    0.5
    """
    return float(round(spearmanr(a, b).statistic, 12))  # rounding removes the last bits that depend on the machine


def _claim(statement: str, measured: Estimate, relation: str, margin: float, note: str, *, asserted: bool) -> Claim:
    return Claim(
        statement=statement,
        left=measured.mean,
        relation=relation,
        right=margin,
        interval=measured.interval,
        seeds=measured.seeds,
        asserted=asserted,
        note=note,
    )
