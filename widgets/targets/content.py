"""From sampling runs to what travels to the browser: places in the plane, pictures as bytes, and curves by step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from widgets.core.arrays import Arrays
from widgets.targets.stage.ground import ground_of
from workbench.diffusion import Denoiser
from workbench.diffusion.trajectories.levels import levels, scales, shrink
from workbench.diffusion.trajectories.plane import SeedPlane
from workbench.records import TargetTrajectories

MOST_BYTES = 64 * 2**20
"""Pixels that are sent at most: beyond it later seeds are points without a picture."""


def content_of(
    runs: Mapping[str, TargetTrajectories],
    models: Mapping[str, Denoiser],
    teacher: Denoiser | None = None,
    revision: int = 0,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What travels to the browser: plain values, and the arrays they refer to."""
    first = next(iter(runs.values()))
    arrays = Arrays()
    plane = SeedPlane.of(list(runs.values()))
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
        "plane": {
            "axes": list(plane.axes),
            "exact": plane.exact,
            "span": list(plane.span(runs)),
            "close": list(plane.close(runs)),
        },
        "ground": ground_of(plane, runs, models, teacher, arrays),
        "same": all(torch.equal(run.noise, first.noise) for run in runs.values()),
        "revision": revision,
    }
    return content, arrays.packed


def is_images(run: TargetTrajectories) -> bool:
    """Examples are pictures: channels, height, width."""
    shape = run.samples.shape[1:]
    return len(shape) == 3 and shape[0] in (1, 3)


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


def apart(run: TargetTrajectories) -> Tensor:
    """Distance of each seed's x̂₀ to its sample, float32, (steps + 1, n); 0 at the sample itself."""
    found = [(step - run.samples).flatten(1).double().norm(dim=1).float() for step in run.targets]
    return torch.stack([*found, torch.zeros(len(run))])


def _run(
    name: str, run: TargetTrajectories, plane: SeedPlane, pictured: int, arrays: Arrays, other: int, *, live: bool
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
        "start": float(shrink(run)[0] * scales(run)[0, 1]),
        "states_at": arrays.add(plane.project(shrunk), "float32"),
        "targets_at": arrays.add(plane.project(targets), "float32"),
        "apart": arrays.add(apart(run), "float32"),
        "states": arrays.add(pictures(run, states_pictured(run, some)), "uint8") if pictured else None,
        "targets": arrays.add(pictures(run, targets[:, some]), "uint8") if pictured else None,
        "sampler": run.sampler,
        "guidance": run.guidance,
        "calls": run.calls,
        "schedule": str(run.schedule.get("name", "")),
        "live": live,
    }
