"""Can a student do as well as its teacher, and what decides it: its size, its teacher, or the balance of the loss?

Paper 055 has no experiment of its own; this one sweeps its three determinants one at a time, and its techniques.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from workbench import language, models
from workbench.data import UNLABELLED, Dataset, load
from workbench.knowledge import Committee, CrossEntropy, Hint, Hinton, Signal, distill
from workbench.records import TrainingRecord
from workbench.studies.kit.balance import balanced
from workbench.studies.kit.compare import Comparison, Length, Method, compare
from workbench.studies.kit.recipes import EPOCH, FILLED, PUBLIC, Network
from workbench.studies.kit.study import Outcome, Setting, study
from workbench.studies.survey import kd_determinants_claims as claims
from workbench.studies.survey.kd_determinants_claims import (
    ASSISTANT,
    BRIEF,
    HARD,
    HINT,
    KD,
    LOGITS,
    LONG,
    NARROW,
    SELF,
    SMOOTH,
    SMOOTHED,
    SOFT,
    STANDARD,
    THREE,
)
from workbench.training import fit, sources


@dataclass(frozen=True)
class Scale:
    """What a budget buys.

    Attributes
    ----------
    teacher, narrow, assistant
        The teacher, a smaller one, and what stands between the teacher and the student.
    sizes
        Students, from the smallest; `student` is the one of them that all but capacity is compared on.
    late
        Layers of the student and the teacher that the hint reads.
    length
        Of every student.
    epochs
        Of a teacher that is trained as usual; a brief one has a seventh.
    labels
        How many labelled examples: the first is where techniques are compared.
    temperatures, alphas
        The grid of the loss.
    few
        Seeds of the grid and of the capacity curves, at most.
    writer, readers, text_steps
        The language model that teaches, those that learn, and their iterations.
    """

    teacher: Network
    narrow: Network
    assistant: Network
    sizes: tuple[Network, ...]
    student: Network
    late: tuple[str, str]
    length: Length
    epochs: int
    labels: tuple[int, ...]
    temperatures: tuple[float, ...] = (1, 2, 4, 8, 16, math.inf)
    alphas: tuple[float, ...] = (0.0, 0.1, 0.5)
    few: int = 3
    writer: tuple[int, int] = (48, 2)
    readers: tuple[tuple[int, int], ...] = ((16, 1), (32, 1))
    text_steps: int = 80


def _mlp(*width: int) -> Network:
    return Network("mlp", {"width": list(width)}, {"lr": 3e-3})


def _resnet(name: str) -> Network:
    return Network(name, training={"lr": 0.05, **PUBLIC})


@study(
    seeds=(10, 5),
    small=Scale(
        _mlp(128, 64), _mlp(32), _mlp(32), tuple(map(_mlp, (4, 8, 16, 32, 64))), _mlp(16), ("hidden.0", "hidden.1"),
        Length(400, 1e-2, {"batch_size": 32}), epochs=15, labels=(100, 300, 1000),
    ),
    full=Scale(
        _resnet("resnet56"), _resnet("resnet20"), _resnet("resnet20"),
        tuple(map(_resnet, ("resnet8", "resnet14", "resnet20", "resnet32"))), _resnet("resnet8"), ("layer3", "layer3"),
        Length(240 * EPOCH, 0.05, PUBLIC), epochs=240, labels=(2500, 10_000, 40_000), few=5,
        writer=(96, 3), readers=((16, 1), (32, 1), (64, 2)), text_steps=2000,
    ),
    data_full="cifar10",
    deviates=(
        "the overview has no experiment of its own: determinants, techniques and beds are the card's",
        "small: the grid has three balances, and like the capacity curves three seeds; a writer of 2 × 48, not 3 × 96",
        "language models are distilled at T = 1 and on one balance, 0.1 of the labels",
        f"full: ResNet-56 and smaller on CIFAR-10; {FILLED}",
    ),
    cost="not measured: about 60 students of up to 32 layers and 6 teachers for 240 epochs of CIFAR-10, times 5 seeds",
)  # fmt: skip
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """Nine techniques at few labels; then labels, temperature and balance, the student's size, and the teacher."""
    size, few = s.scale, s.seeds[: s.scale.few]
    taught = teachers(s)
    teacher = taught[STANDARD]
    counts = [n for n in size.labels if n <= len(s.data.train)] or [len(s.data.train)]
    middle = assistant(s, teacher)
    techniques = on_few_labels(s, teacher, middle, counts[0])
    s.tell("techniques")
    more = Comparison((), {})
    for n in counts[1:]:
        more += _hard(s, {HARD: CrossEntropy()}, teacher, n, s.seeds) + _soft(s, {KD: Hinton()}, teacher, n, s.seeds)
    s.tell("labels")
    cells = {f"T={T:g}, α={alpha:g}": Hinton(T, alpha) for T in size.temperatures for alpha in size.alphas}
    grid = _soft(s, cells, teacher, counts[0], few)
    s.tell("temperature and balance")
    capacity = on_all_labels(s, teacher, middle, few)
    s.tell("capacity")
    by_teacher = {name: Method(Hinton(), teacher=record.model) for name, record in taught.items()}
    quality = _soft(s, by_teacher, teacher, counts[0], s.seeds)
    s.tell("teachers")
    texts = on_text(s, few)
    parts = {"techniques": techniques, "labels": more, "grid": grid, "capacity": capacity, "teachers": quality}
    sizes = [str(network) for network in size.sizes]
    return Outcome(
        [{"part": part, **row} for part, one in parts.items() for row in one.rows] + texts,
        claims=[
            *claims.on_techniques(techniques, techniques + more, counts),
            *claims.on_balance(grid, size.temperatures, size.alphas[-2]),
            *claims.on_size(capacity, teacher.accuracy, sizes, few),
            *claims.on_teachers(quality, taught, s.seeds),
            *claims.on_what_decides(grid, capacity, quality, few),
            *claims.on_text(texts, few),
        ],
        teacher=teacher,
        records={name: record for (name, *_), record in techniques.records.items()},
        settings={
            "teachers": [f"{name}: {record.accuracy:.4f}" for name, record in taught.items()],
            "students": sizes, "labels": counts, "length": str(size.length), "text": "descriptions",
        },
        notes="With labels only, a student learns from the labelled examples; with soft labels, from all inputs. "
        "A student within half a point of its teacher's accuracy counts as as good.",
    )  # fmt: skip


