"""What is measured of a run at each step: commitment, spread, distance, curvature, and errors beside the exact flow."""

import re

import torch
from torch import Tensor

from workbench.diffusion.sampling.denoiser import Denoiser, Guided
from workbench.diffusion.sampling.reference import curvature, step_errors
from workbench.diffusion.sampling.schedules import schedule
from workbench.diffusion.sampling.wrapping import on_schedule
from workbench.records import TargetTrajectories

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
