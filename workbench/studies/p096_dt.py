"""Where does a few-step student lose variety, and does one step of its base bring it back?

Paper 096, Gandikota & Bau: diffusion targets as an instrument, hybrid sampling, control moved from base to student.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from workbench.diffusion import (
    FlowMap,
    GaussianMixture,
    Prediction,
    coverage_measures,
    hand_over,
)
from workbench.diffusion.metrics import Measure, class_measures
from workbench.diffusion.schedules import Schedule
from workbench.records import Claim, HandOver, Record, StudyResult
from workbench.studies.claims import asserted, estimate, reported
from workbench.studies.diffusing import Teacher, setting

TITLE = "Where does a few-step student lose variety, and does one step of its base bring it back?"
PLANTED = (0.99, 0.4, 0.25, 0.12, 0.0)
SECOND = (0.75, 0.4, 0.25)
"""Times of the second step, from before structure is decided to after."""


def run(
    data: Any = None,
    *,
    root: Any = None,
    seeds: int | Sequence[int] | None = None,
    budget: str = "small",
    device: str = "auto",
) -> StudyResult:
    """Planted collapses, commitment of base and consistency function, and when structure is decided.

    Parameters
    ----------
    data
        As for `workbench.studies.diffusing.teacher`: a mixture of modes, or images, whose classes are then what variety
        is counted by. What the card measured on the ring is asserted there; elsewhere it is reported.
    root, seeds, budget, device
        As for `workbench.studies.run`.
    """
    started = setting(data, root=root, seeds=seeds, budget=budget, device=device, seeds_small=4, seeds_full=10)
    teacher, small = started.data, started.budget == "small"
    exact = teacher.exact
    if exact is None:
        raise ValueError(f"data {teacher.name!r} is a trained network; a collapse is planted in an exact teacher")
    n = 2_000 if teacher.modes is not None else (200 if small else 1_000)
    times = torch.tensor(PLANTED, dtype=torch.float64)
    half, measures = first_half(teacher), measures_of(teacher)
    claim = asserted if teacher.name == "ring8" else reported
    rows: list[dict[str, Any]] = []
    records: dict[str, Record] = {}
    swept: dict[tuple[int, int], HandOver] = {}
    for seed in started.seeds:
        noise = teacher.noise(n, seed)
        for j in range(1, len(PLANTED)):
            shared = planted_collapse(exact, half, times, j, noise, measures=measures, seed=seed, teacher=teacher)
            swept[seed, j] = shared
            rows += [
                {"part": "planted", "seed": seed, "planted at": j, **row}
                for row in shared.to_frame().drop(columns=["low", "high"]).to_dict("records")
            ]
            records.setdefault(f"collapse planted at step {j}", shared)
    claims = _planted_claims(swept, started.seeds, claim)
    return started.result(
        paper=96, title=TITLE, rows=rows, claims=claims, records=records, settings={"samples": n}, notes=""
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


def planted_collapse(
    exact: GaussianMixture,
    half: Tensor,
    times: Tensor,
    j: int,
    noise: Tensor,
    *,
    measures: Mapping[str, Measure] | None = None,
    seed: int = 0,
    teacher: Teacher | None = None,
) -> HandOver:
    """Hand-over from the exact teacher to a re-noising student whose step `j`, from 1, knows only the components `half`."""
    student = Planted(exact, half, float(times[j - 1]))
    looks = {} if teacher is None else {"mean": teacher.mean, "std": teacher.std}
    return hand_over(
        exact, student, noise, times=times, measures=measures, seed=seed, name=f"collapse planted at step {j}",
        names=("teacher", f"student, step {j} collapsed"), **looks,
    )  # fmt: skip


def first_half(teacher: Teacher) -> Tensor:
    """Half of the modes; of images, all of the first half of the classes."""
    exact = teacher.exact
    assert exact is not None
    K = len(exact.weights)
    if teacher.modes is None and exact.labels is not None:
        return (exact.labels < exact.classes // 2).nonzero()[:, 0]
    return torch.arange(K // 2)


def measures_of(teacher: Teacher) -> dict[str, Measure]:
    """Variety by modes, or, of images, by the class of the nearest one."""
    assert teacher.exact is not None
    return coverage_measures(teacher.exact) if teacher.modes is not None else class_measures(teacher.exact)


def _planted_claims(swept: dict[tuple[int, int], HandOver], seeds: list[int], claim: Any) -> list[Claim]:
    """Claim 2: the instrument finds the planted step, and no other."""
    K = len(PLANTED) - 1

    def entropy(seed: int, j: int) -> dict[str, Tensor]:
        return swept[seed, j].measures["entropy"]

    repaired, others, lost, found = [], [], [], []
    for seed in seeds:
        at = [entropy(seed, j)["positions"][j - 1].item() for j in range(1, K + 1)]
        alone = [entropy(seed, j)["switches"][0].item() for j in range(1, K + 1)]
        rest = [
            entropy(seed, j)["positions"][i - 1].item() - alone[j - 1]
            for j in range(1, K + 1)
            for i in range(1, K + 1)
            if i != j
        ]
        repaired.append(min(at))
        others.append(max(rest))
        lost.append(max(alone))
        found.append(sum(int(entropy(seed, j)["positions"].argmax()) == j - 1 for j in range(1, K + 1)) / K)
    return [
        claim(
            "a collapse planted at any step costs variety: largest entropy of the students", estimate(lost), "<=", 0.95
        ),
        claim("the base at that step brings all of it back: smallest entropy", estimate(repaired), ">=", 0.99),
        claim("at any other step it does not: largest gain of entropy", estimate(others), "<=", 0.03),
        asserted("the step that was collapsed is the one named, as a share of steps", estimate(found), ">=", 1.0),
    ]