def teachers(s: Setting[Dataset, Scale]) -> dict[str, TrainingRecord]:
    """One network trained in four ways, and a narrower one; made once per machine."""
    size = s.scale

    def smoothed() -> TrainingRecord:
        built = models.build(size.teacher.name, s.data, seed=1000, **size.teacher.options)
        return fit(
            built, s.data, size.epochs, loss=CrossEntropy(0.1), seed=1000, evaluate_every=0, device=s.device,
            progress=False, name="teacher", **size.teacher.training,
        )  # fmt: skip

    recipe = {"network": str(size.teacher), "epochs": size.epochs, **size.teacher.training}
    return {
        STANDARD: _trained(s, size.teacher, size.epochs),
        BRIEF: _trained(s, size.teacher, size.epochs // 7),
        LONG: _trained(s, size.teacher, 3 * size.epochs),
        SMOOTHED: sources.source(smoothed, what="smoothed teacher", recipe=recipe, data=s.data, device=s.device),
        NARROW: _trained(s, size.narrow, size.epochs),
    }


def assistant(s: Setting[Dataset, Scale], teacher: TrainingRecord) -> nn.Module:
    """A network between teacher and student, taught by the teacher."""
    size = s.scale
    middle = size.assistant(s.data, 1000)
    distill(
        teacher, middle, s.data, Hinton(), seed=1000, steps=size.length.steps, lr=size.length.lr, device=s.device,
        evaluate_every=0, progress=False, **size.length.options,
    )  # fmt: skip
    return middle


def on_few_labels(s: Setting[Dataset, Scale], teacher: TrainingRecord, middle: nn.Module, count: int) -> Comparison:
    """The card's nine techniques at so many labels; what needs no teacher sees the labelled examples alone."""
    size = s.scale
    others = [_trained(s, size.teacher, size.epochs, seed=1001 + k).model for k in range(2)]
    hint = balanced(Hint(*size.late), teacher.model, size.student(s.data, 1000), s.data)
    told: dict[str, Signal | Method] = {
        SOFT: Hinton(1.0),
        KD: Hinton(),
        LOGITS: Hinton(math.inf),
        HINT: hint,
        THREE: Method(Hinton(), teacher=Committee([teacher.model, *others], temperature=4.0)),
        ASSISTANT: Method(Hinton(), teacher=middle),
        SELF: Method(Hinton(), teacher=_trained(s, size.student, size.epochs).model),
    }
    none: dict[str, Signal | Method] = {HARD: CrossEntropy(), SMOOTH: CrossEntropy(0.1)}
    return _hard(s, none, teacher, count, s.seeds) + _soft(s, told, teacher, count, s.seeds)


def on_all_labels(
    s: Setting[Dataset, Scale], teacher: TrainingRecord, middle: nn.Module, seeds: Sequence[int]
) -> Comparison:
    """Students of every size, the smallest by an assistant as well."""
    told: dict[str, Signal | Method] = {HARD: CrossEntropy(), SOFT: Hinton(1.0), KD: Hinton()}
    through: dict[str, Signal | Method] = {ASSISTANT: Method(Hinton(), teacher=middle)}
    found = Comparison((), {})
    for network in s.scale.sizes:
        methods = told | through if network is s.scale.sizes[0] else told
        found += _compared(s, methods, [s.data] * len(seeds), teacher, seeds, network, student=str(network))
    return found


def partly(data: Dataset, count: int, seed: int) -> Dataset:
    """The data with the labels of `count` training examples, the same that ``data.subset(count, seed)`` has."""
    kept = data.train.subset(count, seed).index
    known = (data.train.index[:, None] == kept).any(1).to(data.train.labels.device)
    train = dataclasses.replace(data.train, labels=data.train.labels.masked_fill(~known, UNLABELLED))
    return dataclasses.replace(data, train=train)


def on_text(s: Setting[Dataset, Scale], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Small language models on a text, from its characters alone and from a larger one's predictions too."""
    size, data = s.scale, load("descriptions")
    common: dict[str, Any] = {"batch": 16, "warmup": 10, "device": s.device, "progress": False}
    width, depth = size.writer
    recipe = {"width": width, "depth": depth, "steps": 3 * size.text_steps, "lr": 4e-3}

    def make() -> TrainingRecord:
        network = models.build("lm", data, seed=1000, width=width, depth=depth)
        return language.finetune(network, data, steps=3 * size.text_steps, lr=4e-3, seed=1000, name="writer", **common)

    writer = sources.source(make, what="writer", recipe=recipe, device=s.device)
    rows: list[dict[str, Any]] = []
    for width, depth in size.readers:
        for seed in seeds:
            for name, ratio in ((HARD, 0.0), (SOFT, 0.9)):
                student = models.build("lm", data, seed=seed, width=width, depth=depth)
                method = language.KD(ratio=ratio) if ratio else language.SFT()
                record = language.distill(
                    writer, student, data, method, steps=size.text_steps, lr=4e-3, seed=seed, **common
                )
                rows.append(
                    {
                        "part": "text", "method": name, "student": f"lm {width}", "seed": seed,
                        "accuracy": float(record.curves["test_accuracy"][-1]),
                        "nll": float(record.curves["test_loss"][-1]),
                    }
                )  # fmt: skip
    s.tell("language models")
    return rows


def _compared(
    s: Setting[Dataset, Scale],
    methods: Mapping[str, Signal | Method],
    data: Sequence[Dataset],
    teacher: TrainingRecord,
    seeds: Sequence[int],
    network: Network,
    **columns: Any,
) -> Comparison:
    return compare(
        methods, data, teacher=teacher.model, student=partial(network, s.data), seeds=seeds, lengths=(s.scale.length,),
        columns=columns, device=s.device,
    )  # fmt: skip


def _trained(s: Setting[Dataset, Scale], network: Network, epochs: int, seed: int = 1000) -> TrainingRecord:
    longer = Network(network.name, network.options, {**network.training, "epochs": max(1, epochs)})
    return longer.trained(s.data, seed=seed, device=s.device)


def _hard(
    s: Setting[Dataset, Scale], methods: Mapping[str, Any], teacher: TrainingRecord, count: int, seeds: Sequence[int]
) -> Comparison:
    each = [s.data.subset(count, seed) for seed in seeds]
    return _compared(s, methods, each, teacher, seeds, s.scale.student, labels=count)


def _soft(
    s: Setting[Dataset, Scale], methods: Mapping[str, Any], teacher: TrainingRecord, count: int, seeds: Sequence[int]
) -> Comparison:
    each = [partly(s.data, count, seed) for seed in seeds]
    return _compared(s, methods, each, teacher, seeds, s.scale.student, labels=count)
