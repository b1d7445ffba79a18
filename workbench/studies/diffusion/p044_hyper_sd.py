"""Does consistency within segments of time serve a sampler that jumps from border to border? What do rewards cost?

Paper 044, Ren et al., Hyper-SD: segments 8, 4, 2, 1 in turn beside plain consistency distillation of as many updates;
one low-rank adapter in place of all weights; feedback from a reward; one-step samples improved by their scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from workbench.diffusion import TSCD, Denoiser, Feedback, OneStep, distill
from workbench.diffusion.methods.consistency import few_times
from workbench.records import Claim, DiffusionModel, Record, StudyResult
from workbench.studies.kit import few_step
from workbench.studies.kit.claims import asserted, estimate, rank_correlation, reported
from workbench.studies.kit.diffusing import Teacher, setting

GRID = 40
SEGMENTS = (8, 4, 2, 1)
STRENGTHS = (0.0, 0.02, 0.1, 0.5)
"""Of the reward, against a squared error of weight 1."""


@dataclass(frozen=True)
class Course:
    """What a budget buys beyond the scale: updates per stage, of feedback and of scores, and the adapter's rank."""

    stage: int
    feedback: int
    scores: int
    rank: int


SMALL, FULL = Course(800, 100, 150, 8), Course(2000, 300, 1000, 16)


def run(
    data: Any = None,
    *,
    root: Any = None,
    seeds: int | Sequence[int] | None = None,
    budget: str = "small",
    device: str = "auto",
) -> StudyResult:
    """Each seed has one start; each stage starts from the one before it, with a learning rate of its own.

    Arguments as for `workbench.studies.diffusion.p071_tdd.run`.
    """
    started = setting(data, root=root, seeds=seeds, budget=budget, device=device, seeds_small=3, seeds_full=5)
    teacher, scale = started.data, few_step.scale(started.data, budget)
    course = SMALL if budget == "small" else FULL
    if budget == "small":
        scale = replace(scale, batch=min(scale.batch, 128))
        if teacher.data is not None:
            course = Course(100, 20, 20, 8)
    judge = few_step.Judge(teacher, scale)
    begun = few_step.starts(teacher, scale, started.seeds, device)
    rows: list[dict[str, Any]] = []

    def at(student: DiffusionModel | Denoiser, steps: int) -> dict[str, float]:
        return judge.row(student, few_times(teacher.model.schedule, GRID, steps))

    students = _students(teacher, begun, scale, course, device)
    asked: dict[tuple[str, int], DiffusionModel | Denoiser] = {**students, ("teacher", -1): teacher.model}
    for (name, seed), student in asked.items():
        rows += [
            {"part": "segments", "method": name, "seed": seed, "steps": steps} | at(student, steps)
            for steps in SEGMENTS
        ]
    ends = {seed: students["1 segment", seed] for seed in started.seeds}
    rewarded = _rewarded(teacher, ends, judge, course, scale, device)
    scored = _scored(teacher, ends, judge, course, scale, device)
    first = started.seeds[0]
    records: dict[str, Record] = {
        name: student.replace(checkpoint={}) for (name, seed), student in students.items() if seed == first
    }
    return started.result(
        paper=44,
        title="Does consistency within segments of time serve the sampler that jumps from border to border?",
        rows=[*rows, *rewarded, *scored],
        claims=_claims(rows, rewarded, scored, started.seeds),
        records=records,
        settings={
            "grid": GRID, "iterations per stage": course.stage, "batch": scale.batch, "start": scale.start,
            "rank": course.rank, **scale.options, "sliced W2 of two exact sets": judge.floor,
        },
        notes="“k segments” is the student at the end of that stage; plain consistency distillation (CD) has the same "
        "stages with the target 0 throughout. “paired error” is the root mean square distance to where the teacher's "
        "path from the same noise ends. The reward is the first coordinate of points, the mean brightness of images: "
        "it stands for the aesthetic scores of the paper. With one learning rate decaying over all stages the last "
        "ones starve; here each stage has its own.",
    )  # fmt: skip


