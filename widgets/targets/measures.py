"""What is measured of each run at each step, and sent beside the runs: commitment, spread, distance, turning, error."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from widgets.arrays import Arrays
from widgets.targets.ground import unguided
from workbench.diffusion import Denoiser, GaussianMixture
from workbench.diffusion.paths import deterministic, step_error, turning
from workbench.records import TargetTrajectories

MEASURES = ("commitment", "spread", "distance", "turning", "error")
"""In the order in which they are drawn; ``curves.js`` says what each is."""

QUICK = 2048
"""Numbers in the means of a mixture whose steps are checked against the exact path without being asked."""


def measured(run: TargetTrajectories, model: Denoiser | None = None) -> dict[str, Tensor]:
    """By name one value per step, float64 (steps,); `error` only where it is quick to compute."""
    found = {"commitment": run.commitment, "spread": run.spread, "distance": run.distance, "turning": turning(run)}
    exact = unguided(model)
    if isinstance(exact, GaussianMixture) and exact.means.numel() <= QUICK and deterministic(run):
        found["error"] = step_error(run, exact)
    return found


def measurable(
    runs: Mapping[str, TargetTrajectories], models: Mapping[str, Denoiser], known: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Runs whose step error can be computed and is not known yet."""
    return [name for name, run in runs.items() if name in models and "error" not in known[name] and deterministic(run)]


def packed(known: Mapping[str, Mapping[str, Tensor]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Curves by run and name as they travel, and their arrays."""
    arrays = Arrays()
    curves = {
        run: {name: arrays.add(torch.as_tensor(values), "float32") for name, values in found.items()}
        for run, found in known.items()
    }
    return curves, arrays.packed
