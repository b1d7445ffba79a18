"""Look at a network's layers while it runs: `observe` returns its logits together with the features of some layers."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from workbench.models.layers import Layer, find_layers
from workbench.models.outputs import Outputs


class LayerOutputError(ValueError):
    """A layer, or a network, whose output cannot be used. The message names it and says what would do."""


class Observer:
    """A network that also tells its features; made by `observe`.

    Attributes
    ----------
    model
        The network, unchanged: hooks are on it only while it runs here, and are gone even when it fails.
    layers
        The layers that are looked at, in network order; the keys of ``Outputs.features``.
    unusable
        After a call of a lenient observer: layer → why it has no features in that call.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: str | Sequence[str] = (),
        *,
        logits: Callable[[Any], Tensor] | None = None,
        lenient: bool = False,
    ) -> None:
        self.model = model
        self.unusable: dict[str, str] = {}
        self._found = find_layers(model, layers)
        self.layers = tuple(layer.key for layer in self._found)
        self._logits = logits or _read_logits
        self._lenient = lenient

    def __call__(self, inputs: Tensor, state: Mapping[str, Tensor] | None = None) -> Outputs:
        """Run the network on a batch.

        Parameters
        ----------
        inputs
            What the network takes, first axis n.
        state
            Parameters and buffers to use instead of the network's own, as ``torch.func.functional_call`` takes them.
            With ``torch.func.vmap`` over a stacked state this observes many networks at once. Pass buffers as
            arguments of the function that is mapped: batch normalisation then updates the stacked buffers in place.

        Returns
        -------
        Outputs
            The features are copies, so a later ``inplace=True`` activation or ``+=`` does not change them.

        Raises
        ------
        LayerOutputError
            A layer did not run, ran several times, or returned something else than one tensor of n rows.
        """
        seen: dict[str, list[Any]] = {layer.name: [] for layer in self._found}
        handles = [self.model.get_submodule(name).register_forward_hook(_note(calls)) for name, calls in seen.items()]
        try:
            if state is None:
                result = self.model(inputs)
            else:
                result = torch.func.functional_call(self.model, state, (inputs,))  # type: ignore[arg-type]
        finally:
            for handle in handles:
                handle.remove()
        features, self.unusable = {}, {}
        for layer in self._found:
            value, problem = _feature(layer, seen[layer.name], len(inputs))
            if value is not None:
                features[layer.key] = value
            elif self._lenient:
                self.unusable[layer.key] = problem
            else:
                raise LayerOutputError(f"layer {layer.name!r} of {type(self.model).__name__} {problem}")
        return Outputs(self._logits(result), features)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to undo: hooks live only during a call."""


def observe(
    model: nn.Module,
    layers: str | Sequence[str] = (),
    *,
    logits: Callable[[Any], Tensor] | None = None,
    lenient: bool = False,
) -> Observer:
    """A callable that runs `model` and returns `Outputs`: its logits, and the features of `layers`.

    Parameters
    ----------
    model
        Any network. It may return its logits, or an object or dict with ``logits`` (transformers).
    layers
        Names or globs, as `layer_names` takes them. A layer that runs several times in one forward pass is asked for
        by run, ``"relu#2"``, and one that returns a tuple, dict or object by part, ``"attention:0"``.
    logits
        Reads the logits from what the network returns, where that is something else.
    lenient
        Leave out layers that cannot be used, and say why in ``unusable``, instead of raising.

    Returns
    -------
    Observer
        Call it on a batch; usable in a ``with``. The network's mode (training, evaluation) is left as it is.

    Raises
    ------
    LayerNameError
        A pattern matches nothing.

    Examples
    --------
    >>> import torch, workbench as wb
    >>> net = wb.models.build("convnet", ((1, 8, 8), 10), width=4)
    >>> out = wb.models.observe(net, ["stage*", net.penultimate])(torch.zeros(2, 1, 8, 8))
    >>> {name: tuple(value.shape) for name, value in out.features.items()}
    {'stage1': (2, 4, 4, 4), 'stage2': (2, 4, 2, 2), 'flatten': (2, 16)}
    """
    return Observer(model, layers, logits=logits, lenient=lenient)


def _note(calls: list[Any]) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, arguments: Any, output: Any) -> None:  # noqa: ARG001
        # Copied at once: torchvision's networks, for one, go on to change what a batch norm returned in place.
        calls.append(_copied(output))

    return hook


def _copied(output: Any) -> Any:
    match output:
        case Tensor():
            return output.clone()
        case tuple() | list():
            return [_copied(part) for part in output]
        case Mapping():
            return {key: _copied(part) for key, part in output.items()}
    return output


def _feature(layer: Layer, calls: list[Any], n: int) -> tuple[Tensor | None, str]:
    """The layer's features, or None and what is wrong with them."""
    if not calls:
        return None, "did not run in the forward pass"
    if layer.call is None and len(calls) > 1:
        return None, (
            f"runs {len(calls)} times in one forward pass: ask for '{layer.name}#1' to '{layer.name}#{len(calls)}'"
        )
    if layer.call is not None and layer.call > len(calls):
        return None, f"runs {len(calls)} times in one forward pass; '{layer.key}' asks for run {layer.call}"
    value = calls[(layer.call or 1) - 1]
    if layer.item is not None:
        try:
            value = part_of(value, layer.item)
        except (LookupError, AttributeError, TypeError):
            return None, f"returns {_describe(value)}, which has no part {layer.item!r}"
    if not isinstance(value, Tensor):
        return None, f"returns {_describe(value)}, not a tensor: ask for a part of it, as in '{layer.key}:0'"
    if value.ndim == 0 or len(value) != n:
        return None, f"returns a tensor of shape {tuple(value.shape)}, whose first axis is not the batch of {n}"
    return value, ""


def part_of(value: Any, item: str) -> Any:
    """The part that an address such as ``"rnn:0"`` asks for: of a tuple by position, of a dict or object by name."""
    if isinstance(value, Mapping):
        return value[item]
    if isinstance(value, list | tuple) and item.isdigit():
        return value[int(item)]
    return getattr(value, item)


def _describe(value: Any) -> str:
    if isinstance(value, list):
        return f"a tuple of {len(value)}"
    if isinstance(value, Mapping):
        return f"a dict with {', '.join(map(str, value))}"
    return f"a {type(value).__name__}"


def _read_logits(result: Any) -> Tensor:
    found = result
    if not isinstance(result, Tensor):
        found = result.get("logits") if isinstance(result, Mapping) else getattr(result, "logits", None)
    if not isinstance(found, Tensor):
        raise LayerOutputError(
            f"the network returns a {type(result).__name__} without logits: pass logits= to read them from it, "
            "as in observe(model, logits=lambda out: out[0])"
        )
    return found
