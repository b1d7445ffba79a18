"""Diversity-preserved distribution matching: the first step learns where the teacher goes, the others by DMD.

Distribution matching minimises a reverse KL divergence and so drops modes. Which one a sample comes from is decided by
the first of the student's steps; that step gets a target of its own, the teacher's mean velocity over its first K
steps from the same noise,

    u* = (z − z_{t_K}) / (1 − t_K),        L = L_DMD(x_final) + λ ‖u_θ(z, t_1) − u*‖²,

and the state after it is detached, so that the gradient of L_DMD trains the later steps only. Wu et al., “Diversity-
Preserved Distribution Matching Distillation”, arXiv 2602.03139; paper 091.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from workbench.diffusion.making.chain import check_times, follow
from workbench.diffusion.making.levels import EvenLevels, Levels
from workbench.diffusion.making.making import adam
from workbench.diffusion.making.run import DiffusionRun
from workbench.diffusion.methods.dmd import fake_updates, matching_loss
from workbench.diffusion.sampling.denoiser import Denoiser, NetworkDenoiser
from workbench.diffusion.sampling.predictions import Prediction, jump, write
from workbench.diffusion.sampling.schedules import Schedule, along


@dataclass(frozen=True, kw_only=True)
class DPDMD:
    """Train a few-step student: its first step by regression, the others by distribution matching.

    Attributes
    ----------
    anchor_steps
        K: how many of the teacher's steps the first step stands for.
    teacher_steps
        How many the teacher makes from the student's first time to 0, even in time; 30 in the paper.
    weight
        λ of the regression; 0.05 in the paper, whose losses are those of images.
    matching
        Weight of distribution matching; 0: the first step is all that is learned.
    times, steps, batch, fake_steps, levels, scale, guidance, kind, lr, fake_lr, decay, clip
        As for `workbench.diffusion.DMD`; at least two steps. The paper guides the teacher by 3.5.

    Examples
    --------
    >>> import workbench as wb
    >>> teacher = wb.diffusion.ring()
    >>> start = wb.diffusion.regress(teacher, steps=5, progress=False)
    >>> student = wb.diffusion.distill(teacher, DPDMD(steps=3, batch=16), network=start, progress=False)
    >>> sorted(student.curves)
    ['anchor', 'fake', 'student']
    """

    short: ClassVar[str] = "DP-DMD"
    name: ClassVar[str] = "DP-DMD"

    anchor_steps: int = 5
    teacher_steps: int = 12
    weight: float = 1.0
    matching: float = 1.0
    times: tuple[float, ...] = (0.99, 0.25, 0.15, 0.08, 0.0)
    steps: int = 1000
    batch: int = 256
    fake_steps: int = 2
    levels: Levels = field(default_factory=EvenLevels)
    scale: str = "state"
    guidance: float = 1.0
    kind: str = "velocity"
    lr: float = 5e-4
    fake_lr: float = 1e-3
    decay: float = 0.0
    clip: float | None = 1.0

    def __post_init__(self) -> None:
        check_times(self.times)
        if len(self.times) < 3:
            raise ValueError(f"times are {self.times}; a first step and a later one are needed (one step: DMD)")
        if not 1 <= self.anchor_steps <= self.teacher_steps:
            raise ValueError(
                f"anchor_steps is {self.anchor_steps}; it must be in 1..teacher_steps={self.teacher_steps}"
            )

    @property
    def sampling(self) -> dict[str, Any]:
        return {"times": torch.tensor(self.times, dtype=torch.float64), "sampler": "ddim"}

    def networks(self, run: DiffusionRun) -> dict[str, NetworkDenoiser]:
        return {"student": run.start(self.kind), "fake": run.start(self.kind)}

    def optimizers(self, networks: dict[str, Any]) -> dict[str, torch.optim.Optimizer]:
        return adam(networks, {"student": self.lr, "fake": self.fake_lr}, betas=(0.0, 0.99))

    def losses(self, run: DiffusionRun) -> Iterator[tuple[str, Tensor]]:
        def make(purpose: str) -> tuple[Tensor, Tensor | None]:
            samples, _, _, condition = self.make(run, purpose)
            return samples, condition

        teacher = run.guided(self.guidance)
        if self.matching:
            yield from fake_updates(run, make, self.fake_steps, self.levels)
        samples, first, noise, condition = self.make(run, "student")
        wanted = anchor(teacher, noise, self.teacher_times, self.anchor_steps, condition)
        missed = anchor_loss(first, wanted, run.student, self.sampling["times"][0])
        run.log(anchor=missed.detach())
        loss = self.weight * missed
        if self.matching:
            loss = loss + self.matching * matching_loss(run, samples, condition, self.levels, teacher, self.scale)
        yield "student", loss

    def make(self, run: DiffusionRun, purpose: str) -> tuple[Tensor, Prediction, Tensor, Tensor | None]:
        """Samples cut off from the first step, what that said, and the noise and classes they are from."""
        noise = run.noise(self.batch, f"noise of {purpose}")
        condition = run.conditions(self.batch, f"classes of {purpose}")
        samples, first = follow(run.student, noise, self.sampling["times"], condition, cut=1)
        return samples, first, noise, condition

    @property
    def teacher_times(self) -> Tensor:
        """Falling from the student's first time to 0, float64, shape (teacher_steps + 1,)."""
        return torch.linspace(self.times[0], 0, self.teacher_steps + 1, dtype=torch.float64)


def anchor_loss(first: Prediction, wanted: Prediction, student: NetworkDenoiser, t: Tensor) -> Tensor:
    """‖u_1 − u*‖² in the terms of the student's own output, summed over coordinates: the mean over examples."""
    said, target = (write(each, student.kind, t, student.schedule) for each in (first, wanted))
    return (said - target.detach()).square().flatten(1).sum(1).mean()


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
