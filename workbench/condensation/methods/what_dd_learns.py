"""What distilled images hold: who recognises them, whom they make networks resemble, what real images add to them.

The probes of paper 009 (“What is Dataset Distillation Learning?”, ICML 2024): A1 recognition, A2 mixing, and the two
families of B3 that networks trained on distilled images are compared with.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench import models
from workbench.analysis import agreement_at_matched_accuracy
from workbench.condensation.judging.teaching import Lesson, Recipe, SoftLabels, Taught, teach
from workbench.condensation.judging.usable import decoded, fitting
from workbench.data import Dataset, Split
from workbench.models import observe
from workbench.records import DistilledSet, TrainingRecord
from workbench.training import Ensemble

PROBE: dict[str, Any] = {"optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "schedule": "constant"}
"""How all probes train: the paper's code."""


def stopped_early(
    data: Dataset,
    network: str,
    seeds: Sequence[int],
    *,
    steps: int = 300,
    every: int = 2,
    batch_size: int = 256,
    options: Mapping[str, Any] | None = None,
    device: Any = "auto",
) -> list[TrainingRecord]:
    """Networks in training on all real data, their weights kept every few steps: each moment is one stopped early.

    Parameters
    ----------
    data
        The real data.
    network, options
        An architecture that `workbench.models.build` knows.
    seeds
        One network each.
    steps, every
        Optimizer steps in all, and from one kept moment to the next.

    Examples
    --------
    >>> import workbench as wb
    >>> records = stopped_early(wb.data.load("digits"), "mlp", [0, 1], steps=6, every=3)
    >>> len(records), records[0].snapshot_epochs
    (2, (0, 1, 2))
    """
    ensemble = Ensemble(network, data, seeds=list(seeds), **(options or {}))
    return ensemble.fit(
        data, steps=steps, evaluate_every=every, batch_size=batch_size, snapshots="all", seeds=list(seeds),
        device=device, progress=False, **PROBE,
    )  # fmt: skip


@torch.no_grad()
def predictions_along(record: TrainingRecord, inputs: Tensor, every: int = 1) -> Tensor:
    """Predicted classes at the moments kept by a record of training, shape (moments, n)."""
    observer = observe(record.model)
    kept = range(0, len(record.snapshot_epochs), every)
    return torch.stack(
        [observer(inputs, {name: s[k] for name, s in record.snapshots.items()}).logits.argmax(1) for k in kept]
    )


def trained_on_subsets(
    data: Dataset,
    network: str,
    sizes: Sequence[int],
    repeats: int,
    *,
    steps: int = 600,
    batch_size: int = 64,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    device: Any = "auto",
) -> Tensor:
    """Test predictions of networks trained to the end on random subsets of the real data: (sizes · repeats, n).

    All are one `Ensemble`: a smaller subset is repeated up to the size of the largest (the first of its examples once
    more than the others where it does not divide), so that every network takes the same number of steps on batches of
    the same size.

    Parameters
    ----------
    data
        The real data.
    sizes
        Numbers of examples, stratified by class.
    repeats
        Networks of each size, each with its own subset and initial weights.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> trained_on_subsets(data, "mlp", [20, 40], repeats=2, steps=5).shape
    torch.Size([4, 597])
    """
    longest, lessons, seeds = max(sizes), [], []
    for i, size in enumerate(sizes):
        for repeat in range(repeats):
            number = 10_000 * (seed + 1) + repeats * i + repeat
            rows = torch.arange(longest) % size
            lessons.append(Lesson(data.train.subset(size, seed=number).take(rows)))
            seeds.append(number)
    networks = [models.build(network, data, seed=number, **(options or {})) for number in seeds]
    recipe = Recipe(steps=steps, weight_decay=0.0, batch_size=min(batch_size, longest), points=1, **PROBE)
    taught = teach(networks, lessons, data.test, recipe, seeds=seeds, device=device, what="networks of subsets")
    return taught.logits.argmax(2)


