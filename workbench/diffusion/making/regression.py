"""Regression: a network learns to say, at every state and time, what a teacher says there, or what the data were.

    L = E ‖u_θ(x_t, t) − u(x_t, t)‖²,   x_t = α x₀ + σ ε,

with u the teacher's answer in the network's own terms (a velocity, x̂₀, …), or, without a teacher, that of the very x₀
and ε (denoising score matching, Vincent 2011; flow matching, Lipman et al. 2023). Both have the same minimum if the
teacher is exact; its answers have no variance. Students start from such a fit, as they would from a teacher's weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from workbench.diffusion.making.making import adam
from workbench.diffusion.making.run import DiffusionRun
from workbench.diffusion.making.weighting import time_weight
from workbench.diffusion.sampling.predictions import Prediction, write
from workbench.training.schedules import cosine


@dataclass(frozen=True, kw_only=True)
class Regression:
    """Fit a network to a teacher's answers.

    Attributes
    ----------
    kind
        What the network predicts, where it does not say so itself.
    weight
        Of the times, by name: see `time_weight`.
    unconditional
        Share of examples whose class is not told, so that both branches of guidance are learned.
    """

    short: ClassVar[str] = "regression"

    kind: str = "velocity"
    steps: int = 1000
    batch: int = 512
    lr: float = 3e-3
    weight: str = "even"
    unconditional: float = 0.2
    decay: float = 0.0

    def networks(self, run: DiffusionRun) -> dict[str, Any]:
        return {"student": run.blank(self.kind)}

    def optimizers(self, networks: dict[str, Any]) -> dict[str, torch.optim.Optimizer]:
        return adam(networks, self.lr)

    def pace(self, run: DiffusionRun) -> float:
        return cosine(run.iteration / max(run.steps, 1))

    @property
    def sampling(self) -> dict[str, Any]:
        return {}

    def losses(self, run: DiffusionRun) -> Iterator[tuple[str, Tensor]]:
        student, schedule = run.student, run.teacher.schedule
        x0, condition = run.real(self.batch)
        noise, t = run.noise(self.batch), 1e-3 + (1 - 2e-3) * run.uniform(self.batch)
        if condition is not None:
            hidden = run.uniform(self.batch, "hidden") < self.unconditional
            condition = torch.where(hidden, -1, condition)
        x = schedule.diffuse(x0, noise, t)
        wanted = write(self.answer(run, x, t, condition, Prediction(x0, noise)), student.kind, t, schedule)
        gap = (student.output(x, t, condition) - wanted).square().flatten(1).mean(1)
        yield "student", (time_weight(self.weight, t, schedule) * gap).mean()

    def answer(
        self,
        run: DiffusionRun,
        x: Tensor,
        t: Tensor,
        condition: Tensor | None,
        truth: Prediction,  # noqa: ARG002 - `Denoising` answers by the truth
    ) -> Prediction:
        """What the network shall say."""
        with torch.no_grad():
            return run.teacher(x, t, condition)


@dataclass(frozen=True, kw_only=True)
class Denoising(Regression):
    """Fit a network to data: how a teacher is trained. `steps` and `lr` are those of small images."""

    short: ClassVar[str] = "denoising"

    steps: int = 1500
    batch: int = 128
    lr: float = 2e-3
    unconditional: float = 0.1
    decay: float = 0.995

    def answer(
        self,
        run: DiffusionRun,  # noqa: ARG002 - a `Regression`
        x: Tensor,  # noqa: ARG002
        t: Tensor,  # noqa: ARG002
        condition: Tensor | None,  # noqa: ARG002
        truth: Prediction,
    ) -> Prediction:
        return truth
