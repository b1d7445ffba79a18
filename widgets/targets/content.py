"""From sampling runs to what travels to the browser: places in the plane, pictures as bytes, and curves by step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from widgets.arrays import Arrays
from widgets.targets.plane import Plane
from workbench.diffusion import Denoiser
from workbench.diffusion.schedules import schedule
from workbench.records import TargetTrajectories

MOST_BYTES = 64 * 2**20
"""Pixels that are sent at most: beyond it later seeds are points without a picture."""

CLEAN = 99.0
"""The level log(α / σ) that stands for infinity: no noise at all."""


def content_of(
    runs: Mapping[str, TargetTrajectories], models: Mapping[str, Denoiser], revision: int = 0
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What travels to the browser: plain values, and the arrays they refer to."""
    first = next(iter(runs.values()))
    arrays = Arrays()
    plane = Plane.of(list(runs.values()))
    images = is_images(first)
    pictured = 0
    if images:
        each = sum(2 * (run.steps + 1) for run in runs.values()) * first.samples[0].numel()
        pictured = min(len(first), MOST_BYTES // each)
    others = -1
    found = []
    for name, run in runs.items():
        others += run.role == "other"
        found.append(_run(name, run, plane, pictured, arrays, max(others, 0), live=name in models))
    condition = next((run.condition for run in runs.values() if run.condition is not None), None)
    content = {
        "runs": found,
        "kind": "images" if images else "points",
        "shape": list(first.samples.shape[1:]),
        "count": len(first),
        "pictured": pictured,
        "classes": list(next((run.classes for run in runs.values() if run.classes), ())),
        "condition": None if condition is None else arrays.add(condition, "int32"),
        "plane": plane.content(runs, models, arrays),
        "revision": revision,
    }
    return content, arrays.packed


def is_images(run: TargetTrajectories) -> bool:
    """Examples are pictures: channels, height, width."""
    shape = run.samples.shape[1:]
    return len(shape) == 3 and shape[0] in (1, 3)


def shrink(run: TargetTrajectories) -> Tensor:
    """What states are multiplied with before they are drawn, float64, (steps + 1,): 1 unless the noise explodes."""
    size = scales(run)[:, :2].norm(dim=1)
    factor = 1 / size if bool((size > 2).any()) else torch.ones_like(size)
    return torch.cat([factor, torch.ones(1, dtype=factor.dtype)])


def scales(run: TargetTrajectories) -> Tensor:
    """α, σ and their rates at the recorded times, float64, (steps, 4)."""
    kind = schedule(run.schedule)
    return torch.stack([rule(run.times) for rule in (kind.alpha, kind.sigma, kind.alpha_rate, kind.sigma_rate)], 1)


def levels(run: TargetTrajectories) -> list[float]:
    """How far the noise has fallen at each recorded step: log(α / σ), within ±`CLEAN`."""
    return schedule(run.schedule).log_snr(run.times).clamp(-CLEAN, CLEAN).tolist()


def pictures(run: TargetTrajectories, values: Tensor) -> np.ndarray:
    """Examples (..., channels, height, width) as bytes."""
    if run.mean is not None and run.std is not None:
        raw = values.float() * run.std.float() + run.mean.float()
    else:
        low, high = float(run.samples.min()), float(run.samples.max())
        raw = (values.float() - low) / ((high - low) or 1.0)
    return (raw * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def states_pictured(run: TargetTrajectories, seeds: slice) -> Tensor:
    """States as they are drawn: over √(α² + σ²), so that their contrast stays that of an image; the sample last."""
    size = scales(run)[:, :2].norm(dim=1).to(run.states)
    shown = run.states[:, seeds] / size.view(-1, *[1] * (run.states.ndim - 1))
    return torch.cat([shown, run.samples[None, seeds]])


def with_samples(values: Tensor, samples: Tensor) -> Tensor:
    """Values by step, (steps, n, ...), and the samples after them."""
    return torch.cat([values, samples[None].to(values)])


def _run(
    name: str, run: TargetTrajectories, plane: Plane, pictured: int, arrays: Arrays, other: int, *, live: bool
) -> dict[str, Any]:
    states, targets = with_samples(run.states, run.samples), with_samples(run.targets, run.samples)
    shrunk = states * shrink(run).to(states).view(-1, *[1] * (states.ndim - 1))
    some = slice(0, pictured)
    return {
        "name": name,
        "role": run.role,
        "other": other,
        "steps": run.steps,
        "times": run.times.tolist(),
        "levels": levels(run),
        "scales": scales(run).tolist(),
        "states_at": arrays.add(plane.project(shrunk), "float32"),
        "targets_at": arrays.add(plane.project(targets), "float32"),
        "states": arrays.add(pictures(run, states_pictured(run, some)), "uint8") if pictured else None,
        "targets": arrays.add(pictures(run, targets[:, some]), "uint8") if pictured else None,
        "sampler": run.sampler,
        "guidance": run.guidance,
        "calls": run.calls,
        "schedule": str(run.schedule.get("name", "")),
        "curves": {},
        "live": live,
    }


def named(records: Sequence[TargetTrajectories]) -> dict[str, TargetTrajectories]:
    """The runs by name, numbered where a name repeats."""
    names = [item.name or item.role for item in records]
    found: dict[str, TargetTrajectories] = {}
    for k, (name, item) in enumerate(zip(names, records, strict=True)):
        found[f"{name} ({names[:k].count(name) + 1})" if names.count(name) > 1 else name] = item
    if len(found) < len(records):
        raise ValueError(f"runs are called {', '.join(names)}: give each a name of its own")
    return found
