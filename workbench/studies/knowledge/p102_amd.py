"""A large teacher, a small student: does one joint run find the assistant that should stand between them?"""

import time
from dataclasses import dataclass, replace
from typing import Any

import torch

from workbench.data import Dataset, Split
from workbench.knowledge import AMD, assistants, auto_multistep, distill
from workbench.knowledge.methods.amd import GRID, MultiStep, choose
from workbench.records import Claim, TrainingRecord
from workbench.studies.kit.claims import Estimate, asserted, estimate, reported
from workbench.studies.kit.recipes import Network
from workbench.studies.kit.study import Outcome, Setting, study

QUIET = {"progress": False, "evaluate_every": 0}


@dataclass(frozen=True)
class Scale:
    """How large the comparison is; `grid` are the scales of the candidates, the student's first."""

    teacher: Network
    labels: int
    validation: int
    joint: int
    steps: int
    grid: tuple[float, ...] = GRID
    lr: float = 2e-3


@study(
    seeds=(4, 5),
    small=Scale(Network("mlp", {"width": [128, 128]}, {"steps": 600, "lr": 2e-3}), labels=400, validation=300,
                joint=120, steps=200, grid=(0.05, *GRID[1:])),
    full=Scale(Network("mlp", {"width": [2048, 2048, 2048]}, {"epochs": 30}), labels=45_000, validation=5000,
               joint=20_000, steps=20_000, lr=5e-4),
    data_full="cifar10",
    deviates=(
        "a perceptron whose neurons are pruned, not a ViT or Swin whose heads and neurons are",
        "small: the student has 0.05 of the teacher's parameters; every step of the joint run trains four candidates",
        "NPSD's formula and the price on scale are readings of the card; λ₁ = λ₂ = 1",
        "the exhaustive search begins every assistant from the same joint run, as AMD does",
        "direct distillation begins from the same pruned student, with the steps of assistant and student together",
    ),
    cost="measured on images of 3×32×32, core seconds: a step of the teacher 0.13, of the joint run 0.39, of "
    "an assistant 0.12, of a student 0.03; a seed with 8 assistants is about 9 hours, 5 seeds 2 days of a core",
)  # fmt: skip
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """AMD, direct distillation of the same pruned student, and a student through every assistant there is."""
    scale = s.scale
    rows: list[dict[str, Any]] = []
    records: dict[str, TrainingRecord] = {}
    shown: TrainingRecord | None = None
    for seed in s.seeds:
        data, validation = split_off(s.data, scale, seed)
        teacher = scale.teacher.trained(data, seed=1000 + seed, device=s.device)
        shown = shown or teacher
        begun = time.process_time()
        settings = AMD(scales=scale.grid, steps=scale.joint, lr=scale.lr)
        training: dict[str, Any] = {
            "steps": scale.steps,
            "lr": scale.lr,
            "progress": False,
            "evaluate_every": 0,
            "device": s.device,
        }
        found = auto_multistep(teacher, data, validation, settings, seed=seed, **training)
        spent = time.process_time() - begun
        rows.append(_row("AMD", seed, found.student, spent) | {"chosen": float(found.scales[found.chosen])})
        free = choose(found.performance, found.scales, found.teacher_performance, price=0.0)
        for j, (share, P) in enumerate(zip(found.scales.tolist(), found.performance.tolist(), strict=True)):
            rows.append({"method": "candidate", "seed": seed, "scale": share, "validation accuracy": P,
                         "NPSD": float(found.npsd[j]), "taken without a price": j == free})  # fmt: skip
        others, seconds = _exhaustively(found, teacher, data, settings, seed, training)
        for j, record in others.items():
            rows.append(_row("through", seed, record, seconds[j]) | {"scale": float(found.scales[j])})
        begun = time.process_time()
        student = found.nested.sliced(found.widths[0])
        layer = student.penultimate
        signal = settings.signal(layer, layer)
        direct = distill(teacher.model, student, data, signal, seed=seed, **training | {"steps": 2 * scale.steps})
        rows.append(_row("direct", seed, direct, time.process_time() - begun))
        rank = sum(record.accuracy > found.student.accuracy for record in others.values())
        rows.append({
            "method": "selection", "seed": seed, "better assistants": rank / len(others),
            "work": _work(found, scale), "time": spent / sum(seconds.values()),
        })  # fmt: skip
        if seed == s.seeds[0]:
            records |= {"AMD": found.student, "assistant": found.assistant, "direct": direct}
        s.tell(f"seed {seed}: AMD, {len(others)} assistants and direct distillation")
    return Outcome(rows, _claims(rows), teacher=shown, records=records)


def split_off(data: Dataset, scale: Scale, seed: int) -> tuple[Dataset, Split]:
    """Labelled examples, and others that judge candidates only."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    kept = min(scale.labels, len(order) // 2)
    judging = order[kept : kept + scale.validation]
    return replace(data, train=data.train.take(order[:kept])), data.train.take(judging)


def _exhaustively(
    found: MultiStep, teacher: TrainingRecord, data: Dataset, settings: AMD, seed: int, training: dict[str, Any]
) -> tuple[dict[int, TrainingRecord], dict[int, float]]:
    """The student of every assistant, and the core seconds of each."""
    records, seconds = {}, {}
    for j in range(1, len(found.widths)):
        begun = time.process_time()
        pair = [found.nested.sliced(found.widths[k]) for k in (j, 0)]
        signal = settings.signal(pair[0].penultimate, pair[0].penultimate)
        records[j] = assistants(teacher, pair, data, signal, seed=seed, **training)[-1]
        seconds[j] = time.process_time() - begun
    return records, seconds


def _work(found: MultiStep, scale: Scale) -> float:
    """Trained parameters times steps of AMD, as a share of those of trying every assistant."""
    S = found.scales
    joint = scale.joint * float(S[0] + S[-1] + 2 * S[1:-1].mean())
    every = scale.steps * float((S[1:] + S[0]).sum())
    return (joint + scale.steps * float(S[found.chosen] + S[0])) / every


def _row(name: str, seed: int, record: TrainingRecord, seconds: float) -> dict[str, Any]:
    return {"method": name, "seed": seed, "accuracy": record.accuracy, "core seconds": seconds}


def _claims(rows: list[dict[str, Any]]) -> list[Claim]:
    seeds = dict.fromkeys(row["seed"] for row in rows)

    def of(method: str, what: str) -> list[float]:
        return [next(row[what] for row in rows if (row["method"], row["seed"]) == (method, k)) for k in seeds]

    def less(a: list[float], b: list[float]) -> Estimate:
        return estimate([x - y for x, y in zip(a, b, strict=True)])

    oracle = [max(row["accuracy"] for row in rows if (row["method"], row["seed"]) == ("through", k)) for k in seeds]
    return [
        asserted("AMD trains at most half the parameters, times steps, of trying every assistant",
                 estimate(of("selection", "work")), "<=", 0.5),
        reported("… and takes at most half the core seconds", estimate(of("selection", "time")), "<=", 0.5),
        reported("AMD's student beats direct distillation by half a point",
                 less(of("AMD", "accuracy"), of("direct", "accuracy")), ">=", 0.005,
                 "At the scale of digits gains through an assistant are small and may vanish."),
        reported("At most half of the assistants give a better student", estimate(of("selection", "better assistants")),
                 "<=", 0.5),
        reported("AMD's student is within a point of that of the best assistant, chosen by the test split",
                 less(of("AMD", "accuracy"), oracle), ">=", -0.01),
    ]  # fmt: skip
