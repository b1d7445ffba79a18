"""Look at a network's layers while it runs: `observe` returns the logits together with the features of chosen layers."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from workbench.models.layers import layer_names
from workbench.models.outputs import Outputs


class LayerOutputError(ValueError):
    """A layer whose output cannot be used as features. The message names the layer and what would do."""


class Observer:
    """A network that also tells its features; made by `observe`."""

    def __init__(self, model: nn.Module, layers: str | Sequence[str] = ()) -> None:
        self.model = model
        self.layers = layer_names(model, layers)
        self._modules = {name: model.get_submodule(name) for name in self.layers}

    def __call__(self, inputs: Tensor, state: Mapping[str, Tensor] | None = None) -> Outputs:
        """Run the network on a batch.

        Parameters
        ----------
        inputs
            What the network takes, first axis n.
        state
            Parameters and buffers to use instead of the network's own (``torch.func.functional_call``).
        """
        seen: dict[str, Any] = {}
        handles = [module.register_forward_hook(_note(seen, name)) for name, module in self._modules.items()]
        try:
            result = (
                self.model(inputs) if state is None else torch.func.functional_call(self.model, state, (inputs,))  # type: ignore[arg-type]
            )
        finally:
            for handle in handles:
                handle.remove()
        for name in self.layers:
            if name not in seen:
                raise LayerOutputError(f"layer {name!r} did not run in the forward pass")
            if not isinstance(seen[name], Tensor):
                raise LayerOutputError(f"layer {name!r} returns a {type(seen[name]).__name__}, not a tensor")
        return Outputs(
            result if isinstance(result, Tensor) else result.logits, {name: seen[name] for name in self.layers}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to undo: hooks live only during a call."""


def observe(model: nn.Module, layers: str | Sequence[str] = ()) -> Observer:
    """A callable that runs `model` and returns `Outputs` with the features of `layers` (names or globs)."""
    return Observer(model, layers)


def _note(seen: dict[str, Any], name: str) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, arguments: Any, output: Any) -> None:  # noqa: ARG001
        seen[name] = output

    return hook
