"""Sampling: one loop over a grid of times, a rule for one step, and a hook that sees every state and what was believed.

A rule is a small frozen dataclass: called with a `Step`, it returns the state at the next time. Each asks the model
once per step, except `Heun`, which asks twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from workbench.diffusion.denoiser import Denoiser
from workbench.diffusion.predictions import Prediction, jump, write
from workbench.diffusion.schedules import Schedule, along
from workbench.training import randomness

Recorder = Callable[[int, Tensor, Tensor, Tensor, Tensor], None]
"""Called at every step, before it is made, with (i, t, x_t, x̂₀, ε̂)."""


class SamplingError(ValueError):
    """A sampling run that cannot be made or went wrong; the message says where."""


@dataclass
class Step:
    """What a rule sees of one step from time t to time s.

    Attributes
    ----------
    number
        From 0.
    t, s
        The two times, scalars, float64.
    x
        The state at t, shape (n, ...).
    now
        The model's prediction at (x, t).
    past
        Prediction and time of the step before; None at the first.
    ask
        The model, for rules that ask again: a function of (x, t).
    schedule
        The model's.
    draw
        Fresh standard normal noise, shape of x; a rule draws once per step at most.
    memory
        What the rule wants to find again at the next step of the same run; empty at the first.
    """

    number: int
    t: Tensor
    s: Tensor
    x: Tensor
    now: Prediction
    past: tuple[Prediction, Tensor] | None
    ask: Callable[[Tensor, Tensor], Prediction]
    schedule: Schedule
    draw: Callable[[], Tensor]
    memory: dict[str, Any] = field(default_factory=dict)

    def jump(self, prediction: Prediction | None = None, to: Tensor | None = None) -> Tensor:
        """α_s x̂₀ + σ_s ε̂: exact while the prediction stays what it is; DDIM."""
        return jump(prediction or self.now, self.s if to is None else to, self.schedule)


class Rule(Protocol):
    """How one step is made."""

    @property
    def calls(self) -> int:
        """Model evaluations per step."""

    def __call__(self, step: Step) -> Tensor:
        """The state at time s, shape of the state."""


@dataclass(frozen=True)
class DDIM:
    """x_s = α_s x̂₀ + σ_s ε̂ (Song et al. 2021); first order. `churn` η > 0 redraws part of the noise: 1 is ancestral."""

    churn: float = 0.0
    calls: int = field(default=1, init=False)

    def __call__(self, step: Step) -> Tensor:
        if self.churn == 0:
            return step.jump()
        a, b = (step.schedule.alpha(time) for time in (step.t, step.s))
        p, q = (step.schedule.sigma(time) for time in (step.t, step.s))
        fresh = self.churn * q * (1 - (a * q / (b * p)).square()).clamp_min(0).sqrt()
        kept = (q.square() - fresh.square()).clamp_min(0).sqrt()
        x0, noise = step.now
        return along(b, x0) * x0 + along(kept, x0) * noise + along(fresh, x0) * step.draw()


@dataclass(frozen=True)
class Euler:
    """x_s = x_t + (s − t) u: one step along the velocity dx/dt; first order. On rectified flow the same as `DDIM`."""

    calls: int = field(default=1, init=False)

    def __call__(self, step: Step) -> Tensor:
        velocity = write(step.now, "velocity", step.t, step.schedule)
        return step.x + along(step.s - step.t, step.x) * velocity


@dataclass(frozen=True)
class Heun:
    """Euler, then once more with the mean of both velocities (Karras et al. 2022, Algorithm 1); second order.

    The last step, to time 0, is an Euler step where the velocity there is not defined.
    """

    calls: int = field(default=2, init=False)

    def __call__(self, step: Step) -> Tensor:
        first = write(step.now, "velocity", step.t, step.schedule)
        width = along(step.s - step.t, step.x)
        ahead = step.x + width * first
        if float(step.s) == 0:
            return ahead
        second = write(step.ask(ahead, step.s), "velocity", step.s, step.schedule)
        return step.x + width * (first + second) / 2


@dataclass(frozen=True)
class DPMSolver:
    """DPM-Solver++(2M) (Lu et al. 2022): multistep in λ on x̂₀; second order, one call per step.

    The first step, and the last to σ = 0 where λ is infinite, are of first order.
    """

    calls: int = field(default=1, init=False)

    def __call__(self, step: Step) -> Tensor:
        if step.past is None or float(step.schedule.sigma(step.s)) == 0:
            return step.jump()
        before, earlier = step.past
        log_snr = step.schedule.log_snr
        h, h_before = log_snr(step.s) - log_snr(step.t), log_snr(step.t) - log_snr(earlier)
        r = along(h_before / h, step.x)
        x0 = (1 + 1 / (2 * r)) * step.now.x0 - before.x0 / (2 * r)
        ratio = step.schedule.sigma(step.s) / step.schedule.sigma(step.t)
        return along(ratio, step.x) * step.x - along(step.schedule.alpha(step.s) * torch.expm1(-h), step.x) * x0


@dataclass(frozen=True)
class Renoise:
    """Consistency sampling: believe x̂₀, add fresh noise (Song et al. 2023). `gamma` < 1 jumps part of the way by DDIM.

    γ-sampling of TCD and TDD: DDIM to s′ = (1 − γ) s, then diffuse from s′ to s. γ = 0 is DDIM, γ = 1 all new noise.
    """

    gamma: float = 1.0
    calls: int = field(default=1, init=False)

    def __call__(self, step: Step) -> Tensor:
        between = (1 - self.gamma) * step.s
        reached = step.jump(to=between)
        if float(step.s) == 0 or self.gamma == 0:
            return reached
        scale, spread = step.schedule.transition(between, step.s)
        return along(scale, reached) * reached + along(spread, reached) * step.draw()


RULES: dict[str, Rule] = {
    "ddim": DDIM(),
    "euler": Euler(),
    "heun": Heun(),
    "dpm-solver++": DPMSolver(),
    "ancestral": DDIM(churn=1.0),
    "consistency": Renoise(),
}


def rule(sampler: "str | Rule") -> Rule:
    """A rule by name, or as it is."""
    if callable(sampler):
        return sampler
    if sampler not in RULES:
        raise SamplingError(f"sampler is {sampler!r}; it can be {', '.join(RULES)}, or a function of a Step")
    return RULES[sampler]


@torch.no_grad()
def sample(
    model: Denoiser,
    noise: Tensor,
    *,
    sampler: str | Rule = "ddim",
    steps: int | Tensor = 50,
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
    times = model.schedule.grid(steps, spacing) if isinstance(steps, int) else steps.to(torch.float64).cpu()
    check(model, noise, times, condition)
    source = redraws(0, noise.device) if generator is None else generator

    def draw(number: int) -> Tensor:  # noqa: ARG001 - one after the other
        return torch.randn(noise.shape, generator=source, device=source.device, dtype=noise.dtype).to(noise.device)

    start = along(model.schedule.sigma(times[0]), noise) * noise
    return walk([Stage(model, rule(sampler), times)], start, condition, draw, record)


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
