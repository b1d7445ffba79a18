"""Running the two sides of a comparison: a network, or a training record with its snapshots, layer by layer."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from workbench import models
from workbench.analysis.layers import default_layers
from workbench.models.layers import Layer, find_layers
from workbench.models.observing import part_of
from workbench.records import TrainingRecord

__all__ = ["Side", "moments", "sides"]

log = logging.getLogger("workbench.analysis")


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a comparison.

    Attributes
    ----------
    name
        What titles call it.
    module
        The network.
    layers
        Addresses of the layers to look at, as `workbench.models.layer_names` has them: ``"relu#2"``, ``"rnn:0"``.
    epochs
        The epochs of its snapshots; empty when there is one set of weights, the module's own.
    states
        One ``state_dict`` per epoch.
    source
        Identity of the module or record this side was made of: sides of the same source see the same.
    """

    name: str
    module: nn.Module
    layers: tuple[str, ...]
    epochs: tuple[int, ...] = ()
    states: tuple[dict[str, Tensor], ...] = ()
    source: int = 0

    @property
    def device(self) -> torch.device:
        """Where the network is; the CPU if it has no parameters."""
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype | None:
        """Floating point type the network computes in; None (the inputs' own) if it has no parameters."""
        return next((p.dtype for p in self.module.parameters() if p.is_floating_point()), None)

    def at(self, epochs: Sequence[int]) -> "Side":
        """This side with only the snapshots at `epochs`."""
        states = dict(zip(self.epochs, self.states, strict=True))
        return replace(self, epochs=tuple(epochs), states=tuple(states[epoch] for epoch in epochs))

    @torch.no_grad()
    def run(self, inputs: Tensor, reduce: Callable[[Tensor], Tensor], moment: int = 0) -> tuple[list[Tensor], Tensor]:
        """One forward pass; `reduce` is applied to each layer's output inside the pass, so that no output is kept.

        Parameters
        ----------
        inputs
            Shape (n, ...).
        reduce
            Layer output (n, ...) → what is kept of it.
        moment
            Which of the snapshots; ignored where there are none.

        Returns
        -------
        tuple
            What was kept, in the order of `layers` (of a layer that runs more than once, and is not asked for by run:
            its last output), and the network's own output.
        """
        inputs = inputs.to(self.device, self.dtype if inputs.is_floating_point() else None)
        kept: dict[str, Tensor] = {}
        addresses, ran = self._addresses(), Counter[str]()

        def hook(name: str, _module: nn.Module, _inputs: object, output: object) -> None:
            ran[name] += 1
            for layer in addresses[name]:
                if layer.call in (None, ran[name]):
                    kept[layer.key] = reduce(self._checked(layer, output, len(inputs)))

        with _evaluating(self.module):
            handles = [self.module.get_submodule(name).register_forward_hook(partial(hook, name)) for name in addresses]
            try:
                if self.states:
                    state = {name: value.to(self.device) for name, value in self.states[moment].items()}
                    output = torch.func.functional_call(self.module, state, (inputs,))
                else:
                    output = self.module(inputs)
            finally:
                for handle in handles:
                    handle.remove()
        silent = [name for name in self.layers if name not in kept]
        if silent:
            runs = next(ran[layer.name] for found in addresses.values() for layer in found if layer.key == silent[0])
            often = f"runs {runs} times in a forward pass" if runs else "is never called in a forward pass"
            raise models.LayerOutputError(f"layer {silent[0]!r} of {self.name} {often}: leave it out")
        return [kept[name] for name in self.layers], getattr(output, "logits", output)

    def usable(self, inputs: Tensor) -> "Side":
        """This side without the layers that have no features for some inputs, (n, ...), which the log names.

        Of a layer that returns several things (a recurrent one, a block of a language model) the first is taken, if it
        is a tensor of n rows: its address then ends in ``:0``.
        """
        seen: dict[str, str | None] = {}

        def hook(name: str, _module: nn.Module, _inputs: object, output: object) -> None:
            first = output[0] if isinstance(output, list | tuple) and output else output
            whole = isinstance(first, Tensor) and first.dim() > 0 and len(first) == len(inputs)
            seen[name] = (name if first is output else f"{name}:0") if whole else None

        with torch.no_grad(), _evaluating(self.module):
            handles = [
                self.module.get_submodule(name).register_forward_hook(partial(hook, name)) for name in self.layers
            ]
            try:
                self.module(inputs.to(self.device, self.dtype if inputs.is_floating_point() else None))
            finally:
                for handle in handles:
                    handle.remove()
        left_out = [name for name in self.layers if seen.get(name) is None]
        if len(left_out) == len(self.layers):
            raise models.LayerOutputError(
                f"none of {', '.join(self.layers[:4])} of {self.name} gives one tensor with a row per example: name "
                "layers that do"
            )
        if left_out:
            log.warning("%s: without %s, which gives no tensor with a row per example", self.name, ", ".join(left_out))
        return replace(self, layers=tuple(key for name in self.layers if (key := seen.get(name)) is not None))

    def _addresses(self) -> dict[str, list[Layer]]:
        """Module → the layers that are asked of it."""
        found: dict[str, list[Layer]] = {}
        for key in self.layers:
            (layer,) = find_layers(self.module, key) if key else (Layer("", ""),)
            found.setdefault(layer.name, []).append(layer)
        return found

    def _checked(self, layer: Layer, output: object, n: int) -> Tensor:
        if layer.item is not None:
            try:
                output = part_of(output, layer.item)
            except (LookupError, AttributeError, TypeError):
                raise models.LayerOutputError(
                    f"layer {layer.name!r} of {self.name} returns a {type(output).__name__}, which has no part "
                    f"{layer.item!r}"
                ) from None
        if not isinstance(output, Tensor):
            inner = [f"{layer.name}.{child}" for child, _ in self.module.get_submodule(layer.name).named_children()]
            hint = f"or a layer inside it ({', '.join(inner[:4])})" if inner else "or name another layer"
            raise models.LayerOutputError(
                f"layer {layer.key!r} of {self.name} returns a {type(output).__name__}, not one tensor: ask for a part "
                f"of it, as in '{layer.key}:0', {hint}"
            )
        if output.dim() == 0 or len(output) != n:
            raise models.LayerOutputError(
                f"layer {layer.key!r} of {self.name} gives shape {tuple(output.shape)} for {n} examples: "
                "its first axis must be the examples"
            )
        return output.detach()


