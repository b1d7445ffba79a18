"""BOOT: where the teacher's path from a noise is at every time, learned from the student's own answer a bit earlier.

With the *initial* noise ε, the signal part of the state is y_t = (x_t − σ_t ε) / α_t. One DDIM step of the teacher,
from t to s = t − δ, is in these terms

    y_s = x̂₀ + (σ_s α_t / σ_t α_s) (y_t − x̂₀),      x̂₀ the teacher's of x_t = α_t y_t + σ_t ε,

and the student y_θ(ε, t) is trained at s towards that step from its own, frozen, answer at t; at the latest time it
learns the teacher's first guess. No data are needed, the inputs are noise:

    L = E w_t / δ² ‖y_θ(ε, s) − sg y*‖²  +  β E ‖y_θ(ε, t_max) − x̂₀(σ ε, t_max)‖².

Gu et al., “BOOT: Data-free Distillation of Denoising Diffusion Models with Bootstrapping”, ICML 2024 workshop and arXiv
2306.05544; paper 031.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from workbench.diffusion.making.making import adam
from workbench.diffusion.making.run import DiffusionRun
from workbench.diffusion.making.signal import EARLIEST, SignalDenoiser
from workbench.diffusion.making.weighting import time_weight
from workbench.diffusion.sampling.denoiser import NetworkDenoiser
from workbench.diffusion.sampling.schedules import Schedule, along
from workbench.training.schedules import cosine


def signal_step(y: Tensor, x0: Tensor, t: Tensor, s: Tensor, schedule: Schedule, *, rule: str = "ddim") -> Tensor:
    """y_s from y_t for a constant x̂₀, shape of y.

    Parameters
    ----------
    y, x0
        y_t and the teacher's x̂₀ of the state α_t y_t + σ_t ε, shape (n, ...).
    t, s
        Shape () or (n,); s < t.
    rule
        ``"ddim"``, exact for constant x̂₀; ``"euler"``, y + (t − s) ρ (x̂₀ − y) with ρ = d log(σ/α)/dt.
    """
    if rule == "euler":
        rate = schedule.sigma_rate(t) / schedule.sigma(t) - schedule.alpha_rate(t) / schedule.alpha(t)
        return y + along((t - s) * rate, y) * (x0 - y)
    kept = schedule.sigma(s) * schedule.alpha(t) / (schedule.sigma(t) * schedule.alpha(s))
    return x0 + along(kept, y) * (y - x0)


@dataclass(frozen=True, kw_only=True)
class BOOT:
    """Bootstrapped distillation into one step, without data.

    Attributes
    ----------
    stride
        δ: from the frozen time down to the trained one.
    latest
        t_max, as a share of the schedule's latest time: α must not be too small.
    boundary
        β, weight of the teacher's first guess. Without it any constant shift satisfies the rest.
    rule
        ``"ddim"`` or ``"euler"`` for the teacher's step.
    weight
        w_t, by a name that `time_weight` knows.
    guidance
        Of the teacher; ours, where 1 is none.
    """

    short: ClassVar[str] = "BOOT"

    stride: float = 0.02
    latest: float = 0.99
    boundary: float = 0.1
    rule: str = "ddim"
    weight: str = "even"
    guidance: float = 1.0
    steps: int = 1500
    batch: int = 512
    lr: float = 1e-3
    decay: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.stride < self.latest <= 1:
            raise ValueError(f"stride={self.stride} and latest={self.latest} must satisfy 0 < stride < latest <= 1")
        if self.rule not in ("ddim", "euler"):
            raise ValueError(f"rule is {self.rule!r}; it can be 'ddim' or 'euler'")

    def networks(self, run: DiffusionRun) -> dict[str, Any]:
        start = run.start("x0")
        return {"student": SignalDenoiser.of(start)}

    def optimizers(self, networks: dict[str, Any]) -> dict[str, torch.optim.Optimizer]:
        return adam(networks, self.lr)

    def pace(self, run: DiffusionRun) -> float:
        return cosine(run.iteration / max(run.steps, 1))

    @property
    def sampling(self) -> dict[str, Any]:
        return {"sampler": "ddim"}

    def finish(self, run: DiffusionRun) -> dict[str, Any]:
        """One step, from the latest time."""
        return {"times": run.teacher.schedule.grid(1)}

    def losses(self, run: DiffusionRun) -> Iterator[tuple[str, Tensor]]:
        student, teacher = cast("SignalDenoiser", run.student), run.guided(self.guidance)
        schedule, noise, condition = teacher.schedule, run.noise(self.batch), run.conditions(self.batch)
        last = self.latest * schedule.latest
        lowest = EARLIEST + self.stride
        t = lowest + (last - lowest) * run.uniform(self.batch)
        s = t - self.stride
        with torch.no_grad():
            y = student.signal(noise, t, condition)
            x0 = teacher(schedule.diffuse(y, noise, t), t, condition).x0
            wanted = signal_step(y, x0, t, s, schedule, rule=self.rule)
            top = torch.full((self.batch,), last, device=run.device)
            first = teacher(along(schedule.sigma(top), noise) * noise, top, condition).x0
        gap = (student.signal(noise, s, condition) - wanted).square().flatten(1).mean(1) / self.stride**2
        bootstrap = (time_weight(self.weight, t, schedule) * gap).mean()
        boundary = (student.signal(noise, top, condition) - first).square().mean()
        run.log(bootstrap=bootstrap.detach(), boundary=boundary.detach())
        yield "student", bootstrap + self.boundary * boundary


@dataclass(frozen=True, kw_only=True)
class Direct:
    """The plain alternative: noises whose end on the teacher's path is known are learned by heart, E ‖y_θ(ε) − Φ(ε)‖².

    Needs the teacher's whole sampler for every pair (Luhman & Luhman 2021); BOOT's measure.

    Attributes
    ----------
    pool
        How many pairs.
    teacher_steps
        Of the teacher's sampler, DPM-Solver++.
    """

    short: ClassVar[str] = "direct"

    pool: int = 8192
    teacher_steps: int = 50
    guidance: float = 1.0
    steps: int = 1500
    batch: int = 512
    lr: float = 1e-3
    decay: float = 0.0

    def networks(self, run: DiffusionRun) -> dict[str, Any]:
        return {"student": run.start()}

    def optimizers(self, networks: dict[str, Any]) -> dict[str, torch.optim.Optimizer]:
        return adam(networks, self.lr)

    def pace(self, run: DiffusionRun) -> float:
        return cosine(run.iteration / max(run.steps, 1))

    @property
    def sampling(self) -> dict[str, Any]:
        return {"sampler": "ddim"}

    def finish(self, run: DiffusionRun) -> dict[str, Any]:
        """One step, from the latest time."""
        return {"times": run.teacher.schedule.grid(1)}

    def losses(self, run: DiffusionRun) -> Iterator[tuple[str, Tensor]]:
        noise, ends, classes = run.pairs(self.pool, self.guidance, self.teacher_steps)
        rows = run.integers(self.batch, len(noise), "pair")
        t = run.teacher.schedule.grid(1).to(run.device)[0]
        student: NetworkDenoiser = run.student
        x = along(run.teacher.schedule.sigma(t), noise) * noise[rows]
        made = student(x, t, None if classes is None else classes[rows]).x0
        yield "student", (made - ends[rows]).square().mean()
