"""Small networks with known features, and training records with snapshots, for the tests of this folder."""

import torch
from torch import nn

from workbench import models
from workbench.data import Split
from workbench.records import TrainingRecord


class Passing(nn.Module):
    """Feature maps of one's choice: layer `f0`, `f1`, … outputs ``functions[k](inputs)``."""

    class Layer(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def forward(self, x):
            return self.function(x)

    def __init__(self, *functions):
        super().__init__()
        for k, function in enumerate(functions):
            self.add_module(f"f{k}", self.Layer(function))

    def forward(self, x):
        for layer in self.children():
            layer(x)
        return x

    @property
    def names(self):
        return [name for name, _ in self.named_children()]


def split_of(n=60, width=8, classes=3, seed=0, dtype=torch.float64):
    make = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    inputs = torch.randn(n, width, generator=make, dtype=dtype) + labels[:, None]
    zero, one = torch.zeros((), dtype=dtype), torch.ones((), dtype=dtype)
    return Split(inputs=inputs, labels=labels, classes=tuple("abcdefgh"[:classes]), mean=zero, std=one)


def record_with_snapshots(epochs=(0, 2, 5), seed=0, width=8):
    model = models.build("mlp", ((width,), 3), seed=seed, width=16)
    make = torch.Generator().manual_seed(seed)
    states = [
        {
            name: value + 0.3 * step * torch.randn(value.shape, generator=make)
            for name, value in model.state_dict().items()
        }
        for step in range(len(epochs))
    ]
    snapshots = {k: torch.stack([state[k] for state in states]) for k in states[0]}
    return TrainingRecord(
        name=f"run {seed}",
        curves={"train_loss": torch.zeros(epochs[-1])},
        classes=("a", "b", "c"),
        state=states[-1],
        spec=model.spec,
        snapshots=snapshots,
        snapshot_epochs=epochs,
    )
