"""The record of what a distilled set teaches: accuracy of new networks trained on it, beside real data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
import torch
from scipy.special import stdtrit
from torch import Tensor

from workbench.records.base import Record
from workbench.records.training import Calibration


@dataclass(frozen=True, eq=False, kw_only=True)
class DistilledEvaluation(Record):
    """What `workbench.condensation.evaluate` leaves behind; all scores are on the real test split.

    Below, K is the number of `networks`, S of `seeds`, C of `classes`.

    Attributes
    ----------
    name
        What the set is called in legends.
    networks
        The architectures, as `workbench.models.build` names them.
    seeds
        Of each repetition: initial weights, order of the examples, augmentation, and which random real images.
    classes
        Class names.
    accuracy
        Of networks trained on the distilled images, float64 in 0..1, shape (K, S).
    full_accuracy
        Of networks trained on all real training examples, shape (K, S); None where it was not asked for.
    random_accuracy
        Of networks trained on as many random real images, shape (K, S); None where it was not asked for.
    per_class
        Accuracy within each class after training on the distilled images, shape (K, S, C); NaN for an empty class.
    confusion
        Test examples by [true, predicted] class, summed over seeds, int64, shape (K, C, C).
    calibration
        One per network, over the predictions of all seeds together.
    ece
        Expected calibration error of each network, float64 in 0..1, shape (K, S).
    curves
        Test accuracy along training, shape (K, S, points), under ``"distilled"``, ``"random"`` and ``"full"``.
    confidence
        Mean probability of the predicted class along training, of the same shapes and names as `curves`.
    curve_steps
        Optimizer steps done at each point, by the same names.
    random_per_class
        As `per_class`, for the random real images; None where they were not asked for.
    agreement
        What predictions agree with, name → shares of the test split in 0..1, shape (K, S): ``"early-stopped"`` and
        ``"subset-trained"`` networks of nearest accuracy. Empty where it was not asked for.
    images, nbytes
        Number of distilled images, and the bytes that they and their labels take.
    seconds
        Time that distilling took.
    settings
        The protocol, as plain values.
    interrupted
        True when training was stopped before its last step; the scores are those reached.
    """

    name: str = ""
    networks: tuple[str, ...]
    seeds: tuple[int, ...]
    classes: tuple[str, ...]
    accuracy: Tensor
    full_accuracy: Tensor | None = None
    random_accuracy: Tensor | None = None
    per_class: Tensor
    confusion: Tensor
    calibration: tuple[Calibration, ...]
    ece: Tensor
    curves: dict[str, Tensor] = field(default_factory=dict)
    confidence: dict[str, Tensor] = field(default_factory=dict)
    curve_steps: dict[str, tuple[int, ...]] = field(default_factory=dict)
    random_per_class: Tensor | None = None
    agreement: dict[str, Tensor] = field(default_factory=dict)
    images: int = 0
    nbytes: int = 0
    seconds: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False

    layout: ClassVar[Mapping[str, str]] = {
        "accuracy": "float networks seeds",
        "full_accuracy": "float networks seeds",
        "random_accuracy": "float networks seeds",
        "per_class": "float networks seeds classes",
        "random_per_class": "float networks seeds classes",
        "confusion": "number networks classes classes",
        "ece": "float networks seeds",
        "curves": "float networks seeds _",
        "confidence": "float networks seeds _",
        "agreement": "float networks seeds",
    }

    def __post_init__(self) -> None:
        K, S, C = len(self.networks), len(self.seeds), len(self.classes)
        wanted: list[tuple[str, Tensor | None, tuple[int, ...]]] = [
            ("accuracy", self.accuracy, (K, S)),
            ("full_accuracy", self.full_accuracy, (K, S)),
            ("random_accuracy", self.random_accuracy, (K, S)),
            ("per_class", self.per_class, (K, S, C)),
            ("random_per_class", self.random_per_class, (K, S, C)),
            ("confusion", self.confusion, (K, C, C)),
            ("ece", self.ece, (K, S)),
            *((f"agreement[{name!r}]", value, (K, S)) for name, value in self.agreement.items()),
        ]
        for key, curve in self.curves.items():
            along = (K, S, len(self.curve_steps.get(key, ())))
            wanted += [(f"curves[{key!r}]", curve, along), (f"confidence[{key!r}]", self.confidence.get(key), along)]
        for what, value, shape in wanted:
            if value is not None and tuple(value.shape) != shape:
                raise ValueError(
                    f"{what} has shape {tuple(value.shape)}; {K} networks, {S} seeds and {C} classes ask for {shape}"
                )
        if len(self.calibration) != K:
            raise ValueError(f"calibration has {len(self.calibration)} entries for {K} networks: give one each")

    def mean(self, k: int = 0) -> float:
        """Mean accuracy of network `k` over the seeds."""
        return float(self.accuracy[k].mean())

    def interval(self, k: int = 0, values: Tensor | None = None) -> tuple[float, float]:
        """95 % Student t interval of network `k`'s mean over seeds; infinite for a single seed.

        Parameters
        ----------
        k
            Position in `networks`.
        values
            What to take the mean of, shape (K, S); by default `accuracy`.
        """
        each = (self.accuracy if values is None else values)[k].double()
        return t_interval(each)

    def check(self) -> None:
        super().check()
        own = self.settings.get("own_start", ())
        if not isinstance(own, list | tuple):
            raise TypeError(f"settings['own_start'] is a {type(own).__name__}; a list of networks is needed")

    def summary(self) -> str:
        lines = []
        for k, network in enumerate(self.networks):
            own = " (from the set's own initial weights)" if network in self.settings.get("own_start", ()) else ""
            parts = [f"{network}{own} {_percent(self.mean(k), self.interval(k))}"]
            for label, values in (("random real", self.random_accuracy), ("all real data", self.full_accuracy)):
                if values is not None:
                    parts.append(f"{label} {_percent(float(values[k].mean()), self.interval(k, values))}")
            lines.append("; ".join(parts))
        stopped = ", interrupted" if self.interrupted else ""
        return f"{self.name}: {self.images} images, {len(self.seeds)} seeds{stopped}. " + ". ".join(lines)

    def to_frame(self) -> pd.DataFrame:
        """One row per network, seed and training set: `name`, `network`, `seed`, `trained on`, `accuracy`; for the
        distilled images also `ece` and ``accuracy[class]``.
        """
        rows = []
        for k, network in enumerate(self.networks):
            for s, seed in enumerate(self.seeds):
                shared = {"name": self.name, "network": network, "seed": seed}
                row: dict[str, Any] = shared | {
                    "trained on": "distilled",
                    "accuracy": float(self.accuracy[k, s]),
                    "ece": float(self.ece[k, s]),
                }
                row |= {f"accuracy[{c}]": float(v) for c, v in zip(self.classes, self.per_class[k, s], strict=True)}
                rows.append(row)
                for label, values in (("random", self.random_accuracy), ("full", self.full_accuracy)):
                    if values is not None:
                        rows.append(shared | {"trained on": label, "accuracy": float(values[k, s])})
        return pd.DataFrame(rows)


def t_interval(values: Tensor) -> tuple[float, float]:
    """95 % Student t interval of the mean of values (n,); infinite for a single one.

    Examples
    --------
    >>> low, high = t_interval(torch.tensor([1.0, 2.0, 3.0]))
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    n = len(values)
    if n < 2:
        return (-float("inf"), float("inf"))
    mean = float(values.mean())
    half = float(stdtrit(n - 1, 0.975) * float(torch.as_tensor(values).double().std()) / n**0.5)
    return mean - half, mean + half


def _percent(mean: float, interval: tuple[float, float]) -> str:
    half = (interval[1] - interval[0]) / 2
    return f"{mean:.1%}" if half == float("inf") else f"{mean:.1%} ± {half:.1%}"
