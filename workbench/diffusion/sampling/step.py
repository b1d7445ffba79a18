"""One step of a sampler: what a rule sees of it, and what a rule is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from workbench.diffusion.sampling.predictions import Prediction, jump
from workbench.diffusion.sampling.schedules import Schedule


class SamplingError(ValueError):
    """A sampling run that cannot be made or went wrong; the message says where."""


@dataclass
class Step:
    """What a rule sees of one step from time t to time s.

    Attributes
    ----------
    number
        From 0.
    t, s
        The two times, scalars, float64.
    x
        The state at t, shape (n, ...).
    now
        The model's prediction at (x, t).
    past
        Prediction and time of the step before; None at the first.
    ask
        The model, for rules that ask again: a function of (x, t).
    schedule
        The model's.
    draw
        Fresh standard normal noise, shape of x; a rule draws once per step at most.
    memory
        What the rule wants to find again at the next step of the same run; empty at the first.
    """

    number: int
    t: Tensor
    s: Tensor
    x: Tensor
    now: Prediction
    past: tuple[Prediction, Tensor] | None
    ask: Callable[[Tensor, Tensor], Prediction]
    schedule: Schedule
    draw: Callable[[], Tensor]
    memory: dict[str, Any] = field(default_factory=dict)

    def jump(self, prediction: Prediction | None = None, to: Tensor | None = None) -> Tensor:
        """α_s x̂₀ + σ_s ε̂: exact while the prediction stays what it is; DDIM."""
        return jump(prediction or self.now, self.s if to is None else to, self.schedule)


class Rule(Protocol):
    """How one step is made."""

    @property
    def calls(self) -> int:
        """Model evaluations per step."""

    def __call__(self, step: Step) -> Tensor:
        """The state at time s, shape of the state."""
