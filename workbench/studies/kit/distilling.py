"""Distillation methods against each other: each distils once per seed, and all its sets are judged together.

A set's accuracy is the mean test accuracy of a few new networks that have seen nothing else. Sets of one size are
judged by networks that begin with the same weights and are trained as one, so that differences between methods can be
paired by seed.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from workbench import models
from workbench.condensation import Choosing, Matching, condense
from workbench.condensation.judging.teaching import Lesson, Recipe, teach
from workbench.condensation.judging.usable import decoded
from workbench.data import Dataset
from workbench.records import DistilledSet
from workbench.studies.kit.claims import Estimate, estimate

Key = tuple[str, int, int]
"""Method, images per class, seed."""

JUDGED = Recipe(steps=200, optimizer="adam", lr=3e-3, weight_decay=0.0, schedule="cosine", points=1)
"""How the judging networks are trained here: by Adam, which needs fewer steps on so small sets than the field's SGD."""


def at_most(data: Dataset, examples: int | None) -> Dataset:
    """The data with no more than so many training examples, as many of each class; None: all."""
    return data if examples is None or len(data.train) <= examples else data.subset(examples)


def distil(
    methods: Mapping[str, Matching | Choosing],
    data: Dataset,
    seeds: Sequence[int],
    *,
    snapshots: int = 0,
    device: str = "auto",
) -> dict[Key, DistilledSet]:
    """Every method once per seed."""
    return {
        (name, method.ipc, seed): condense(
            data, method, seed=seed, snapshots=snapshots, device=device, progress=False, name=name
        )
        for name, method in methods.items()
        for seed in seeds
    }


def judge(
    sets: Mapping[Key, DistilledSet],
    data: Dataset,
    *,
    network: str = "convnet",
    options: Mapping[str, Any] | None = None,
    networks: int = 2,
    recipe: Recipe = JUDGED,
    device: str = "auto",
) -> dict[Key, float]:
    """Test accuracy of each set, in 0..1: the mean over `networks` networks that learned from it.

    Parameters
    ----------
    sets
        Distilled sets by method, images per class and seed.
    data
        The test split judges.
    network, options
        An architecture that `workbench.models.build` knows.
    networks
        How many learn from each set; a seed's networks begin alike for every method.
    recipe
        How they learn.
    """
    by_size: dict[int, list[Key]] = defaultdict(list)
    splits = {key: decoded(one)[0] for key, one in sets.items()}
    for key, split in splits.items():
        by_size[len(split)].append(key)
    found: dict[Key, float] = {}
    for keys in by_size.values():
        seeds = [1000 * seed + k for _, _, seed in keys for k in range(networks)]
        taught = teach(
            [models.build(network, data, seed=seed, **(options or {})) for seed in seeds],
            [Lesson(splits[key]) for key in keys for _ in range(networks)],
            data.test,
            recipe,
            seeds=seeds,
            device=device,
            what="distilled sets",
        )
        accuracy = taught.accuracy[:, -1].view(len(keys), networks).mean(1)
        found |= dict(zip(keys, accuracy.tolist(), strict=True))
    return found


def paired(values: Mapping[Key, float], a: str, b: str, ipc: int) -> Estimate:
    """The difference of two methods, a − b, paired by seed."""
    seeds = [seed for name, images, seed in values if (name, images) == (a, ipc)]
    return estimate([values[a, ipc, seed] - values[b, ipc, seed] for seed in seeds])


def rows(accuracy: Mapping[Key, float], sets: Mapping[Key, DistilledSet], **columns: Any) -> list[dict[str, Any]]:
    """Table rows: method, images per class, seed, accuracy and seconds spent on distilling."""
    return [
        {
            "method": name,
            "ipc": ipc,
            "seed": seed,
            "accuracy": accuracy[name, ipc, seed],
            "seconds": sets[name, ipc, seed].provenance.wall_time,
            **columns,
        }
        for name, ipc, seed in accuracy
    ]


def first_of_each(sets: Mapping[Key, DistilledSet]) -> dict[str, DistilledSet]:
    """One set of each method and size, that of its first seed, by a name for the study's records."""
    found: dict[str, DistilledSet] = {}
    for (name, ipc, _), one in sets.items():
        found.setdefault(f"{name}, {ipc} per class", one)
    return found
