"""Which measures of a run are known, which can be asked for, and how they travel."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from widgets.core.arrays import Arrays
from workbench.diffusion import Denoiser
from workbench.diffusion.trajectories.measures import deterministic
from workbench.records import TargetTrajectories

MEASURES = ("commitment", "spread", "distance", "curvature", "error", "drift")
"""In the order in which they are drawn; ``measures.js`` says what each is."""


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
