"""Does a student that is trained only for the jumps its sampler makes make them better?

Paper 071, Wang et al.: target-driven distillation beside other choices of the target time, everything else the same;
guidance that is set after training, with and without classes hidden in training.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from workbench.diffusion import TDD, Consistency, Guided, Renoise, TargetRule, denoiser, mode_coverage, sample
from workbench.diffusion.making.making import Distilling
from workbench.diffusion.methods.consistency import few_times
from workbench.records import Claim
from workbench.studies.kit import few_step
from workbench.studies.kit.claims import asserted, estimate, rank_correlation, reported
from workbench.studies.kit.diffusing import Teacher, teacher, trained
from workbench.studies.kit.few_step import IMAGES, MORE_IMAGES, MORE_POINTS, POINTS, Size
from workbench.studies.kit.study import Outcome, Setting, study

GRID = 40
STEPS = (1, 2, 4, 5, 6, 7, 8)
GAMMAS = (0.0, 0.3)
SCALES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
"""Guidance set when the student is used."""
PAPER = {"lr": 1e-4, "clip": 1.0}
COST = (
    "measured on one CPU core: 0.02 s an update of all students of points, over a minute a seed with the guided "
    "ones; of 8×8 images 0.05 s an update of the start and 0.12 s one of all students, 45 minutes a seed. 5 "
    "seeds, judging besides; `python -m workbench.studies.kit.cost --study 71` times it. No GPU was measured."
)


@dataclass(frozen=True)
class Scale(few_step.Scale):
    """What a budget buys; `guided` are the students of a ring of two classes."""

    guided: Size


@study(
    seeds=(3, 5),
    small=Scale(points=replace(POINTS, steps=800), images=IMAGES, guided=replace(POINTS, start=600, steps=600)),
    full=Scale(points=MORE_POINTS, images=replace(MORE_IMAGES, batch=16, method=PAPER), guided=MORE_POINTS),
    data="ring8",
    source=teacher,
    trained=trained,
    deviates=(
        "exact or small teachers instead of SD 1.5, SDXL and FLUX; all weights are trained, no adapter of rank 64",
        f"a grid of {GRID} times instead of 50",
        "points: learning rate 1e-3, decayed, batch 256 (full: 512) instead of 1e-4 and 16, and no clipping",
        "full on images: the paper's learning rate, batch and clipping; 20,000 updates (its number is not known)",
    ),
    cost=COST,
)
def run(s: Setting[Teacher, Scale]) -> Outcome:
    """Each seed has one start, and a student for each rule from there."""
    exact, size = s.data, s.scale.of(s.data)
    common: dict[str, Any] = {"grid": GRID, "clip": None, **size.training}
    methods: dict[str, Distilling] = {
        "TDD": TDD(**common),
        "CTM": Consistency(rule=TargetRule.uniform(), **common),
        "LCM": Consistency(rule=TargetRule.zero(), **common),
        "PCM": Consistency(rule=TargetRule.segments(4), **common),
    }
    judge = few_step.HeldOut(exact, size)
    s.tell(f"{len(s.seeds)} starts")
    begun = few_step.starts(exact, size, s.seeds, s.device)
    s.tell(f"{len(methods) * len(s.seeds)} students of {size.steps:,} updates")
    made = few_step.students(exact, methods, begun, s.device)
    rows: list[dict[str, Any]] = []
    for K in STEPS:
        times = few_times(exact.model.schedule, GRID, K)
        rows.append({"method": "teacher", "seed": -1, "steps": K, "gamma": 0.0} | judge.row(exact.model, times))
        for (name, seed), student in made.items():
            for gamma in GAMMAS:
                row = judge.row(student, times, Renoise(gamma) if gamma else "ddim")
                rows.append({"method": name, "seed": seed, "steps": K, "gamma": gamma} | row)
    s.tell("students guided after training")
    guided, told = decoupled(s.seeds[:2], s.scale.guided, s.device)
    return Outcome(
        [*rows, *guided],
        claims=(*_claims(rows, s.seeds), *told),
        records={name: made[name, s.seeds[0]].replace(checkpoint={}) for name in methods},
        settings={
            "grid": GRID, **size.described(), "sliced W2 of two exact sets": judge.floor,
            "targets": TargetRule.tdd().targets(GRID).tolist(),
        },
        notes="“paired error” is the root mean square distance to where the teacher's path from the same noise ends; "
        "with γ > 0 new noise is drawn on the way and it says little. PCM is trained for 4 segments. Columns of the "
        "guidance part: “told” the share of samples at a mode of the class asked for, “hidden” the share of classes "
        "not told in training, “guidance” the scale when used.",
    )  # fmt: skip


def decoupled(seeds: Sequence[int], size: Size, device: str) -> tuple[list[dict[str, Any]], list[Claim]]:
    """Students of the conditional ring with and without classes hidden in training, guided afterwards."""
    ring: Teacher = teacher("cond-ring")
    begun = few_step.starts(ring, size, list(seeds), device)
    methods: dict[str, Distilling] = {
        f"{share}": TDD(grid=GRID, steps=size.steps, batch=size.batch, unconditional=share, clip=None)
        for share in (0.0, 0.1)
    }
    made = few_step.students(ring, methods, begun, device)
    noise = ring.noise(size.samples, size.heldout)
    asked = torch.arange(len(noise)) % 2
    modes = ring.modes
    assert modes is not None
    assert modes.labels is not None
    times = few_times(ring.model.schedule, GRID, 4)
    rows: list[dict[str, Any]] = []
    for (share, seed), student in made.items():
        for scale_ in SCALES:
            samples = sample(Guided(denoiser(student), scale_), noise, steps=times, condition=asked)
            nearest = modes.distances(samples).argmin(1)
            rows.append(
                {
                    "method": "TDD, guided after", "seed": seed, "steps": 4, "gamma": 0.0, "hidden": float(share),
                    "guidance": scale_, "told": float((modes.labels[nearest] == asked).double().mean()),
                    "quality": mode_coverage(samples, modes).quality.value,
                }
            )  # fmt: skip

    def column(share: float, seed: int, what: str) -> list[float]:
        return [row[what] for row in rows if row["hidden"] == share and row["seed"] == seed]

    return rows, [
        reported(
            "With a tenth of the classes hidden in training, more guidance brings more samples to the class asked for "
            "(rank correlation)",
            estimate([rank_correlation(SCALES, column(0.1, seed, "told")) for seed in seeds]), ">=", 0.9,
        ),
        reported(
            "Without hidden classes the unguided samples are worse (quality at scale 0, difference)",
            estimate([column(0.1, seed, "quality")[0] - column(0.0, seed, "quality")[0] for seed in seeds]), ">", 0.0,
            note="The empty branch is then the one the student started with, which the teacher's fit had learned.",
        ),
    ]  # fmt: skip


def _claims(rows: list[dict[str, Any]], seeds: list[int]) -> list[Claim]:
    at = {(row["method"], row["seed"], row["steps"]): row["paired error"] for row in rows if row["gamma"] == 0}

    def ratios(one: str, other: str, K: int) -> list[float]:
        return [at[one, seed, K] / at[other, seed, K] for seed in seeds]

    claims = [
        reported(
            f"At {K} steps the student of all targets at 0 (LCM) misses the teacher's ends by more than TDD (ratio)",
            estimate(ratios("LCM", "TDD", K)), ">=", margin,
            note="The margin is the card's; three seeds do not settle it.",
        )
        for K, margin in ((4, 1.15), (8, 1.3))
    ]  # fmt: skip
    claims += [
        asserted(
            f"At {K} steps TDD misses them by hardly more than a student of any target, CTM (ratio)",
            estimate(ratios("TDD", "CTM", K)), "<=", 1.05,
        )
        for K in (4, 8)
    ]  # fmt: skip
    claims.append(
        asserted(
            "The price: in one step, which it never trains, TDD misses them by more than LCM (ratio)",
            estimate(ratios("TDD", "LCM", 1)), ">=", 1.5,
        )
    )  # fmt: skip
    claims += [
        reported(
            f"At {K} steps, trained for segments of 4, PCM misses them by more than TDD (ratio)",
            estimate(ratios("PCM", "TDD", K)), ">", 1.0,
        )
        for K in (4, 8)
    ]  # fmt: skip
    return claims
