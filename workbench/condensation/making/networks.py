"""The networks that synthetic images are matched in: fresh ones, trained ones, or points between the two."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from workbench.condensation.making.run import CondensationRun
from workbench.data import Split
from workbench.models import observe
from workbench.records import TrainingRecord
from workbench.training import Ensemble


@runtime_checkable
class NetworkPool(Protocol):
    """Where a method gets its networks from."""

    def draw(self, run: CondensationRun, purpose: str = "network", at: int | None = None) -> nn.Module:
        """A network for this iteration (or position `at`), on the run's device, in training mode.

        Its parameters ask for no gradient. The same run, purpose and position give the same network.
        """


@dataclass(frozen=True)
class Fresh:
    """Random weights at every draw, of an architecture that `workbench.models.build` knows."""

    name: str = "convnet"
    options: Mapping[str, Any] = field(default_factory=dict)

    def draw(self, run: CondensationRun, purpose: str = "network", at: int | None = None) -> nn.Module:
        return run.network(self.name, purpose, at, **self.options)


class Trained:
    """One of some trained networks at every draw, each as often as any other.

    Parameters
    ----------
    records
        Records of training; their final weights are used. `pretrain` makes some.
    """

    def __init__(self, records: Sequence[TrainingRecord]) -> None:
        if not records:
            raise ValueError("records is empty; at least one trained network is needed")
        self.records = tuple(records)

    def __repr__(self) -> str:
        names = sorted({record.spec["name"] if record.spec else "network" for record in self.records})
        return f"{type(self).__name__}({len(self.records)} × {', '.join(names)})"

    def pick(self, run: CondensationRun, purpose: str = "network", at: int | None = None) -> TrainingRecord:
        """The record that `draw` takes its network from."""
        return self.records[self._which(run.generator(purpose, at))]

    def draw(self, run: CondensationRun, purpose: str = "network", at: int | None = None) -> nn.Module:
        record = self.pick(run, purpose, at)
        return network_with(record, record.state, run)

    def _which(self, generator: torch.Generator) -> int:
        return int(torch.randint(len(self.records), (), generator=generator))


class Interpolated(Trained):
    """A random point on the line between a network's weights before and after training: l θ_init + (1 − l) θ_trained.

    l is drawn evenly from 0..1, as NCFM (paper 036) does: at 0 the network is trained, at 1 as random as it began.

    Parameters
    ----------
    records
        Records of training that kept the weights before the first step: made with ``snapshots=[0]``.
    """

    def __init__(self, records: Sequence[TrainingRecord]) -> None:
        super().__init__(records)
        for record in records:
            if 0 not in record.snapshot_epochs:
                title = record.name or "a record"
                raise ValueError(f"{title} has no snapshot from before training: pass snapshots=[0] to fit")

    def draw(self, run: CondensationRun, purpose: str = "network", at: int | None = None) -> nn.Module:
        generator = run.generator(purpose, at)
        record = self.records[self._which(generator)]
        weight = float(torch.rand((), generator=generator, dtype=torch.float64))
        return network_with(record, interpolate(initial_state(record), record.state, weight), run)


def pool(network: str | NetworkPool, options: Mapping[str, Any] | None = None) -> NetworkPool:
    """A pool as it is; of a name, fresh networks of that architecture with its `options`."""
    if isinstance(network, str):
        return Fresh(network, options or {})
    if options:
        raise ValueError(f"options are for an architecture by name; network is {network!r}, which has its own")
    return network


def pretrain(
    data: Split, name: str = "convnet", networks: int = 5, epochs: int = 20, *, seed: int = 0, **options: Any
) -> list[TrainingRecord]:
    """Networks trained together on real data, with the weights that each began with: what a pool is made of.

    Parameters
    ----------
    data
        The training examples; all of them are used.
    name
        An architecture that `workbench.models.build` knows.
    networks, epochs
        How many, and for how long.
    seed
        Of the first network's weights and order of examples; the others follow.
    options
        For `workbench.training.Ensemble.fit`, and under ``options`` those of the architecture.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").train
    >>> records = pretrain(data, "convnet", networks=2, epochs=1, options={"width": 4})
    >>> Interpolated(records)
    Interpolated(2 × convnet)
    """
    seeds = range(seed, seed + networks)
    architecture = options.pop("options", {})
    settings: dict[str, Any] = {"snapshots": [0], "evaluate_every": 0, "progress": False} | options
    records = Ensemble(name, data, seeds=seeds, **architecture).fit(data, epochs, seeds=list(seeds), **settings)
    if records[0].interrupted:
        raise KeyboardInterrupt  # half-trained networks are not what was asked for
    return records


def initial_state(record: TrainingRecord) -> dict[str, Tensor]:
    """The weights before the first step, of a record that kept them."""
    position = record.snapshot_epochs.index(0)
    return {name: stack[position] for name, stack in record.snapshots.items()}


def interpolate(initial: Mapping[str, Tensor], trained: Mapping[str, Tensor], weight: float) -> dict[str, Tensor]:
    """``weight`` · initial + (1 − ``weight``) · trained; whole numbers, such as counters, are those of `trained`."""
    return {
        name: value if not value.is_floating_point() else weight * initial[name].to(value) + (1 - weight) * value
        for name, value in trained.items()
    }


def network_with(record: TrainingRecord, state: Mapping[str, Tensor], run: CondensationRun) -> nn.Module:
    """A network of the record's architecture with the weights `state`, as a run wants it."""
    network = copy.deepcopy(record.model)
    network.load_state_dict(state)
    return network.to(run.device, run.split.inputs.dtype).train().requires_grad_(False)


def penultimate(network: nn.Module) -> str:
    """The layer whose output the network's last linear layer sees, by name.

    Raises
    ------
    ValueError
        The network does not say which that is, with an attribute ``penultimate``.
    """
    layer: str | None = getattr(network, "penultimate", None)
    if layer is None:
        raise ValueError(
            f"{type(network).__name__} does not name its penultimate layer: set network.penultimate to the name of the "
            "layer whose output the last linear layer sees"
        )
    return layer


def embedding(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """The function from images (n, c, h, w) to the features, (n, d), that the network's last linear layer sees.

    It works through the images in parts; see `in_parts`.

    Raises
    ------
    ValueError
        The network does not say which layer that is, with an attribute ``penultimate``.
    """
    layer = penultimate(network)
    look = observe(network, layer)
    return lambda images: torch.cat([look(part).features[layer].flatten(1) for part in in_parts(network, images)])


PIXELS = 2**15
"""Pixels, over all images, that a processor embeds at a time."""


def in_parts(network: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    """The images (n, c, h, w) in batches in which they are embedded fastest.

    On a GPU all at once. On a processor so few that what a layer of 128 channels gives is 16 MiB: larger blocks of
    memory leave its caches, and asking the system for them takes longer than the arithmetic on them. All at once also
    where batch normalisation looks at the whole batch.
    """
    together = any(getattr(module, "running_mean", None) is not None for module in network.modules())
    if together or images.device.type != "cpu":
        return (images,)
    return images.split(max(1, PIXELS // (images.shape[-2] * images.shape[-1])))
