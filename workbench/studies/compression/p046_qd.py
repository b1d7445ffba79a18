"""How few bits does a weight need, and does training on the levels, or learning them, beat rounding afterwards?

Paper 046: quantised distillation and differentiable quantisation, against rounding after training, with and without
buckets, and training on the levels without a teacher.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench import compression, training
from workbench.compression import DQ, PM, QD
from workbench.data import Dataset
from workbench.records import Claim, TrainingRecord
from workbench.signals.cross_entropy import CrossEntropy
from workbench.signals.kl import KL
from workbench.signals.signal import Bound
from workbench.studies.kit.claims import Estimate, asserted, estimate, reported
from workbench.studies.kit.recipes import Network
from workbench.studies.kit.study import Outcome, Setting, study

FULL, LABELS = "full precision, distilled", "full precision"
ROUNDED, WHOLE, TRAINED, ALONE, LEARNED = "PM", "PM, no buckets", "QD", "QD without teacher", "DQ"
NEAR = (
    "The card measured more with another training; here the mean lies at the margin, and eight seeds do not settle it."
)
Found = dict[tuple[str, int, int], TrainingRecord]
"""By method, bits (0: full precision) and seed."""


@dataclass(frozen=True)
class Scale:
    """What a budget buys: the teacher, the students, training examples (None: all), steps and rates of students and of
    levels, k, and the bits that are tried.
    """

    teacher: Network
    student: Network
    examples: int | None
    steps: int
    lr: float
    lr_levels: float
    bucket: int
    bits: tuple[int, ...] = (1, 2, 3, 4, 8)
    batch: int = 64
    optimizer: str = ""
    """Empty: the paper's, SGD with Nesterov's momentum."""


@study(
    seeds=(8, 3),
    small=Scale(
        Network("mlp", {"width": [128]}, {"epochs": 30}),
        Network("mlp", {"width": [24]}),
        examples=600, steps=400, lr=1e-2, lr_levels=1e-2, bucket=64, optimizer="adam",
    ),
    full=Scale(
        Network("wrn-28-4", {}, {"epochs": 200, "optimizer": "sgd", "lr": 0.1, "weight_decay": 5e-4,
                                  "batch_size": 128, "augment": "shift+flip"}),
        Network("convnet", {"width": 75}),
        examples=None, steps=200 * 391, lr=0.01, lr_levels=1e-5, bucket=256, bits=(2, 4, 8), batch=128,
    ),
    data_full="cifar10",
    deviates=(
        "small: a perceptron of 24 hidden units learns from 600 images in 400 steps of Adam; the teacher is one of 128",
        "biases and norms stay in full precision, where the paper's code quantises every parameter",
        "every quantised student starts where the full-precision one does; rounding takes the distilled one",
        "no recurrent network and no translation; bits are parted equally among tensors",
        "full: a ConvNet of width 75 and a wide residual teacher, not the networks of the paper's code",
    ),
    cost="not measured: 78,200 steps of a ConvNet of width 75 for three seeds, 3 widths of bits and 3 trainings each",
)  # fmt: skip
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """Five ways to few levels, at one to eight bits, and two students in full precision."""
    size = s.scale
    teacher = size.teacher.trained(s.data, seed=1000, device=s.device)
    count = len(s.data.train) if size.examples is None else min(size.examples, len(s.data.train))
    data = [s.data.subset(count, seed=seed) for seed in s.seeds]
    common: dict[str, Any] = {
        "seeds": s.seeds, "device": s.device, "progress": False, "evaluate_every": 0, "batch_size": size.batch,
    }  # fmt: skip
    found: Found = {}

    def keep(name: str, bits: int, records: Sequence[TrainingRecord]) -> None:
        found.update({(name, bits, seed): one for seed, one in zip(s.seeds, records, strict=True)})

    def fresh() -> list[Any]:
        return [size.student(one, seed=seed) for one, seed in zip(data, s.seeds, strict=True)]

    train: dict[str, Any] = {"steps": size.steps, **common}
    guide = training.Guide(teacher.model)
    signal = Bound(0.7 * KL(2) + 0.3 * CrossEntropy())
    own: dict[str, Any] = {"optimizer": size.optimizer} if size.optimizer else {}
    plain: dict[str, Any] = {"optimizer": size.optimizer or compression.NesterovSGD(size.lr), "lr": size.lr, **train}
    keep(FULL, 0, training.Ensemble(fresh()).fit(data, loss=signal, guide=guide, name=FULL, **plain))
    keep(LABELS, 0, training.Ensemble(fresh()).fit(data, name=LABELS, **plain))
    s.tell("students in full precision")
    done = [found[FULL, 0, seed].model for seed in s.seeds]
    for bits in size.bits:
        on: dict[str, Any] = {"bits": bits, "bucket": size.bucket}
        keep(ROUNDED, bits, compression.compress_many(done, data, PM(**on), name=ROUNDED, **common))
        whole = PM(bits=bits, bucket=None)
        keep(WHOLE, bits, compression.compress_many(done, data, whole, name=WHOLE, **common))
        for name, method, start, told, lr in (
            (TRAINED, QD(**on), None, teacher, size.lr),
            (ALONE, QD(**on), None, None, size.lr),
            (LEARNED, DQ(**on), done, teacher, size.lr_levels),
        ):
            students = fresh() if start is None else start
            made = compression.compress_many(students, data, method, teacher=told, lr=lr, name=name, **own, **train)
            keep(name, bits, made)
        s.tell(f"{bits} bits")
    accuracy = {
        (name, bits, seed): training.evaluate(record.model, s.data.test)["accuracy"]
        for (name, bits, seed), record in found.items()
    }
    rows = []
    for (name, bits, seed), record in found.items():
        full = 32 * sum(value.numel() for value in record.state.values())
        kilobits = {"kilobits": "bits", "kilobits, Huffman": "Huffman bits"}
        rows.append(
            {"method": name, "bits": bits or 32, "seed": seed, "accuracy": accuracy[name, bits, seed]}
            | {column: record.settings.get(key, full) / 1000 for column, key in kilobits.items()}
        )
    first = s.seeds[0]
    records = {
        f"{name}, {bits} bits" if bits else name: record
        for (name, bits, seed), record in found.items()
        if seed == first and bits in (0, size.bits[0], size.bits[min(1, len(size.bits) - 1)])
    }
    return Outcome(
        rows, claims=claims(accuracy, size.bits, s.seeds), records=records, teacher=teacher,
        settings={"student": str(size.student), "bucket": size.bucket, "steps": size.steps},
    )  # fmt: skip


def claims(accuracy: Mapping[tuple[str, int, int], float], bits: Sequence[int], seeds: Sequence[int]) -> list[Claim]:
    """The card's."""

    def more(one: str, other: str, at: Sequence[int], *, full: bool = False) -> Estimate:
        return estimate([
            sum(accuracy[one, b, k] - accuracy[other, 0 if full else b, k] for b in at) / len(at)
            for k in seeds
        ])  # fmt: skip

    made = []
    if 1 in bits:
        gain = more(TRAINED, ROUNDED, [1])
        made.append(asserted("QD beats rounding afterwards by 8 points at 1 bit", gain, ">=", 0.08))
    if 2 in bits:
        gain = more(TRAINED, ROUNDED, [2])
        made += [
            asserted("QD beats rounding afterwards at 2 bits", gain, ">", 0.0),
            reported("… by 8 points", gain, ">=", 0.08, NEAR),
        ]
    for b in (b for b in bits if b >= 2):
        says = asserted if b > 2 else reported
        gap, note = more(TRAINED, FULL, [b], full=True), "" if b > 2 else NEAR
        made.append(says(f"QD is within 1.5 points of full precision at {b} bits", gap, ">=", -0.015, note))
    made += [
        reported(f"The teacher helps at {b} bit{'s' * (b > 1)}", more(TRAINED, ALONE, [b]), ">", 0.0)
        for b in bits if b <= 2
    ]  # fmt: skip
    middle = [b for b in bits if 2 <= b <= 4] or list(bits)
    made += [
        reported(f"Rounding in buckets is at least as good as without at {min(bits)} to 4 bits",
                 more(ROUNDED, WHOLE, [b for b in bits if b <= 4] or list(bits)), ">=", 0.0),
        reported("Learned levels (DQ) beat rounding at 2 to 4 bits", more(LEARNED, ROUNDED, middle), ">", 0.0),
        reported("… and stay below QD", more(LEARNED, TRAINED, middle), "<", 0.0),
    ]  # fmt: skip
    return made
