"""Hybrid sampling (diversity distillation): the base makes some of the steps, the few-step student the others.

A student of K steps at times τ₁ > … > τ_{K+1} = 0 often loses variety in its first step. Let the base make that step,
then hand over: no training, one step's worth of base calls (paper 096, part B). `hand_over` sweeps the switch (the base
makes the first k steps, k = 0..K) and the *position* of a single base step (i = 1..K): if variety comes back only for
one position, that step of the student had lost it.

Shared schedule, the paper's: the base makes its steps at the student's times. Own schedule: the base goes to the time
of the hand-over in smaller steps of its own. All runs start from the same noise, and the noise drawn at a step is the
same whoever makes the other steps.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workbench.diffusion.judging.metrics import Measure, diversity
from workbench.diffusion.making.starting import denoiser
from workbench.diffusion.making.trainer import usage
from workbench.diffusion.sampling.denoiser import Denoiser, Guided, Rescheduled
from workbench.diffusion.sampling.reference import FlowMap
from workbench.diffusion.sampling.sampling import Rule, SamplingError, Stage, check, redraws, rule, walk
from workbench.diffusion.sampling.schedules import along
from workbench.diffusion.teachers.mixture import GaussianMixture
from workbench.diffusion.teachers.modes import coverage_measures
from workbench.diffusion.trajectories.targets import Tape
from workbench.records import DiffusionModel, HandOver, Provenance, TargetTrajectories
from workbench.training import randomness

COUNTED = 64
"""Mixtures of up to so many components are measured by their modes; more are images of a kernel density."""


def hand_over(
    base: Denoiser | DiffusionModel,
    student: Denoiser | DiffusionModel,
    noise: Tensor,
    *,
    times: Tensor | Sequence[float] | None = None,
    base_sampler: str | Rule = "ddim",
    student_sampler: str | Rule | None = None,
    measures: Mapping[str, Measure] | None = None,
    condition: Tensor | None = None,
    guidance: float = 1.0,
    seed: int = 0,
    own_schedule: int | None = None,
    meet: bool = True,
    name: str = "",
    names: tuple[str, str] = ("base", "student"),
    classes: Sequence[str] = (),
    mean: Tensor | None = None,
    std: Tensor | None = None,
    watch: Callable[[float], None] | None = None,
) -> HandOver:
    """Sample with every switch and every position of a single base step, and measure what comes out.

    Parameters
    ----------
    base, student
        Two models of the same schedule and shape, or records of them.
    noise
        Standard normal, shape (n, ...).
    times
        The student's, falling, at least two; default: those in its record.
    base_sampler, student_sampler
        Rules; the student's by default that in its record, else ``"consistency"`` (re-noising).
    measures
        Name → function of samples and condition; default: `entropy`, `modes`, `quality` and `diversity` where the base
        is a mixture of modes, else `diversity`.
    condition
        Class of each example, (n,).
    guidance
        Scale of classifier-free guidance of the base; the student has none, as it has learned its own.
    seed
        Of what is drawn on the way.
    own_schedule
        Steps of the base's own schedule, of which it makes those before the hand-over; None: it shares the student's
        times. With a schedule of its own the base can only make first steps, so of the positions all but the first are
        then made at the student's times.
    meet
        End the base's own schedule exactly at the student's time. False: at its own nearest time, as the paper's code
        does, with a small mismatch of noise levels.
    name, names, classes, mean, std
        For the record; see `HandOver`.
    watch
        Told after every run which share of them is made, 0..1; what it raises ends the sweep.

    Raises
    ------
    SamplingError
        Schedules or shapes differ; times are missing, do not fall or are outside the schedule; a state became NaN.
    ValueError
        Guidance of a model without classes.

    Examples
    --------
    >>> from workbench.diffusion import ring
    >>> noise = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    >>> half = ring().only(torch.arange(4))  # a "student" that knows half the modes
    >>> shared = hand_over(ring(), half, noise, times=[0.99, 0.25, 0.15, 0.08, 0.0], student_sampler="ddim")
    >>> shared.switches.shape, shared.positions.shape, shared.base_calls.tolist()
    (torch.Size([5, 500, 2]), torch.Size([4, 500, 2]), [0, 1, 2, 3, 4])
    >>> shared.measures["modes"]["switches"][[0, 4]].tolist()
    [4.0, 8.0]
    """
    started = time.perf_counter()
    pair = _Pair.of(base, student, noise, times, base_sampler, student_sampler, condition, guidance, own_schedule, meet)
    K = len(pair.times) - 1
    choices = [tuple(range(1, k + 1)) for k in range(K + 1)] + [(i,) for i in range(2, K + 1)]
    samples, calls = [], []
    for number, choice in enumerate(choices, 1):
        stages = pair.stages(choice)
        samples.append(pair.run(stages, seed))
        calls.append(pair.calls(stages))
        if watch is not None:
            watch(number / len(choices))
    asked = _measures(pair.base) if measures is None else measures
    switch, position = list(range(K + 1)), [1, *range(K + 1, 2 * K)]
    values, intervals = {}, {}
    measured = [[measure(each, condition) for measure in asked.values()] for each in samples]
    for what, of_each in zip(asked, zip(*measured, strict=True), strict=True):
        told = torch.tensor(of_each, dtype=torch.float64)
        values[what] = {"switches": told[switch, 0], "positions": told[position, 0]}
        intervals[what] = {"switches": told[switch, 1:], "positions": told[position, 1:]}
    count, made = torch.tensor(calls), torch.stack(samples).cpu()
    return HandOver(
        name=name,
        base=names[0],
        student=names[1],
        times=pair.times,
        noise=noise.cpu(),
        condition=None if condition is None else condition.expand(len(noise)).cpu(),
        classes=tuple(classes),
        mean=mean,
        std=std,
        switches=made[switch],
        positions=made[position],
        measures=values,
        intervals=intervals,
        base_calls=count[switch, 0],
        student_calls=count[switch, 1],
        position_base_calls=count[position, 0],
        position_student_calls=count[position, 1],
        settings=pair.settings(seed),
        provenance=Provenance.capture(seed=seed, device=noise.device, started=started),
    )


def hybrid(
    base: Denoiser | DiffusionModel,
    student: Denoiser | DiffusionModel,
    noise: Tensor,
    *,
    base_steps: Sequence[int] = (1,),
    times: Tensor | Sequence[float] | None = None,
    base_sampler: str | Rule = "ddim",
    student_sampler: str | Rule | None = None,
    condition: Tensor | None = None,
    guidance: float = 1.0,
    seed: int = 0,
    own_schedule: int | None = None,
    meet: bool = True,
    name: str = "hybrid",
    classes: Sequence[str] = (),
    mean: Tensor | None = None,
    std: Tensor | None = None,
) -> TargetTrajectories:
    """One hybrid run, with its diffusion targets: the base makes `base_steps`, numbered from 1, the student the others.

    Other arguments as for `hand_over`. No base steps is the student's own run, all of them the base's on its times.

    Raises
    ------
    SamplingError
        As `hand_over`; or a step that the student has not.

    Examples
    --------
    >>> from workbench.diffusion import ring
    >>> noise = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    >>> hybrid(ring(), ring(), noise, times=[0.99, 0.25, 0.15, 0.08, 0.0]).states.shape
    torch.Size([4, 3, 2])
    """
    started = time.perf_counter()
    pair = _Pair.of(base, student, noise, times, base_sampler, student_sampler, condition, guidance, own_schedule, meet)
    stages = pair.stages(base_steps)
    tape = Tape(sum(len(stage.times) - 1 for stage in stages))
    samples = pair.run(stages, seed, tape)
    base_calls, student_calls = pair.calls(stages)
    return TargetTrajectories(
        name=name,
        role="other",
        **tape.recorded(),
        samples=samples.cpu(),
        noise=noise.cpu(),
        condition=None if condition is None else condition.expand(len(noise)).cpu(),
        classes=tuple(classes),
        schedule=pair.student.schedule.spec,
        sampler=f"{pair.base_rule!r}, then {pair.student_rule!r}",
        guidance=float(guidance),
        calls=base_calls + student_calls,
        mean=mean,
        std=std,
        settings=pair.settings(seed) | {"base steps": list(base_steps)},
        provenance=Provenance.capture(seed=seed, device=noise.device, started=started),
    )


class _Pair(NamedTuple):
    """Base and student, checked, with all that their runs share."""

    base: Denoiser
    student: Denoiser
    base_rule: Rule
    student_rule: Rule
    times: Tensor
    noise: Tensor
    condition: Tensor | None
    own: Tensor | None
    meet: bool

    @classmethod
    def of(
        cls,
        base: Denoiser | DiffusionModel,
        student: Denoiser | DiffusionModel,
        noise: Tensor,
        times: Tensor | Sequence[float] | None,
        base_sampler: str | Rule,
        student_sampler: str | Rule | None,
        condition: Tensor | None,
        guidance: float,
        own_schedule: int | None,
        meet: bool,
    ) -> "_Pair":
        one = base is student
        if isinstance(student, DiffusionModel):
            times = student.times if times is None else times
            student_sampler = usage(student)["sampler"] if student_sampler is None else student_sampler
            student = denoiser(student).to(noise.device)
        if isinstance(base, DiffusionModel):
            base = student if one else denoiser(base).to(noise.device)
        if times is None:
            raise SamplingError("times is None, and no record says at which times the student is used: pass them")
        at = torch.as_tensor(times, dtype=torch.float64).cpu()
        if base.schedule != student.schedule:
            raise SamplingError(
                f"base has states of {base.schedule}, the student of {student.schedule}; a state cannot be handed "
                "over: wrap one in Rescheduled(model, schedule)"
            )
        if tuple(base.shape) != tuple(student.shape):
            raise SamplingError(
                f"base makes examples of shape {tuple(base.shape)}, the student of {tuple(student.shape)}; a state "
                "cannot be handed over"
            )
        check(student, noise, at, condition)
        own = None if own_schedule is None else base.schedule.grid(own_schedule, latest=float(at[0]))
        asked = Guided(base, guidance) if guidance != 1 else base
        rules = rule(base_sampler), rule("consistency" if student_sampler is None else student_sampler)
        return cls(asked, student, *rules, at, noise, condition, own, meet)

    def stages(self, base_steps: Sequence[int]) -> list[Stage]:
        """Who makes which steps: neighbouring steps of one maker are one stage, so that a rule may look back."""
        K = len(self.times) - 1
        strange = [step for step in base_steps if not 1 <= step <= K]
        if strange:
            raise SamplingError(f"base_steps holds {strange[0]}; the student has steps 1..{K}")
        by_base = [step in base_steps for step in range(1, K + 1)]
        alike = self.base is self.student and self.base_rule == self.student_rule
        found: list[Stage] = []
        for i, mine in enumerate(by_base):
            if i and (alike or mine == by_base[i - 1]):
                last = found.pop()
                found.append(last._replace(times=torch.cat([last.times, self.times[i + 1 : i + 2]])))
            else:
                model, made_by = (self.base, self.base_rule) if mine else (self.student, self.student_rule)
                found.append(Stage(model, made_by, self.times[i : i + 2], i))
        if self.own is not None and by_base[0] and not alike:
            times = self._until(float(found[0].times[-1]))
            found[0] = found[0]._replace(times=times, first=1 - len(times))
        return found

    def _until(self, end: float) -> Tensor:
        """The base's own times down to the hand-over."""
        assert self.own is not None
        if self.meet:
            return torch.cat([self.own[self.own > end], torch.tensor([end], dtype=torch.float64)])
        nearest = max(1, int((self.own - end).abs().argmin()))
        return self.own[: nearest + 1]

    def run(self, stages: list[Stage], seed: int, record: Tape | None = None) -> Tensor:
        start = along(self.student.schedule.sigma(self.times[0]), self.noise) * self.noise
        return walk(stages, start, self.condition, _Draws(seed, self.noise), record)

    def calls(self, stages: list[Stage]) -> tuple[int, int]:
        """Model evaluations per example: of the base, and of the student."""
        made = [0, 0]
        for stage in stages:
            made[stage.model is not self.base] += stage.rule.calls * (len(stage.times) - 1)
        return made[0], made[1]

    def settings(self, seed: int) -> dict[str, Any]:
        """The arguments of the run, as plain values."""
        return {
            "base sampler": repr(self.base_rule),
            "student sampler": repr(self.student_rule),
            "guidance": float(getattr(self.base, "scale", 1.0)),
            "own schedule": None if self.own is None else len(self.own) - 1,
            "meet": self.meet,
            "seed": seed,
        }


