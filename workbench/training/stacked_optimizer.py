"""One optimizer step over N stacked networks, as N optimizers would have taken it one by one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench.training import optimizers
from workbench.training.learner import copied


class StackedOptimizer:
    """Optimizers of N networks over parameters with a leading axis N.

    The named optimizers work element by element, so while all rates are equal one of them steps the whole stack at
    once. With a rate per member, or with an optimizer of the user's own (which may look at a whole parameter), each
    member has its own optimizer over its share of the memory.
    """

    def __init__(
        self,
        optimizer: str | optimizers.OptimizerFactory,
        parameters: Sequence[nn.Parameter],
        *,
        lr: Sequence[float],
        weight_decay: float,
        momentum: float,
    ) -> None:
        self.stacked = list(parameters)
        self.members = len(lr)
        self.whole = isinstance(optimizer, str) and len(set(lr)) == 1
        if self.whole or not self.stacked:
            self.shares = []
            targets = [self.stacked]
        else:
            self.shares = [[nn.Parameter(p.detach()[i]) for p in self.stacked] for i in range(self.members)]
            targets = self.shares
        self.each = [
            optimizers.make(optimizer, target, lr=rate, weight_decay=weight_decay, momentum=momentum)
            for target, rate in zip(targets, lr, strict=False)
        ]
        self.schedules = [optimizers.Rates(one) for one in self.each]

    def rates(self, factor: float) -> Tensor:
        """Learning rates at `factor` times the base rates, shape (N,)."""
        base = [schedule.base[0] for schedule in self.schedules]
        return torch.tensor(base * self.members if self.whole else base, dtype=torch.float64) * factor

    def zero_grad(self) -> None:
        for parameter in self.stacked:
            parameter.grad = None

    def step(self, factor: float) -> None:
        """Step with the gradients on the stacked parameters, at `factor` times the base rates."""
        self.set_rates(factor)
        self.advance()

    def set_rates(self, factor: float) -> None:
        """Let the next steps be at `factor` times the base rates."""
        for schedule in self.schedules:
            schedule.set(factor)

    def hold_rates(self) -> None:
        """Keep the rates in tensors on the parameters' device, where a recorded step reads them as they are then."""
        for schedule in self.schedules:
            schedule.hold(self.stacked[0].device)

    def advance(self) -> None:
        """Step with the gradients on the stacked parameters."""
        if self.shares:
            for position, parameter in enumerate(self.stacked):
                gradients = [None] * self.members if parameter.grad is None else parameter.grad.unbind()
                for share, gradient in zip(self.shares, gradients, strict=True):
                    share[position].grad = gradient
        for one in self.each:
            one.step()

    def state_of(self, member: int) -> dict[str, Any]:
        """A copy of the ``state_dict`` that `member` would have by itself."""
        if not self.whole:
            return copied(optimizers.released(self.each[member].state_dict()))
        whole = optimizers.released(self.each[0].state_dict())
        return {
            "state": {
                position: {
                    name: copied(value[member] if self._is_stacked(position, value) else value)
                    for name, value in entries.items()
                }
                for position, entries in whole["state"].items()
            },
            "param_groups": copied(whole["param_groups"]),
        }

    def load(self, states: Sequence[dict[str, Any]]) -> None:
        """Set every member's state; the inverse of `state_of` for each."""
        if not self.whole:
            for one, state in zip(self.each, states, strict=True):
                one.load_state_dict(copied(state))
        else:
            first = states[0]
            joined = {
                position: {
                    name: torch.stack([state["state"][position][name] for state in states])
                    if isinstance(value, Tensor) and value.shape == self.stacked[position].shape[1:] and name != "step"
                    else copied(value)
                    for name, value in entries.items()
                }
                for position, entries in first["state"].items()
            }
            self.each[0].load_state_dict({"state": joined, "param_groups": copied(first["param_groups"])})
        self.schedules = [optimizers.Rates(one) for one in self.each]

    def _is_stacked(self, position: int, value: Any) -> bool:
        return isinstance(value, Tensor) and value.shape == self.stacked[position].shape
