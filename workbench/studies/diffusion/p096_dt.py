"""Where does a few-step student lose variety, and does one step of its base bring it back?

Paper 096, Gandikota & Bau: diffusion targets as an instrument, hybrid sampling, and control moved from base to student.
"""

import itertools
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.diffusion import (
    DMD,
    Consistency,
    GaussianMixture,
    denoiser,
    distill,
    hand_over,
    hybrid,
    mode_uncertainty,
    target_trajectories,
    usage,
)
from workbench.diffusion.methods.dt_sliders import response, slider
from workbench.records import Claim, DiffusionModel, HandOver, Record, TargetTrajectories
from workbench.studies.diffusion.planting import measures_of, planted, planted_collapse
from workbench.studies.kit import few_step
from workbench.studies.kit.claims import asserted, estimate, reported
from workbench.studies.kit.diffusing import Teacher, teacher
from workbench.studies.kit.study import Outcome, Setting, study

PLANTED = (0.99, 0.4, 0.25, 0.12, 0.0)
SECOND = (0.75, 0.4, 0.25)
"""Times of the second step, from before structure is decided to after."""
CONSISTENT, EXIT, WHOLE = "consistency", "DMD, random exit", "DMD, full back-propagation"
SCALES = (-2.0, -1.0, 0.0, 1.0, 2.0)
COST = (
    "measured on one CPU core: 0.005 to 0.01 s an update of start, consistency and DMD, a minute a seed for "
    "points; 10 seeds, judging besides; `python -m workbench.studies.kit.cost --study 96` times it. No GPU "
    "was measured."
)


@dataclass(frozen=True)
class Scale:
    """What a budget buys.

    Attributes
    ----------
    points, images
        Samples of each model.
    start, consistency, matching, slider
        Updates of the fit to the teacher, of the students and of the slider.
    doubt, doubt_images
        Samples that the teacher's doubt is measured on.
    """

    points: int
    images: int
    start: int
    consistency: int
    matching: int
    slider: int
    doubt: int
    doubt_images: int


def exact_teacher(data: Any, root: Any, budget: str) -> Teacher:
    """An exact teacher: a collapse is planted in one.

    Raises
    ------
    ValueError
        The data name a trained network.
    """
    found = teacher(data, root, budget)
    if found.exact is None:
        raise ValueError(f"data {found.name!r} is a trained network; a collapse is planted in an exact teacher")
    return found


@study(
    seeds=(3, 10),
    small=Scale(
        points=1_500, images=200, start=400, consistency=600, matching=200,
        slider=150, doubt=4_000, doubt_images=500,
    ),
    full=Scale(
        points=4_000, images=1_000, start=3_000, consistency=4_500, matching=1_500,
        slider=150, doubt=4_000, doubt_images=500,
    ),
    data="ring8",
    source=exact_teacher,
    deviates=(
        "exact teachers instead of Stable Diffusion and SDXL; so full is larger, not the paper's",
        "entropy of modes (of images: of classes) and share of samples near one instead of perceptual distances",
        "students are made here, by consistency distillation and DMD, instead of DMD2, LCM, Lightning and Turbo",
        "the slider adapts all linear layers at rank 2; the paper's have rank 4 and leave cross-attention out",
    ),
    cost=COST,
)  # fmt: skip
def run(s: Setting[Teacher, Scale]) -> Outcome:
    """Planted collapses; commitment of base and students; when structure is decided; hand-overs; control moved."""
    teacher, exact, scale = s.data, s.data.exact, s.scale
    assert exact is not None
    n = scale.images if teacher.pictures else scale.points
    rows: list[dict[str, Any]] = []
    records: dict[str, Record] = {}
    swept: dict[tuple[int, int], HandOver] = {}
    committed: dict[tuple[str, int], TargetTrajectories] = {}
    shared: dict[tuple[str, int], HandOver] = {}
    early: dict[tuple[float, int], float] = {}
    moved: dict[tuple[str, int], Tensor] = {}
    for seed in s.seeds:
        s.tell(f"seed {seed}: planted collapses, three students, a slider")
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
        start, students = _trained(teacher, seed, s.device, scale)
        control = _Control(teacher, start, seed, scale.slider)
        moved["base", seed] = control.response(start, noise[:500])
        for name, student in students.items():
            model, used = denoiser(student), usage(student)
            moved[name, seed] = control.response(student, noise[:500])
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
    rows += [
        {"part": "control", "seed": seed, "student": name, "scale": scale, "value": value}
        for (name, seed), one in moved.items()
        for scale, value in zip(SCALES, one.tolist(), strict=True)
    ]
    records |= {name: one for (name, seed), one in shared.items() if seed == s.seeds[0]}
    records |= {f"targets of {name}": one for (name, seed), one in committed.items() if seed == s.seeds[0]}
    doubt = scale.doubt_images if teacher.pictures else scale.doubt
    return Outcome(
        rows,
        claims=[
            *_planted_claims(swept, s.seeds),
            *_commitment_claims(committed, s.seeds),
            *_decision_claims(teacher, early, s.seeds, doubt),
            *_trained_claims(shared, s.seeds),
            *_control_claims(moved, s.seeds),
        ],
        records=records,
        settings={"samples": n, "planted times": list(PLANTED)},
        notes="Trained students of points share one network among all steps: their collapse, if any, is in every step, "
        "so that the first step of the base brings little back. The planted one is where it was put.",
    )


