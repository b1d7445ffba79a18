"""How noisy a run is at each step: what runs on different schedules are laid beside one another by."""

import torch
from torch import Tensor

from workbench.diffusion.sampling.schedules import schedule
from workbench.records import TargetTrajectories

CLEAN = 99.0
"""The level log(α / σ) that stands for infinity: no noise at all."""


def levels(run: TargetTrajectories) -> list[float]:
    """How far the noise has fallen at each recorded step: log(α / σ), within ±`CLEAN`."""
    return schedule(run.schedule).log_snr(run.times).clamp(-CLEAN, CLEAN).tolist()


def scales(run: TargetTrajectories) -> Tensor:
    """α, σ and their rates at the recorded times, float64, (steps, 4)."""
    kind = schedule(run.schedule)
    return torch.stack([rule(run.times) for rule in (kind.alpha, kind.sigma, kind.alpha_rate, kind.sigma_rate)], 1)


def shrink(run: TargetTrajectories) -> Tensor:
    """What states are multiplied with before they are drawn, float64, (steps + 1,): 1 unless the noise explodes."""
    size = scales(run)[:, :2].norm(dim=1)
    factor = 1 / size if bool((size > 2).any()) else torch.ones_like(size)
    return torch.cat([factor, torch.ones(1, dtype=factor.dtype)])


def index_at(clock: TargetTrajectories, place: int, run: TargetTrajectories) -> int:
    """Where `run` is while `clock` is at index `place` of its steps: its latest step that is not ahead in noise level.

    Index k is step k + 1, the last is the sample; ``widgets/targets/scene.js`` has the other copy (`indexOf`).
    """
    if run is clock:
        return place
    if place >= clock.steps:
        return run.steps
    now = levels(clock)[place]
    return max([k for k, level in enumerate(levels(run)) if level <= now + 1e-6], default=0)
