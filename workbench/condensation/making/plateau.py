"""Halve the learning rate when the loss has stopped falling, as ``torch.optim.lr_scheduler.ReduceLROnPlateau`` does."""

import math
from collections.abc import MutableMapping
from typing import Any


class Plateau:
    """The course of a loss, kept in a method's memory.

    Parameters
    ----------
    memory
        Where; `workbench.condensation.making.run.Run.memory`.
    patience
        Iterations without a new minimum, by at least 0.01 %, that are put up with; 0: for ever.

    Examples
    --------
    >>> course = Plateau({}, patience=2)
    >>> for loss in (1.0, 1.0, 1.0, 1.0):
    ...     course.note(loss)
    >>> course.factor
    0.5
    """

    def __init__(self, memory: MutableMapping[str, Any], patience: int) -> None:
        self.patience = patience
        self._state: dict[str, Any] = memory.setdefault("plateau", {"best": math.inf, "bad": 0, "factor": 1.0})

    @property
    def factor(self) -> float:
        """What the learning rate is multiplied with."""
        return float(self._state["factor"])

    def note(self, loss: float) -> None:
        """The loss of one more iteration."""
        state = self._state
        if loss < state["best"] * (1 - 1e-4):
            state["best"], state["bad"] = loss, 0
            return
        state["bad"] += 1
        if self.patience and state["bad"] > self.patience:
            state["factor"], state["bad"] = state["factor"] / 2, 0
