"""Where a consistency student is trained to jump to: the choice of the target time s below a time of a grid.

The grid has N intervals: 0 = τ₀ < τ₁ < … < τ_N. A K-step sampler visits N − ⌊N i / K⌋, i = 0 … K − 1, and 0. A rule
keeps the times that some samplers visit, T, without the top one, and picks below τ_m uniformly from what T has in a
window; with pull η > 0 it goes on towards 0, s = (1 − η U) τ. All rules of the literature are cases of this one:

    LCM, consistency distillation   T = {0}                            s = 0
    PCM, TSCD (paper 044)           T of one sampler, window 0         the lower end of the segment
    CTM, TCD                        T = the grid, no window            any time below
    TDD (paper 071)                 T of K = 4 … 8, window 0.26        what the samplers will ask for
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


def visited(grid: int, steps: int) -> Tensor:
    """Indices that a sampler of `steps` steps visits on a grid of `grid` intervals, falling, int64, (steps + 1,).

    Raises
    ------
    ValueError
        It has less than one step, or more than the grid has.

    Examples
    --------
    >>> visited(50, 4).tolist()
    [50, 38, 25, 13, 0]
    """
    if not 1 <= steps <= grid:
        raise ValueError(f"steps is {steps}; on a grid of {grid} a sampler makes 1 .. {grid}")
    return torch.tensor([grid - grid * i // steps for i in range(steps)] + [0])


@dataclass(frozen=True)
class TargetRule:
    """A choice of target times; see the module.

    Attributes
    ----------
    counts
        Numbers of steps of the samplers whose times are targets; None: every time of the grid is one.
    window
        How far below the nearest target others may be chosen, as a share of the grid, ≥ 0; infinity: any.
    pull
        η in 0..1: how far a target may be moved on towards 0, so that re-noising samplers find what they ask for.
    """

    counts: tuple[int, ...] | None
    window: float = 0.0
    pull: float = 0.0

    def __post_init__(self) -> None:
        if self.counts is not None and (not self.counts or min(self.counts) < 1):
            raise ValueError(f"counts are {self.counts}; at least one number of steps, each at least 1")
        if not self.window >= 0 or not 0 <= self.pull <= 1:
            raise ValueError(f"window={self.window} must be at least 0, and pull={self.pull} in 0..1")

    @classmethod
    def zero(cls) -> Self:
        """Only the clean end."""
        return cls((1,))

    @classmethod
    def segments(cls, count: int) -> Self:
        """The lower end of the one of `count` segments that the step is in."""
        return cls((count,))

    @classmethod
    def uniform(cls) -> Self:
        """Any time of the grid below."""
        return cls(None, math.inf)

    @classmethod
    def tdd(cls, least: int = 4, most: int = 8, window: float = 0.26, pull: float = 0.3) -> Self:
        """What samplers of `least` to `most` steps visit."""
        if not 1 <= least <= most:
            raise ValueError(f"least={least} and most={most} must satisfy 1 <= least <= most")
        return cls(tuple(range(least, most + 1)), window, pull)

    def targets(self, grid: int) -> Tensor:
        """T as indices of the grid, rising, int64; 0 is always one, the top never.

        Examples
        --------
        >>> TargetRule.tdd().targets(50)[:6].tolist()
        [0, 7, 8, 9, 10, 13]
        """
        if self.counts is None:
            return torch.arange(grid)
        return torch.cat([visited(grid, count) for count in self.counts]).unique()[:-1]

    def candidates(self, grid: int) -> tuple[Tensor, Tensor]:
        """For each index m = 0 .. grid − 1 the first of its targets in `targets` and their number, int64, (grid,)."""
        targets, m = self.targets(grid), torch.arange(grid)
        last = torch.searchsorted(targets, m, right=True) - 1
        if math.isinf(self.window):
            return torch.zeros_like(m), last + 1
        lowest = targets[last] - math.floor(self.window * grid + 1e-9)
        first = torch.searchsorted(targets, lowest)
        return first, last - first + 1

    def choose(self, times: Tensor, m: Tensor, which: Tensor, how_far: Tensor) -> Tensor:
        """The target time of each example.

        Parameters
        ----------
        times
            Of the grid, rising from 0, shape (N + 1,).
        m
            Index of the time that the target must not exceed, in 0..N − 1, int64, shape (n,).
        which, how_far
            Uniform in 0..1, shape (n,).

        Returns
        -------
        Tensor
            s ≤ τ_m, shape (n,).
        """
        grid = len(times) - 1
        targets = self.targets(grid).to(m.device)
        first, count = (part.to(m.device)[m] for part in self.candidates(grid))
        offset = torch.minimum((which * count).long(), count - 1)
        return (1 - self.pull * how_far) * times[targets[first + offset]]

    def density(self, times: Tensor, bins: int = 50) -> Tensor:
        """How often each jump t → s is trained: float64, (N, bins), rows t = τ₁ … τ_N, columns s; rows sum to one.

        The columns part 0..τ_N evenly; the first holds s = 0.
        """
        grid = len(times) - 1
        targets = self.targets(grid)
        first, count = self.candidates(grid)
        table = torch.zeros(grid, bins, dtype=torch.float64)
        draws = (torch.arange(64, dtype=torch.float64) + 0.5) / 64 if self.pull else torch.zeros(1, dtype=torch.float64)
        for m in range(grid):
            chosen = times[targets[first[m] : first[m] + count[m]]].double()
            s = ((1 - self.pull * draws) * chosen[:, None]).flatten()
            cell = (s / float(times[-1]) * bins + 1e-9).long()  # a border belongs to the cell above it
            cell = cell.clamp(0, bins - 1)
            table[m] = torch.bincount(cell, minlength=bins).double() / len(s)
        return table
