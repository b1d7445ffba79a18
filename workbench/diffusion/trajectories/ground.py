"""What lies under the seeds in the plane: the density of noisy data at each step, and what models say at each place."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.diffusion.sampling.denoiser import Denoiser
from workbench.diffusion.sampling.schedules import Schedule, schedule
from workbench.diffusion.sampling.wrapping import bare, on_schedule
from workbench.diffusion.teachers.mixture import GaussianMixture
from workbench.diffusion.trajectories.levels import scales, shrink
from workbench.diffusion.trajectories.plane import SeedPlane, Span
from workbench.records import TargetTrajectories

CELLS = 96
"""Cells of a density along each axis."""

ARROWS = 17
"""Arrows of a field along each axis."""


def densities(
    plane: SeedPlane, clock: TargetTrajectories, teacher: Denoiser, kept: list[int], span: Span
) -> np.ndarray | None:
    """Density of data as noisy as at some steps: square roots over the largest, bytes (steps, y, x); None: unknown.

    A Gaussian mixture has one in every plane, any other teacher that knows its density in its own two dimensions.
    """
    model = bare(teacher)
    shadow = Shadow.of(model, plane) if isinstance(model, GaussianMixture) else None
    if shadow is None and not (plane.exact and hasattr(model, "log_density")):
        return None
    x, y = (middles(*ends, CELLS) for ends in (span[:2], span[2:]))
    clean = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    noises, factors = torch.cat([scales(clock)[:, :2], clean]).tolist(), shrink(clock)
    found = np.empty((len(kept), CELLS, CELLS), np.uint8)
    for row, k in enumerate(kept):
        if shadow is not None:
            alpha, sigma = noises[k]
            heights = shadow.heights(x, y, alpha, sigma, float(factors[k]))
        else:
            places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(-1, 2) / factors[k]
            log = _log_density(model, clock, k, places)
            heights = (log - log.max()).exp().view(CELLS, CELLS)
        found[row] = ((heights / heights.max()).sqrt() * 255).round().to(torch.uint8).numpy()
    return found


class Shadow:
    """A Gaussian mixture projected to a plane: again a mixture, of two dimensions."""

    def __init__(self, plane: SeedPlane, means: Tensor, spreads: Tensor, weights: Tensor) -> None:
        self.plane, self.means, self.spreads, self.weights = plane, means, spreads, weights

    @classmethod
    def of(cls, teacher: GaussianMixture, plane: SeedPlane) -> "Shadow":
        directions = plane.directions
        variances = teacher.variances.double()
        turned = directions.expand(len(variances), -1, -1)
        if teacher.axes is not None:
            turned = teacher.axes.double().transpose(1, 2) @ turned
        spreads = turned.transpose(1, 2) @ (variances.unsqueeze(2) * turned)
        return cls(plane, teacher.means.double() @ directions, spreads, teacher.weights.double())

    def heights(self, x: Tensor, y: Tensor, alpha: float, sigma: float, factor: float) -> Tensor:
        """Density of states times `factor` on a lattice of x (m,) and y (m,), up to a constant, (y, x)."""
        middle = factor * alpha * self.means - self.plane.origin @ self.plane.directions
        spread = factor**2 * (alpha**2 * self.spreads + (sigma**2 + 1e-9) * torch.eye(2, dtype=torch.float64))
        if bool((spread[:, 0, 1].abs() <= 1e-9 * spread[:, 0, 0]).all()):  # a product of two bells: thousands are quick
            across, up = (
                torch.exp(-0.5 * (at[:, None] - middle[:, k]).square() / spread[:, k, k]) / spread[:, k, k].sqrt()
                for k, at in enumerate((x, y))
            )
            return (up * self.weights) @ across.T
        places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(-1, 1, 2) - middle
        distance = torch.einsum("mki,kij,mkj->mk", places, torch.linalg.inv(spread), places)
        log = self.weights.log() - 0.5 * (torch.logdet(spread) + distance)
        return log.logsumexp(1).exp().view(len(y), len(x))


def _log_density(model: Any, clock: TargetTrajectories, k: int, places: Tensor) -> Tensor:
    """Of a teacher that knows its own density at every time, (m,)."""
    time = clock.times[k] if k < clock.steps else torch.zeros((), dtype=torch.float64)
    own: Schedule = model.schedule
    there, scale = (time, torch.ones(())) if own.spec == clock.schedule else schedule(clock.schedule).match(time, own)
    return model.log_density((places * scale).float(), there).double()


def field(run: TargetTrajectories, model: Denoiser, kept: list[int], span: Span) -> np.ndarray:
    """What the model believes at each place of a lattice, x̂₀, float32 (steps, places, 2); of no particular class."""
    asked = on_schedule(model, schedule(run.schedule))
    places = lattice(span, ARROWS)
    factors = shrink(run)
    found = np.empty((len(kept), len(places), 2), np.float32)
    with torch.no_grad():
        for row, k in enumerate(kept):
            states = (places / factors[k]).to(run.states.dtype).view(-1, *run.samples.shape[1:])
            found[row] = asked(states, run.times[k], None).x0.reshape(-1, 2).float().numpy()
    return found


def lattice(span: Span, count: int) -> Tensor:
    """Places of a square lattice, the middles of its cells, float64 (count², 2), row by row from below."""
    x, y = (middles(*ends, count) for ends in (span[:2], span[2:]))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(-1, 2)


def middles(low: float, high: float, count: int) -> Tensor:
    """Middles of `count` cells between two ends, float64, rising."""
    return low + (torch.arange(count, dtype=torch.float64) + 0.5) * ((high - low) / count)
