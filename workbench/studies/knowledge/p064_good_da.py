"""Can the teacher alone tell which augmentation will distil the best student?

Paper 064. For ten ways of augmenting, T. stddev (how much the teacher's mean probability moves, measured before any
student exists) is set against the test loss of students distilled on originals and augmented copies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from torch import nn

from workbench.data import Dataset
from workbench.knowledge import AugmentedKD, CutMix, CutMixPick, Identity, Mixup, OneOf, OnViews, Views, teacher_stddev
from workbench.records import TrainingRecord
from workbench.studies.kit.claims import Estimate, asserted, estimate, exact, rank_correlation, reported
from workbench.studies.kit.compare import Comparison, Length, Method, compare
from workbench.studies.kit.recipes import EPOCH, FILLED, PUBLIC, Network
from workbench.studies.kit.study import Outcome, Setting, study
from workbench.training import Augmentation, Crop, Cutout, Noise, Rotate, Shift

BATCH = 64
AUGMENTATIONS: dict[str, Augmentation] = {
    "identity": Identity(),
    "shift": Shift(),
    "rotate": Rotate(15),
    "noise": Noise(0.2),
    "cutout": Cutout(),
    "random policy": OneOf((Shift(), Rotate(15), Crop(), Noise(0.2), Cutout())),
    "mixup": Mixup(),
    "cutmix": CutMix(),
}
PICKS = {"cutmixpick, teacher": "teacher", "cutmixpick, student": "student"}
CARD = ("identity", "shift", "noise", "cutout", "mixup", "cutmix", *PICKS)
"""The eight schemes for which the correlation is known to show; rotation and the policy come on top."""


@dataclass(frozen=True)
class Scale:
    """How large the comparison is; `examples` None: all. T. stddev is over `repeats` means."""

    teacher: Network
    student: Network
    short: Length
    long: Length
    examples: int | None
    repeats: int


BY_HAND = {key: value for key, value in PUBLIC.items() if key != "augment"}
"""The public recipe without its augmentation: here augmentations are what is compared."""


@study(
    seeds=(8, 3),
    small=Scale(
        Network("mlp", {"width": [256]}, {"epochs": 30}),
        Network("mlp", {"width": [12]}),
        short=Length(200, 1e-2),
        long=Length(600, 1e-2),
        examples=400,
        repeats=400,
    ),
    full=Scale(
        Network("wrn-40-2", training={"epochs": 240, "lr": 0.05, **PUBLIC}),
        Network("wrn-16-2"),
        short=Length(240 * EPOCH, 0.05, BY_HAND),
        long=Length(480 * EPOCH, 0.05, BY_HAND),
        examples=None,
        repeats=1500,
    ),
    data_full="cifar100",
    deviates=(
        "small: perceptrons on 400 images; batches are drawn with replacement, since five are most of so few images",
        "T. stddev of the student's pick is measured with the first seed's trained student, not along its training",
        "a random policy stands in for AutoAugment; flips are left out, which change digits",
        f"full: of the paper's pairs WRN-40-2 → WRN-16-2 alone; {FILLED}",
    ),
    cost="measured: 0.24 s of one CPU core for a step of 64 images (WRN-40-2 teaching WRN-16-2), twice that "
    "with the augmented view; 563,040 steps, 10 augmentations and 3 seeds are about 94 days of a core; no "
    "GPU was measured",
)
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """Ten augmentations and two lengths of training, a student of 12 hidden units on 400 images; in full the paper's
    networks on CIFAR-100. The data must be images.
    """
    scale, data = s.scale, s.data
    if len(data.shape) != 3:
        raise ValueError(f"data {data.name!r} has inputs of shape {data.shape}; augmentations need images")
    teacher = scale.teacher.trained(data, seed=1000, device=s.device)
    s.tell("a teacher is trained")
    table = compare(
        {name: Method(_signal(name), options={"augment": _views(name)}) for name in (*AUGMENTATIONS, *PICKS)},
        data,
        teacher=OnViews(teacher.model),
        student=lambda seed: OnViews(scale.student(data, seed)),
        seeds=s.seeds,
        sizes=(min(scale.examples or len(data.train), len(data.train)),),
        lengths=(scale.short, scale.long),
        device=s.device,
    )
    s.tell("students are trained and judged")
    students = {name: _plain(record) for (name, _, steps), record in table.records.items() if steps == scale.long.steps}
    moves = _stddevs(data, teacher.model, students["cutmixpick, student"], repeats=scale.repeats)
    rows = [{**row, "T. stddev": moves[row["method"]]} for row in table.rows]
    losses = _losses(table, scale.long)
    low = sorted(moves, key=moves.__getitem__)
    return Outcome(
        rows,
        claims=(
            asserted(
                "Augmentations with lower T. stddev distil students of lower test loss (Spearman, the card's eight)",
                _correlation(moves, losses, CARD), ">", 0.3,
            ),
            reported(
                "… over all ten", _correlation(moves, losses, tuple(moves)), ">", 0.3,
                "Rotation and the random policy were not among the schemes for which the correlation had been seen.",
            ),
            asserted(
                "CutMix and both picks lie in the lower half of T. stddev (their mean rank of ten)",
                exact(float(np.mean([low.index(name) + 1 for name in ("cutmix", *PICKS)]))), "<=", 5,
            ),
            reported(
                "CutMixPick (student) distils better than CutMix (test loss)",
                table.paired("cutmixpick, student", "cutmix", "nll", steps=scale.long.steps), "<", 0.0,
                "A tie at this size.",
            ),
            reported(
                "Training longer favours the augmentations of low T. stddev (lower minus upper half, long minus short)",
                _gap(table, low, scale.long, scale.short), "<", 0.0,
            ),
        ),
        teacher=teacher,
        records=students,
        settings={
            "lengths": [str(scale.short), str(scale.long)],
            "batch size": BATCH,
            "T. stddev": moves,
            **_three_correlations(moves, losses),
        },
    )  # fmt: skip


def _views(name: str) -> Views:
    return Views(CutMix(), copies=2) if name in PICKS else Views(AUGMENTATIONS[name])


def _signal(name: str) -> AugmentedKD:
    match PICKS.get(name):
        case "teacher":
            return AugmentedKD(pick="teacher")
        case "student":
            return AugmentedKD(pick="student")
    return AugmentedKD()


def _plain(record: TrainingRecord) -> TrainingRecord:
    """The record of the network by itself, without its axis of views."""
    network = record.model.get_submodule("network")
    state = {name.removeprefix("network."): value for name, value in record.state.items()}
    return record.replace(state=state, spec=getattr(network, "spec", None)).with_model(network)


def _stddevs(data: Dataset, teacher: nn.Module, student: TrainingRecord, *, repeats: int) -> dict[str, float]:
    """T. stddev of each augmentation, in `AUGMENTATIONS`' and `PICKS`' order."""
    augments: dict[str, Any] = {
        **AUGMENTATIONS,
        "cutmixpick, teacher": CutMixPick(teacher),
        "cutmixpick, student": CutMixPick(student.model),
    }
    split = data.train.to("cpu")
    teacher = teacher.cpu()
    return {
        name: teacher_stddev(teacher, split, augment, batch_size=BATCH, repeats=repeats)
        for name, augment in augments.items()
    }


def _losses(table: Comparison, length: Length) -> dict[str, dict[int, float]]:
    """Test loss of each method's students, by seed."""
    return {
        method: {key[0]: value for key, value in table.values(method, "nll", steps=length.steps).items()}
        for method in table.methods
    }


