"""Networks and trainings as a scale declares them: by name and in numbers, small ones and those of the papers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from workbench import models
from workbench.data import Dataset
from workbench.records import TrainingRecord
from workbench.training import sources

EPOCH = 782
"""Batches of 64 in the 50,000 training images of CIFAR."""

PUBLIC: Mapping[str, Any] = {
    "optimizer": "sgd",
    "weight_decay": 5e-4,
    "batch_size": 64,
    "schedule": "thrice",
    "augment": "shift+flip",
}
"""What the public tables of distillation on CIFAR-100 share (Tian et al. 2020): 240 epochs from a learning rate of
0.05, or of 0.01 for ShuffleNets and MobileNets.
"""

FILLED = "a shift by up to 4 pixels repeats the edge, where the public recipe fills with 0"
"""How `PUBLIC` deviates from the papers, for `study(deviates=…)`."""


@dataclass(frozen=True)
class Network:
    """A network of the workbench, and how it is trained where it teaches.

    Attributes
    ----------
    name, options
        As `workbench.models.build` takes them.
    training
        Arguments of `workbench.training.fit` for `trained`.

    Examples
    --------
    >>> import workbench as wb
    >>> digits = wb.data.load("digits").subset(100)
    >>> small = Network("mlp", {"width": [8]}, {"steps": 2})
    >>> small(digits, seed=0).spec["options"]["width"], small.trained(digits, seed=0, device="cpu").name
    ([8], 'teacher')
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, data: Dataset, seed: int) -> nn.Module:
        """A fresh one for the data."""
        return models.build(self.name, data, seed=seed, **self.options)

    def __str__(self) -> str:
        told = ", ".join(f"{key} {value}" for key, value in self.options.items())
        return f"{self.name} ({told})" if told else self.name

    def trained(self, data: Dataset, *, seed: int, device: str, name: str = "teacher") -> TrainingRecord:
        """One trained on the data; made once per machine."""
        return sources.fitted(
            self.name, data, seed=seed, options=self.options, device=device, name=name, evaluate_every=0,
            **self.training,
        )  # fmt: skip
