"""Experts: how the networks whose trajectories are matched are trained, all together."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from workbench import models
from workbench.condensation.trajectories.flat import FlatNetwork
from workbench.condensation.trajectories.groups import GroupFolder
from workbench.condensation.trajectories.trajectories import Trajectories
from workbench.condensation.trajectories.trajectory_file import TrajectoryWriter, described
from workbench.data import Dataset, Split, fingerprint
from workbench.records import TrainingRecord
from workbench.training import Ensemble, doors, randomness
from workbench.training.augment import Augment
from workbench.training.fit import plain
from workbench.training.stacked_learner import GradientRule

_WEIGHTS = 0xE8E


@dataclass(frozen=True, kw_only=True)
class Experts:
    """Plain SGD from fresh weights, the weights kept after every epoch; defaults of MTT's public code (paper 019).

    Attributes
    ----------
    count
        Number of experts K.
    epochs
        Epochs E of each.
    lr, momentum, weight_decay, batch_size
        Of SGD; the rate is constant.
    augment
        Augmentation of the real images, as for `workbench.training.fit`.
    network, options
        A name that `workbench.models.build` knows, and its options.
    rule
        What changes the gradients, such as `GSAM` for experts in flat regions.
    together
        How many to train at once; all by default. Fewer take less memory.

    Examples
    --------
    >>> import workbench as wb
    >>> experts = Experts(count=2, epochs=2, network="mlp", options={"width": 8}, lr=0.05, batch_size=64)
    >>> experts.train(wb.data.load("digits"), progress=False).accuracy.shape
    torch.Size([2, 2])
    """

    count: int = 100
    epochs: int = 50
    lr: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 256
    augment: str | Augment | None = None
    network: str = "convnet"
    options: dict[str, Any] = field(default_factory=dict)
    rule: GradientRule | None = None
    together: int | None = None

    def __post_init__(self) -> None:
        for name in ("count", "epochs", "batch_size", "together"):
            if getattr(self, name) is not None:
                doors.whole(name, getattr(self, name), 1)
        doors.number("lr", self.lr, above=0)
        for name in ("momentum", "weight_decay"):
            doors.number(name, getattr(self, name), least=0)

    def train(
        self,
        data: Dataset | Split,
        *,
        seed: int = 0,
        device: str | torch.device = "auto",
        path: str | os.PathLike | None = None,
        checkpoint: str | os.PathLike | None = None,
        resume: str | os.PathLike | None = None,
        progress: bool = True,
    ) -> Trajectories:
        """Train the experts and keep their trajectories.

        Parameters
        ----------
        data
            What they learn; of a `Dataset` the test accuracy after each epoch is kept too.
        seed
            Of the experts' weights and batches.
        device
            As for `workbench.training.fit`.
        path
            Write the trajectories to this file group by group (see `together`) and stream them from there.
        checkpoint
            A folder in which the experts are kept while they are trained: a file for each complete group (see
            `together`), and one of the group under way, written after every epoch. Go on after a kill or an interrupt
            with ``resume=`` that folder.
        resume
            The folder of an unfinished training of the same experts on the same data.
        progress
            Show a progress bar.

        Returns
        -------
        Trajectories
            When training is interrupted, of the experts that were complete by then; where none was, of those under way,
            up to the last epoch that all have completed.

        Raises
        ------
        ValueError
            `checkpoint` holds an unfinished training that is not continued, or `resume` one of other experts.
        KeyboardInterrupt
            Training was interrupted before the first epoch of any expert was complete.
        TrainingError
            The loss of an expert became NaN or infinite.
        """
        split = data.train if isinstance(data, Dataset) else data
        seeds = self._seeds(seed)
        network = FlatNetwork(models.build(self.network, split, **self.options))
        about: dict[str, Any] = {
            "spec": network.spec,
            "settings": self.settings | {"seed": seed, "data": getattr(data, "name", "")},
        }
        folder = None
        if checkpoint is not None or resume is not None:
            about_run = about["settings"] | {"data_fingerprint": fingerprint(split)}
            folder = GroupFolder(checkpoint, resume, about_run, -(-len(seeds) // (self.together or len(seeds))))
        unfinished: list[TrainingRecord] = []
        groups = self._groups(
            data, split, seeds, device=device, progress=progress, folder=folder, unfinished=unfinished
        )
        accuracy: list[Tensor] = []
        if path is None:
            kept: list[Tensor] = []
            for records in groups:
                kept += _trajectories(records, network)
                accuracy += _accuracy(records)
            if not kept and unfinished:
                kept, accuracy = _trajectories(unfinished, network), _accuracy(unfinished)
                epochs = min(len(one) for one in kept) - 1
                kept = [one[: epochs + 1] for one in kept] if epochs else []
                accuracy = [one[:epochs] for one in accuracy]
            _some(kept)
            _tell(len(kept), len(seeds), kept[0].shape[0] - 1, self.epochs)
            return Trajectories(torch.stack(kept), network.shapes, accuracy=_joined(accuracy), **about)
        with TrajectoryWriter(path, (self.epochs + 1, network.size), split.inputs.dtype) as writer:
            for records in groups:
                for trajectory in _trajectories(records, network):
                    writer.add(trajectory)
                accuracy += _accuracy(records)
            _some(range(writer.experts))
            _tell(writer.experts, len(seeds), self.epochs, self.epochs)
            writer.finish(described(network.shapes, accuracy=_joined(accuracy), **about))
        return Trajectories.open(path)

    def train_each(
        self, data: Dataset | Split, seeds: Sequence[int], *, device: str | torch.device = "auto", progress: bool = True
    ) -> dict[int, Trajectories]:
        """What `train` gives for each of several seeds, all experts of all seeds trained together."""
        split = data.train if isinstance(data, Dataset) else data
        network = FlatNetwork(models.build(self.network, split, **self.options))
        each = [one for seed in seeds for one in self._seeds(seed)]
        records = [r for group in self._groups(data, split, each, device=device, progress=progress) for r in group]
        if len(records) < len(each):
            raise KeyboardInterrupt("training was interrupted before all experts were complete")
        found = {}
        for k, seed in enumerate(seeds):
            own = records[k * self.count : (k + 1) * self.count]
            found[seed] = Trajectories(
                torch.stack(_trajectories(own, network)),
                network.shapes,
                spec=network.spec,
                accuracy=_joined(_accuracy(own)),
                settings=self.settings | {"seed": seed, "data": getattr(data, "name", "")},
            )
        return found

    def _seeds(self, seed: int) -> list[int]:
        """Of weights and batches of each expert."""
        return [randomness.mix(seed, _WEIGHTS, k) >> 1 for k in range(self.count)]

    def _groups(
        self,
        data: Dataset | Split,
        split: Split,
        seeds: Sequence[int],
        *,
        device: str | torch.device,
        progress: bool,
        folder: GroupFolder | None = None,
        unfinished: list[TrainingRecord] | None = None,
    ) -> Iterator[list[TrainingRecord]]:
        """The records of the experts, group after group, up to an interruption; what it cuts off is in `unfinished`."""
        size = self.together or len(seeds)
        for number, first in enumerate(range(0, len(seeds), size)):
            group = seeds[first : first + size]
            if folder is not None and (done := folder.complete(number)) is not None:
                yield done
                continue
            networks = [models.build(self.network, split, seed=one, **self.options) for one in group]
            records = Ensemble([network.to(split.inputs.dtype) for network in networks]).fit(
                data,
                epochs=self.epochs,
                optimizer="sgd",
                lr=self.lr,
                momentum=self.momentum,
                weight_decay=self.weight_decay,
                schedule="constant",
                batch_size=self.batch_size,
                augment=self.augment,
                rule=self.rule,
                device=device,
                seeds=group,
                snapshots="all",
                progress=progress,
                name="experts",
                **({} if folder is None else folder.arguments(number)),
            )
            if records[0].interrupted:
                if unfinished is not None:
                    unfinished += records
                return
            yield records

    @property
    def settings(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {one.name: plain(getattr(self, one.name)) for one in fields(self)}


def _trajectories(records: Sequence[TrainingRecord], network: FlatNetwork) -> list[Tensor]:
    """The snapshots of each expert as vectors, shape (epochs + 1, P)."""
    return [torch.cat([record.snapshots[name].flatten(1) for name in network.shapes], 1) for record in records]


def _accuracy(records: Sequence[TrainingRecord]) -> list[Tensor]:
    return [record.curves["test_accuracy"] for record in records if "test_accuracy" in record.curves]


def _joined(accuracy: Sequence[Tensor]) -> Tensor | None:
    return torch.stack(list(accuracy)).double() if accuracy else None


def _tell(kept: int, wanted: int, reached: int, epochs: int) -> None:
    if kept < wanted or reached < epochs:
        print(f"experts: stopped; kept {kept} of {wanted}, after {reached} of {epochs} epochs")


def _some(kept: Sequence[Any]) -> None:
    if not kept:
        raise KeyboardInterrupt("training was interrupted before any expert was complete")