def taught_by(
    sets: Mapping[str, DistilledSet],
    data: Dataset,
    network: str,
    seeds: Sequence[int],
    *,
    real: int = 0,
    steps: int = 300,
    points: int = 1,
    options: Mapping[str, Any] | None = None,
    device: Any = "auto",
) -> dict[str, Taught]:
    """Networks trained on each set, mixed with real images where asked: 300 full-batch steps, all as one `Ensemble`.

    Parameters
    ----------
    sets
        By name; those with equal numbers of examples are trained together.
    data
        The real data.
    network, options
        An architecture that `workbench.models.build` knows.
    seeds
        One network per set each; also of which real images are drawn, the same for every set.
    real
        How many random real images to add, stratified by class; with 0 nothing but the set.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> some = wb.condensation.condense(data, wb.condensation.Random(ipc=1), progress=False)
    >>> taught_by({"random": some}, data, "mlp", [0, 1], real=10, steps=5)["random"].logits.shape
    torch.Size([2, 597, 10])
    """
    lessons = {name: [_mixed(one, data, real, seed) for seed in seeds] for name, one in sets.items()}
    groups: dict[int, list[str]] = {}
    for name, each in lessons.items():
        groups.setdefault(len(each[0].split), []).append(name)
    found: dict[str, Taught] = {}
    for size, names in groups.items():
        taught = teach(
            [models.build(network, data, seed=seed, **(options or {})) for _ in names for seed in seeds],
            [lesson for name in names for lesson in lessons[name]],
            data.test,
            Recipe(steps=steps, weight_decay=0.0, batch_size=size, points=points, **PROBE),
            seeds=[*seeds] * len(names),
            device=device,
            what=" and ".join(names),
        )
        found |= taught.apart(names)
    return {name: found[name] for name in sets}


def resemblance(
    predictions: Tensor,
    data: Dataset,
    network: str,
    *,
    images: int,
    seeds: Sequence[int],
    within: float = 0.01,
    options: Mapping[str, Any] | None = None,
    device: Any = "auto",
) -> dict[str, Tensor]:
    """Agreement of trained networks with ones stopped early on all real data, and with ones of subsets (009, B3).

    Parameters
    ----------
    predictions
        Predicted classes on the test split, shape (N, n).
    images
        Size of the set they learned from: subsets have one to eight times as many.
    seeds
        Of the networks that are compared with. Let them be others than those of `predictions`: networks that started
        alike agree for that reason alone.
    within
        How near the accuracies must be, in 0..1.

    Returns
    -------
    dict
        ``"early-stopped"`` and ``"subset-trained"`` → mean agreement, shape (N,); NaN where no accuracy is near enough.
    """
    records = stopped_early(data, network, seeds, options=options, device=device)
    early = torch.cat([predictions_along(record, data.test.inputs).cpu() for record in records])
    sizes = sorted({min(len(data.train), round(images * factor)) for factor in (1, 1.5, 2, 3, 4, 6, 8)})
    subsets = trained_on_subsets(
        data, network, sizes, len(seeds), seed=min(seeds), options=options, device=device
    )  # fmt: skip
    labels = data.test.labels.cpu()
    return {
        name: agreement_at_matched_accuracy(predictions.cpu(), family, labels, within=within).agreement
        for name, family in (("early-stopped", early), ("subset-trained", subsets))
    }


def _mixed(distilled: DistilledSet, data: Dataset, real: int, seed: int) -> Lesson:
    """A set's examples and `real` random real ones as one training set."""
    examples, soft, _ = decoded(fitting(distilled, data))
    if real == 0:
        return Lesson(examples, None if soft is None else SoftLabels(soft))
    drawn = data.train.subset(real, seed=seed)
    both = Split(
        torch.cat([examples.inputs, drawn.inputs]),
        torch.cat([examples.labels, drawn.labels]),
        data.classes,
        data.mean,
        data.std,
    )
    if soft is None:
        return Lesson(both)
    one_hot = F.one_hot(drawn.labels, len(data.classes)).to(soft)
    return Lesson(both, SoftLabels(torch.cat([soft, one_hot])))
