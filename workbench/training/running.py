"""What a method sees of the run it is part of, whatever the family: random numbers, its memory, what it logs."""

import zlib
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from workbench.training import randomness


class _Placed:
    """Where a run takes place; each family's run says at which position it takes these arguments."""

    seed: int
    device: torch.device


@dataclass(kw_only=True, eq=False)
class Run(_Placed):
    """One run of a method. A family adds what its methods learn from, and ways to draw it.

    An *iteration* is one turn of the method's loop; how many steps its optimizers make in it is the method's affair.

    Attributes
    ----------
    seed, device
        Of all random numbers; where tensors are.
    progress
        Show progress bars.
    iteration
        Of the one being made, from 0.
    memory
        What a method carries from one iteration to the next, such as the weights of a network it trains: tensors and
        plain values in dicts and lists. Saved with a checkpoint; all else is drawn anew from seed, purpose, iteration.
    made
        What a method makes once and could make again, such as expert trajectories: not saved.
    logged
        Further values of this iteration, by the name of their curve; see `log`.
    """

    progress: bool = False
    iteration: int = 0
    memory: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    logged: dict[str, float] = field(default_factory=dict)

    def begin(self, iteration: int) -> None:
        """Come to an iteration, in which nothing is logged yet."""
        self.iteration, self.logged = iteration, {}

    def generator(self, purpose: str, at: int | None = None) -> torch.Generator:
        """Random numbers for one purpose at one position (by default this iteration); on the CPU, so that every device
        draws the same.
        """
        position = self.iteration if at is None else at
        return randomness.generator(self.seed, zlib.crc32(purpose.encode()), position)

    def log(self, **values: float | Tensor) -> None:
        """Add values of this iteration to curves of their own."""
        self.logged |= {name: float(value) for name, value in values.items()}
