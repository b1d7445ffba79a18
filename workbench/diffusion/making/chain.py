"""A few-step student's own sampling, with gradients: all steps of its ODE, or one step after re-noised ones."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from workbench.diffusion.sampling.denoiser import Denoiser
from workbench.diffusion.sampling.predictions import Prediction, jump
from workbench.diffusion.sampling.schedules import along


def follow(
    student: Denoiser, noise: Tensor, times: Tensor, condition: Tensor | None = None, *, cut: int = 0
) -> tuple[Tensor, Prediction]:
    """All steps of `workbench.diffusion.sample` by DDIM, as one differentiable function of the student's weights.

    Parameters
    ----------
    noise
        Standard normal, shape (n, ...).
    times
        Falling, shape (steps + 1,).
    cut
        After how many steps the state is detached: no gradient reaches the steps before. 0: it is not.

    Returns
    -------
    tuple
        Samples, shape of `noise`, and what the student said at the first step.
    """
    schedule = student.schedule
    x = along(schedule.sigma(times[0]), noise) * noise
    said: list[Prediction] = []
    for number, (t, s) in enumerate(pairwise(times)):
        said.append(student(x, t, condition))
        x = jump(said[-1], s, schedule)
        if number + 1 == cut:
            x = x.detach()
    return x, said[0]


def leave(
    student: Denoiser,
    noise: Tensor,
    times: Tensor,
    number: int,
    draw: Callable[[], Tensor],
    condition: Tensor | None = None,
) -> Tensor:
    """The student's x̂₀ at step `number` of consistency sampling; only this step keeps its gradient.

    The steps before are made as they will be when the student is used: believe x̂₀, add fresh noise (Yin et al. 2024,
    “Improved Distribution Matching Distillation”).

    Parameters
    ----------
    noise, times, condition
        As for `follow`.
    number
        From 0, less than the number of steps.
    draw
        Fresh standard normal noise, shape of `noise`.
    """
    schedule = student.schedule
    x = along(schedule.sigma(times[0]), noise) * noise
    with torch.no_grad():
        for t, s in pairwise(times[: number + 1]):
            x = schedule.diffuse(student(x, t, condition).x0, draw(), s)
    return student(x, times[number], condition).x0


def check_times(times: Sequence[float]) -> None:
    """Refuse times of a student that do not fall from at most 1 to 0.

    Raises
    ------
    ValueError
        Says what they are.
    """
    falling = all(t > s for t, s in pairwise(times))
    if len(times) < 2 or not falling or times[0] > 1 or times[-1] != 0:
        raise ValueError(f"times are {tuple(times)}; they must fall from at most 1 to 0, one step at least")
