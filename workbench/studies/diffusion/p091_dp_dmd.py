"""Does a student keep more variety whose first step learns by regression where the teacher goes, the others by DMD?

Paper 091, DP-DMD, beside distribution matching with gradients through all steps (DMD) and with re-noising and a random
exit (DMD2), the first step's regression alone, and the teacher's own four steps. Each is trained under a fake network
that keeps up with the student and under one that lags behind, which makes distribution matching seek modes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from workbench.diffusion import DMD, DPDMD, denoiser, hand_over, sample, target_trajectories, usage
from workbench.diffusion.making.making import Distilling
from workbench.diffusion.methods.dp_dmd import anchor, anchor_loss
from workbench.records import Claim, DiffusionModel, Record
from workbench.studies.kit import few_step
from workbench.studies.kit.claims import Estimate, asserted, estimate, reported
from workbench.studies.kit.diffusing import Teacher, teacher, trained
from workbench.studies.kit.few_step import (
    IMAGES,
    MORE_IMAGES,
    MORE_POINTS,
    POINTS,
    HeldOut,
    Size,
    side_by_side,
    starts,
    students,
)
from workbench.studies.kit.study import Outcome, Setting, study

Row = dict[str, Any]
TENDED, LAGGING = "tended", "lagging"
FAKES: dict[str, dict[str, Any]] = {
    TENDED: {"fake_steps": 2, "lr": 5e-4, "fake_lr": 1e-3},
    LAGGING: {"fake_steps": 1, "lr": 1e-3, "fake_lr": 1e-5},
}
TIMES = (0.99, 0.15, 0.1, 0.05, 0.0)
"""The first step ends where the mode of a ring is decided, as the paper's ends where an image's layout is."""
ANCHOR, OF = 5, 6
"""Of so many teacher steps these lead to about there."""
ODE, EXIT, OURS, LIGHT, ALONE = "DMD", "DMD2", "DP-DMD", "DP-DMD, λ = 0.2", "first step alone"
COST = (
    "measured on one CPU core: 0.125 s an update of all students of points, 3 minutes a seed; of 8×8 images 0.34 "
    "s an update of the start and 2.4 s one of all students, 14 hours a seed. 5 seeds, judging besides; `python "
    "-m workbench.studies.kit.cost --study 91` times it. No GPU was measured."
)


@dataclass(frozen=True)
class Scale(few_step.Scale):
    """What a budget buys; `weights` are further λ of DP-DMD; `alone`: its first step is tried alone, too."""

    weights: tuple[float, ...] = ()
    alone: bool = False


@study(
    seeds=(3, 5),
    small=Scale(
        points=replace(POINTS, options={"width": 64}, batch=128, steps=400, samples=4_000),
        images=replace(IMAGES, steps=400),
    ),
    full=Scale(points=replace(MORE_POINTS, batch=256), images=MORE_IMAGES, weights=(0.05, 0.2, 5.0), alone=True),
    data="ring8",
    source=teacher,
    trained=trained,
    deviates=(
        (
            "exact or small teachers, not guided, instead of SD3.5 for text prompts under guidance of 3.5; so full is "
            "not the paper's setting"
        ),
        (
            "λ = 1 instead of 0.05, 2 fake updates per student update instead of 5, learning rates 5e-4 and 1e-3 "
            "instead of 1e-5, an anchor of 5 of 6 teacher steps instead of 5 of 30"
        ),
        (
            "the setting of the lagging fake (one fake step at 1e-5 per student step at 1e-3) was searched for on "
            "seeds of 100 and above because the effect shows in it: over some ten fakes, three mixtures and several "
            "time grids most gaps were smaller or unsteady, and on a guided ring of two classes DP-DMD kept least"
        ),
        "times 0.99, 0.15, 0.1, 0.05: the first step ends where the mode of a ring is decided",
    ),
    cost=COST,
)
def run(s: Setting[Teacher, Scale]) -> Outcome:
    """Four-step students of one start per seed, under two fake networks."""
    teacher, size = s.data, s.scale.of(s.data)
    methods = _methods(size, s.scale)
    s.tell(f"{len(s.seeds)} starts")
    begun = starts(teacher, size, s.seeds, s.device)
    s.tell(f"{len(methods) * len(s.seeds)} students of {size.steps:,} updates")
    made = students(teacher, methods, begun, s.device)
    judge = HeldOut(teacher, size)

    def judged(part: tuple[str, int]) -> Row:
        name, seed = part
        student, fake = name.rsplit(", ", 1)
        return {"student": student, "fake": fake, "seed": seed} | _row(judge, made[part])

    rows = side_by_side(judged, list(made))
    rows += [_teachers(judge, steps) for steps in (4, 50)]
    return Outcome(
        rows,
        claims=_claims(rows, teacher, s.seeds),
        records=_records(teacher, {name: made[name, s.seeds[0]] for name in methods}),
        settings={
            **size.described(),
            "times": list(TIMES),
            "anchor": f"{ANCHOR} of {OF} teacher steps",
            **{f"{name} fake": options for name, options in FAKES.items()},
            "sliced W2 of two exact sets": judge.floor,
        },
        notes="Which mode a point of a ring ends in is decided between times 0.5 and 0.1; so the first step ends at "
        "0.15: where it ends earlier, the later steps decide, and the anchor protects less. Under a tended fake no "
        "method loses modes of these mixtures, so variety is compared under one that lags. That setting was searched "
        "for; the differences in variety under it are therefore reported, not asserted.",
    )


def _methods(size: Size, scale: Scale) -> dict[str, Distilling]:
    """By student and fake, such as ``"DMD, tended"``."""
    methods: dict[str, Distilling] = {}
    for fake, options in FAKES.items():
        common = size.training | options | {"times": TIMES}
        anchored = common | {"anchor_steps": ANCHOR, "teacher_steps": OF}
        methods |= {
            f"{ODE}, {fake}": DMD(**common),
            f"{EXIT}, {fake}": DMD(rollout="exit", **common),
            f"{OURS}, {fake}": DPDMD(**anchored),
        }
        if fake == TENDED and scale.alone:
            methods[f"{ALONE}, {fake}"] = DPDMD(matching=0.0, **anchored)
        methods |= {
            f"DP-DMD, λ = {weight:g}, {fake}": DPDMD(weight=weight, **anchored)
            for weight in scale.weights
            if fake == TENDED
        }
    return methods


def _claims(rows: Sequence[Row], teacher: Teacher, seeds: Sequence[int]) -> list[Claim]:
    def value(student: str, fake: str, seed: int, column: str) -> float:
        wanted = {"student": student, "fake": fake, "seed": seed}
        (row,) = (row for row in rows if all(row[key] == it for key, it in wanted.items()))
        return float(row[column])

    def gap(column: str, student: str, other: str, fake: str, other_fake: str | None = None) -> Estimate:
        return estimate(
            [value(student, fake, seed, column) - value(other, other_fake or fake, seed, column) for seed in seeds]
        )

    def ratio(column: str, student: str, other: str, fake: str) -> Estimate:
        return estimate([value(student, fake, seed, column) / value(other, fake, seed, column) for seed in seeds])

    first = asserted(
        "Its first step stays where the teacher goes (squared distance to the anchor, over DMD's)",
        ratio("distance to the anchor", OURS, ODE, TENDED), "<=", 1 / 3,
    )  # fmt: skip
    nearer = [
        asserted("Under a lagging fake its samples are nearer to the data than DMD's (sliced W₂, ratio)",
                 ratio("sliced W2", OURS, ODE, LAGGING), "<", 1.0),
        reported("… and than DMD2's", ratio("sliced W2", OURS, EXIT, LAGGING), "<", 1.0,
                 note="How far off DMD2 ends under such a fake differs much from seed to seed."),
        reported("It is no nearer to the teacher's own sample from the same noise (correlation, DP-DMD − DMD)",
                 gap("correlation", OURS, ODE, TENDED), "<=", 0.01),
    ]  # fmt: skip
    if teacher.modes is None:
        return [first, *nearer]
    there = {row["student"] for row in rows}
    ablations = []
    if ALONE in there:
        ablations.append(
            reported("Distribution matching adds to what the first step alone gives (sliced W₂, ratio)",
                     ratio("sliced W2", OURS, ALONE, TENDED), "<", 1.0)
        )  # fmt: skip
    if LIGHT in there:
        ablations.append(
            reported("A smaller λ lowers the price in quality (λ = 1 − λ = 0.2)",
                     gap("quality", OURS, LIGHT, TENDED), "<", 0.0)
        )  # fmt: skip
    return [
        reported("Under a lagging fake it keeps more variety than DMD2 (entropy over modes, DP-DMD − DMD2)",
                 gap("entropy", OURS, EXIT, LAGGING), ">", 0.0),
        reported("… and than DMD with all gradients (DP-DMD − DMD)", gap("entropy", OURS, ODE, LAGGING), ">", 0.0),
        reported("… by a tenth of what even modes have (the smaller of the two differences)",
                 estimate([min(value(OURS, LAGGING, seed, "entropy") - value(other, LAGGING, seed, "entropy")
                               for other in (ODE, EXIT)) for seed in seeds]), ">=", 0.1,
                 note="How many modes a student loses differs much from seed to seed."),
        asserted("… and nearly all there is (entropy)",
                 estimate([value(OURS, LAGGING, seed, "entropy") for seed in seeds]), ">=", 0.95),
        reported("Under a tended fake, too, it keeps more than DMD2",
                 gap("entropy", OURS, EXIT, TENDED), ">=", 0.1,
                 note="With enough fake steps distribution matching hardly loses modes of these mixtures."),
        reported("… and than DMD", gap("entropy", OURS, ODE, TENDED), ">", 0.0),
        first,
        reported("Variety has a price in quality, beside DMD (share near a mode, DP-DMD − DMD)",
                 gap("quality", OURS, ODE, TENDED), "<", 0.0),
        *nearer,
        *ablations,
    ]  # fmt: skip


def _row(judge: HeldOut, record: DiffusionModel) -> Row:
    student, used = denoiser(record), usage(record)
    samples = judge.samples(record, used["steps"], used["sampler"])
    times = DPDMD(times=TIMES, anchor_steps=ANCHOR, teacher_steps=OF).teacher_times
    wanted = anchor(judge.teacher.model, judge.noise, times, ANCHOR, judge.condition)
    start = used["steps"][0]
    with torch.no_grad():
        first = student(student.schedule.sigma(start).to(judge.noise) * judge.noise, start, judge.condition)
    return {
        **judge.told(samples),
        "correlation": _correlation(samples, judge.ends),
        "distance to the anchor": float(anchor_loss(first, wanted, student, start)),
        "seconds": record.provenance.wall_time,
    }


def _teachers(judge: HeldOut, steps: int) -> Row:
    """The teacher by few steps at the students' times, or by many."""
    times = torch.tensor(TIMES, dtype=torch.float64) if steps == 4 else judge.teacher.model.schedule.grid(steps)
    samples = sample(judge.teacher.model, judge.noise, steps=times, condition=judge.condition)
    told = judge.told(samples) | {"correlation": _correlation(samples, judge.ends)}
    return {"student": f"teacher, {steps} steps", "fake": "", "seed": -1} | told


def _correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten().double(), b.flatten().double()]))[0, 1])


def _records(teacher: Teacher, made: dict[str, DiffusionModel]) -> dict[str, Record]:
    """The students; the teacher's paths and theirs from the same noises; and what its first steps give back to them."""
    noise = teacher.noise(512, 0)
    condition = None
    if getattr(teacher.model, "classes", 0):
        condition = torch.arange(len(noise)) % len(teacher.classes)
    told: dict[str, Any] = {"condition": condition, **teacher.described()}
    found: dict[str, Record] = {
        "paths of the teacher": target_trajectories(
            teacher.model, noise, steps=50, role="teacher", name="teacher", **told
        )
    }
    for name in (f"{student}, {fake}" for fake in FAKES for student in (ODE, EXIT, OURS)):
        found[f"paths of {name}"] = target_trajectories(
            denoiser(made[name]), noise, role="student", name=name, **usage(made[name]), **told
        )
    for student in (ODE, OURS):
        name = f"{student}, {LAGGING}"
        found[f"hand-over to {name}"] = hand_over(
            teacher.model, made[name], noise, name=name, names=("teacher", name), **told
        )
    return {**made, **found}