class _Draws:
    """What is drawn at a step depends on the seed and the step's number, whoever makes the others.

    From 0 on it is what `sample` would have drawn there, from `redraws` of the seed. Steps of the base's own schedule
    are counted from below 0.
    """

    def __init__(self, seed: int, like: Tensor) -> None:
        self.seed, self.like = seed, like
        self.source = redraws(seed, like.device)
        self.next = 0

    def __call__(self, number: int) -> Tensor:
        if number < 0:
            return self._new(randomness.generator(self.seed, randomness.SAMPLING, -number, self.like.device))
        if number < self.next:
            raise SamplingError(f"a rule drew twice at step {number + 1}, which a hybrid run cannot repeat")
        while self.next < number:
            self._new(self.source)
            self.next += 1
        self.next += 1
        return self._new(self.source)

    def _new(self, source: torch.Generator) -> Tensor:
        return torch.randn(self.like.shape, generator=source, device=source.device, dtype=self.like.dtype)


def _measures(base: Denoiser) -> dict[str, Measure]:
    bottom: Any = base
    while isinstance(bottom, Guided | Rescheduled | FlowMap):
        bottom = bottom.model
    counted = isinstance(bottom, GaussianMixture) and len(bottom.weights) <= COUNTED
    return coverage_measures(bottom) if counted else {"diversity": diversity}
