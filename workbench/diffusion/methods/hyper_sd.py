"""Trajectory-segmented consistency distillation: consistency within 8, then 4, 2, 1 segments of time.

In stage k the times are cut into k segments and the target s of a step t → t′ is the lower end of the one it is in,

    L = d( f_θ(x_t, t, s),  sg f_θ(x_{t′}, t′, s) ),

so that each stage only doubles the jumps of the one before it. d is the mean squared error and, where segments are long
and the squared error blurs, a discriminator's opinion as well. Paper 044: Ren et al., “Hyper-SD”, NeurIPS 2024. One
low-rank adapter can carry it all (`rank`). The other two stages of the paper are `Feedback` and `OneStep`.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench import models
from workbench.diffusion.making.making import adam
from workbench.diffusion.making.run import DiffusionRun
from workbench.diffusion.making.target_rules import TargetRule, visited
from workbench.diffusion.methods.consistency import draw, few_times, jump_loss, land, used_with
from workbench.diffusion.sampling.denoiser import Denoiser
from workbench.models import lora
from workbench.training.schedules import cosine


@dataclass(frozen=True, kw_only=True)
class TSCD:
    """Trajectory-segmented consistency distillation.

    Attributes
    ----------
    segments
        k of each stage, in order; each gets an equal share of `steps`, and its own decay of the learning rate.
    grid
        Intervals between the times that the teacher's steps connect.
    use
        Steps the student is used with; default: the last k.
    gamma
        Of γ-sampling when it is used; 0: DDIM.
    guidance
        Of the teacher's step; ours, where 1 is none.
    teacher
        Who makes that step: ``"original"``, or ``"previous"``, the student of the stage before, from the second on.
    jitter
        How far a segment's end is moved down at random at the start of a stage, as a share of the segment; it shrinks
        to nothing over the stage.
    adversarial
        Weight of the discriminator at k = 1, growing as 1/k; 0: none.
    rank
        Of a low-rank adapter that is trained in place of all weights; 0: none.
    weight
        See `jump_loss`.
    """

    short: ClassVar[str] = "TSCD"

    segments: tuple[int, ...] = (8, 4, 2, 1)
    grid: int = 40
    steps: int = 3200
    batch: int = 512
    lr: float = 1e-3
    use: int | None = None
    gamma: float = 0.0
    guidance: float = 1.0
    teacher: str = "original"
    jitter: float = 0.0
    adversarial: float = 0.0
    rank: int = 0
    weight: str = "jump"
    decay: float = 0.0

    def __post_init__(self) -> None:
        if not self.segments:
            raise ValueError("segments is empty; at least one stage is needed")
        for count in (*self.segments, self.use or self.segments[-1]):
            visited(self.grid, count)
        if self.teacher not in ("original", "previous"):
            raise ValueError(f"teacher is {self.teacher!r}; it can be 'original' or 'previous'")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is {self.jitter}; it is a share of a segment, 0..1")

    def networks(self, run: DiffusionRun) -> dict[str, Any]:
        student = run.start()
        if self.rank:
            lora.attach(student, rank=self.rank, alpha=self.rank, seed=run.seed)
        trained: dict[str, Any] = {"student": student}
        if self.adversarial:
            spec = getattr(student.network, "spec", None)
            if spec is None:
                raise ValueError("adversarial > 0 needs a network that models.build knows, to make the critic of")
            with_classes = student.classes > 0
            trained["critic"] = Critic(models.from_spec(spec), conditional=with_classes).to(run.device)
        return trained

    def optimizers(self, networks: dict[str, Any]) -> dict[str, torch.optim.Optimizer]:
        return adam(networks, {"student": self.lr, "critic": self.lr})

    def stage(self, run: DiffusionRun) -> tuple[int, float]:
        """Number of the stage that this iteration is in, and how far it is, in 0..1."""
        share = run.iteration * len(self.segments) / max(run.steps, 1)
        number = min(int(share), len(self.segments) - 1)
        return number, share - number

    def pace(self, run: DiffusionRun) -> float:
        return cosine(self.stage(run)[1])

    @property
    def sampling(self) -> dict[str, Any]:
        return used_with(self.gamma)

    def finish(self, run: DiffusionRun) -> dict[str, Any]:
        """The times it is used with."""
        return {"times": few_times(run.teacher.schedule, self.grid, self.use or self.segments[-1])}

    def losses(self, run: DiffusionRun) -> Iterator[tuple[str, Tensor]]:
        number, progress = self.stage(run)
        k = self.segments[number]
        one = draw(run, TargetRule.segments(k), self.grid, self.batch)
        if self.jitter:
            down = self.jitter * (1 - progress) / k * run.uniform(self.batch, "jitter")
            one = replace(one, s=(one.s - down * run.teacher.schedule.latest).clamp_min(0))
        guide = self._guide(run, number)
        if self.adversarial:
            judge = run.networks["critic"]
            with torch.no_grad():
                nearer = land(guide, one.x, one.t, one.before, one.condition)
                good = land(run.student, nearer, one.before, one.s, one.condition)
                made = land(run.student, one.x, one.t, one.s, one.condition)
            told = judge(good, one.s, one.condition), judge(made, one.s, one.condition)
            yield "critic", F.relu(1 - told[0]).mean() + F.relu(1 + told[1]).mean()
        loss = jump_loss(run.student, run.student, guide, one, weight=self.weight).mean()
        if self.adversarial:
            made = land(run.student, one.x, one.t, one.s, one.condition)
            loss = loss - self.adversarial / k * run.networks["critic"](made, one.s, one.condition).mean()
        yield "student", loss

    def _guide(self, run: DiffusionRun, number: int) -> Denoiser:
        """Who makes the step from t to t′ in this stage."""
        if self.teacher == "original" or number == 0:
            return run.guided(self.guidance)
        if run.memory.get("stage") != number:
            run.memory["stage"] = number
            run.memory["previous"] = {name: value.detach().clone() for name, value in run.student.state_dict().items()}
        if run.made.get("stage") != number:
            before = copy.deepcopy(run.student)
            before.load_state_dict(run.memory["previous"])
            run.made["previous"], run.made["stage"] = before.requires_grad_(False), number
        previous: Denoiser = run.made["previous"]
        return previous


class Critic(nn.Module):
    """Is this state one that a shorter jump led to? The mean of a denoiser's output, shape (n,)."""

    def __init__(self, network: nn.Module, *, conditional: bool) -> None:
        super().__init__()
        self.network = network
        self.conditional = conditional

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        out = self.network(x, t, condition) if self.conditional else self.network(x, t)
        return cast("Tensor", out.flatten(1).mean(1))
