"""The fair comparison behind the studies: same data, starts, steps and seeds for every method; only the signal changes.

All seeds of a method are trained as one ensemble. Within a seed every method gets the same training examples, the same
initial weights and the same batch order, so that differences are paired.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from torch import Tensor, nn

from workbench.data import Dataset
from workbench.knowledge.making.distill import bind, distill_many, training_loss
from workbench.records import TrainingRecord
from workbench.signals.signal import Signal
from workbench.studies.kit.claims import Estimate, estimate
from workbench.studies.kit.judge import Measure, StudentMetrics
from workbench.training.learner import CURVES


@dataclass(frozen=True)
class Length:
    """How long, and how fast, a student trains: a comparison holds at a length and may reverse at another.

    Attributes
    ----------
    steps, lr
        Optimizer steps and base learning rate.
    options
        What else a recipe says, as arguments of `Ensemble.fit`: ``optimizer``, ``weight_decay``, ``batch_size``, ….
    """

    steps: int
    lr: float
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.steps} steps, lr {self.lr:g}"


@dataclass(frozen=True)
class Method:
    """A signal together with what else a method changes.

    Attributes
    ----------
    signal
        What the student is told.
    teacher
        Instead of the comparison's teacher.
    student
        Instead of the comparison's student: seed → fresh network (for example several `Peers`).
    deploy
        The network to judge, out of the one that was trained.
    options
        More arguments for `Ensemble.fit`, such as ``augment``.
    """

    signal: Signal
    teacher: nn.Module | None = None
    student: Callable[[int], nn.Module] | None = None
    deploy: Callable[[Any], nn.Module] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """The outcome of `compare`.

    Attributes
    ----------
    rows
        One dict per trained student: ``method``, ``size``, ``steps``, ``lr``, ``seed``, then the metrics: ``accuracy``,
        ``ece`` (0..1), ``nll`` (nats), ``confidence gap`` (mean confidence − accuracy), ``agreement`` (share of test
        examples on which student and teacher predict the same class), ``kl to teacher`` (KL(teacher ‖ student),
        nats), ``seconds`` (wall time of the ensemble ÷ its members), ``extra parameters`` (trained with the student
        and dropped), and the last value of each curve that the signal logs.
    records
        The first seed's training record by ``(method, size, steps)``.
    """

    rows: tuple[dict[str, Any], ...]
    records: dict[tuple[str, int, int], TrainingRecord]

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a table."""
        return pd.DataFrame(list(self.rows))

    @property
    def sizes(self) -> tuple[int, ...]:
        """The train sizes at which students were trained."""
        return tuple(dict.fromkeys(row["size"] for row in self.rows))

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, in the order they were given."""
        return tuple(dict.fromkeys(row["method"] for row in self.rows))

    def values(self, method: str, metric: str = "accuracy", **at: Any) -> dict[tuple[Any, ...], float]:
        """The metric of each of a method's students, keyed by (seed and whatever `at` leaves open).

        Parameters
        ----------
        method
            As named in the comparison.
        metric
            A column.
        at
            Columns to hold fixed: ``size=60, steps=400``.

        Raises
        ------
        ValueError
            There is no such student.
        """
        found: dict[tuple[Any, ...], float] = {}
        for row in self.rows:
            if row["method"] == method and all(row[key] == value for key, value in at.items()):
                key = row["seed"], row["size"], row["steps"], row["lr"]
                if key in found:
                    raise ValueError(
                        f"{method!r} has several students of seed {row['seed']} at {at}: hold more columns fixed"
                    )
                found[key] = float(row[metric])
        if not found:
            raise ValueError(f"no {method!r} was trained at {at}; there are {', '.join(self.methods)}")
        return found

    def mean(self, method: str, metric: str = "accuracy", **at: Any) -> Estimate:
        """Mean of the metric over seeds (and over whatever `at` leaves open within a seed), with its 95 % interval."""
        return estimate(list(_by_seed(self.values(method, metric, **at)).values()))

    def paired(
        self,
        left: str,
        right: str,
        metric: str = "accuracy",
        *,
        right_at: Mapping[str, Any] | None = None,
        **at: Any,
    ) -> Estimate:
        """Mean difference ``left − right``, paired by seed, with its 95 % interval.

        Parameters
        ----------
        left, right
            Methods.
        metric
            A column.
        right_at
            What to hold fixed for `right` otherwise than for `left`, to compare across lengths or sizes on purpose.
        at
            Columns to hold fixed.

        Raises
        ------
        ValueError
            The two were not trained on the same seeds, sizes and lengths.
        """
        a, b = self.values(left, metric, **at), self.values(right, metric, **at | dict(right_at or {}))
        if right_at is None and a.keys() != b.keys():
            raise ValueError(f"{left!r} and {right!r} were not trained on the same seeds, sizes and lengths at {at}")
        by_seed_a, by_seed_b = _by_seed(a), _by_seed(b)
        if by_seed_a.keys() != by_seed_b.keys():
            raise ValueError(f"{left!r} and {right!r} were not trained on the same seeds")
        return estimate([by_seed_a[seed] - by_seed_b[seed] for seed in by_seed_a])

    def __add__(self, other: "Comparison") -> "Comparison":
        """Both comparisons' rows and records."""
        return Comparison(self.rows + other.rows, self.records | other.records)


