"""N modules of one structure as one: parameters and buffers stacked along a new first axis, run under ``vmap``."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench.training.lowering import lower


class Stack:
    """Parameters and buffers of N equal modules, stacked; and a template that runs with any member's share of them.

    Attributes
    ----------
    trained
        Name → leaf tensor (N, ...) of the parameters that require a gradient.
    fixed
        Name → tensor (N, ...) of the other parameters and of all buffers; buffers change in place (running statistics).
    template
        A copy of the first module; `torch.func.functional_call` gives it one member's tensors.
    """

    def __init__(self, modules: Sequence[nn.Module], what: str = "models") -> None:
        if not modules:
            raise ValueError(f"{what} is empty: an ensemble needs at least one")
        _same_structure(modules, what)
        self.modules = tuple(modules)
        self.template = copy.deepcopy(modules[0])
        named = [dict(module.named_parameters()) for module in modules]
        buffers = [dict(module.named_buffers()) for module in modules]
        self.trained: dict[str, nn.Parameter] = {}
        self.fixed: dict[str, Tensor] = {}
        for name, parameter in named[0].items():
            stacked = torch.stack([each[name].detach() for each in named])
            if parameter.requires_grad:
                self.trained[name] = nn.Parameter(stacked)
            else:
                self.fixed[name] = stacked
        for name in buffers[0]:
            self.fixed[name] = torch.stack([each[name].detach() for each in buffers])
        self.slots = self._slots()
        self.direct = False

    def set_direct(self, *, direct: bool) -> None:
        """Let the template run on stacked tensors as they are, or under ``vmap``; see `stacked_step.settle`."""
        self.direct = direct
        lower(self.template, self.tensors[0].device, direct=direct)

    @property
    def state(self) -> dict[str, Tensor]:
        """Everything by name, each with the leading axis N."""
        return {**self.trained, **self.fixed}

    @property
    def tensors(self) -> list[Tensor]:
        """The values of `state`, in its order."""
        return [*self.trained.values(), *self.fixed.values()]

    def _slots(self) -> list[tuple[dict[str, Any], str, int]]:
        """Where the template keeps each tensor: its module's dict, the key there, and the position in `tensors`."""
        position = {name: i for i, name in enumerate(self.state)}
        names = {id(v): k for k, v in (*self.template.named_parameters(), *self.template.named_buffers())}
        return [
            (store, key, position[names[id(value)]])
            for module in self.template.modules()
            for store in (module._parameters, module._buffers)  # noqa: SLF001 - as torch.func.functional_call does
            for key, value in store.items()
            if value is not None
        ]

    def to(self, device: torch.device) -> None:
        """Move everything to `device`."""
        self.template.to(device)
        lower(self.template, device, direct=self.direct)
        self.trained = {
            name: value if value.device == device else nn.Parameter(value.detach().to(device))
            for name, value in self.trained.items()
        }
        self.fixed = {name: value.to(device) for name, value in self.fixed.items()}
        self.slots = self._slots()

    def state_of(self, member: int, device: str | None = None) -> dict[str, Tensor]:
        """A copy of one member's ``state_dict``, in its order."""
        state = self.state
        return {
            name: state[source][member].detach().to(device or state[source].device, copy=True)
            for name, source in self._entries().items()
        }

    @torch.no_grad()
    def load(self, member: int, state: dict[str, Tensor]) -> None:
        """Set one member's tensors from a ``state_dict``."""
        own = self.state
        for name, source in self._entries().items():
            own[source][member].copy_(state[name])

    def write_back(self) -> None:
        """Copy the tensors into the modules that the stack was made of."""
        for member, module in enumerate(self.modules):
            module.load_state_dict(self.state_of(member))

    def _entries(self) -> dict[str, str]:
        """Name in the ``state_dict`` → name here; they differ where one parameter sits at several places."""
        kept = {id(value): name for name, value in self.template.named_parameters()}
        kept |= {id(value): name for name, value in self.template.named_buffers()}
        return {name: kept[id(value)] for name, value in self.template.state_dict(keep_vars=True).items()}


def _same_structure(modules: Sequence[nn.Module], what: str) -> None:
    first = _signature(modules[0])
    for position, module in enumerate(modules[1:], start=1):
        if _signature(module) != first:
            raise ValueError(
                f"{what}[{position}] differs from {what}[0] in structure: an ensemble stacks networks of one "
                "architecture and size; only their weights may differ"
            )


def _signature(module: nn.Module) -> Any:
    tensors = {
        name: (tuple(value.shape), value.dtype, value.requires_grad)
        for name, value in (*module.named_parameters(), *module.named_buffers())
    }
    return repr(module), getattr(module, "spec", None), tensors
