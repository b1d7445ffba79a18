"""What a TargetTrajectoryExplorer shows now: the seeds at the step of the timeline, and the curves of all steps."""

import math
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from widgets.targets.content import with_samples
from workbench.diffusion.trajectories.levels import index_at
from workbench.diffusion.trajectories.plane import SeedPlane
from workbench.records import TargetTrajectories

if TYPE_CHECKING:
    from widgets.targets import TargetTrajectoryExplorer

SAMPLE = "sample"
"""The step after the last one: what came out."""


def place(explorer: "TargetTrajectoryExplorer") -> int:
    """Index of the timeline: 0 is the first step of the run that is counted, its number of steps the sample."""
    step = explorer.selection["step"]
    return explorer.run.steps if step == SAMPLE else step - 1


def index_of(explorer: "TargetTrajectoryExplorer", name: str) -> int:
    """Where a run is while the timeline stands where it stands."""
    return index_at(explorer.run, place(explorer), explorer.runs[name])


def now(run: TargetTrajectories, index: int) -> tuple[Tensor, Tensor]:
    """States and targets of all seeds at an index, (n, ...) each; at the last one both are the samples."""
    if index >= run.steps:
        return run.samples, run.samples
    return run.states[index], run.targets[index]


def seeds(explorer: "TargetTrajectoryExplorer") -> pd.DataFrame:
    """One row per run and seed: where it is, what is believed of it, and how far that is from what comes out.

    `run`, `step` (of the run itself), `time`, `seed`, `class` where there are classes, `selected`, the places of x_t
    and x̂₀ in the plane, and `distance` of x̂₀ to the sample.
    """
    plane = SeedPlane.of(list(explorer.runs.values()))
    chosen = set(explorer.selection["seeds"])
    classes = explorer.content["classes"]
    frames = []
    for name, run in explorer.runs.items():
        index = index_of(explorer, name)
        state, target = now(run, index)
        at, believed = (plane.project(values[None])[0] for values in (state, target))
        rows = range(len(run))
        columns: dict[str, Any] = {
            "run": name,
            "step": SAMPLE if index >= run.steps else index + 1,
            "time": 0.0 if index >= run.steps else float(run.times[index]),
            "seed": rows,
        }
        if run.condition is not None and classes:
            columns["class"] = [classes[c] if c >= 0 else "" for c in run.condition.tolist()]
        columns |= {
            "selected": [seed in chosen for seed in rows],
            "x": at[:, 0].tolist(),
            "y": at[:, 1].tolist(),
            "target_x": believed[:, 0].tolist(),
            "target_y": believed[:, 1].tolist(),
            "distance": (target - run.samples).flatten(1).double().norm(dim=1).tolist(),
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def steps(explorer: "TargetTrajectoryExplorer") -> pd.DataFrame:
    """One row per run and step: `run`, `step`, `time`, and what was measured there."""
    frames = [
        pd.DataFrame(
            {"run": name, "step": range(1, run.steps + 1), "time": run.times.tolist()}
            | {measure: torch.as_tensor(values).tolist() for measure, values in explorer.known[name].items()}
        )
        for name, run in explorer.runs.items()
    ]
    return pd.concat(frames, ignore_index=True)


def summary(explorer: "TargetTrajectoryExplorer") -> str:
    """One line of plain text: what is seen now."""
    parts = []
    for name, run in explorer.runs.items():
        index = index_of(explorer, name)
        if index >= run.steps:
            parts.append(f"{name}: sample")
        else:
            committed = float(explorer.known[name]["commitment"][index])
            told = "" if math.isnan(committed) else f", {committed:.0%} committed"
            parts.append(f"{name}: step {index + 1} of {run.steps}, t = {float(run.times[index]):.3g}{told}")
    first = next(iter(explorer.runs.values()))
    chosen = len(explorer.selection["seeds"])
    seeds = f"{len(first)} seed{'s' * (len(first) != 1)}"
    return f"Diffusion targets of {seeds}; {'; '.join(parts)}" + (f"; {chosen} selected" if chosen else "")


def trajectory(run: TargetTrajectories, seed: int) -> tuple[Tensor, Tensor]:
    """States and targets of one seed with its sample last, (steps + 1, ...) each."""
    one = slice(seed, seed + 1)
    return tuple(with_samples(values[:, one], run.samples[one])[:, 0] for values in (run.states, run.targets))  # type: ignore[return-value]


def shown_seeds(explorer: "TargetTrajectoryExplorer") -> list[int]:
    """Seeds of the strip: the first few, and those selected beyond them; ``scene.js`` has the other copy (`listed`)."""
    first = min(explorer.rows, explorer.content["count"], max(1, explorer.content["pictured"]))
    return list(dict.fromkeys([*range(first), *explorer.selection["seeds"]]))
