"""A hand-over as it travels: samples, what was measured, calls."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from widgets.core.arrays import Arrays
from widgets.targets.content import is_images, pictures
from workbench.diffusion.judging.handing_over import MOST_POINTS
from workbench.diffusion.trajectories.plane import SeedPlane
from workbench.records import HandOver, TargetTrajectories

Way = Literal["switches", "positions"]
"""By how many first steps the base makes, or by which single step."""

MOST_PICTURES = 64
MOST_BYTES = 24 * 2**20


def handed_content(
    handed: HandOver, runs: Mapping[str, TargetTrajectories], plane: SeedPlane
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Plain values and the arrays they refer to.

    Ways are counted 0..K by first steps of the base, and 0..K by the one step it makes, where 0 is the student alone.
    """
    arrays = Arrays()
    first = next(iter(runs.values()))
    same = len(handed) <= len(first) and bool(torch.equal(handed.noise, first.noise[: len(handed)]))
    both = {"switches": handed.switches, "positions": handed.positions}
    kinds: tuple[Way, ...] = ("switches", "positions")
    ways = {way: whole(both, way) for way in kinds}
    shown = slice(0, MOST_POINTS)
    images = is_images(first)
    pictured = 0
    if images:
        each = sum(len(samples) for samples in ways.values()) * handed.noise[0].numel()
        pictured = min(len(handed), MOST_PICTURES, MOST_BYTES // each)
    scaled = first.replace(mean=handed.mean, std=handed.std)
    condition = handed.condition
    content = {
        "base": handed.base,
        "student": handed.student,
        "steps": handed.steps,
        "times": handed.times.tolist(),
        "count": len(handed),
        "shown": min(len(handed), MOST_POINTS),
        "pictured": pictured,
        "same_seeds": same,
        "condition": None if condition is None else arrays.add(condition, "int32"),
        "classes": list(handed.classes),
        "reference": str(handed.settings.get("reference", "")),
        "places": {
            way: None if images else arrays.add(plane.project(samples[:, shown]), "float32")
            for way, samples in ways.items()
        },
        "pictures": {
            way: arrays.add(pictures(scaled, samples[:, :pictured]), "uint8") if pictured else None
            for way, samples in ways.items()
        },
        "order": list(handed.measures),  # a saved notebook sorts the keys of an object
        "measures": {name: _measure(handed, name) for name in handed.measures},
        "calls": {way: calls(handed, way) for way in kinds},
    }
    return content, arrays.packed


def _measure(handed: HandOver, name: str) -> dict[str, Any]:
    """Values and intervals by way; the student alone is the first of both."""
    found: dict[str, Any] = {}
    kinds: tuple[Way, ...] = ("switches", "positions")
    for way in kinds:
        values = whole(handed.measures[name], way)
        between = handed.intervals.get(name)
        rows = torch.full((len(values), 2), float("nan")) if between is None else whole(between, way)
        found[way] = {"values": _plain(values), "low": _plain(rows[:, 0]), "high": _plain(rows[:, 1])}
    return found


def whole(by: Mapping[str, Tensor], way: Way) -> Tensor:
    """Values or samples of every way, the student alone first, (K + 1, ...)."""
    return by["switches"] if way == "switches" else torch.cat([by["switches"][:1], by["positions"]])


def _plain(values: Tensor) -> list[float | None]:
    """Numbers that JSON can carry."""
    return [float(value) if bool(torch.isfinite(value)) else None for value in values]


def calls(handed: HandOver, way: Way) -> tuple[list[int], list[int]] | None:
    """Model evaluations of base and student for each way; None where they were not counted."""
    if way == "switches":
        return handed.base_calls.tolist(), handed.student_calls.tolist()
    if handed.position_base_calls is None or handed.position_student_calls is None:
        return None
    alone = handed.base_calls[:1], handed.student_calls[:1]
    both = handed.position_base_calls, handed.position_student_calls
    base, student = (torch.cat(pair).tolist() for pair in zip(alone, both, strict=True))
    return base, student
