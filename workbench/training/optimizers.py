"""Optimizers by name, with settings that hold for one network and for a stack of them alike."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from workbench.training import doors

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

NAMES = ("adam", "adamw", "sgd")


def make(
    optimizer: str | OptimizerFactory,
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    momentum: float,
) -> torch.optim.Optimizer:
    """The optimizer over `parameters`; a callable is called with them and decides everything itself.

    `momentum` is SGD's (without Nesterov). `weight_decay` is added to the gradient by SGD and Adam and decoupled in
    AdamW, as in `torch.optim`.

    Raises
    ------
    ValueError
        No optimizer has this name, or a setting is out of its range.
    """
    parameters = list(parameters)
    if not parameters:
        raise ValueError("model has no parameter that requires a gradient: there is nothing to train")
    if callable(optimizer):
        return optimizer(parameters)
    if optimizer not in NAMES:
        raise ValueError(
            f"optimizer is {optimizer!r}; it can be {', '.join(map(repr, NAMES))}, or a function of the parameters"
        )
    lr = doors.number("lr", lr, above=0)
    weight_decay = doors.number("weight_decay", weight_decay, least=0)
    momentum = doors.number("momentum", momentum, least=0)
    # The fused step is one pass over memory; it exists for real floating point types on the CPU and on CUDA.
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
    match optimizer:
        case "adam":
            return torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay, fused=fused)
        case "adamw":
            return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=fused)
    return torch.optim.SGD(parameters, lr=lr, weight_decay=weight_decay, momentum=momentum, fused=fused)


class Rates:
    """The learning rate of every parameter group at every step: its own base rate times the schedule's factor."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.groups = optimizer.param_groups
        for group in self.groups:
            group.setdefault("initial_lr", float(group["lr"]))
        self.base = [float(group["initial_lr"]) for group in self.groups]

    def set(self, factor: float) -> None:
        for group, base in zip(self.groups, self.base, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(base * factor)
            else:
                group["lr"] = base * factor

    def hold(self, device: torch.device) -> None:
        """Keep the rates in tensors, which a CUDA graph that takes the optimizer's step reads at every replay."""
        for group in self.groups:
            group["lr"] = torch.full((), float(group["lr"]), device=device)
            if "capturable" in group:
                group["capturable"] = device.type == "cuda"


def released(state: dict[str, Any]) -> dict[str, Any]:
    """A ``state_dict`` of an optimizer whose rates are held in tensors, as if they were not."""
    groups = [
        group | {"lr": float(group["lr"])} | ({"capturable": False} if "capturable" in group else {})
        for group in state["param_groups"]
    ]
    return state | {"param_groups": groups}
