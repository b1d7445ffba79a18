"""Sampling: one loop over a grid of times, a rule for each step, and a hook that sees all states and what was believed.

The rules are those of `workbench.diffusion.sampling.rules`. A run can have stages, each with a model and a rule of its
own.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workbench.diffusion.sampling.denoiser import Denoiser
from workbench.diffusion.sampling.predictions import Prediction
from workbench.diffusion.sampling.rules import (
    DDIM,
    RULES,
    DPMSolver,
    Euler,
    Heun,
    Renoise,
    Rule,
    SamplingError,
    Step,
    rule,
)
from workbench.diffusion.sampling.schedules import along
from workbench.training import randomness

__all__ = [
    "DDIM",
    "RULES",
    "DPMSolver",
    "Euler",
    "Heun",
    "Recorder",
    "Renoise",
    "Rule",
    "SamplingError",
    "Stage",
    "Step",
    "check",
    "redraws",
    "rule",
    "sample",
    "walk",
]

Recorder = Callable[[int, Tensor, Tensor, Tensor, Tensor], None]
"""Called at every step, before it is made, with (i, t, x_t, x̂₀, ε̂)."""


MOST_STEPS = 1_000_000
"""No sampler needs more; a slip of the pen, 10⁹, would fill the memory with times."""


@torch.no_grad()
def sample(
    model: Denoiser,
    noise: Tensor,
    *,
    sampler: str | Rule = "ddim",
    steps: int | Tensor | Sequence[float] = 50,
    spacing: str = "time",
    condition: Tensor | None = None,
    generator: torch.Generator | None = None,
    record: Recorder | None = None,
) -> Tensor:
    """Go from noise to samples.

    Parameters
    ----------
    model
        What is asked at every step.
    noise
        Standard normal, shape (n, ...).
    sampler
        A name in `RULES`, or a rule.
    steps
        How many, at times of `Schedule.grid`; or the times themselves, falling, float64, shape (steps + 1,). The
        state starts as σ times the noise at the first of them (plus α times nothing: what is left of the signal there
        is neglected, as samplers do).
    spacing
        Of the grid.
    condition
        Class of each example, (n,).
    generator
        For rules that draw; default: `redraws` of seed 0.
    record
        The hook.

    Returns
    -------
    Tensor
        Samples, shape of `noise`.

    Raises
    ------
    SamplingError
        Times are outside the schedule or do not fall; the noise does not fit the model; a state became NaN or infinite
        (the message names step and example).

    Examples
    --------
    >>> from workbench.diffusion import ring
    >>> noise = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    >>> samples = sample(ring(), noise, steps=20)
    >>> bool((samples.norm(dim=1) - 1).abs().max() < 0.4)
    True
    """
    times = _asked(model, noise, steps, spacing)
    check(model, noise, times, condition)
    source = redraws(0, noise.device) if generator is None else generator

    def draw(number: int) -> Tensor:  # noqa: ARG001 - one after the other
        return torch.randn(noise.shape, generator=source, device=source.device, dtype=noise.dtype).to(noise.device)

    start = along(model.schedule.sigma(times[0]), noise) * noise
    return walk([Stage(model, rule(sampler), times)], start, condition, draw, record)


def _asked(model: Denoiser, noise: Tensor, steps: int | Tensor | Sequence[float], spacing: str) -> Tensor:
    """The times of a run, float64, once what was passed is known to be of the right kinds."""
    if not hasattr(model, "schedule") or not hasattr(model, "shape"):
        raise SamplingError(
            f"model is a {type(model).__name__} without a schedule and a shape; wrap a network in "
            "NetworkDenoiser(network, schedule, shape, kind), a record in denoiser(record)"
        )
    if not isinstance(noise, Tensor) or not noise.is_floating_point():
        told = f"of {noise.dtype}" if isinstance(noise, Tensor) else f"a {type(noise).__name__}"
        raise SamplingError(f"noise is {told}; standard normal noise is needed, such as torch.randn(n, *model.shape)")
    if isinstance(steps, Tensor):
        return steps.to(torch.float64).cpu()
    if isinstance(steps, int) and not isinstance(steps, bool):
        if not 1 <= steps <= MOST_STEPS:
            raise SamplingError(f"steps is {steps}; at least 1 and at most {MOST_STEPS:,} can be made")
        return model.schedule.grid(steps, spacing)
    if isinstance(steps, Sequence) and not isinstance(steps, str):
        return torch.tensor([float(time) for time in steps], dtype=torch.float64)
    raise SamplingError(f"steps is {steps!r}; a whole number of steps, or falling times, such as [0.9, 0.5, 0.0]")


class Stage(NamedTuple):
    """Steps that one model makes: at these times, falling, of which the first is counted as step `first`."""

    model: Denoiser
    rule: Rule
    times: Tensor
    first: int = 0


@torch.no_grad()
def walk(
    stages: Sequence[Stage],
    x: Tensor,
    condition: Tensor | None,
    draw: Callable[[int], Tensor],
    record: Recorder | None = None,
) -> Tensor:
    """Go on from state x, (n, ...), through stages one after the other; what `sample` does, with one stage.

    Parameters
    ----------
    draw
        Fresh standard normal noise for the step of this number, shape of x.

    Raises
    ------
    SamplingError
        A state became NaN or infinite.
    """
    failed = torch.full((len(x),), -1, device=x.device)
    made: list[Tensor] = []
    for model, rule_, times, first in stages:
        past: tuple[Prediction, Tensor] | None = None
        memory: dict[str, Any] = {}
        ask = partial(_ask, model, condition)
        for number, (t, s) in enumerate(pairwise(times), first):
            now = ask(x, t)
            if record is not None:
                record(number, t, x, now.x0, now.noise)
            x = rule_(Step(number, t, s, x, now, past, ask, model.schedule, partial(draw, number), memory))
            past = now, t
            sound = x.flatten(1).isfinite().all(1)  # nothing waits for the device here
            failed = torch.where((failed < 0) & ~sound, len(made), failed)
            made.append(t)
    if bool((failed >= 0).any()):
        example = int((failed >= 0).nonzero()[0])
        raise SamplingError(
            f"the state of example {example} became NaN or infinite at step {int(failed[example]) + 1} of "
            f"{len(made)} (time {float(made[int(failed[example])]):.4g}); {int((failed >= 0).sum())} of {len(x)} "
            "examples are affected"
        )
    return x


def _ask(model: Denoiser, condition: Tensor | None, x: Tensor, t: Tensor) -> Prediction:
    return model(x, t, condition)


def redraws(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for what a sampler draws on the way: never the numbers of noise that was made from the same seed."""
    return randomness.generator(seed, randomness.SAMPLING, device=device)


def check(model: Denoiser, noise: Tensor, times: Tensor, condition: Tensor | None = None) -> None:
    """Refuse noise, times and classes that a model cannot be sampled with.

    Raises
    ------
    SamplingError
        Times do not fall or are outside the schedule; the noise has another shape than the model's examples; there are
        not as many classes as examples.
    """
    if times.ndim != 1 or len(times) < 2 or not bool((times.diff() < 0).all()):
        raise SamplingError(f"steps holds times {times.tolist()[:6]}; at least two, each smaller than the one before")
    try:
        model.schedule.check(times)
    except ValueError as error:
        raise SamplingError(str(error)) from None
    if tuple(noise.shape[1:]) != tuple(model.shape):
        raise SamplingError(
            f"noise has shape {tuple(noise.shape)}; the model takes (n, {', '.join(map(str, model.shape))})"
        )
    if condition is not None and tuple(condition.shape) not in ((), (1,), (len(noise),)):
        raise SamplingError(
            f"condition has shape {tuple(condition.shape)}; one class for each of {len(noise)} examples is needed, or "
            "one for all"
        )
