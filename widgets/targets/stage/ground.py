"""What lies under the seeds in the plane, as it travels: densities and fields at some of the steps."""

from collections.abc import Mapping
from typing import Any

from widgets.core.arrays import Arrays
from workbench.diffusion import Denoiser
from workbench.diffusion.trajectories.ground import densities, field
from workbench.diffusion.trajectories.plane import SeedPlane
from workbench.records import TargetTrajectories

MOST_STEPS = 120
"""Steps that a density or field is sent for; of more only some."""


def ground_of(
    plane: SeedPlane,
    runs: Mapping[str, TargetTrajectories],
    models: Mapping[str, Denoiser],
    teacher: Denoiser | None,
    arrays: Arrays,
) -> dict[str, Any]:
    """Densities by the steps of the longest run, and for each model x̂₀ on a grid by the steps of its own run."""
    span = plane.span(runs)
    clock = max(runs, key=lambda name: runs[name].steps)
    found: dict[str, Any] = {"density": None, "fields": {}}
    if teacher is not None:
        kept = [*some_steps(runs[clock].steps), runs[clock].steps]
        wide = densities(plane, runs[clock], teacher, kept, span)
        close = densities(plane, runs[clock], teacher, kept[-1:], plane.close(runs))
        if wide is not None and close is not None:
            values = {"values": arrays.add(wide, "uint8"), "close": arrays.add(close, "uint8")}
            found["density"] = {"run": clock, "index": kept, **values}
    if plane.exact:
        for name, model in models.items():
            kept = some_steps(runs[name].steps)
            found["fields"][name] = {
                "index": kept,
                "targets": arrays.add(field(runs[name], model, kept, span), "float32"),
            }
    return found


def some_steps(count: int) -> list[int]:
    """At most `MOST_STEPS` indices of `count`, evenly spaced, with the first and the last."""
    if count <= MOST_STEPS:
        return list(range(count))
    return sorted({round(k * (count - 1) / (MOST_STEPS - 1)) for k in range(MOST_STEPS)})
