"""The steps that distilled images were made for, taken again from a record: what each of them does to a network."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from workbench import models
from workbench.condensation.making.synthetic import views_of
from workbench.condensation.trajectories.flat import FlatNetwork
from workbench.condensation.trajectories.unroll import Descent, cross_entropy
from workbench.data import Split
from workbench.records import DistilledSet
from workbench.training import randomness


@dataclass(frozen=True)
class Replay:
    """Networks on their way through the distilled steps.

    Attributes
    ----------
    network
        The architecture.
    path
        Weights before the first step and after each, shape (N + 1, K, P).
    step_size
        Of each step, shape (N,).
    """

    network: FlatNetwork
    path: Tensor
    step_size: Tensor

    @torch.no_grad()
    def accuracy(self, split: Split) -> Tensor:
        """Accuracy after 0..N steps, in 0..1, float64, shape (K, N + 1)."""
        right = [self.network(weights, split.inputs).argmax(2) == split.labels for weights in self.path]
        return torch.stack([one.double().mean(1) for one in right], 1)

    @torch.no_grad()
    def confusion(self, split: Split, step: int = -1) -> Tensor:
        """Counts [true, predicted] over all K networks after `step` steps, int64, shape (classes, classes)."""
        predicted = self.network(self.path[step], split.inputs).argmax(2)
        count = len(split.classes)
        pairs = split.labels * count + predicted
        return torch.bincount(pairs.flatten(), minlength=count * count).view(count, count)

    def to_frame(self, split: Split) -> pd.DataFrame:
        """One row per network and step: `network`, `step`, `step size` (of the step that led there), `accuracy`."""
        sizes = [float("nan"), *self.step_size.tolist()]
        rows = [
            {"network": k, "step": n, "step size": sizes[n], "accuracy": value}
            for k, curve in enumerate(self.accuracy(split).tolist())
            for n, value in enumerate(curve)
        ]
        return pd.DataFrame(rows)


def replay(
    distilled: DistilledSet,
    starts: Tensor | Sequence[int] | None = None,
    *,
    steps: int | None = None,
    step_size: float | None = None,
) -> Replay:
    """Take the distilled steps from given weights: plain gradient descent with the record's own step sizes.

    Parameters
    ----------
    distilled
        What `condense` made by a method with steps (`DD`, `MTT`, `FTD`), or any set with `spec`, `steps` and
        `step_size` given.
    starts
        Weights, shape (K, P); or seeds of fresh ones; None: the weights that the images were made for.
    steps
        Number of steps on all images; by default those the images were made for.
    step_size
        Of all steps, instead of the record's own.

    Raises
    ------
    ValueError
        The record does not say the network, the start, the number of steps or their size.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> method = wb.condensation.DD(passes=3, network="mlp", options={"width": 16, "depth": 1})
    >>> tiny = wb.condensation.condense(data, method, iterations=2, progress=False)
    >>> replay(tiny).accuracy(data.test).shape, replay(tiny, starts=range(5)).accuracy(data.test).shape
    (torch.Size([1, 4]), torch.Size([5, 4]))
    """
    if distilled.spec is None:
        raise ValueError(f"{distilled.name!r} does not say what network it was made with: set its spec")
    template = models.from_spec(distilled.spec).to(distilled.images.dtype)
    network = FlatNetwork(template)
    if starts is None:
        if not distilled.start:
            raise ValueError(f"{distilled.name!r} was made for any start: pass starts, weights or seeds")
        begin = network.vector(distilled.start)[None]
    else:
        begin = starts if isinstance(starts, Tensor) else network.fresh(list(starts))
    sizes, batches = schedule(distilled, steps, step_size)

    def loss(weights: Tensor, n: int) -> Tensor:
        images, labels = distilled.images, distilled.labels
        rows = batches[n]
        if rows is not None:
            images, labels = images[rows], labels[rows]
        for view in views_of(distilled.view):
            images, labels = view(images, labels, randomness.generator(0, 0, n))
        return cross_entropy(network(weights, images), labels)

    path = Descent(loss, lambda n: sizes[n], len(sizes)).path(begin.to(distilled.images))
    return Replay(network, path, sizes)


def schedule(
    distilled: DistilledSet, steps: int | None = None, step_size: float | None = None
) -> tuple[Tensor, list[Tensor | None]]:
    """Step sizes of the distilled steps, and the rows of the stored images that each step sees (None: all).

    Raises
    ------
    ValueError
        The record does not say the number of steps or their size; or a step's images were all taken out.
    """
    learned = distilled.step_size
    if learned is None and step_size is None:
        raise ValueError(f"{distilled.name!r} has no step size of its own: pass step_size")
    if learned is not None and learned.ndim and steps is None:
        sizes = learned if step_size is None else torch.full_like(learned, step_size)
        seen = distilled.step_images
        if seen is None:
            return sizes, [None] * len(sizes)
        if not bool(seen.any(1).all()):
            lost = int((~seen.any(1)).nonzero()[0])
            raise ValueError(f"step {lost + 1} of {len(sizes)} has lost all its images: put one of them back")
        return sizes, [rows.nonzero().flatten() for rows in seen]
    count = distilled.settings.get("steps") if steps is None else steps
    if not isinstance(count, int):
        raise ValueError(  # noqa: TRY004 - what is missing is a value
            f"{distilled.name!r} does not say how many steps it was made for: pass steps"
        )
    if step_size is None and learned is not None and learned.ndim:
        raise ValueError(f"{distilled.name!r} has a step size for each of its {len(learned)} steps: pass step_size too")
    size = torch.as_tensor(learned if step_size is None else step_size, dtype=distilled.images.dtype)
    return size.expand(count), [None] * count
