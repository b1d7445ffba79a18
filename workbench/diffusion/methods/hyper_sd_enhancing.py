"""What Hyper-SD does after consistency: feedback from rewards, and one-step samples improved by scores (paper 044).

Ren et al., “Hyper-SD”, NeurIPS 2024, Sections 3.2 and 3.3. Each starts from a student, ``network=record``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.diffusion.making.chain import follow
from workbench.diffusion.making.making import adam
from workbench.diffusion.making.run import DiffusionRun
from workbench.diffusion.methods.dmd import dmd_gradient, fake_loss, surrogate
from workbench.diffusion.sampling.denoiser import NetworkDenoiser
from workbench.models import lora
from workbench.records import DiffusionModel
from workbench.training.schedules import cosine


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """Feedback learning: a student's samples are moved to where a reward is high, and held by what they were.

        L = −strength · E r(x) + anchor · E ‖x − x_before‖²,     x the student's samples, by all its steps.

    The teacher is not asked; start it from a student, ``network=record``, whose times it keeps. The paper's rewards are
    an aesthetic score, ImageReward and a segmentation network's opinion of structure, its adapter is apart from the one
    of consistency: `rank`.

    Attributes
    ----------
    reward
        Differentiable, from samples (n, ...) to (n,).
    strength, anchor
        Weights of the two terms. What the reward gains, faithfulness loses: compare several strengths.
    rank
        Of a low-rank adapter that is trained in place of all weights; 0: none.
    """

    short: ClassVar[str] = "ReFL"

    reward: Callable[[Tensor], Tensor]
    strength: float = 0.1
    anchor: float = 1.0
    steps: int = 200
    batch: int = 256
    lr: float = 5e-4
    rank: int = 4
    decay: float = 0.0

    def networks(self, run: DiffusionRun) -> dict[str, Any]:
        if not isinstance(run.network, DiffusionModel) or run.network.times is None:
            raise ValueError("network must be the record of a few-step student, whose samples are to be improved")
        run.made["before"] = run.blank().requires_grad_(False)
        student = run.blank()
        if self.rank:
            lora.attach(student, rank=self.rank, alpha=self.rank, seed=run.seed)
        return {"student": student}

    def optimizers(self, networks: dict[str, Any]) -> dict[str, torch.optim.Optimizer]:
        return adam(networks, self.lr)

    @property
    def sampling(self) -> dict[str, Any]:
        return {"sampler": "ddim"}

    def finish(self, run: DiffusionRun) -> dict[str, Any]:
        """The times of the student it began as."""
        return {"times": cast("DiffusionModel", run.network).times}

    def losses(self, run: DiffusionRun) -> Iterator[tuple[str, Tensor]]:
        times = cast("Tensor", cast("DiffusionModel", run.network).times).to(run.device)
        noise, condition = run.noise(self.batch), run.conditions(self.batch)
        x, _ = follow(run.student, noise, times, condition)
        with torch.no_grad():
            before, _ = follow(run.made["before"], noise, times, condition)
        reward, moved = self.reward(x).mean(), (x - before).square().flatten(1).sum(1).mean()
        run.log(reward=reward.detach(), moved=moved.detach())
        yield "student", self.anchor * moved - self.strength * reward


@dataclass(frozen=True, kw_only=True)
class OneStep:
    """The paper's enhancement of one-step samples: distribution matching, anchored by a squared error.

        g = (x̂_F − x̂_T)(x_t) / scale,     L = ½ ‖x − sg[x − g]‖² + anchor · ‖x − Φ(ε)‖²,     x = f_θ(ε, 1, 0),

    with the teacher's x̂_T, that of a *fake* network x̂_F which learns to denoise the student's samples, and Φ the
    teacher's own sample of the same noise, from a pool made once.

    Attributes
    ----------
    anchor
        Weight of the squared error.
    fake_steps
        Steps of the fake network for each of the student.
    fake_start
        Iterations of the fit to the teacher that an exact teacher's fake network starts from.
    pool
        Noises whose end on the teacher's path is known.
    least, most
        Range of the times at which scores are compared.
    """

    short: ClassVar[str] = "DMD + MSE"

    anchor: float = 1.0
    fake_steps: int = 3
    fake_start: int = 1000
    pool: int = 4096
    least: float = 0.02
    most: float = 0.98
    steps: int = 500
    batch: int = 256
    lr: float = 2e-4
    guidance: float = 1.0
    decay: float = 0.0

    def networks(self, run: DiffusionRun) -> dict[str, Any]:
        # The fake begins as a model of the data, whatever the student has become.
        fake = replace(run, network=None, made={}).start(steps=self.fake_start)
        return {"student": run.start(), "fake": fake}

    def optimizers(self, networks: dict[str, Any]) -> dict[str, torch.optim.Optimizer]:
        return adam(networks, {"student": self.lr, "fake": 5 * self.lr})

    def pace(self, run: DiffusionRun) -> float:
        return cosine(run.iteration / max(run.steps, 1))

    @property
    def sampling(self) -> dict[str, Any]:
        return {"sampler": "ddim"}

    def finish(self, run: DiffusionRun) -> dict[str, Any]:
        """One step, from the latest time."""
        return {"times": run.teacher.schedule.grid(1)}

    def losses(self, run: DiffusionRun) -> Iterator[tuple[str, Tensor]]:
        schedule, fake = run.teacher.schedule, cast("NetworkDenoiser", run.networks["fake"])
        once = schedule.grid(1).to(run.device)
        for part in range(self.fake_steps):
            noise, condition = run.noise(self.batch, f"fake {part}"), run.conditions(self.batch, f"fake {part}")
            with torch.no_grad():
                x, _ = follow(run.student, noise, once, condition)
            yield (
                "fake",
                fake_loss(fake, x, self._times(run, f"time {part}"), run.noise(self.batch, f"mix {part}"), condition),
            )
        noises, ends, classes = run.pairs(self.pool, self.guidance)
        rows = run.integers(self.batch, len(noises), "pair")
        condition = None if classes is None else classes[rows]
        x, _ = follow(run.student, noises[rows], once, condition)
        t = self._times(run, "time")
        g = dmd_gradient(
            schedule.diffuse(x.detach(), run.noise(self.batch, "mix"), t), t, run.guided(self.guidance), fake, condition
        )
        yield "student", surrogate(x, g) + self.anchor * F.mse_loss(x, ends[rows])

    def _times(self, run: DiffusionRun, purpose: str) -> Tensor:
        return self.least + (self.most - self.least) * run.uniform(self.batch, purpose)