def _students(
    teacher: Teacher, begun: dict[int, DiffusionModel], scale: few_step.Scale, course: Course, device: str
) -> dict[tuple[str, int], DiffusionModel]:
    """The students at the end of each stage, plain consistency distillation, and the stages with an adapter."""
    made: dict[tuple[str, int], DiffusionModel] = {}
    common: dict[str, Any] = {"grid": GRID, "batch": scale.batch}
    total = course.stage * len(SEGMENTS)

    def chain(part: tuple[str, int]) -> list[tuple[str, DiffusionModel]]:
        kind, seed = part
        options: dict[str, Any] = {"seed": seed, "device": device, "progress": False, "classes": teacher.classes}
        if kind == "adapter":
            one = TSCD(segments=SEGMENTS, steps=total // 2, rank=course.rank, **common)
            name = f"1 segment, rank {course.rank}"
            return [(name, distill(teacher.model, one, network=begun[seed], name=name, **options))]
        stages, student = [], begun[seed]
        for number, k in enumerate(SEGMENTS, start=1):
            name = f"{k} segment{'s' if k > 1 else ''}" if kind == "segments" else f"CD, {number} stages' updates"
            stage = TSCD(segments=(k if kind == "segments" else 1,), steps=course.stage, **common)
            student = distill(teacher.model, stage, network=student, name=name, **options)
            stages.append((name, student))
        return stages

    parts = [(kind, seed) for kind in ("segments", "CD") for seed in begun] + [("adapter", next(iter(begun)))]
    for (_, seed), found in zip(parts, few_step.side_by_side(chain, parts), strict=True):
        made |= {(name, seed): student for name, student in found}
    return made


def reward(x: Tensor) -> Tensor:
    """The first coordinate of points; the mean brightness of images. Shape (n,)."""
    return x[:, 0] if x.ndim == 2 else x.flatten(1).mean(1)


def _rewarded(
    teacher: Teacher,
    ends: dict[int, DiffusionModel],
    judge: few_step.Judge,
    course: Course,
    scale: few_step.Scale,
    device: str,
) -> list[dict[str, Any]]:
    """What a stronger reward gains and costs, in one step."""
    parts = [(strength, seed) for seed in ends for strength in STRENGTHS]

    def improve(part: tuple[float, int]) -> DiffusionModel:
        strength, seed = part
        method = Feedback(reward=reward, strength=strength, steps=course.feedback, batch=scale.batch, rank=course.rank)
        return distill(teacher.model, method, network=ends[seed], seed=seed, device=device, progress=False)

    rows = []
    for (strength, seed), better in zip(parts, few_step.side_by_side(improve, parts), strict=True):
        assert better.times is not None
        samples = judge.samples(better, better.times)
        rows.append(
            {"part": "feedback", "method": "ReFL", "seed": seed, "steps": 1, "strength": strength}
            | judge.row(better, better.times)
            | {"reward": float(reward(samples).mean())}
        )
    return rows


def _scored(
    teacher: Teacher,
    ends: dict[int, DiffusionModel],
    judge: few_step.Judge,
    course: Course,
    scale: few_step.Scale,
    device: str,
) -> list[dict[str, Any]]:
    """One-step samples before and after matching of scores."""

    def match(seed: int) -> DiffusionModel:
        method = OneStep(steps=course.scores, batch=scale.batch, fake_start=scale.start // 2, pool=1024)
        return distill(teacher.model, method, network=ends[seed], seed=seed, device=device, progress=False)

    seeds = list(ends)[:1] if course is SMALL else list(ends)
    rows = []
    for seed, better in zip(seeds, few_step.side_by_side(match, seeds), strict=True):
        assert better.times is not None
        for name, one in (("before", ends[seed]), ("after", better)):
            rows.append(
                {"part": "scores", "method": f"{name} DMD + MSE", "seed": seed, "steps": 1}
                | judge.row(one, better.times)
            )
    return rows


def _claims(
    rows: list[dict[str, Any]], rewarded: list[dict[str, Any]], scored: list[dict[str, Any]], seeds: list[int]
) -> list[Claim]:
    error = {(row["method"], row["seed"], row["steps"]): row["paired error"] for row in rows}
    adapter = next(name for name, _, _ in error if "rank" in name)

    def plain(stages: int) -> str:
        return f"CD, {stages} stages' updates"

    def column(what: str, seed: int) -> list[float]:
        return [row[what] for row in rewarded if row["seed"] == seed]

    return [
        *(
            asserted(
                f"{k} jumps of a student of {k} segments end nearer to the teacher's ends than {k} of plain "
                "consistency distillation of as many updates (ratio of errors)",
                estimate([error[plain(number), seed, k] / error[f"{k} segments", seed, k] for seed in seeds]),
                ">", 1.0,
            )
            for number, k in ((2, 4), (1, 8))
        ),
        asserted(
            "After all stages one jump is hardly worse than that of plain consistency distillation (ratio)",
            estimate([error["1 segment", seed, 1] / error[plain(4), seed, 1] for seed in seeds]), "<=", 1.3,
            note="The paper's gain at one step needs harder data than points in a plane.",
        ),
        reported(
            "… and even better", estimate([error["1 segment", seed, 1] / error[plain(4), seed, 1] for seed in seeds]),
            "<", 1.0,
        ),
        reported(
            "A low-rank adapter alone, with half the updates, has at most twice the error in one jump (ratio)",
            estimate([error[adapter, seeds[0], 1] / error["1 segment", seeds[0], 1]]), "<=", 2.0,
        ),
        asserted(
            "A stronger reward gains more of it (rank correlation)",
            estimate([rank_correlation(STRENGTHS, column("reward", seed)) for seed in seeds]), ">=", 0.99,
        ),
        asserted(
            "… and costs faithfulness: samples move away from the data (sliced W2, strongest minus none)",
            estimate([column("sliced W2", seed)[-1] - column("sliced W2", seed)[0] for seed in seeds]), ">", 0.0,
        ),
        reported(
            "Matching scores brings one-step samples nearer to the data (sliced W2, after minus before)",
            estimate(
                [
                    after["sliced W2"] - before["sliced W2"]
                    for before, after in zip(scored[::2], scored[1::2], strict=True)
                ]
            ), "<", 0.0,
        ),
    ]  # fmt: skip