def _trained(
    teacher: Teacher, seed: int, device: str, scale: Scale
) -> tuple[DiffusionModel, dict[str, DiffusionModel]]:
    """A network fitted to the teacher, the base, and four-step students that begin from it."""
    options: dict[str, Any] = {"seed": seed, "device": device, "progress": False}
    network = "unet" if teacher.pictures else "denoiser-mlp"
    size = few_step.Size(network, {}, start=scale.start, steps=0, batch=256, samples=0)
    start = few_step.starts(teacher, size, [seed], device)[seed]
    early = (0.99, 0.75, 0.5, 0.25, 0.0)
    matching: dict[str, Any] = {"steps": scale.matching, "batch": 64, "fake_steps": 1, "times": early}
    methods: dict[str, Any] = {
        CONSISTENT: Consistency(steps=scale.consistency, batch=256, grid=20),
        EXIT: DMD(rollout="exit", **matching),
        WHOLE: DMD(rollout="ode", **matching),
    }
    return start, {
        name: distill(teacher.model, method, network=start, name=name, **options) for name, method in methods.items()
    }


class _Control:
    """A slider trained on the base: points farther out, images of a bolder stroke."""

    def __init__(self, teacher: Teacher, base: DiffusionModel, seed: int, steps: int) -> None:
        exact = teacher.exact
        assert exact is not None
        points = teacher.modes is not None

        def changed(sign: int) -> GaussianMixture:
            images = exact.means.view(-1, *exact.shape)
            moved = exact.means * (1 + 0.15 * sign)
            if not points:
                moved = (sign * F.max_pool2d(sign * images, 3, 1, 1) + images).flatten(1) / 2
            return replace(exact, means=moved)

        self.attribute = (lambda x: x.norm(dim=1)) if points else (lambda x: x.flatten(1).mean(1))
        self.adapter = slider(
            denoiser(base), changed(1), changed(-1), rank=2, steps=steps, seed=seed, progress=False,
            name="farther out" if points else "bolder",
        )  # fmt: skip

    def response(self, model: DiffusionModel, noise: Tensor) -> Tensor:
        """The attribute's mean at each scale of the slider on a model, (scales,)."""
        used = usage(model, steps=20)
        return response(denoiser(model), self.adapter, self.attribute, noise, scales=SCALES, **used)


def _first_step_collapsed(teacher: Teacher, second: float, noise: Tensor, seed: int) -> float:
    """Entropy of a student whose first step is collapsed and whose second is at time `second`."""
    times = torch.tensor([0.99, second, second / 2, second / 4, 0.0], dtype=torch.float64)
    student = planted(teacher, float(times[0]))
    made = hybrid(student, student, noise, times=times, base_steps=(), student_sampler="consistency", seed=seed)
    return measures_of(teacher)["entropy"](made.samples, None).value


