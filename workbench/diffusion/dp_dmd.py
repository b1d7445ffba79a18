"""Diversity-preserved distribution matching: the first step learns where the teacher goes, the others by DMD.

Distribution matching minimises a reverse KL divergence and so drops modes. Which one a sample comes from is decided by
the first of the student's steps; that step gets a target of its own, the teacher's mean velocity over its first K
steps from the same noise,

    u* = (z − z_{t_K}) / (1 − t_K),        L = L_DMD(x_final) + λ ‖u_θ(z, t_1) − u*‖²,

and the state after it is detached, so that the gradient of L_DMD trains the later steps only. Wu et al., “Diversity-
Preserved Distribution Matching Distillation”, arXiv 2602.03139; paper 091.
"""

import torch
from torch import Tensor

from workbench.diffusion.denoiser import Denoiser
from workbench.diffusion.predictions import Prediction, jump
from workbench.diffusion.schedules import Schedule, along


def secant(x: Tensor, y: Tensor, t: Tensor, s: Tensor, schedule: Schedule) -> Prediction:
    """The constant x̂₀ and ε̂ with which one step from x at time t leads to y at time s < t.

    On rectified flow its velocity is the mean one, u* = (x − y) / (t − s); on other schedules x̂₀ and ε̂ solve
    α_t x̂₀ + σ_t ε̂ = x and α_s x̂₀ + σ_s ε̂ = y.
    """
    a, b = along(schedule.alpha(t), x), along(schedule.sigma(t), x)
    c, d = along(schedule.alpha(s), x), along(schedule.sigma(s), x)
    determinant = b * c - a * d
    return Prediction((b * y - d * x) / determinant, (c * x - a * y) / determinant)


def anchor(teacher: Denoiser, noise: Tensor, times: Tensor, steps: int, condition: Tensor | None = None) -> Prediction:
    """Where the teacher's first `steps` steps lead, as one step: what the student's first should have said; detached.

    Parameters
    ----------
    noise
        Standard normal, shape (n, ...).
    times
        Of the teacher, falling, shape (its steps + 1,).
    steps
        K, in 1 .. its steps. 1: what the teacher says of pure noise; all: the displacement of its whole trajectory.

    Raises
    ------
    ValueError
        K outside this range.
    """
    if not 1 <= steps < len(times):
        raise ValueError(f"steps is {steps}; the teacher makes {len(times) - 1}, and the anchor is one of 1 .. all")
    schedule = teacher.schedule
    start = x = along(schedule.sigma(times[0]), noise) * noise
    with torch.no_grad():
        for number in range(steps):
            x = jump(teacher(x, times[number], condition), times[number + 1], schedule)
    return secant(start, x, times[0], times[steps], schedule)
