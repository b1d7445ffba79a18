"""Temperatures fitted to a distilled set, as they travel to the browser: each way of fitting, and what it leads to."""

from typing import Any

import torch

from widgets.core.arrays import Arrays
from widgets.distilled.teaching.content import bins_content, estimate
from workbench.records import DistilledSet, TemperatureScaling


def scaling_content(found: TemperatureScaling, arrays: Arrays) -> dict[str, Any]:
    """Mirrors `TemperatureScaling` way by way; means over the networks with their 95 % intervals."""
    return {
        "networks": found.ece.shape[1],
        "accuracy": estimate(found.accuracy),
        "at": arrays.add(found.temperatures, "float32"),
        "ways": [
            {
                "name": name,
                "ratio": None if found.ratios[k] != found.ratios[k] else found.ratios[k],
                "temperature": estimate(found.temperature[k]),
                "bounds": {kind: found.bound[k].count(kind) for kind in ("lower", "upper", "flat")},
                "ece": estimate(found.ece[k]),
                "nll": estimate(found.nll[k]),
                "curve": None if bool(found.nll_curve[k].isnan().all()) else arrays.add(found.nll_curve[k], "float32"),
                "bins": bins_content(found.reliability[k], arrays),
            }
            for k, name in enumerate(found.names)
        ],
    }


def check_scaling(found: TemperatureScaling, of: DistilledSet, name: str) -> None:
    """Refuse temperatures that were fitted to another set."""
    seen = found.max_logit.get("distilled", torch.empty(1, 0)).shape[1]
    if seen % len(of):
        raise ValueError(
            f"scaling is of {seen} distilled images, but {name} has {len(of)}: pass the scaling of this set"
        )
