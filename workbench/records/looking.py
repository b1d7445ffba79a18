"""The records of looking at networks other than layer by layer against each other: probes, influence, fidelity."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
from torch import Tensor

from workbench.records.base import Record


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerProbes(Record):
    """How well a linear classifier reads the classes off each layer.

    Attributes
    ----------
    name
        What the network is called.
    layers
        Layer names as ``named_modules()`` has them.
    accuracy
        On the test split, shape (layers,), in 0..1; NaN for a layer that `masked` explains.
    intervals
        95 % Wilson interval of each accuracy over test examples, shape (layers, 2).
    train_accuracy
        On the probe's own training examples, shape (layers,), in 0..1.
    penalty
        Ridge penalty chosen for each layer, relative to the mean squared norm of its centred features, (layers,).
    chance
        Accuracy of always naming the commonest class.
    n_train, n_test
        Examples the probes were fitted and tested on.
    masked
        Layer name → why it has no probe.
    """

    name: str
    layers: tuple[str, ...]
    accuracy: Tensor
    intervals: Tensor
    train_accuracy: Tensor
    penalty: Tensor
    chance: float
    n_train: int
    n_test: int
    masked: dict[str, str]

    layout: ClassVar[Mapping[str, str]] = {
        "accuracy": "real layers",
        "intervals": "real layers 2",
        "train_accuracy": "real layers",
        "penalty": "real layers",
    }

    def summary(self) -> str:
        seen = self.accuracy[~self.accuracy.isnan()]
        if not len(seen):
            return f"{self.name}: no layer could be probed"
        best = self.layers[int(self.accuracy.nan_to_num(nan=-1).argmax())]
        return (
            f"{self.name}: linear probes read {seen.min():.1%} to {seen.max():.1%} (best: {best}, chance "
            f"{self.chance:.1%}) from {self.n_train:,} training and {self.n_test:,} test examples"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per layer: `layer`, `accuracy`, `low`, `high`, `train_accuracy`, `penalty`."""
        return pd.DataFrame(
            {
                "layer": list(self.layers),
                "accuracy": self.accuracy.numpy(),
                "low": self.intervals[:, 0].numpy(),
                "high": self.intervals[:, 1].numpy(),
                "train_accuracy": self.train_accuracy.numpy(),
                "penalty": self.penalty.numpy(),
            }
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class DominantExamples(Record):
    """How much a CKA value hangs on single examples.

    Attributes
    ----------
    layers_a, layers_b
        Layer names.
    values
        CKA on all examples, shape (La, Lb); NaN where a layer is constant or broken.
    influence
        CKA with example i minus CKA without it, shape (La, Lb, n), in the order of the split: positive where the
        example makes the layers look more alike.
    removed
        CKA without the k most influential examples of the cell, k = 0, 1, 2, …, shape (La, Lb, K + 1).
    n
        Number of examples.
    """

    layers_a: tuple[str, ...]
    layers_b: tuple[str, ...]
    values: Tensor
    influence: Tensor
    removed: Tensor
    n: int

    layout: ClassVar[Mapping[str, str]] = {
        "values": "real layers_a layers_b",
        "influence": "real layers_a layers_b n",
        "removed": "real layers_a layers_b _",
    }

    @property
    def largest(self) -> Tensor:
        """The largest absolute influence of one example on each cell, shape (La, Lb)."""
        return self.influence.abs().amax(-1)

    def top(self, k: int = 10) -> Tensor:
        """Positions of the k examples with the largest absolute influence on each cell, largest first: (La, Lb, k)."""
        return self.influence.abs().argsort(dim=-1, descending=True)[..., :k]

    def check(self) -> None:
        super().check()
        if not self.influence.numel() or not self.removed.numel():
            raise ValueError("influence is of no layers or no examples")

    def summary(self) -> str:
        largest = self.largest.nan_to_num(nan=-1)
        where = int(largest.argmax())
        i, j = divmod(where, len(self.layers_b))
        example = int(self.top(1)[i, j, 0])
        return (
            f"of {self.n:,} examples, number {example} moves a cell most: {self.layers_a[i]} × {self.layers_b[j]}, CKA "
            f"{self.values[i, j]:.3f}, changes by {float(self.influence[i, j, example]):+.3f} through it"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per cell: `layer_a`, `layer_b`, `value`, `example`, `influence` (the largest), `without` all K."""
        top = self.top(1)[..., 0]
        return pd.DataFrame(
            [
                {
                    "layer_a": a,
                    "layer_b": b,
                    "value": float(self.values[i, j]),
                    "example": int(top[i, j]),
                    "influence": float(self.influence[i, j, top[i, j]]),
                    f"without_{self.removed.shape[-1] - 1}": float(self.removed[i, j, -1]),
                }
                for i, a in enumerate(self.layers_a)
                for j, b in enumerate(self.layers_b)
            ]
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Fidelity(Record):
    """How far a student says what its teacher says, right or wrong.

    Attributes
    ----------
    agreement
        Share of examples with the same top class, in 0..1.
    agreement_interval
        95 % Wilson interval over examples.
    kl
        Mean KL(teacher ‖ student) of the class distributions, in nats.
    kl_interval
        95 % t-interval over examples.
    agreement_when_wrong
        Agreement where the teacher is wrong: what a student cannot have from the labels; NaN if it never is, or without
        labels.
    teacher_accuracy, student_accuracy
        In 0..1; NaN without labels.
    n
        Number of examples.
    """

    agreement: float
    agreement_interval: tuple[float, float]
    kl: float
    kl_interval: tuple[float, float]
    agreement_when_wrong: float
    teacher_accuracy: float
    student_accuracy: float
    n: int

    def summary(self) -> str:
        low, high = self.agreement_interval
        return (
            f"same top class on {self.agreement:.1%} of {self.n:,} examples ({low:.1%} to {high:.1%}), "
            f"{self.agreement_when_wrong:.1%} where the teacher is wrong; KL {self.kl:.3f} nats"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row."""
        names = ("agreement", "kl", "agreement_when_wrong", "teacher_accuracy", "student_accuracy", "n")
        return pd.DataFrame([{name: getattr(self, name) for name in names}])
