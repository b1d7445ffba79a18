"""Making a run again from the same noise: by another rule, in more or fewer steps, guided more or less."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.diffusion.sampling.denoiser import Denoiser, Guided
from workbench.diffusion.sampling.sampling import DDIM, RULES, DPMSolver, Euler, Heun, Renoise, Rule
from workbench.diffusion.sampling.schedules import schedule
from workbench.diffusion.sampling.wrapping import device_of, on_schedule, plain
from workbench.diffusion.trajectories.targets import target_trajectories
from workbench.records import TargetTrajectories

_KINDS: dict[str, Callable[..., Any]] = {kind.__name__: kind for kind in (DDIM, DPMSolver, Euler, Heun, Renoise)}


@dataclass(frozen=True)
class Choice:
    """How a run is made; `sampler` as `TargetTrajectories` writes it."""

    sampler: str
    steps: int
    guidance: float

    @classmethod
    def given(cls, run: TargetTrajectories, model: Denoiser | None) -> "Choice":
        """How a run was made; a model that is wrapped in its guidance says how strongly it was guided."""
        guidance = float(model.scale) if isinstance(model, Guided) and run.guidance == 1 else run.guidance
        return cls(run.sampler, len(times_of(run)) - 1, guidance)


def again(
    run: TargetTrajectories,
    model: Denoiser,
    choice: Choice,
    *,
    noise: Tensor | None = None,
    condition: Tensor | None = None,
    watch: Callable[[float], None] | None = None,
) -> TargetTrajectories:
    """The run as `choice` says: the same noise and seed of redraws, or other `noise` and `condition`.

    Raises
    ------
    ValueError
        The sampler of the run is none that can be made from its name.
    """
    rule = rule_of(choice.sampler)
    if rule is None:
        raise ValueError(
            f"the run {run.name!r} was made by {choice.sampler}, which is known by name only: choose another"
        )
    inner = on_schedule(plain(model), schedule(run.schedule))
    whole = noise is None
    start = run.noise if noise is None else noise
    asked = run.condition if whole else condition
    where = device_of(inner)
    made_again = target_trajectories(
        inner,
        start.to(where),
        sampler=rule,
        steps=times_of(run, choice.steps),
        condition=None if asked is None else asked.to(where),
        guidance=choice.guidance if getattr(inner, "classes", 0) else 1.0,
        seed=int(run.settings.get("seed", 0)),
        stride=int(run.settings.get("stride", 1)),
        dtype=run.states.dtype if run.states.dtype != run.noise.dtype else None,
        name=run.name,
        role=run.role,
        classes=run.classes,
        mean=run.mean,
        std=run.std,
        watch=watch,
    )
    return made_again.replace(sampler=choice.sampler)


def times_of(run: TargetTrajectories, steps: int | None = None) -> Tensor:
    """The grid a run was made on, float64, falling, with its end; of another number of steps, one like it.

    Like it: by the same spacing where that is known, else between its own times, so that a student that knows four
    times is asked at those and, in eight steps, also halfway between them.
    """
    known = run.settings.get("times") or [*run.times.tolist(), 0.0]
    if steps is None or steps == len(known) - 1:
        return torch.tensor(known, dtype=torch.float64)
    if spacing := run.settings.get("spacing"):
        return schedule(run.schedule).grid(steps, spacing)
    places = np.linspace(0, len(known) - 1, steps + 1)
    return torch.from_numpy(np.interp(places, np.arange(len(known)), known))


def rule_of(text: str) -> Rule | None:
    """A rule from how a record writes it: a name, or the call that makes it; None where it is neither."""
    if text in RULES:
        return RULES[text]
    found = re.fullmatch(r"(\w+)\((.*)\)", text)
    if found is None or found[1] not in _KINDS:
        return None
    pairs = [part.split("=") for part in found[2].split(", ") if part]
    try:
        values = {name: float(value) for name, value in pairs if name != "calls"}
        return _KINDS[found[1]](**values)
    except (TypeError, ValueError):
        return None


def samplers(given: str) -> list[str]:
    """What can be chosen for a run that was made by `given`."""
    return list(dict.fromkeys([*([given] if rule_of(given) is not None else []), *RULES]))
