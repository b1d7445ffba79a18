"""The network of gradient matching: compared in for some iterations, trained a little between them, then replaced."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.condensation.making.checks import check
from workbench.condensation.making.networks import NetworkPool
from workbench.condensation.making.run import CondensationRun
from workbench.condensation.making.synthetic import Synthetic
from workbench.training.augment import Augmentation


@dataclass(frozen=True, kw_only=True)
class InnerTraining:
    """How the network goes on learning between two matches: SGD steps on hard labels.

    Attributes
    ----------
    on
        ``"synthetic"`` images, so that the network goes where they lead it (DC), or ``"real"`` ones, so that the
        images are matched along real training (IDC, DREAM).
    steps
        Between two matches.
    batch
        Examples per step; of synthetic ones all, where there are fewer.
    lr, momentum, weight_decay
        Of SGD.
    """

    on: Literal["synthetic", "real"] = "synthetic"
    steps: int = 50
    batch: int = 256
    lr: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check(self, whole={"steps": 0, "batch": 1}, positive=["lr"], least=["momentum", "weight_decay"])
        if self.on not in ("synthetic", "real"):
            raise ValueError(f"on is {self.on!r}; it can be 'synthetic' or 'real'")


def current(run: CondensationRun, networks: NetworkPool, position: int) -> nn.Module:
    """The network after `position` matches: at 0 a new one, after that as `advance` left it in the run's memory."""
    network = networks.draw(run, at=run.iteration - position)
    if position:
        network.load_state_dict(run.memory["network"]["weights"])
    return network


def advance(
    run: CondensationRun,
    network: nn.Module,
    synthetic: Synthetic,
    training: InnerTraining,
    augment: Augmentation | None = None,
) -> None:
    """Train the network for the next match and keep it, with its momentum, in the run's memory."""
    network.train().requires_grad_(True)
    optimizer = torch.optim.SGD(
        network.parameters(), training.lr, momentum=training.momentum, weight_decay=training.weight_decay
    )
    kept = run.memory.get("network", {}).get("momentum", {})
    if kept:
        optimizer.load_state_dict({**optimizer.state_dict(), "state": {int(k): dict(v) for k, v in kept.items()}})
    generator = run.generator("inner augment")
    for images, labels in _batches(run, synthetic, training):
        seen = images if augment is None else augment(images, generator)
        optimizer.zero_grad()
        F.cross_entropy(network(seen), labels).backward()
        optimizer.step()
    network.requires_grad_(False)
    run.memory["network"] = {
        "weights": {name: value.detach().clone() for name, value in network.state_dict().items()},
        "momentum": _plain(optimizer),
    }


def fix_statistics(run: CondensationRun, network: nn.Module, per_class: int = 16) -> None:
    """Let batch norm use statistics of real images of all classes from here on: those of one class, or of one image per
    class, would tell the class. Other networks stay as they are.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]  # noqa: SLF001
    if norms:
        with torch.no_grad():
            network(run.split.inputs[run.draw(per_class, run.generator("statistics")).flatten()])
        for norm in norms:
            norm.eval()


def _batches(run: CondensationRun, synthetic: Synthetic, training: InnerTraining) -> Iterator[tuple[Tensor, Tensor]]:
    generator = run.generator("inner order")
    if training.on == "real":
        for _ in range(training.steps):
            rows = torch.randint(len(run.split), (training.batch,), generator=generator).to(run.device)
            yield run.split.inputs[rows], run.split.labels[rows]
        return
    left = training.steps
    while left:
        for images, labels in synthetic.batches(training.batch, generator):
            yield images.detach(), labels.detach()
            left -= 1
            if not left:
                return


def _plain(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    state = optimizer.state_dict()["state"]
    return {str(key): {name: value for name, value in each.items() if value is not None} for key, each in state.items()}
