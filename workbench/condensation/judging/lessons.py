"""What the networks of an evaluation learn from: the distilled examples, and real ones to compare with."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench import models
from workbench.condensation.judging.replay import schedule
from workbench.condensation.judging.stepping import Course
from workbench.condensation.judging.teaching import Lesson, Recipe, SoftLabels
from workbench.data import Dataset
from workbench.records import DistilledSet
from workbench.training import Guide


def with_step_size(recipe: Recipe, distilled: DistilledSet) -> Recipe:
    """The recipe with the one learning rate that was learned with the images; those with one per step have a `Course`.

    Raises
    ------
    ValueError
        None was learned, or it is not positive.
    """
    rates = distilled.step_size
    if rates is None:
        raise ValueError("step_size=True, but no step size was learned with this set: leave it out and give lr")
    if not bool((rates > 0).all()):
        raise ValueError(f"the learned step size is {float(rates.min()):.3g}; training needs a positive one")
    return recipe if rates.ndim else Recipe(**{**vars(recipe), "lr": float(rates)})


def course_of(distilled: DistilledSet, owner: Tensor) -> Course | None:
    """The steps the images were made for, one learned rate each; None for a set with one rate or none.

    Parameters
    ----------
    distilled
        The set.
    owner
        Which stored image each example came from, shape (m,).
    """
    if distilled.step_size is None or distilled.step_size.ndim == 0:
        return None
    sizes, batches = schedule(distilled)
    everything = torch.arange(len(owner), device=owner.device)
    rows = [everything if b is None else everything[torch.isin(owner, b.to(owner.device))] for b in batches]
    return Course(sizes.tolist(), rows)


def soft_labels(
    kind: str, probabilities: Tensor | None, teacher: nn.Module | None, temperature: float, distilled: DistilledSet
) -> Any:
    """Who labels the images softly; None for hard labels."""
    if kind not in ("hard", "soft"):
        raise ValueError(f"labels is {kind!r}; it can be 'hard' or 'soft'")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; it must be positive")
    if kind == "hard":
        if teacher is not None:
            raise ValueError("labels='hard', but a teacher gives soft labels: leave one of the two out")
        return None
    if teacher is not None:
        return Guide(teacher)
    if probabilities is None:
        raise ValueError(
            f"labels='soft', but the labels of {distilled.name or distilled.method} are classes: "
            "pass a teacher that labels the images, or labels='hard'"
        )
    return SoftLabels(probabilities)


def stacks_of(
    lessons: Mapping[str, Sequence[Lesson]], recipes: Mapping[str, Recipe], *, alike: bool
) -> list[tuple[str, ...]]:
    """What can be trained in one stack: equal recipes and numbers of examples, and losses that are alike."""
    if "random" not in lessons:
        return [("distilled",)]
    own, drawn = lessons["distilled"][0], lessons["random"][0]
    same = own.course is None and len(own.split) == len(drawn.split) and recipes["random"] == recipes["distilled"]
    if same and (alike or (own.guide is None) == (drawn.guide is None)):
        return [("distilled", "random"), ("full",)]
    return [("distilled",), ("random",), ("full",)]


def has_start(distilled: DistilledSet, network: str) -> bool:
    """Whether the set was made for certain initial weights of this architecture."""
    return bool(distilled.start) and (distilled.spec or {}).get("name") == network


def fresh(
    name: str,
    data: Dataset,
    seed: int,
    options: Mapping[str, Mapping[str, Any]] | None,
    started_from: Mapping[str, DistilledSet],
) -> nn.Module:
    """A network before training: with weights of this seed, or with those its set in `started_from` was made for."""
    if name not in started_from:
        return models.build(name, data, seed=seed, **(options or {}).get(name, {}))
    network = models.from_spec(started_from[name].spec or {})
    network.load_state_dict(started_from[name].start)
    return network
