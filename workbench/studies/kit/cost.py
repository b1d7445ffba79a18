"""What a full budget costs: one training step is timed, and its time multiplied by the steps there are.

    python -m workbench.studies.kit.cost wrn-40-2 --teacher wrn-40-2 --batch 64
    python -m workbench.studies.kit.cost vit --options width=192 depth=12 heads=3 patch=4 --teacher resnet32x4
    python -m workbench.studies.kit.cost --study 31 --data digits

The last runs a study at the sizes of its full budget for a few updates of everything, then for some more of each part
in turn: what they add, times how many there are, is what a seed takes to train.
"""

import argparse
import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from workbench import models, studies
from workbench.data import Dataset, Split
from workbench.knowledge import KL, distill
from workbench.training import distributed, fit


def step_seconds(
    student: str,
    teacher: str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    teacher_options: Mapping[str, Any] | None = None,
    batch: int = 64,
    shape: tuple[int, int, int] = (3, 32, 32),
    classes: int = 100,
    steps: int = 3,
    device: str = "auto",
) -> float:
    """Seconds of one training step, the mean of `steps` after one to warm up.

    Parameters
    ----------
    student, teacher
        Names for `workbench.models.build`; without a teacher the student learns labels.
    options, teacher_options
        Further arguments of `build` for either.
    batch, shape, classes
        Of the data, which are noise.
    device
        As for `workbench.training.fit`.

    Examples
    --------
    >>> step_seconds("resnet8", batch=4, shape=(3, 8, 8), steps=1, device="cpu") > 0
    True
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, *shape, generator=generator)
    names = tuple(str(number) for number in range(classes))
    one = torch.ones(shape[0], 1, 1)
    split = Split(images, torch.arange(batch) % classes, names, 0 * one, one)
    data = Dataset("noise", split, split)
    network, place = models.build(student, data, **(options or {})), distributed.pick(device)

    def train(count: int) -> float:
        begun = time.perf_counter()
        training: dict[str, Any] = {
            "steps": count,
            "batch_size": batch,
            "progress": False,
            "evaluate_every": 0,
            "device": device,
        }
        if teacher is None:
            fit(network, data, **training)
        else:  # augmented, as in the recipes: the teacher answers at every step
            guide = models.build(teacher, data, seed=1, **(teacher_options or {}))
            distill(guide, network, data, KL(4), augment="flip", **training)
        if place.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    train(1)
    return max(train(1 + steps) - train(1), 1e-9) / steps


LENGTHS = ("steps", "start", "iterations", "stage", "feedback", "scores", "consistency", "matching", "slider")
"""What the scales of studies call numbers of updates."""

FEWER = {"samples": 16, "doubt": 50, "doubt_images": 50, "points": 32, "images": 32, "judges": 1, "evaluations": 1}
"""What is judged by, where only training is timed."""

Place = tuple[str, ...]


def lengths(scale: Any, place: Place = ()) -> Iterator[tuple[Place, int]]:
    """Where a scale holds numbers of updates, and how many.

    Examples
    --------
    >>> from workbench.studies.kit.few_step import MORE_POINTS
    >>> dict(lengths(MORE_POINTS))
    {('start',): 1000, ('steps',): 1500}
    """
    for field in dataclasses.fields(scale):
        value = getattr(scale, field.name)
        if isinstance(value, int) and field.name in LENGTHS:
            yield (*place, field.name), value
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from lengths(value, (*place, field.name))


def shortened(scale: Any, updates: Mapping[Place, int], place: Place = ()) -> Any:
    """The scale with these numbers of updates, and little to judge by."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(scale):
        value, here = getattr(scale, field.name), (*place, field.name)
        if here in updates:
            changes[field.name] = updates[here]
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            changes[field.name] = shortened(value, updates, here)
        elif isinstance(value, int) and field.name in FEWER:
            changes[field.name] = FEWER[field.name]
        elif field.name == "marks":
            changes[field.name] = (1,)
    return dataclasses.replace(scale, **changes)


def study_seconds(paper: int, data: Any = None, *, more: int = 6, device: str = "cpu") -> dict[Place, float]:
    """Seconds that one update of each part of a study's full budget takes, all its methods together, for one seed.

    Parameters
    ----------
    paper
        Of the study; it has numbers of updates in its scale (see `lengths`).
    data
        What it runs on; None: its own. The parts for other kinds of data take 0.
    more
        Updates that are timed.
    device
        As for `workbench.training.fit`.
    """
    run = studies.study(paper).run
    full = run.scales["full"]
    every = dict(lengths(full))

    def timed(part: Place | None) -> float:
        scale = shortened(full, {place: 2 + more * (place == part) for place in every})
        begun = time.process_time() if device == "cpu" else time.perf_counter()
        run(data, budget="full", seeds=[0], device=device, scale=scale)
        return (time.process_time() if device == "cpu" else time.perf_counter()) - begun

    timed(None)
    base = timed(None)
    return {part: max(timed(part) - base, 0.0) / more for part in every}


def _options(given: list[str]) -> dict[str, Any]:
    pairs = (text.partition("=") for text in given)
    return {name: int(value) if value.isdigit() else value for name, _, value in pairs}


def main() -> None:
    """Print the seconds of one step, or of one update of each part of a study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", nargs="?")
    parser.add_argument("--options", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--teacher")
    parser.add_argument("--teacher-options", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--study", type=int)
    parser.add_argument("--data")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    if given.study is not None:
        run = studies.study(given.study).run
        numbers, total = dict(lengths(run.scales["full"])), 0.0
        for place, seconds in study_seconds(given.study, given.data).items():
            total += seconds * numbers[place]
            print(f"{'.'.join(place)}: {seconds:.3f} s an update, {numbers[place]:,} of them")
        print(f"{total:,.0f} s a seed, {run.seeds['full']} seeds")
    elif given.student is None:
        parser.error("name a student, or --study")
    else:
        seconds = step_seconds(
            given.student, given.teacher, options=_options(given.options),
            teacher_options=_options(given.teacher_options), batch=given.batch, device=given.device,
        )  # fmt: skip
        print(f"{seconds:.3f} s a step of {given.batch} images")


if __name__ == "__main__":
    main()