def sides(
    a: "nn.Module | TrainingRecord",
    b: "nn.Module | TrainingRecord",
    layers_a: "str | Sequence[str] | None" = None,
    layers_b: "str | Sequence[str] | None" = None,
    epochs: Sequence[int] | None = None,
    *,
    inputs: Tensor | None = None,
) -> tuple[Side, Side]:
    """Both sides of a comparison, with layer patterns resolved and the snapshots to visit settled.

    `epochs` None: every epoch that there is a snapshot of (on both sides, where both are records with snapshots);
    empty: the final weights only. `inputs`: some of the examples, (n, ...); where nobody named layers, those of the
    usual ones that have no features for them are left out.

    Raises
    ------
    ValueError
        With `inputs`, layers are named and there are none; and as above.
    """
    if inputs is not None:
        for argument, layers in (("layers_a", layers_a), ("layers_b", layers_b)):
            if layers is not None and not len(layers):
                raise ValueError(f"{argument} is empty: name a layer, or leave it out for the usual ones")
    first, second = _side(a, layers_a, epochs, "a"), _side(b, layers_b, epochs, "b")
    if inputs is not None:
        first = first if layers_a is not None else first.usable(inputs)
        second = second if layers_b is not None else second.usable(inputs)
    if first.epochs and second.epochs:
        shared = [epoch for epoch in first.epochs if epoch in second.epochs]
        if not shared:
            raise ValueError(
                f"a has snapshots at epochs {list(first.epochs)} and b at {list(second.epochs)}, none in common: "
                "compare with the final weights (epochs=()) or take snapshots at the same epochs"
            )
        first, second = first.at(shared), second.at(shared)
    if epochs:
        missing = [epoch for epoch in epochs if epoch not in (first.epochs or second.epochs)]
        if missing:
            raise ValueError(
                f"epochs={list(epochs)}: there is no snapshot at {missing[0]}; "
                f"there are {list(first.epochs or second.epochs) or 'none'}"
            )
    return first, second


def moments(a: Side, b: Side) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    """The epochs of a comparison (empty when there is one moment), and which state of a and b each pairs."""
    epochs = a.epochs or b.epochs
    return epochs, [(e if a.epochs else 0, e if b.epochs else 0) for e in range(len(epochs) or 1)]


def _side(
    which: "nn.Module | TrainingRecord",
    patterns: "str | Sequence[str] | None",
    epochs: Sequence[int] | None,
    argument: str,
) -> Side:
    if isinstance(which, TrainingRecord):
        module = which.model
        name = which.name or (which.spec or {}).get("name") or type(module).__name__
        wanted = [e for e in which.snapshot_epochs if epochs is None or e in epochs]
        states = tuple(_state(which.snapshots, which.snapshot_epochs.index(e)) for e in wanted)
    elif isinstance(which, nn.Module):
        module, wanted, states = which, [], ()
        spec = getattr(which, "spec", None)
        name = spec.get("name", "") if isinstance(spec, Mapping) else ""
        name = name or type(which).__name__
    else:
        raise TypeError(f"{argument} is a {type(which).__name__}; a torch module or a TrainingRecord is needed")
    if patterns is None:
        layers = default_layers(module)
    else:
        layers = models.layer_names(module, (patterns,) if isinstance(patterns, str) else tuple(patterns))
    return Side(name, module, tuple(layers), tuple(wanted), states, id(which))


def _state(stacks: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    return {name: stack[index] for name, stack in stacks.items()}


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, and each submodule's own mode again afterwards."""
    training = [each for each in module.modules() if each.training]
    module.eval()
    try:
        yield
    finally:
        for each in training:
            each.training = True