def _rows(part: str, seed: int, student: str, shared: HandOver) -> list[dict[str, Any]]:
    return [{"part": part, "seed": seed, "student": student, **row} for row in shared.rows()]


def _planted_claims(swept: dict[tuple[int, int], HandOver], seeds: list[int]) -> list[Claim]:
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
        named.append(sum(max((by[j, i], i) for i in steps)[1] == j for j in steps) / len(steps))
    return [
        asserted("a collapse planted in any one step costs variety: largest entropy", estimate(lost), "<=", 0.95),
        asserted("the base at that step brings it all back: smallest entropy", estimate(repaired), ">=", 0.99),
        asserted("the base at any other step does not: largest gain of entropy", estimate(others), "<=", 0.03),
        asserted("the collapsed step is the one that helps most, as a share of steps", estimate(named), ">=", 1.0),
    ]


def _commitment_claims(runs: dict[tuple[str, int], TargetTrajectories], seeds: list[int]) -> list[Claim]:
    """Claim 1: students decide in their first step, the base does not."""

    def first(name: str) -> list[float]:
        return [float(runs[name, seed].commitment[0]) for seed in seeds]

    def share(name: str) -> list[float]:
        return [float(runs[name, seed].spread[0] / runs[name, seed].samples.flatten(1).var(0).sum()) for seed in seeds]

    gap = [a - b for a, b in zip(share(EXIT), share(WHOLE), strict=True)]
    earlier = [a - b for a, b in zip(first(EXIT), first(WHOLE), strict=True)]
    free = "What full back-propagation passes through on its way is not trained: it depends on how long both are."
    return [
        asserted("the base, in 50 steps, is undecided at its first: commitment", estimate(first("base")), "<=", 0.55),
        asserted(
            "a consistency student is decided at its first step: commitment", estimate(first(CONSISTENT)), ">=", 0.9
        ),
        reported(
            "random exit, which trains every step as an output, commits earlier than full back-propagation",
            estimate(earlier), ">", 0, free,
        ),
        reported("… and its first targets vary more, relative to the samples", estimate(gap), ">", 0, free),
    ]  # fmt: skip


def _decision_claims(teacher: Teacher, early: dict[tuple[float, int], float], seeds: list[int], n: int) -> list[Claim]:
    """Claim 3: which step can lose variety is told by when the teacher decides."""
    assert teacher.exact is not None
    at = torch.linspace(0.9, 0.05, 18, dtype=torch.float64)
    groups = None if teacher.modes is not None else teacher.exact.labels
    rises = [float(mode_uncertainty(teacher.exact, at, n=n, seed=s, groups=groups).diff().max()) for s in seeds]
    drops = [min(early[a, s] - early[b, s] for a, b in itertools.pairwise(SECOND)) for s in seeds]
    return [
        asserted("the teacher's doubt about the mode never grows as t falls: largest rise", estimate(rises), "<=", 0),
        asserted(
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


def _control_claims(moved: dict[tuple[str, int], Tensor], seeds: list[int]) -> list[Claim]:
    """Claim 4: what a slider does to the base it does to the students, whose weights it has never seen."""
    names = (CONSISTENT, EXIT, WHOLE)
    at = torch.tensor(SCALES, dtype=torch.float64)

    def slope(name: str, seed: int) -> float:
        return float((moved[name, seed] * at).sum() / at.square().sum())

    ratio = {name: [slope(name, seed) / slope("base", seed) for seed in seeds] for name in names}
    rise = [min(float(moved[name, seed].diff().min()) for name in ("base", *names)) for seed in seeds]
    return [
        asserted(
            "control: the attribute grows with the scale, on base and students: least rise", estimate(rise), ">", 0
        ),
        *(
            asserted(f"control: slope of {name} over the base's", estimate(ratio[name]), relation, bound)
            for name in names
            for relation, bound in ((">=", 0.3), ("<=", 3.0))
        ),
    ]
