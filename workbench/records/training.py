"""The record of a training run: curves, calibration, final weights and, where asked for, the weights along the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
from torch import Tensor, nn

from workbench import models
from workbench.records.base import Record


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration(Record):
    """How far a classifier's confidence can be believed, on one split.

    Attributes
    ----------
    confidence
        Mean confidence per bin, shape (bins,), in 0..1; NaN for an empty bin.
    accuracy
        Accuracy per bin, shape (bins,), in 0..1; NaN for an empty bin.
    count
        Examples per bin, shape (bins,), int64.
    ece
        Expected calibration error, in 0..1.
    nll
        Mean negative log-likelihood of the true class, in nats.
    brier
        Mean squared distance between probabilities and the one-hot label, in 0..2.
    """

    confidence: Tensor
    accuracy: Tensor
    count: Tensor
    ece: float
    nll: float
    brier: float

    layout: ClassVar[Mapping[str, str]] = {
        "confidence": "number bins",
        "accuracy": "number bins",
        "count": "whole bins",
    }

    def summary(self) -> str:
        return (
            f"ECE {self.ece:.3f}, NLL {self.nll:.3f} nats, Brier {self.brier:.3f} over {int(self.count.sum())} examples"
        )

    def to_frame(self) -> pd.DataFrame:
        return pd.DataFrame(
            {"confidence": self.confidence.numpy(), "accuracy": self.accuracy.numpy(), "count": self.count.numpy()}
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingRecord(Record):
    """What `workbench.training.fit` leaves behind.

    Attributes
    ----------
    name
        What the run is called in legends.
    curves
        One tensor of shape (epochs,) per curve: ``train_loss``, ``train_accuracy``, ``test_loss``,
        ``test_accuracy`` (0..1), ``learning_rate``, and whatever a loss logs under its own name.
    classes
        Class names; empty for regression.
    per_class_accuracy
        On the test split, shape (epochs, classes), in 0..1; None for regression.
    calibration
        Of the final network on the test split; None for regression.
    state
        The final ``state_dict``.
    spec
        What `workbench.models.build` needs to build the network again; None for a network of the user's own.
    snapshots
        The state along the way, each tensor stacked along a leading axis of length ``len(snapshot_epochs)``.
    snapshot_epochs
        The epoch (0 = before training) of each snapshot.
    settings
        The arguments of the run, as plain values.
    checkpoint
        What continuing the run needs (optimizer state, generator states, position); empty if it cannot be.
    interrupted
        True when the run was stopped before its last epoch; everything reached is kept.
    """

    name: str = ""
    curves: dict[str, Tensor]
    classes: tuple[str, ...] = ()
    per_class_accuracy: Tensor | None = None
    calibration: Calibration | None = None
    state: dict[str, Tensor]
    spec: dict[str, Any] | None = None
    snapshots: dict[str, Tensor] = field(default_factory=dict)
    snapshot_epochs: tuple[int, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    checkpoint: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False

    layout: ClassVar[Mapping[str, str]] = {
        "curves": "number epochs_",
        "per_class_accuracy": "number epochs_ classes",
    }

    @property
    def epochs(self) -> int:
        """Epochs completed."""
        return len(next(iter(self.curves.values()), ()))

    @property
    def accuracy(self) -> float:
        """Final accuracy on the test split, in 0..1; NaN where there is none."""
        curve = self.curves.get("test_accuracy")
        return float("nan") if curve is None or not len(curve) else float(curve[-1])

    @property
    def model(self) -> nn.Module:
        """The trained network, in eval mode, on the CPU unless it has just been trained elsewhere.

        Raises
        ------
        TypeError
            The record was opened from a file and the network is none that `workbench.models.build` knows;
            build it yourself and use ``network.load_state_dict(record.state)``.
        """
        live = self.__dict__.get("_model")
        if live is None:
            live = self._build()
            live.load_state_dict(self.state)
            object.__setattr__(self, "_model", live.eval())
        return live

    def with_model(self, model: nn.Module) -> "TrainingRecord":
        """This record with a live network attached, so that `model` works for a network of the user's own."""
        object.__setattr__(self, "_model", model.eval())
        return self

    def model_at(self, epoch: int) -> nn.Module:
        """A fresh network with the weights of the snapshot taken at `epoch`."""
        if epoch not in self.snapshot_epochs:
            have = _listing(self.snapshot_epochs) or "none: pass snapshots= to fit"
            raise ValueError(f"no snapshot at epoch {epoch}; there are {have}")
        index = self.snapshot_epochs.index(epoch)
        model = self._build()
        model.load_state_dict({name: stack[index] for name, stack in self.snapshots.items()})
        return model.eval()

    def _build(self) -> nn.Module:
        if self.spec is not None:
            return models.from_spec(self.spec)
        live = self.__dict__.get("_model")
        if live is not None:
            import copy  # noqa: PLC0415 - only a live network of the user's own needs it

            return copy.deepcopy(live)
        raise TypeError(
            "this record holds the weights of a network that workbench.models.build does not know: "
            "build it yourself and use network.load_state_dict(record.state)"
        )

    def summary(self) -> str:
        parameters = sum(value.numel() for value in self.state.values())
        what = self.name or (self.spec or {}).get("name", "network")
        stopped = ", interrupted" if self.interrupted else ""
        return (
            f"{what}: {self.epochs} epochs{stopped}, test accuracy {self.accuracy:.1%}, {parameters:,} values, "
            f"{len(self.snapshot_epochs)} snapshots, {self.provenance.wall_time:.1f} s on {self.provenance.device}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per epoch: `name`, `epoch`, the curves, and ``accuracy[class]`` per class."""
        frame = pd.DataFrame({key: value.numpy() for key, value in self.curves.items()})
        frame.insert(0, "epoch", range(1, self.epochs + 1))
        frame.insert(0, "name", self.name)
        if self.per_class_accuracy is not None:
            for index, label in enumerate(self.classes):
                frame[f"accuracy[{label}]"] = self.per_class_accuracy[:, index].numpy()
        return frame


def _listing(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
