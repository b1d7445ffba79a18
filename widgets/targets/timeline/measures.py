"""What is measured of each run at each step: commitment, spread, distance, curvature, and errors where asked for."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from widgets.core.arrays import Arrays
from widgets.targets.stage.ground import on_schedule
from workbench.diffusion import Denoiser, Guided, curvature, step_errors
from workbench.diffusion.sampling.schedules import schedule
from workbench.records import TargetTrajectories

MEASURES = ("commitment", "spread", "distance", "curvature", "error", "drift")
"""In the order in which they are drawn; ``measures.js`` says what each is."""

MOST_FOLLOWED = 64
"""Seeds whose exact path is followed."""

MOST_CURVED = 256
"""Seeds that the curvature is a mean over."""


def measured(run: TargetTrajectories) -> dict[str, Tensor]:
    """By name one value per step, float64 (steps,): what the run alone says."""
    commitment = run.commitment
    return {
        "commitment": commitment.where(commitment.isfinite(), torch.nan),  # one seed has no variance
        "spread": run.spread,
        "distance": run.distance,
        "curvature": curvature(run.seeds(range(min(len(run), MOST_CURVED)))),
    }


def errors(run: TargetTrajectories, model: Denoiser) -> dict[str, Tensor]:
    """How far the state after each step is from the exact flow: of the step alone, and of the whole way to it."""
    asked = on_schedule(model, schedule(run.schedule))
    asked = asked if run.guidance == 1 else Guided(asked, run.guidance)
    found = step_errors(run.seeds(range(min(len(run), MOST_FOLLOWED))), asked, rtol=1e-5, atol=1e-5)
    return {"error": found["step"], "drift": found["whole"]}


def deterministic(run: TargetTrajectories) -> bool:
    """The sampler draws nothing on its way, so that its states lie on one path."""
    if drawn := re.search(r"(?:churn|gamma)=([\d.]+)", run.sampler):
        return float(drawn[1]) == 0
    return run.sampler not in ("ancestral", "consistency") and not run.sampler.startswith("Renoise")


def measurable(
    runs: Mapping[str, TargetTrajectories], models: Mapping[str, Denoiser], known: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Runs whose errors can be computed and are not known yet."""
    return [
        name
        for name, run in runs.items()
        if name in models and "error" not in known[name] and deterministic(run) and run.settings.get("stride", 1) == 1
    ]


def packed(known: Mapping[str, Mapping[str, Tensor]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Curves by run and name as they travel, and their arrays."""
    arrays = Arrays()
    curves = {
        run: {name: arrays.add(torch.as_tensor(values), "float32") for name, values in found.items()}
        for run, found in known.items()
    }
    return curves, arrays.packed
