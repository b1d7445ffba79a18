"""Where does a few-step student lose variety, and does one step of its base bring it back?

Paper 096, Gandikota & Bau: diffusion targets as an instrument, hybrid sampling, and control moved from base to student.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from workbench.diffusion import (
    DMD,
    TDD,
    FlowMap,
    GaussianMixture,
    Prediction,
    coverage_measures,
    denoiser,
    distill,
    hand_over,
    mode_uncertainty,
    regress,
    target_trajectories,
    usage,
)
from workbench.diffusion.metrics import Measure, class_measures
from workbench.diffusion.schedules import Schedule
from workbench.records import Claim, DiffusionModel, HandOver, Record, StudyResult, TargetTrajectories
from workbench.studies.claims import asserted, estimate, reported
from workbench.studies.diffusing import Teacher, setting

TITLE = "Where does a few-step student lose variety, and does one step of its base bring it back?"
PLANTED = (0.99, 0.4, 0.25, 0.12, 0.0)
SECOND = (0.75, 0.4, 0.25)
"""Times of the second step, from before structure is decided to after."""
CONSISTENT, EXIT, WHOLE = "TDD", "DMD, random exit", "DMD, full back-propagation"


def run(
    data: Any = None,
    *,
    root: Any = None,
    seeds: int | Sequence[int] | None = None,
    budget: str = "small",
    device: str = "auto",
) -> StudyResult:
    """Planted collapses; commitment of base and students; when structure is decided; trained students handed over to.

    Parameters
    ----------
    data
        As for `workbench.studies.diffusing.teacher`: a mixture of modes, or images, whose classes are then what variety
        is counted by. What the card measured on the ring is asserted there; elsewhere it is reported.
    root, seeds, budget, device
        As for `workbench.studies.run`.
    """
    started = setting(data, root=root, seeds=seeds, budget=budget, device=device, seeds_small=3, seeds_full=10)
    teacher, small, exact = started.data, started.budget == "small", started.data.exact
    if exact is None:
        raise ValueError(f"data {teacher.name!r} is a trained network; a collapse is planted in an exact teacher")
    n = (2_000 if small else 4_000) if teacher.modes is not None else (200 if small else 1_000)
    rows: list[dict[str, Any]] = []
    records: dict[str, Record] = {}
    swept: dict[tuple[int, int], HandOver] = {}
    committed: dict[tuple[str, int], TargetTrajectories] = {}
    shared: dict[tuple[str, int], HandOver] = {}
    early: dict[tuple[float, int], float] = {}
    for seed in started.seeds:
        noise = teacher.noise(n, seed)
        for j in range(1, len(PLANTED)):
            swept[seed, j] = planted_collapse(teacher, torch.tensor(PLANTED, dtype=torch.float64), j, noise, seed)
            rows += _rows("planted", seed, f"student collapsed at step {j}", swept[seed, j])
            records.setdefault(f"collapse planted at step {j}", swept[seed, j])
        for second in SECOND:
            early[second, seed] = _first_step_collapsed(teacher, second, noise, seed)
        committed["base", seed] = target_trajectories(
            exact, noise, steps=50, name="base", role="teacher", **teacher.described()
        )
        for name, student in _students(teacher, seed, started.device, steps=250 if small else 1_500).items():
            model, used = denoiser(student), usage(student)
            committed[name, seed] = target_trajectories(
                model, noise, steps=used["steps"], name=name, role="student", **teacher.described()
            )
            shared[name, seed] = hand_over(
                exact, model, noise, times=used["steps"], student_sampler=used["sampler"], seed=seed, name=name,
                measures=measures_of(teacher), names=("base", name), **teacher.described(),
            )  # fmt: skip
            rows += _rows("trained", seed, name, shared[name, seed])
    rows += [
        {"part": "commitment", "seed": seed, "student": name, "at": i, "time": t, "value": value}
        for (name, seed), one in committed.items()
        for i, (t, value) in enumerate(zip(one.times.tolist(), one.commitment.tolist(), strict=True), 1)
    ]
    claim = asserted if teacher.name == "ring8" else reported
    records |= {name: one for (name, seed), one in shared.items() if seed == started.seeds[0]}
    records |= {f"targets of {name}": one for (name, seed), one in committed.items() if seed == started.seeds[0]}
    return started.result(
        paper=96,
        title=TITLE,
        rows=rows,
        claims=[
            *_planted_claims(swept, started.seeds, claim),
            *_commitment_claims(committed, started.seeds, claim),
            *_decision_claims(teacher, early, started.seeds, claim),
            *_trained_claims(shared, started.seeds),
        ],
        records=records,
        settings={"samples": n, "planted times": list(PLANTED)},
        notes="The paper hands over between SDXL and its distilled students, judged by FID and perceptual distances; "
        "here the base is exact, variety is the entropy of modes (of images: of classes) and quality the share of "
        "samples near one. Trained students of points share one network among all steps: their collapse, if any, is in "
        "every step, so that the first step of the base brings little back. The planted one is where it was put.",
    )


class Planted:
    """A student that is exact at every step but one, where it knows only some components: its collapse is known.

    What it believes is where the flow ends: of the whole mixture, at time `at` of the components `half` alone.
    """

    def __init__(self, exact: GaussianMixture, half: Tensor, at: float, steps: int = 30) -> None:
        self.full, self.half, self.at = FlowMap(exact, steps), FlowMap(exact.only(half), steps), at

    @property
    def schedule(self) -> Schedule:
        return self.full.schedule

    @property
    def shape(self) -> tuple[int, ...]:
        return self.full.shape

    @property
    def classes(self) -> int:
        return 0

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
        return (self.half if float(t) == self.at else self.full)(x, t, condition)


def planted_collapse(teacher: Teacher, times: Tensor, j: int, noise: Tensor, seed: int = 0) -> HandOver:
    """Hand-over from an exact base to a re-noising student whose step `j`, from 1, knows half the modes or classes."""
    exact = teacher.exact
    assert exact is not None
    half = torch.arange(len(exact.weights) // 2)
    if teacher.modes is None and exact.labels is not None:
        half = (exact.labels < exact.classes // 2).nonzero()[:, 0]
    return hand_over(
        exact,
        Planted(exact, half, float(times[j - 1]), steps=30 if teacher.modes is not None else 12),
        noise,
        times=times,
        measures=measures_of(teacher),
        seed=seed,
        name=f"collapse planted at step {j}",
        names=("base", f"student, step {j} collapsed"),
        **teacher.described(),
    )


def measures_of(teacher: Teacher) -> Mapping[str, Measure]:
    """Variety by modes, or, of images, by the class of the nearest one."""
    assert teacher.exact is not None
    return coverage_measures(teacher.exact) if teacher.modes is not None else class_measures(teacher.exact)


def _students(teacher: Teacher, seed: int, device: str, steps: int) -> dict[str, DiffusionModel]:
    """Four-step students, all begun from one network that was fitted to the teacher."""
    options: dict[str, Any] = {"seed": seed, "device": device, "progress": False}
    start = regress(teacher.model, steps=2 * steps, **options)
    methods = {
        CONSISTENT: TDD(steps=2 * steps),
        EXIT: DMD(rollout="exit", steps=steps, batch=128),
        WHOLE: DMD(rollout="ode", steps=steps, batch=128),
    }
    return {
        name: distill(teacher.model, method, network=start, name=name, **options) for name, method in methods.items()
    }


def _first_step_collapsed(teacher: Teacher, second: float, noise: Tensor, seed: int) -> float:
    """Entropy of a student whose first step is collapsed and whose second is at time `second`."""
    times = torch.tensor([0.99, second, second / 2, second / 4, 0.0], dtype=torch.float64)
    return float(planted_collapse(teacher, times, 1, noise, seed).measures["entropy"]["switches"][0])


def _rows(part: str, seed: int, student: str, shared: HandOver) -> list[dict[str, Any]]:
    return [{"part": part, "seed": seed, "student": student, **row} for row in shared.rows()]


def _planted_claims(swept: dict[tuple[int, int], HandOver], seeds: list[int], claim: Any) -> list[Claim]:
    """The instrument finds the planted step, and no other (claim 2, where its premise is known to hold)."""
    steps = range(1, len(PLANTED))
    lost, repaired, others, named = [], [], [], []
    for seed in seeds:
        entropy = {j: swept[seed, j].measures["entropy"] for j in steps}
        alone = {j: float(entropy[j]["switches"][0]) for j in steps}
        by = {(j, i): float(entropy[j]["positions"][i - 1]) for j, i in itertools.product(steps, steps)}
        lost.append(max(alone.values()))
        repaired.append(min(by[j, j] for j in steps))
        others.append(max(by[j, i] - alone[j] for j, i in by if i != j))
        named.append(sum(max(steps, key=lambda i, j=j: by[j, i]) == j for j in steps) / len(steps))
    return [
        claim("a collapse planted in any one step costs variety: largest entropy", estimate(lost), "<=", 0.95),
        claim("the base at that step brings it all back: smallest entropy", estimate(repaired), ">=", 0.99),
        claim("the base at any other step does not: largest gain of entropy", estimate(others), "<=", 0.03),
        claim("the collapsed step is the one that helps most, as a share of steps", estimate(named), ">=", 1.0),
    ]


def _commitment_claims(runs: dict[tuple[str, int], TargetTrajectories], seeds: list[int], claim: Any) -> list[Claim]:
    """Claim 1: students decide in their first step, the base does not."""

    def first(name: str) -> list[float]:
        return [float(runs[name, seed].commitment[0]) for seed in seeds]

    def share(name: str) -> list[float]:
        return [float(runs[name, seed].spread[0] / runs[name, seed].samples.flatten(1).var(0).sum()) for seed in seeds]

    gap = [a - b for a, b in zip(share(EXIT), share(WHOLE), strict=True)]
    return [
        claim("the base, in 50 steps, is undecided at its first: commitment", estimate(first("base")), "<=", 0.55),
        claim("a consistency student is decided at its first step: commitment", estimate(first(CONSISTENT)), ">=", 0.9),
        claim("first-step targets vary more after random exit than after full back-propagation", estimate(gap), ">", 0),
    ]


def _decision_claims(
    teacher: Teacher, early: dict[tuple[float, int], float], seeds: list[int], claim: Any
) -> list[Claim]:
    """Claim 3: which step can lose variety is told by when the teacher decides."""
    assert teacher.exact is not None
    at = torch.linspace(0.9, 0.05, 18, dtype=torch.float64)
    groups = None if teacher.modes is not None else teacher.exact.labels
    n = 4_000 if groups is None else 500
    rises = [float(mode_uncertainty(teacher.exact, at, n=n, seed=s, groups=groups).diff().max()) for s in seeds]
    drops = [min(early[a, s] - early[b, s] for a, b in itertools.pairwise(SECOND)) for s in seeds]
    return [
        claim("the teacher's doubt about the mode never grows as t falls: largest rise", estimate(rises), "<=", 0),
        claim(
            "a collapsed first step costs the more, the later the second (0.75, 0.4, 0.25): smallest drop of entropy",
            estimate(drops), ">", 0,
        ),
    ]  # fmt: skip


def _trained_claims(shared: dict[tuple[str, int], HandOver], seeds: list[int]) -> list[Claim]:
    """Claim 2 on trained students: only reported, as their collapse need not be in the first step."""

    def gain(name: str, what: str) -> list[float]:
        measured = [shared[name, seed].measures[what]["switches"] for seed in seeds]
        return [float(one[1] - one[0]) for one in measured]

    return [
        reported(f"{name}: the base's first step brings {what} back", estimate(gain(name, what)), ">", 0)
        for name in (CONSISTENT, EXIT, WHOLE)
        for what in ("entropy", "quality")
    ]