def _correlation(
    moves: Mapping[str, float], losses: Mapping[str, Mapping[int, float]], names: Sequence[str]
) -> Estimate:
    """Spearman's correlation of T. stddev with the mean test loss over seeds; interval by resampling the seeds."""
    x = [moves[name] for name in names]
    y = np.array([list(losses[name].values()) for name in names])
    generator = np.random.default_rng(0)
    seeds = y.shape[1]
    drawn = [rank_correlation(x, y[:, generator.integers(seeds, size=seeds)].mean(1)) for _ in range(1000)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(rank_correlation(x, y.mean(1)), (float(low), float(high)), seeds)


def _three_correlations(moves: Mapping[str, float], losses: Mapping[str, Mapping[int, float]]) -> dict[str, Any]:
    """The paper's three correlation coefficients over all schemes, with their p-values."""
    x, y = list(moves.values()), [float(np.mean(list(losses[name].values()))) for name in moves]
    return {
        f"{name} correlation": {"value": float(result.statistic), "p": float(result.pvalue)}
        for name, result in (
            ("Pearson", stats.pearsonr(x, y)),
            ("Spearman", stats.spearmanr(x, y)),
            ("Kendall", stats.kendalltau(x, y)),
        )
    }


def _gap(table: Comparison, low: Sequence[str], long: Length, short: Length) -> Estimate:
    """How the lower half's advantage in test loss changes from `short` to `long`, paired by seed."""
    half = len(low) // 2
    changes = []
    at = {length.steps: _losses(table, length) for length in (long, short)}
    for seed in next(iter(at[long.steps].values())):
        gap = {
            steps: np.mean([losses[name][seed] for name in low[:half]]) - np.mean([losses[n][seed] for n in low[half:]])
            for steps, losses in at.items()
        }
        changes.append(float(gap[long.steps] - gap[short.steps]))
    return estimate(changes)
