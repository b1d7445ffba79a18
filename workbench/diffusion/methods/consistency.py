"""Consistency distillation: where a student jumps to must not depend on where on the teacher's path it jumps from.

For neighbours t > t′ of a grid and a target s ≤ t′,

    f(x, t, s) = α_s x̂₀(x, t) + σ_s ε̂(x, t),      x_{t′} = DDIM step of the teacher from x_t,
    L = d( f_θ(x_t, t, s),  sg f_θ⁻(x_{t′}, t′, s) ).

Song et al. 2023 (s = 0); Kim et al. 2024, CTM, and Zheng et al. 2024, TCD (any s); papers 044 and 071 differ in how s
is chosen. In this form s need not be an input of the network.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from workbench.diffusion.making.making import adam
from workbench.diffusion.making.run import DiffusionRun
from workbench.diffusion.making.target_rules import TargetRule, visited
from workbench.diffusion.sampling.denoiser import Denoiser, NetworkDenoiser
from workbench.diffusion.sampling.predictions import jump
from workbench.diffusion.sampling.schedules import Schedule, along
from workbench.training.schedules import cosine


@dataclass(frozen=True)
class Jump:
    """A batch of jumps to be trained, shapes (n, ...) and (n,).

    Attributes
    ----------
    x
        States at t.
    t, before, s
        Where the student jumps from, the time t′ one teacher step below, and where to.
    condition
        Classes; None without.
    """

    x: Tensor
    t: Tensor
    before: Tensor
    s: Tensor
    condition: Tensor | None = None


def land(model: Denoiser, x: Tensor, t: Tensor, s: Tensor, condition: Tensor | None = None) -> Tensor:
    """f(x, t, s), the jump from t to s; x itself where s = t."""
    reached = jump(model(x, t, condition), s, model.schedule)
    return torch.where(along((s >= t).to(x), x) > 0, x, reached)


def jump_loss(
    student: Denoiser,
    behind: Denoiser,
    teacher: Denoiser,
    one: Jump,
    *,
    distance: str = "l2",
    huber: float = 1e-3,
    weight: str = "jump",
) -> Tensor:
    """The loss of each example, (n,).

    Parameters
    ----------
    student
        f_θ.
    behind
        f_θ⁻ of the target: the student itself, or a moving average; no gradient reaches it.
    teacher
        Whose DDIM step leads to t′ (guided, if the student is to be).
    one
        The jumps.
    distance
        ``"l2"``: mean over coordinates of squares; ``"huber"``: of √(e² + c²) − c, with c = `huber`.
    weight
        ``"even"``: 1; ``"jump"``: divided by (t − s)² (by t − s for Huber), so that short jumps count as long ones do:
        on rectified flow the error is then one of velocity.
    """
    with torch.no_grad():
        nearer = land(teacher, one.x, one.t, one.before, one.condition)
        target = land(behind, nearer, one.before, one.s, one.condition)
    gap = land(student, one.x, one.t, one.s, one.condition) - target
    width = along(one.t - one.s, gap).flatten(1) if weight == "jump" else 1.0
    if distance == "l2":
        return (gap.flatten(1) / width).square().mean(1)
    return ((gap.flatten(1).square() + huber**2).sqrt() - huber).div(width).mean(1)


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """Consistency distillation under any rule for its targets.

    Attributes
    ----------
    rule
        The choice of s.
    grid
        N: intervals between the times that the teacher's steps connect.
    use
        Steps the student is used with.
    gamma
        Of γ-sampling when it is used; 0: DDIM.
    guidance
        Of the teacher's step; ours, where 1 is none: the w of LCM and its successors is one less.
    unconditional
        Share of examples whose class is not told: guidance can then be set afterwards.
    target_decay
        Of the moving average that makes the target; 0: the student itself.
    distance, huber, weight
        See `jump_loss`.
    decay
        Of the moving average of the student that is kept; 0: none.
    clip
        Largest norm of a gradient.
    """

    short: ClassVar[str] = "CD"

    rule: TargetRule = field(default_factory=TargetRule.zero)
    grid: int = 50
    steps: int = 1500
    batch: int = 512
    lr: float = 1e-3
    use: int = 4
    gamma: float = 0.0
    guidance: float = 1.0
    unconditional: float = 0.0
    target_decay: float = 0.0
    distance: str = "l2"
    huber: float = 1e-3
    weight: str = "jump"
    decay: float = 0.0
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.distance not in ("l2", "huber") or self.weight not in ("even", "jump"):
            raise ValueError(
                f"distance={self.distance!r} can be 'l2' or 'huber', weight={self.weight!r} 'even' or 'jump'"
            )
        if not 0 <= self.unconditional <= 1 or not 0 <= self.target_decay < 1:
            raise ValueError(
                f"unconditional={self.unconditional} must be in 0..1, target_decay={self.target_decay} at least 0 and "
                "under 1"
            )
        visited(self.grid, self.use)

    def networks(self, run: DiffusionRun) -> dict[str, Any]:
        student = run.start()
        if self.target_decay:
            run.memory["behind"] = {name: value.detach().clone() for name, value in student.state_dict().items()}
        return {"student": student}

    def optimizers(self, networks: dict[str, Any]) -> dict[str, torch.optim.Optimizer]:
        return adam(networks, self.lr)

    def pace(self, run: DiffusionRun) -> float:
        return cosine(run.iteration / max(run.steps, 1))

    @property
    def sampling(self) -> dict[str, Any]:
        return used_with(self.gamma)

    def finish(self, run: DiffusionRun) -> dict[str, Any]:
        """The times it is used with."""
        return {"times": few_times(run.teacher.schedule, self.grid, self.use)}

    def losses(self, run: DiffusionRun) -> Iterator[tuple[str, Tensor]]:
        one = draw(run, self.rule, self.grid, self.batch, self.unconditional)
        behind = self.behind(run)
        each = jump_loss(
            run.student, behind, run.guided(self.guidance), one,
            distance=self.distance, huber=self.huber, weight=self.weight,
        )  # fmt: skip
        yield "student", each.mean()
        if self.target_decay:
            with torch.no_grad():
                for name, value in run.student.state_dict().items():
                    run.memory["behind"][name].lerp_(value, 1 - self.target_decay)

    def behind(self, run: DiffusionRun) -> NetworkDenoiser:
        """The network that makes the target."""
        if not self.target_decay:
            return run.student
        if "behind" not in run.made:
            run.made["behind"] = run.blank(run.student.kind).requires_grad_(False)
        network: NetworkDenoiser = run.made["behind"]
        network.load_state_dict(run.memory["behind"])
        return network


def times_of(schedule: Schedule, grid: int) -> Tensor:
    """The grid: times rising from 0 to the latest, float64, shape (grid + 1,)."""
    return schedule.grid(grid).flip(0)


def draw(run: DiffusionRun, rule: TargetRule, grid: int, batch: int, unconditional: float = 0.0) -> Jump:
    """Jumps for this iteration: data, noise, a step of the grid and a target for each example."""
    x0, condition = run.real(batch)
    times = times_of(run.teacher.schedule, grid).to(run.device)
    n = 1 + run.integers(batch, grid)
    s = rule.choose(times, n - 1, run.uniform(batch, "which target"), run.uniform(batch, "how far"))
    if condition is not None and unconditional:
        condition = torch.where(run.uniform(batch, "hidden") < unconditional, -1, condition)
    t, before, s = (time.float() for time in (times[n], times[n - 1], s))
    return Jump(run.teacher.schedule.diffuse(x0, run.noise(batch), t), t, before, s, condition)


def few_times(schedule: Schedule, grid: int, steps: int) -> Tensor:
    """Times of a sampler of `steps` steps on a grid, falling, float64, shape (steps + 1,).

    Examples
    --------
    >>> from workbench.diffusion import VPLinear
    >>> few_times(VPLinear(), 50, 4).tolist()
    [1.0, 0.76, 0.5, 0.26, 0.0]
    """
    return times_of(schedule, grid)[visited(grid, steps)]


def used_with(gamma: float) -> dict[str, Any]:
    """The rule of γ-sampling, as fields of a record; γ = 0 is DDIM."""
    return {"sampler": "ddim"} if gamma == 0 else {"sampler": "consistency", "sampling": {"gamma": gamma}}
