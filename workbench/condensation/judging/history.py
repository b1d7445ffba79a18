"""`score_history`: how well each moment of a distillation teaches, all moments trained as one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from workbench import models
from workbench.condensation.judging.lessons import with_step_size
from workbench.condensation.judging.teaching import Lesson, Recipe, SoftLabels, teach
from workbench.condensation.judging.usable import decoded, fitting
from workbench.data import Dataset
from workbench.records import DistilledSet
from workbench.training import Guide, distributed


def score_history(
    distilled: DistilledSet,
    data: Dataset,
    network: str = "convnet",
    seeds: int = 1,
    *,
    epochs: int = 300,
    step_size: bool = False,
    teacher: nn.Module | None = None,
    augment: Any = None,
    lr: float = 0.01,
    batch_size: int = 256,
    options: dict[str, Any] | None = None,
    device: str | torch.device = "auto",
    watch: Callable[[float], None] | None = None,
) -> DistilledSet:
    """The set with `snapshot_accuracy`: mean test accuracy of networks trained on each snapshot.

    The networks of all snapshots and seeds are one `Ensemble`, by the protocol of `evaluate`; every snapshot has the
    same initial weights, so that moments differ by their images alone.

    Parameters
    ----------
    distilled
        A set with snapshots.
    network, options
        An architecture that `workbench.models.build` knows, and its options.
    seeds
        Networks per snapshot.
    watch
        Called at each point with the share of the work done, 0..1; raising KeyboardInterrupt stops there, and the
        networks not tested by then have no score (NaN).

    The other parameters are those of `evaluate`.

    Raises
    ------
    ValueError
        No snapshots were kept, or the set does not fit the data.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> method = wb.condensation.DistributionMatching(ipc=1, real_batch=8)
    >>> tiny = wb.condensation.condense(data, method, iterations=2, snapshots=2, progress=False)
    >>> score_history(tiny, data, "mlp", epochs=10).snapshot_accuracy.shape
    torch.Size([2])
    """
    if distilled.snapshots is None or not len(distilled.snapshots):
        raise ValueError(f"{distilled.name or distilled.method} kept no snapshots: condense with snapshots=20, say")
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}; at least one network per snapshot is needed")
    moments = [distilled.at(iteration) for iteration in distilled.snapshot_iterations]
    lessons, networks = [], []
    for moment in moments:
        examples, soft, _ = decoded(fitting(moment, data))
        guide = Guide(teacher) if teacher is not None else None if soft is None else SoftLabels(soft)
        for seed in range(seeds):
            lessons.append(Lesson(examples, guide))
            networks.append(models.build(network, data, seed=seed, **(options or {})))
    recipe = Recipe(epochs=epochs, lr=lr, batch_size=batch_size, augment=augment, points=10 if watch else 1)
    if step_size:
        recipe = with_step_size(recipe, distilled)
        if distilled.step_size is not None and distilled.step_size.ndim:
            raise ValueError("step_size=True needs one learned rate; the steps of a set with many are taken by replay")
    taught = teach(
        networks,
        lessons,
        data.test,
        recipe,
        seeds=[*range(seeds)] * len(moments),
        device=distributed.pick(device),
        watch=None if watch is None else lambda so_far, *_: watch(float((~so_far.accuracy.isnan()).double().mean())),
        what=f"{network} trained on the snapshots",
    )
    reached = taught.logits.isfinite().all(2).all(1)
    right = (taught.logits.argmax(2) == data.test.labels.cpu()).double().mean(1)
    accuracy = torch.where(reached, right, torch.nan).view(len(moments), seeds).nanmean(1)
    return distilled.replace(snapshot_accuracy=accuracy.float())
