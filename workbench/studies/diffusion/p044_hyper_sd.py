"""Does consistency within segments of time serve a sampler that jumps from border to border? What do rewards cost?

Paper 044, Ren et al., Hyper-SD: segments 8, 4, 2, 1 in turn beside plain consistency distillation of as many updates;
one low-rank adapter in place of all weights; feedback from a reward; one-step samples improved by their scores.
"""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from workbench.diffusion import TSCD, Denoiser, Feedback, OneStep, distill
from workbench.diffusion.methods.consistency import few_times
from workbench.records import Claim, DiffusionModel
from workbench.studies.kit import few_step
from workbench.studies.kit.claims import asserted, estimate, rank_correlation, reported
from workbench.studies.kit.diffusing import Teacher, teacher, trained
from workbench.studies.kit.few_step import IMAGES, MORE_IMAGES, MORE_POINTS, POINTS, Size
from workbench.studies.kit.study import Outcome, Setting, study

GRID = 40
SEGMENTS = (8, 4, 2, 1)
STRENGTHS = (0.0, 0.02, 0.1, 0.5)
"""Of the reward, against a squared error of weight 1."""


COST = (
    "measured on one CPU core: 0.062 s an update of all stages of points, 0.02 s one of feedback and of scores, "
    "under 3 minutes a seed; of 8×8 images 0.12 s an update of the start, 0.6 s one of the stages, 0.38 s one of "
    "feedback and 0.15 s one of scores, an hour a seed. 5 seeds, judging besides; `python -m "
    "workbench.studies.kit.cost --study 44` times it. No GPU was measured."
)


@dataclass(frozen=True)
class Course:
    """What is trained one after the other.

    Attributes
    ----------
    stage, feedback, scores
        Updates of each stage, of feedback, of the matching of scores.
    rank
        Of the adapter.
    scored
        Seeds of which scores are matched; None: all.
    """

    stage: int
    feedback: int
    scores: int
    rank: int
    scored: int | None = None


@dataclass(frozen=True)
class Scale(few_step.Scale):
    """What a budget buys: a course of points and one of images (`pictured`)."""

    course: Course
    pictured: Course


@study(
    seeds=(3, 5),
    small=Scale(
        points=replace(POINTS, batch=128), images=IMAGES,
        course=Course(450, 100, 150, rank=8, scored=1), pictured=Course(100, 20, 20, rank=8, scored=1),
    ),
    full=Scale(
        points=MORE_POINTS, images=MORE_IMAGES,
        course=Course(2000, 300, 1000, rank=16), pictured=Course(5000, 500, 2000, rank=64),
    ),
    data="ring8",
    source=teacher,
    trained=trained,
    deviates=(
        "exact or small teachers instead of SD 1.5 and SDXL",
        ("the paper's learning rates, batches, updates and weights of the adversarial term are not published: "
        "full is the card's size for points and longer training for images, not the paper's"),
        "the squared error alone: no discriminator (`TSCD(adversarial=…)` has one)",
        "the reward is a coordinate or the brightness instead of aesthetic scores and ImageReward",
    ),
    cost=COST,
)  # fmt: skip
def run(s: Setting[Teacher, Scale]) -> Outcome:
    """Each seed has one start; each stage starts from the one before it, with a learning rate of its own."""
    teacher, size = s.data, s.scale.of(s.data)
    course = s.scale.pictured if teacher.pictures else s.scale.course
    judge = few_step.HeldOut(teacher, size)
    s.tell(f"{len(s.seeds)} starts")
    begun = few_step.starts(teacher, size, s.seeds, s.device)
    rows: list[dict[str, Any]] = []

    def at(student: DiffusionModel | Denoiser, steps: int) -> dict[str, float]:
        return judge.row(student, few_times(teacher.model.schedule, GRID, steps))

    s.tell(f"{len(SEGMENTS)} stages of {course.stage:,} updates")
    students = _students(teacher, begun, size, course, s.device)
    asked: dict[tuple[str, int], DiffusionModel | Denoiser] = {**students, ("teacher", -1): teacher.model}
    for (name, seed), student in asked.items():
        rows += [
            {"part": "segments", "method": name, "seed": seed, "steps": steps} | at(student, steps)
            for steps in SEGMENTS
        ]
    ends = {seed: students["1 segment", seed] for seed in s.seeds}
    s.tell("feedback and scores")
    rewarded = _rewarded(teacher, ends, judge, course, size, s.device)
    scored = _scored(teacher, ends, judge, course, size, s.device)
    return Outcome(
        [*rows, *rewarded, *scored],
        claims=_claims(rows, rewarded, scored, s.seeds),
        records={
            name: student.replace(checkpoint={}) for (name, seed), student in students.items() if seed == s.seeds[0]
        },
        settings={
            "grid": GRID, **size.described(), "updates per stage": course.stage, "rank": course.rank,
            "sliced W2 of two exact sets": judge.floor,
        },
        notes="“k segments” is the student at the end of that stage; plain consistency distillation (CD) has the same "
        "stages with the target 0 throughout. “paired error” is the root mean square distance to where the teacher's "
        "path from the same noise ends. The reward is the first coordinate of points, the mean brightness of images: "
        "it stands for the aesthetic scores of the paper. With one learning rate decaying over all stages the last "
        "ones starve; here each stage has its own.",
    )  # fmt: skip


def _students(
    teacher: Teacher, begun: dict[int, DiffusionModel], size: Size, course: Course, device: str
) -> dict[tuple[str, int], DiffusionModel]:
    """The students at the end of each stage, plain consistency distillation, and the stages with an adapter."""
    made: dict[tuple[str, int], DiffusionModel] = {}
    common: dict[str, Any] = {"grid": GRID, "batch": size.batch}
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
    judge: few_step.HeldOut,
    course: Course,
    size: Size,
    device: str,
) -> list[dict[str, Any]]:
    """What a stronger reward gains and costs, in one step."""
    parts = [(strength, seed) for seed in ends for strength in STRENGTHS]

    def improve(part: tuple[float, int]) -> DiffusionModel:
        strength, seed = part
        method = Feedback(reward=reward, strength=strength, steps=course.feedback, batch=size.batch, rank=course.rank)
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
    judge: few_step.HeldOut,
    course: Course,
    size: Size,
    device: str,
) -> list[dict[str, Any]]:
    """One-step samples before and after matching of scores."""

    def match(seed: int) -> DiffusionModel:
        method = OneStep(steps=course.scores, batch=size.batch, fake_start=size.start // 2, pool=1024)
        return distill(teacher.model, method, network=ends[seed], seed=seed, device=device, progress=False)

    seeds = list(ends)[: course.scored]
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
            (asserted if k == 8 else reported)(
                f"{k} jumps of a student of {k} segments end nearer to the teacher's ends than {k} of plain "
                "consistency distillation of as many updates (ratio of errors)",
                estimate([error[plain(number), seed, k] / error[f"{k} segments", seed, k] for seed in seeds]),
                ">", 1.0,
            )
            for number, k in ((2, 4), (1, 8))
        ),
        reported(
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
