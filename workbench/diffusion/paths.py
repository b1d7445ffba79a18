"""The path that a sampler took: how much it turned, and how far each step missed the exact one."""

import re

import torch
from torch import Tensor

from workbench.diffusion.denoiser import Denoiser, Guided, Rescheduled
from workbench.diffusion.predictions import write
from workbench.diffusion.schedules import along, schedule
from workbench.records import TargetTrajectories

_END = 1e-3
"""The share of the last step's time up to which its path is followed; from there x̂₀ changes no more."""


def turning(run: TargetTrajectories) -> Tensor:
    """How far ε̂ = (x_t − α x̂₀) / σ turns from each step to the next, degrees, mean over seeds, float64, (steps,).

    In the coordinates x/α the path of an ordinary differential equation runs along ε̂: where nothing turns, it is
    straight, and one step would have been enough. The last entry is NaN: there is no next step.

    Examples
    --------
    >>> from workbench.diffusion import ring, target_trajectories
    >>> noise = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    >>> turned = turning(target_trajectories(ring(std=0.05), noise, steps=10))
    >>> bool(turned[:-1].max() < 90), bool(turned[-1].isnan())
    (True, True)
    """
    kind = schedule(run.schedule)
    states, targets = run.states.flatten(2).double(), run.targets.flatten(2).double()
    alpha, sigma = (rule(run.times).view(-1, 1, 1) for rule in (kind.alpha, kind.sigma))
    noise = (states - alpha * targets) / sigma
    one, other = noise[:-1], noise[1:]
    # The angle by its half tangent: as sharp for tiny angles as for large ones.
    one, other = (part / part.norm(dim=2, keepdim=True).clamp_min(1e-300) for part in (one, other))
    angle = 2 * torch.atan2((one - other).norm(dim=2), (one + other).norm(dim=2))
    return torch.cat([torch.rad2deg(angle).mean(1), angle.new_full((1,), torch.nan)])


def deterministic(run: TargetTrajectories) -> bool:
    """The sampler drew nothing on the way, so that its path stands for one of the differential equation."""
    name = run.sampler
    churned = re.search(r"(?:churn|gamma)=([\d.]+)", name)
    if churned:
        return float(churned[1]) == 0
    return name not in ("ancestral", "consistency") and not name.startswith("Renoise")


@torch.no_grad()
def step_error(run: TargetTrajectories, model: Denoiser, *, seeds: int = 64, substeps: int = 12) -> Tensor:
    """Distance of the state after each recorded step to the exact one from the same start, float64, (steps,).

    The exact step is the solution of dx/dt = α̇ x̂₀ + σ̇ ε̂ over that step alone, by `substeps` steps of the classical
    fourth-order Runge–Kutta rule, all steps at once; mean over seeds.

    Parameters
    ----------
    run
        Of a sampler that draws nothing.
    model
        What was sampled from; the run's guidance is put on it.
    seeds
        How many of the seeds are followed.
    substeps
        Runge–Kutta steps per step.

    Raises
    ------
    ValueError
        The sampler draws on its way: its states do not lie on one path.

    Examples
    --------
    >>> from workbench.diffusion import ring, target_trajectories
    >>> noise = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    >>> coarse, fine = (step_error(target_trajectories(ring(), noise, steps=k), ring()) for k in (10, 40))
    >>> bool(fine.mean() < coarse.mean() / 4)
    True
    """
    if not deterministic(run):
        raise ValueError(
            f"the sampler {run.sampler} draws noise on its way; the error of a step needs one that does not"
        )
    kind = schedule(run.schedule)
    asked = model if model.schedule.spec == kind.spec else Rescheduled(model, kind)
    asked = asked if run.guidance == 1 else Guided(asked, run.guidance)
    states, samples = run.states[:, :seeds], run.samples[None, :seeds]
    steps, count = states.shape[:2]
    example = states.shape[2:]
    x = states.reshape(steps * count, *example)
    condition = None if run.condition is None else run.condition[:seeds].repeat(steps)
    starts = run.times
    ends = torch.cat([starts[1:], starts.new_zeros(1)])
    reached = torch.where(ends > 0, ends, _END * starts)

    def velocity(at: Tensor, where: Tensor) -> Tensor:
        t = at.repeat_interleave(count)
        return write(asked(where, t.to(where), condition), "velocity", t, kind)

    for k in range(substeps):
        t, s = (starts + (reached - starts) * share / substeps for share in (k, k + 1))
        width = along((s - t).repeat_interleave(count), x)
        first = velocity(t, x)
        second = velocity((t + s) / 2, x + width / 2 * first)
        third = velocity((t + s) / 2, x + width / 2 * second)
        fourth = velocity(s, x + width * third)
        x = x + width / 6 * (first + 2 * second + 2 * third + fourth)
    exact = x.view(steps, count, *example)
    if float(ends[-1]) == 0:
        last = asked(exact[-1], reached[-1].to(x), None if condition is None else condition[:count])
        exact = torch.cat([exact[:-1], last.x0[None]])
    made = torch.cat([states[1:], samples.to(states)])
    return (made - exact).flatten(2).double().norm(dim=2).mean(1)
