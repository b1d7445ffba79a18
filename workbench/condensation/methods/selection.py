"""Baselines that distil nothing: real images chosen by a rule, and class means.

What a distilled set has to beat at the same number of images.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.condensation.making.batches import Features
from workbench.condensation.making.clusters import kmeans
from workbench.condensation.making.networks import NetworkPool, embedding, pool, pretrain
from workbench.condensation.making.run import CondensationRun
from workbench.records import TrainingRecord
from workbench.training.evaluating import logits_of


@dataclass(frozen=True, kw_only=True)
class Random:
    """`ipc` random images of each class."""

    short: ClassVar[str] = "random"
    ipc: int = 10

    def choose(self, run: CondensationRun) -> Mapping[str, Any]:
        return _chosen(run, run.draw(self.ipc, run.generator("random", 0)))


@dataclass(frozen=True, kw_only=True)
class Herding:
    """Images whose mean feature stays as close as it can to the class's, one image after the other.

        x_k = argmin_x ‖ μ − (ψ(x) + Σ_{i<k} ψ(x_i)) / k ‖

    Welling, “Herding Dynamical Weights to Learn”, ICML 2009; as a baseline of distillation in DC and DM.

    Attributes
    ----------
    ipc
        Images per class.
    network, options
        What ψ is: None: the pixels; else the input of a network's last layer, of fresh weights by architecture or from
        a pool (``Trained(pretrain(data.train))``), in eval mode.
    """

    short: ClassVar[str] = "herding"
    ipc: int = 10
    network: str | NetworkPool | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def choose(self, run: CondensationRun) -> Mapping[str, Any]:
        return _by_class(run, herd, self.ipc, _psi(run, self.network, self.options))


@dataclass(frozen=True, kw_only=True)
class KCentre:
    """Images that leave no image of the class far from the nearest chosen: greedy k-centre.

    The first is the image nearest to the class's mean; each next is the one farthest from all chosen. The greatest
    distance is at most twice the least possible (Gonzalez 1985; Sener & Savarese, ICLR 2018).

    Attributes
    ----------
    ipc
        Images per class.
    network, options
        What distances are measured in; see `Herding`.
    """

    short: ClassVar[str] = "k-centre"
    ipc: int = 10
    network: str | NetworkPool | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def choose(self, run: CondensationRun) -> Mapping[str, Any]:
        return _by_class(run, spread, self.ipc, _psi(run, self.network, self.options))


@dataclass(frozen=True, kw_only=True)
class Forgetting:
    """The images that networks in training learn and forget most often.

    An event is an image that was classified correctly and no longer is, judged at the end of each epoch; an image that
    was never right counts as forgotten most. Toneva et al., “An Empirical Study of Example Forgetting during Deep
    Neural Network Learning”, ICLR 2019 (who judge an image each time a batch holds it).

    Attributes
    ----------
    ipc
        Images per class.
    epochs, networks
        How long, and how many networks, whose events are added; trained together.
    hardest
        Choose the most forgotten, as the paper; False: the least, which teach more where very few images are kept.
    network, options
        The architecture, and its options.
    """

    short: ClassVar[str] = "forgetting"
    ipc: int = 10
    epochs: int = 20
    networks: int = 3
    hardest: bool = True
    network: str = "convnet"
    options: dict[str, Any] = field(default_factory=dict)

    def choose(self, run: CondensationRun) -> Mapping[str, Any]:
        records = _trained(run, self.network, self.networks, self.epochs, self.options, snapshots="all")
        events = torch.stack([forgotten(_right(run, record)) for record in records]).sum(0)
        return _ranked(run, events, self.ipc, hardest=self.hardest)


@dataclass(frozen=True, kw_only=True)
class EL2N:
    """The images that networks early in training are most wrong about: greatest mean ‖ softmax f(x) − y ‖₂.

    Paul et al., “Deep Learning on a Data Diet: Finding Important Examples Early in Training”, NeurIPS 2021.

    Attributes
    ----------
    ipc
        Images per class.
    epochs, networks
        How long, and over how many networks the mean is taken; trained together.
    hardest
        Choose the greatest, as the paper; False: the least, which teach more where very few images are kept.
    network, options
        The architecture, and its options.
    """

    short: ClassVar[str] = "EL2N"
    ipc: int = 10
    epochs: int = 10
    networks: int = 10
    hardest: bool = True
    network: str = "convnet"
    options: dict[str, Any] = field(default_factory=dict)

    def choose(self, run: CondensationRun) -> Mapping[str, Any]:
        records = _trained(run, self.network, self.networks, self.epochs, self.options)
        inputs = run.split.inputs
        logits = torch.stack([logits_of(record.model.to(inputs), inputs) for record in records])
        return _ranked(run, error_norm(logits, run.split.labels).mean(0), self.ipc, hardest=self.hardest)


@dataclass(frozen=True, kw_only=True)
class ClassMeans:
    """The mean image of each class; with `ipc` > 1 the means of `ipc` clusters of its images (k-means on pixels)."""

    short: ClassVar[str] = "means"
    ipc: int = 1

    def choose(self, run: CondensationRun) -> Mapping[str, Any]:
        generator = run.generator("kmeans", 0)
        each = [run.split.inputs[rows].flatten(1) for rows in run.rows]
        means = [x.mean(0, keepdim=True) if self.ipc == 1 else kmeans(x[None], self.ipc, generator)[0] for x in each]
        images = torch.cat(means).unflatten(1, run.shape)
        return {
            "images": images,
            "labels": torch.arange(run.classes).repeat_interleave(self.ipc),
            "source": torch.full((len(images),), -1),
        }


def herd(x: Tensor, count: int) -> Tensor:
    """The first `count` positions that herding takes of features (n, d)."""
    mean, total = x.mean(0), torch.zeros_like(x[0])
    taken = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    order = []
    for k in range(1, count + 1):
        distance = (mean - (x + total) / k).square().sum(1).masked_fill(taken, torch.inf)
        best = distance.argmin()
        order.append(best)
        taken[best] = True
        total = total + x[best]
    return torch.stack(order)


def spread(x: Tensor, count: int) -> Tensor:
    """The first `count` positions that greedy k-centre takes of features (n, d)."""
    order = [(x - x.mean(0)).square().sum(1).argmin()]
    nearest = (x - x[order[0]]).square().sum(1)
    for _ in range(count - 1):
        nearest[order[-1]] = -1  # never twice, also where all distances are 0
        order.append(nearest.argmax())
        nearest = torch.minimum(nearest, (x - x[order[-1]]).square().sum(1))
    return torch.stack(order)


def forgotten(right: Tensor) -> Tensor:
    """Forgetting events of each example, (n,), from whether it was right at each epoch, bool, (epochs, n).

    An example that was never right counts one more than any can have.
    """
    events = (right[:-1] & ~right[1:]).sum(0)
    return events.masked_fill(~right.any(0), len(right))


def error_norm(logits: Tensor, labels: Tensor) -> Tensor:
    """‖ softmax(logits) − one-hot(labels) ‖₂ of each example: logits (…, n, classes), labels (n,) → (…, n)."""
    return (logits.softmax(-1) - F.one_hot(labels, logits.shape[-1])).norm(dim=-1)


def _psi(run: CondensationRun, network: str | NetworkPool | None, options: Mapping[str, Any]) -> Features:
    if network is None:
        return lambda images: images.flatten(1)
    return embedding(pool(network, options).draw(run, "features", 0).eval())


@torch.no_grad()
def _by_class(
    run: CondensationRun, choose: Callable[[Tensor, int], Tensor], ipc: int, psi: Features
) -> Mapping[str, Any]:
    taken = []
    for rows in run.rows:
        x = torch.cat([psi(run.split.inputs[part]) for part in rows.split(512)])
        taken.append(rows[choose(x.double(), ipc)])
    return _chosen(run, torch.stack(taken))


def _trained(
    run: CondensationRun, network: str, count: int, epochs: int, options: Mapping[str, Any], **settings: Any
) -> list[TrainingRecord]:
    seed = int(torch.randint(2**31, (), generator=run.generator("pretrain", 0)))
    return pretrain(run.split, network, count, epochs, seed=seed, options=options, device=run.device, **settings)


def _right(run: CondensationRun, record: TrainingRecord) -> Tensor:
    """Whether each training example is classified correctly at the end of each epoch, bool, (epochs, n)."""
    found = []
    for epoch in record.snapshot_epochs[1:]:
        network = record.model_at(epoch).to(run.split.inputs)
        found.append(logits_of(network, run.split.inputs).argmax(1) == run.split.labels)
    return torch.stack(found)


def _ranked(run: CondensationRun, score: Tensor, ipc: int, *, hardest: bool) -> Mapping[str, Any]:
    """Of each class the images of greatest (or least) score; of equal ones those that come first."""
    taken = [rows[score[rows].argsort(descending=hardest, stable=True)[:ipc]] for rows in run.rows]
    return _chosen(run, torch.stack(taken))


def _chosen(run: CondensationRun, rows: Tensor) -> Mapping[str, Any]:
    """Fields of the record for real images at `rows`, (classes, ipc)."""
    flat = rows.flatten()
    return {
        "images": run.split.inputs[flat],
        "labels": run.split.labels[flat],
        "source": run.split.index[flat.cpu()],
    }
