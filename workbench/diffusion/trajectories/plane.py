"""The plane in which seeds move: the data's own two dimensions, or the two directions in which samples differ most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.diffusion.trajectories.levels import shrink
from workbench.records import TargetTrajectories

MOST_ANALYSED = 1000
"""Samples that the principal directions are computed from, per run."""


Span = tuple[float, float, float, float]
"""A part of the plane: x₀, x₁, y₀, y₁."""


@dataclass(frozen=True)
class SeedPlane:
    """An origin and two directions of example space.

    Attributes
    ----------
    origin
        Shape (d,).
    directions
        Orthonormal columns, shape (d, 2).
    shares
        Share of the samples' variance along each, 0..1; None: the data is two-dimensional.
    """

    origin: Tensor
    directions: Tensor
    shares: tuple[float, float] | None

    @classmethod
    def of(cls, runs: Sequence[TargetTrajectories]) -> "SeedPlane":
        """The plane of some runs: principal directions of the samples of all of them."""
        samples = torch.cat([run.samples[:MOST_ANALYSED].flatten(1).double() for run in runs])
        dimensions = samples.shape[1]
        if dimensions <= 2:
            return cls(samples.new_zeros(dimensions), torch.eye(dimensions, 2, dtype=torch.float64), None)
        origin = samples.mean(0)
        _, values, rows = torch.linalg.svd(samples - origin, full_matrices=False)
        directions = rows[:2].T
        largest = directions.abs().argmax(0)  # of either sign the one whose largest entry is positive
        directions = directions * directions[largest, torch.arange(directions.shape[1])].sign()
        total = float(values.square().sum()) or 1.0
        shares = (values[:2].square() / total).tolist()
        return cls(origin, directions, (shares[0], shares[1] if len(shares) > 1 else 0.0))

    @property
    def exact(self) -> bool:
        """Its axes are the data's own: every place of the plane is an example."""
        return self.shares is None and len(self.origin) == 2

    @property
    def axes(self) -> tuple[str, str]:
        """Titles of its axes."""
        if self.shares is None:
            return "x₁", "x₂"
        one, two = self.shares
        return f"PC 1 ({one:.0%} of variance)", f"PC 2 ({two:.0%})"

    def project(self, examples: Tensor) -> Tensor:
        """Places of examples (..., n, *shape), float32, (..., n, 2); leading axes of two: steps and seeds."""
        # Step by step: in double precision all of them together may not fit.
        return torch.stack([((step.flatten(1).double() - self.origin) @ self.directions).float() for step in examples])

    def span(self, runs: Mapping[str, TargetTrajectories]) -> Span:
        """The part of the plane that holds all states but the outermost few in a thousand."""
        starts = [run.states[:1] * float(shrink(run)[0]) for run in runs.values()]
        places = [*starts, *(run.samples[None] for run in runs.values())]
        return self._around(places, 1.12)

    def close(self, runs: Mapping[str, TargetTrajectories]) -> Span:
        """The part that holds the samples."""
        return self._around([run.samples[None] for run in runs.values()], 1.25)

    def _around(self, examples: Sequence[Tensor], margin: float) -> Span:
        places = torch.cat([self.project(part).reshape(-1, 2) for part in examples])
        # Quantiles by sorting: `torch.quantile` refuses millions of values.
        values = places.abs().flatten().sort().values
        size = float(values[round(0.995 * (len(values) - 1))]) * margin or 1.0
        return -size, size, -size, size
