"""Sampling a run again from the same noise: by another rule, in more or fewer steps, guided more, under an adapter."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor, nn

from widgets.core.checks import require_known
from workbench.diffusion import (
    DDIM,
    Denoiser,
    DPMSolver,
    Euler,
    Guided,
    Heun,
    NetworkDenoiser,
    Renoise,
    Rescheduled,
    target_trajectories,
)
from workbench.diffusion.sampling.sampling import RULES, Rule
from workbench.diffusion.sampling.schedules import schedule
from workbench.models import lora
from workbench.records import Adapter, TargetTrajectories

MOST_STEPS = 200
MOST_GUIDANCE = 20.0
MOST_SCALE = 10.0

_KINDS: dict[str, Callable[..., Any]] = {kind.__name__: kind for kind in (DDIM, DPMSolver, Euler, Heun, Renoise)}


@dataclass(frozen=True)
class Choice:
    """How a run is made; `sampler` as `TargetTrajectories` writes it."""

    sampler: str
    steps: int
    guidance: float

    @classmethod
    def given(cls, run: TargetTrajectories, model: Denoiser | None) -> "Choice":
        """How a run was made that was given."""
        guidance = float(model.scale) if isinstance(model, Guided) and run.guidance == 1 else run.guidance
        return cls(run.sampler, len(times_of(run)) - 1, guidance)

    def but(self, changes: Mapping[str, Any]) -> "Choice":
        """With some things changed, each checked."""
        require_known("sampling key", list(changes), list(LIMITS), several=True)
        return Choice(**{name: LIMITS[name](changes.get(name, getattr(self, name)), self) for name in LIMITS})


def _sampler(value: Any, given: Choice) -> str:
    require_known("sampler", [value], list(dict.fromkeys([given.sampler, *RULES])))
    return value


def _steps(value: Any, given: Choice) -> int:
    most = max(MOST_STEPS, given.steps)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise traitlets.TraitError(f"steps is {value!r}; it can be 1 to {most}")
    return value


def _guidance(value: Any, given: Choice) -> float:
    most = max(MOST_GUIDANCE, given.guidance)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise traitlets.TraitError(f"guidance is {value!r}; it can be 0 to {most:g}, where 1 is none")
    return float(value)


LIMITS: dict[str, Callable[[Any, Choice], Any]] = {"sampler": _sampler, "steps": _steps, "guidance": _guidance}


def checked_scale(value: Any) -> float:
    """The scale of an adapter."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MOST_SCALE:
        raise traitlets.TraitError(f"adapter_scale is {value!r}; it can be −{MOST_SCALE:g} to {MOST_SCALE:g}")
    return float(value)


def sampled(
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
    made = rule_of(choice.sampler)
    if made is None:
        raise ValueError(
            f"the run {run.name!r} was made by {choice.sampler}, which is known by name only: choose another"
        )
    bare = plain(model)
    if bare.schedule.spec != run.schedule:
        bare = Rescheduled(bare, schedule(run.schedule))
    whole = noise is None
    start = run.noise if noise is None else noise
    asked = run.condition if whole else condition
    where = device_of(bare)
    again = target_trajectories(
        bare,
        start.to(where),
        sampler=made,
        steps=times_of(run, choice.steps),
        condition=None if asked is None else asked.to(where),
        guidance=choice.guidance if getattr(bare, "classes", 0) else 1.0,
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
    return again.replace(sampler=choice.sampler)


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


def plain(model: Denoiser) -> Denoiser:
    """A model without its guidance."""
    return model.model if isinstance(model, Guided) else model


def device_of(model: Denoiser) -> torch.device:
    """Where a model computes."""
    while isinstance(model, Guided | Rescheduled):
        model = model.model
    at = next(model.parameters(), None) if isinstance(model, nn.Module) else getattr(model, "means", None)
    return torch.device("cpu") if at is None else at.device


def samplers(given: str) -> list[str]:
    """What can be chosen for a run that was made by `given`."""
    return list(dict.fromkeys([*([given] if rule_of(given) is not None else []), *RULES]))


# Adapters -------------------------------------------------------------------------------------------------------------


def takes(model: Denoiser, adapter: Adapter) -> bool:
    """The model has the layers that the adapter changes."""
    network = _network(model)
    if network is None:
        return False
    named = dict(network.network.named_parameters())
    return all(
        name in named and tuple(named[name].flatten(1).shape) == (len(adapter.up[name]), down.shape[1])
        for name, down in adapter.down.items()
    )


def adapted(model: Denoiser, adapter: Adapter, scale: float) -> Denoiser:
    """A copy of a model that takes an adapter, with it in its weights; at scale 0 the model itself."""
    if scale == 0:
        return model
    if isinstance(model, Guided):
        return Guided(adapted(model.model, adapter, scale), model.scale)
    if isinstance(model, Rescheduled):
        return Rescheduled(adapted(model.model, adapter, scale), model.schedule)
    assert isinstance(model, NetworkDenoiser)
    return lora.merged(model, adapter, scale)


def _network(model: Denoiser) -> NetworkDenoiser | None:
    while isinstance(model, Guided | Rescheduled):
        model = model.model
    return model if isinstance(model, NetworkDenoiser) else None
