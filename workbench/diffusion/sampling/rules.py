"""The rules of samplers: how the state at one time becomes that at the next.

A rule is a small frozen dataclass: called with a `Step`, it returns the state at the next time. Each asks the model
once per step, except `Heun`, which asks twice. The multistep rules on ε̂ stand in `multistep`.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from workbench.diffusion.sampling.multistep import DEIS, IPNDM
from workbench.diffusion.sampling.predictions import write
from workbench.diffusion.sampling.schedules import along
from workbench.diffusion.sampling.step import Rule, SamplingError, Step

__all__ = [
    "DDIM", "DEIS", "IPNDM", "RULES", "DPMSolver", "Euler", "Heun", "Renoise", "Rule", "SamplingError", "Step",
    "called", "rule",
]  # fmt: skip


@dataclass(frozen=True)
class DDIM:
    """x_s = α_s x̂₀ + σ_s ε̂ (Song et al. 2021); first order. `churn` η > 0 redraws part of the noise: 1 is ancestral."""

    churn: float = 0.0
    calls: int = field(default=1, init=False, repr=False)

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

    calls: int = field(default=1, init=False, repr=False)

    def __call__(self, step: Step) -> Tensor:
        velocity = write(step.now, "velocity", step.t, step.schedule)
        return step.x + along(step.s - step.t, step.x) * velocity


@dataclass(frozen=True)
class Heun:
    """Euler, then once more with the mean of both velocities (Karras et al. 2022, Algorithm 1); second order.

    The last step, to time 0, is an Euler step where the velocity there is not defined. `over` is the variable that
    steps are made in: ``"time"``, or ``"noise"``, σ/α, in which the slope of x/α is ε̂ and an Euler step is `DDIM`.
    """

    over: str = "time"
    calls: int = field(default=2, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.over not in ("time", "noise"):
            raise SamplingError(f"over is {self.over!r}; it can be 'time' or 'noise'")

    def __call__(self, step: Step) -> Tensor:
        if self.over == "noise":
            return self._over_noise(step)
        first = write(step.now, "velocity", step.t, step.schedule)
        width = along(step.s - step.t, step.x)
        ahead = step.x + width * first
        if float(step.s) == 0:
            return ahead
        second = write(step.ask(ahead, step.s), "velocity", step.s, step.schedule)
        return step.x + width * (first + second) / 2

    @staticmethod
    def _over_noise(step: Step) -> Tensor:
        ahead = step.jump()
        if float(step.s) == 0:
            return ahead
        a, b = step.schedule.alpha(step.t), step.schedule.alpha(step.s)
        width = step.schedule.sigma(step.s) - b / a * step.schedule.sigma(step.t)
        change = step.ask(ahead, step.s).noise - step.now.noise
        return ahead + along(width / 2, ahead) * change


@dataclass(frozen=True)
class DPMSolver:
    """DPM-Solver++(2M) (Lu et al. 2022): multistep in λ on x̂₀; second order, one call per step.

    The first step, and the last to σ = 0 where λ is infinite, are of first order.
    """

    calls: int = field(default=1, init=False, repr=False)

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
    calls: int = field(default=1, init=False, repr=False)

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
    "ipndm": IPNDM(),
    "deis": DEIS(),
    "ancestral": DDIM(churn=1.0),
    "consistency": Renoise(),
}


def called(chosen: Rule) -> str:
    """A rule's name; of one without, how it is written.

    >>> called(Renoise()), called(Renoise(gamma=0.3))
    ('consistency', 'Renoise(gamma=0.3)')
    """
    return next((name for name, known in RULES.items() if known == chosen), repr(chosen))


def rule(sampler: "str | Rule") -> Rule:
    """A rule by name, or as it is."""
    if callable(sampler):
        if not hasattr(sampler, "calls"):
            raise SamplingError(
                f"sampler is {sampler!r}, without `calls`: a rule says how often it asks the model per step; give it "
                "the attribute"
            )
        return sampler
    if sampler not in RULES:
        raise SamplingError(
            f"sampler is {sampler!r}; it can be {', '.join(RULES)}, or a function of a Step with `calls`"
        )
    return RULES[sampler]
