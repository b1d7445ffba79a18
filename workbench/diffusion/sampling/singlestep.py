"""DPM-Solver-2: a second-order step that asks the network at both ends of half of itself, and remembers nothing."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from workbench.diffusion.sampling.predictions import Prediction
from workbench.diffusion.sampling.sampling import Step
from workbench.diffusion.sampling.schedules import Schedule, along


@dataclass(frozen=True)
class DPMSolver2:
    """DPM-Solver-2 (Lu et al. 2022, Algorithm 1) on ε̂, from t to s over the time m halfway between in λ.

        u = (α_m / α_t) x − σ_m (e^{h/2} − 1) ε̂(x, t),
        x_s = (α_s / α_t) x − σ_s (e^h − 1) ε̂(u, m),   h = λ_s − λ_t.

    The step to σ = 0, where h is infinite, is a `DDIM` step. The stages are public for what is built on them.
    """

    calls: int = field(default=2, init=False)

    def __call__(self, step: Step) -> Tensor:
        between = self.between(step.t, step.s, step.schedule)
        if between is None:
            return step.jump()
        ahead = step.jump(to=between)
        return self.second(step, step.ask(ahead, between))

    @staticmethod
    def between(t: Tensor, s: Tensor, schedule: Schedule) -> Tensor | None:
        """The time halfway in λ; None where there is none."""
        first, last = schedule.log_snr(t), schedule.log_snr(s)
        middle = schedule.time((first + last) / 2)
        return middle if bool(torch.isfinite(middle)) and bool(last.isfinite()) and bool(first.isfinite()) else None

    @staticmethod
    def second(step: Step, halfway: Prediction) -> Tensor:
        """The state at s, from x, ε̂ there and ε̂ halfway."""
        # jump() is the same step with ε̂(x, t): what is left is how far ε̂ has moved.
        grown = torch.expm1(step.schedule.log_snr(step.s) - step.schedule.log_snr(step.t))
        factor = along(step.schedule.sigma(step.s) * grown, step.x)
        return step.jump() - factor * (halfway.noise - step.now.noise)
