"""Which real examples a method compares its images with: a random batch of each class, or a representative one.

Representative batches are the selector of DREAM (paper 059): each class is clustered in the features of the current
network, and the example nearest to each centre is taken. Their mean gradient has less noise than that of a random
batch, and a bias: a small cluster counts as much as a large one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from workbench.condensation.making import clusters
from workbench.condensation.making.run import CondensationRun
from workbench.training import doors

Features = Callable[[Tensor], Tensor]
"""From images (n, c, h, w) to features (n, d), as `workbench.condensation.making.networks.embedding` makes it."""


@dataclass(frozen=True)
class RealBatch:
    """Real examples of each class.

    Attributes
    ----------
    rows
        Positions in the run's split, int64, shape (classes, m).
    weights
        What each counts in its class's mean, shape (classes, m); each class's sum to one. A class with fewer than m
        examples is in it once, and the rest of its row has weight 0.
    """

    rows: Tensor
    weights: Tensor

    def mean(self, values: Tensor) -> Tensor:
        """Weighted mean of each class, (classes, …), of values (classes, m, …)."""
        shape = (*self.weights.shape, *[1] * (values.ndim - 2))
        return (values * self.weights.view(shape).to(values)).sum(1)


@runtime_checkable
class Batches(Protocol):
    """Draws the real examples that synthetic images are compared with."""

    def draw(self, run: CondensationRun, per_class: int, features: Features, position: int | None = None) -> RealBatch:
        """`per_class` examples of each class; of a class with fewer, all.

        Parameters
        ----------
        run
            The run; what is kept from one iteration to the next is in its memory.
        per_class
            How many.
        features
            Of the network at this moment.
        position
            Iterations that the network has been matched in so far; by default the run's iteration.
        """


@dataclass(frozen=True)
class RandomBatches:
    """Random examples, others at every iteration."""

    def draw(self, run: CondensationRun, per_class: int, features: Features, position: int | None = None) -> RealBatch:  # noqa: ARG002 - a `Batches`
        rows = run.draw(min(per_class, _largest(run)), run.generator("real"))
        return RealBatch(rows, _even(run, rows.shape[1]))


@dataclass(frozen=True)
class RepresentativeBatches:
    """DREAM's selector: per class, the examples nearest to the centres of k-means in the network's features.

    Attributes
    ----------
    interval
        The same examples are kept for so many iterations, then chosen again with the features of that moment.
    per_cluster
        Examples taken per centre, the nearest ones (“sub-sampling” in the public code); there are ``per_class //
        per_cluster`` clusters.
    """

    interval: int = 10
    per_cluster: int = 1

    def __post_init__(self) -> None:
        for name in ("interval", "per_cluster"):
            doors.whole(name, getattr(self, name), 1)

    def draw(self, run: CondensationRun, per_class: int, features: Features, position: int | None = None) -> RealBatch:
        at = run.iteration if position is None else position
        if at % self.interval == 0 or "representative" not in run.memory:
            chosen = representative(run, per_class, features, per_cluster=self.per_cluster)
            run.memory["representative"] = {"rows": chosen.rows, "weights": chosen.weights}
        kept = run.memory["representative"]
        return RealBatch(kept["rows"], kept["weights"])


def representative(
    run: CondensationRun, per_class: int, features: Features, *, per_cluster: int = 1, purpose: str = "kmeans"
) -> RealBatch:
    """The examples of each class nearest to the centres of its clusters; of a class with at most `per_class`, all.

    Parameters
    ----------
    run
        The run.
    per_class
        How many; an example that is nearest to two centres is there twice.
    features
        What is clustered.
    per_cluster
        As in `RepresentativeBatches`.
    purpose
        Of the random numbers that k-means starts from.

    Raises
    ------
    ValueError
        `per_class` is not a multiple of `per_cluster`.
    """
    if per_class % per_cluster:
        raise ValueError(f"per_class is {per_class}; it must be a multiple of per_cluster, {per_cluster}")
    sizes = [len(rows) for rows in run.rows]
    m = min(per_class, max(sizes))
    rows = torch.stack([torch.cat([each, each[:1].expand(max(m - len(each), 0))])[:m] for each in run.rows])
    larger = [c for c, size in enumerate(sizes) if size > per_class]
    if larger:
        embedded = _embed(run, features)
        kept = [sizes[c] for c in larger]
        x = torch.nn.utils.rnn.pad_sequence([embedded[run.rows[c]] for c in larger], batch_first=True)
        centres = clusters.kmeans(x, per_class // per_cluster, run.generator(purpose), sizes=kept)
        picked = clusters.nearest(x, centres, per_cluster, sizes=kept).flatten(1)
        for c, within in zip(larger, picked, strict=True):
            rows[c] = run.rows[c][within]
    return RealBatch(rows, _even(run, m))


def _embed(run: CondensationRun, features: Features, batch: int = 1024) -> Tensor:
    with torch.no_grad():
        return torch.cat([features(images) for images in run.split.inputs.split(batch)])


def _largest(run: CondensationRun) -> int:
    return max(len(rows) for rows in run.rows)


def _even(run: CondensationRun, m: int) -> Tensor:
    """Weights of the first examples of each class, as many as it has; (classes, m)."""
    counts = torch.tensor([min(len(rows), m) for rows in run.rows])
    even = (torch.arange(m) < counts[:, None]) / counts[:, None].double()
    return even.to(run.split.inputs)
