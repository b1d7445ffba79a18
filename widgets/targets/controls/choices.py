"""How a run is to be made, as the sliders ask for it: each setting checked."""

from collections.abc import Callable, Mapping
from typing import Any

import traitlets

from widgets.core.checks import require_known
from workbench.diffusion.sampling.sampling import RULES
from workbench.diffusion.trajectories.again import Choice

MOST_STEPS = 200
MOST_GUIDANCE = 20.0
MOST_SCALE = 10.0


def changed(choice: Choice, changes: Mapping[str, Any]) -> Choice:
    """`choice` with some things changed, each checked."""
    require_known("sampling key", list(changes), list(LIMITS), several=True)
    return Choice(**{name: LIMITS[name](changes.get(name, getattr(choice, name)), choice) for name in LIMITS})


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