def compare(
    methods: Mapping[str, Signal | Method],
    data: Dataset | Sequence[Dataset],
    *,
    teacher: nn.Module | None,
    student: Callable[[int], nn.Module],
    seeds: Sequence[int],
    sizes: Sequence[int | None] = (None,),
    lengths: Sequence[Length] = (Length(400, 4e-3),),
    labels_weight: float | None = None,
    measures: Mapping[str, Measure] | None = None,
    columns: Mapping[str, Any] | None = None,
    **options: Any,
) -> Comparison:
    """Train students under every method, size, length and seed, and judge them on the test split.

    Parameters
    ----------
    methods
        Name → signal, or `Method` where more than the signal differs.
    data
        The data, or one data set per seed (for example with labels disturbed by seed).
    teacher
        One teacher for all methods and seeds.
    student
        Seed → a fresh student.
    seeds
        Each draws its own training examples, initial weights and batch order.
    sizes
        Training examples, drawn stratified by seed; None: all. Sizes above what there is are left out.
    lengths
        Training lengths.
    labels_weight
        As for `workbench.knowledge.distill`.
    measures
        More columns: name → function of (student, teacher, test split).
    columns
        Constant columns to add to each row.
    options
        Passed on to `Ensemble.fit` (``batch_size``, ``optimizer``, ``device``, …).
    """
    each = [data] * len(seeds) if isinstance(data, Dataset) else list(data)
    if len(each) != len(seeds):
        raise ValueError(f"data has {len(each)} data sets for {len(seeds)} seeds: give one for all, or one each")
    named = {name: method if isinstance(method, Method) else Method(method) for name, method in methods.items()}
    rows: list[dict[str, Any]] = []
    records: dict[tuple[str, int, int], TrainingRecord] = {}
    judge = StudentMetrics(each[0].test, measures)
    for size in _fitting(sizes, len(each[0].train)):
        subsets = [one.subset(size, seed=seed) for one, seed in zip(each, seeds, strict=True)]
        for length in lengths:
            for name, method in named.items():
                its_teacher = method.teacher or teacher
                begun = time.perf_counter()
                trained = distill_many(
                    its_teacher,
                    [(method.student or student)(seed) for seed in seeds],
                    subsets,
                    method.signal,
                    labels_weight=labels_weight,
                    seeds=seeds,
                    steps=length.steps,
                    lr=length.lr,
                    **{"progress": False, "evaluate_every": 0, "name": name}
                    | options
                    | dict(length.options)
                    | dict(method.options),
                )
                seconds = (time.perf_counter() - begun) / len(seeds)
                fresh = (method.student or student)(seeds[0])
                bound = bind(training_loss(method.signal, labels_weight), its_teacher, fresh, subsets[0])
                extra = _count(fresh) + _count(bound) - _count(method.deploy(fresh) if method.deploy else fresh)
                kept = [
                    _deployed(record, method.deploy(record.model)) if method.deploy else record for record in trained
                ]
                records[name, size, length.steps] = kept[0]
                for seed, record in zip(seeds, kept, strict=True):
                    rows.append(
                        {
                            "method": name,
                            "size": size,
                            "steps": length.steps,
                            "lr": length.lr,
                            "seed": seed,
                            **judge(record.model, its_teacher),
                            "seconds": seconds,
                            "extra parameters": extra,
                            **{key: curve[-1].item() for key, curve in record.curves.items() if key not in CURVES},
                            **(columns or {}),
                        }
                    )
    return Comparison(tuple(rows), records)


def _fitting(sizes: Sequence[int | None], available: int) -> list[int]:
    fitting = list(dict.fromkeys(size or available for size in sizes if (size or 0) <= available))
    if not fitting:
        smallest = min(size or 0 for size in sizes)
        raise ValueError(f"data has {available} training examples; the comparison needs at least {smallest}")
    return fitting


def _deployed(record: TrainingRecord, network: nn.Module) -> TrainingRecord:
    """The record of the part of a network that is kept, by itself; its curves stay those of the run."""
    name = next(name for name, module in record.model.named_modules() if module is network)
    prefix = f"{name}." if name else ""

    def own(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

    return record.replace(
        state=own(record.state),
        snapshots=own(record.snapshots),
        spec=getattr(network, "spec", None),
        checkpoint={},
    ).with_model(network)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _by_seed(values: Mapping[tuple[Any, ...], float]) -> dict[int, float]:
    """Values averaged within each seed: what is over the same seed is not independent."""
    groups: dict[int, list[float]] = {}
    for key, value in values.items():
        groups.setdefault(key[0], []).append(value)
    return {seed: sum(group) / len(group) for seed, group in groups.items()}
