"""Does a student that is trained only for the jumps its sampler makes make them better?

Paper 071, Wang et al.: target-driven distillation beside other choices of the target time, everything else the same;
guidance that is set after training, with and without classes hidden in training.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from workbench.diffusion import TDD, Consistency, Guided, Renoise, TargetRule, denoiser, mode_coverage, sample
from workbench.diffusion.making.making import Distilling
from workbench.diffusion.methods.consistency import few_times
from workbench.records import Claim, Record, StudyResult
from workbench.studies.kit import few_step
from workbench.studies.kit.claims import asserted, estimate, rank_correlation, reported
from workbench.studies.kit.diffusing import Teacher, setting, teacher

GRID = 40
STEPS = (1, 2, 4, 5, 6, 7, 8)
GAMMAS = (0.0, 0.3)
SCALES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
"""Guidance set when the student is used."""


def run(
    data: Any = None,
    *,
    root: Any = None,
    seeds: int | Sequence[int] | None = None,
    budget: str = "small",
    device: str = "auto",
) -> StudyResult:
    """Each seed has one start, and a student for each rule from there.

    Parameters
    ----------
    data
        As for `workbench.studies.kit.diffusing.teacher`.
    root, seeds, budget, device
        As for `workbench.studies.run`.
    """
    started = setting(data, root=root, seeds=seeds, budget=budget, device=device, seeds_small=3, seeds_full=5)
    exact, scale = started.data, few_step.scale(started.data, budget)
    if budget == "small":
        scale = replace(scale, steps=min(scale.steps, 800))
    common: dict[str, Any] = {"grid": GRID, "steps": scale.steps, "batch": scale.batch}
    methods: dict[str, Distilling] = {
        "TDD": TDD(clip=None, **common),
        "CTM": Consistency(rule=TargetRule.uniform(), **common),
        "LCM": Consistency(rule=TargetRule.zero(), **common),
        "PCM": Consistency(rule=TargetRule.segments(4), **common),
    }
    judge = few_step.Judge(exact, scale)
    begun = few_step.starts(exact, scale, started.seeds, device)
    made = few_step.students(exact, methods, begun, device)
    rows: list[dict[str, Any]] = []
    for K in STEPS:
        times = few_times(exact.model.schedule, GRID, K)
        rows.append({"method": "teacher", "seed": -1, "steps": K, "gamma": 0.0} | judge.row(exact.model, times))
        for (name, seed), student in made.items():
            for gamma in GAMMAS:
                row = judge.row(student, times, Renoise(gamma) if gamma else "ddim")
                rows.append({"method": name, "seed": seed, "steps": K, "gamma": gamma} | row)
    records: dict[str, Record] = {name: made[name, started.seeds[0]].replace(checkpoint={}) for name in methods}
    guided, told = decoupled(started.seeds[:2], scale, device)
    return started.result(
        paper=71,
        title="Does a student that is trained only for the jumps its sampler makes make them better?",
        rows=[*rows, *guided],
        claims=(*_claims(rows, started.seeds), *told),
        records=records,
        settings={
            "grid": GRID, "iterations": scale.steps, "batch": scale.batch, "start": scale.start, **scale.options,
            "sliced W2 of two exact sets": judge.floor,
            "targets": TargetRule.tdd().targets(GRID).tolist(),
        },
        notes="“paired error” is the root mean square distance to where the teacher's path from the same noise ends; "
        "with γ > 0 new noise is drawn on the way and it says little. PCM is trained for 4 segments. Columns of the "
        "guidance part: “told” the share of samples at a mode of the class asked for, “hidden” the share of classes "
        "not told in training, “guidance” the scale when used.",
    )  # fmt: skip


def decoupled(seeds: Sequence[int], scale: few_step.Scale, device: str) -> tuple[list[dict[str, Any]], list[Claim]]:
    """Students of the conditional ring with and without classes hidden in training, guided afterwards."""
    ring: Teacher = teacher("cond-ring")
    points = scale if scale.network == "denoiser-mlp" else few_step.scale(ring, "small")
    fewer = replace(points, steps=min(points.steps, 600), start=min(points.start, 600))
    begun = few_step.starts(ring, fewer, list(seeds), device)
    methods: dict[str, Distilling] = {
        f"{share}": TDD(grid=GRID, steps=fewer.steps, batch=fewer.batch, unconditional=share, clip=None)
        for share in (0.0, 0.1)
    }
    made = few_step.students(ring, methods, begun, device)
    noise = ring.noise(fewer.samples, fewer.heldout)
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
        asserted(
            f"At {K} steps the student of all targets at 0 (LCM) misses the teacher's ends by more than TDD (ratio)",
            estimate(ratios("LCM", "TDD", K)), ">=", margin,
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
