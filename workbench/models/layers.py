"""Layers of any network by name or glob."""

import difflib
import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

_SELECTED = re.compile(r"(?P<name>[^#:]+)(#(?P<call>[1-9]\d*))?(:(?P<item>\w+))?")


class LayerNameError(ValueError):
    """A layer pattern that matches nothing in the network. The message lists the nearest names."""


@dataclass(frozen=True)
class Layer:
    """A layer as it is addressed.

    Attributes
    ----------
    key
        The whole address: ``name``, ``name#call``, ``name:item`` or ``name#call:item``.
    name
        Its ``named_modules()`` name.
    call
        Which of several runs in one forward pass, from 1; None where there is only one.
    item
        Which part of a tuple, dict or object that it returns; None where it returns a tensor.
    """

    key: str
    name: str
    call: int | None = None
    item: str | None = None


def layer_names(model: nn.Module, patterns: str | Sequence[str]) -> tuple[str, ...]:
    """The layers that `patterns` address, in network order, without repeats.

    Parameters
    ----------
    model
        Any network.
    patterns
        Names as in ``model.named_modules()``, or globs. In a glob ``*``, ``?`` and ``[…]`` match within one part of a
        dotted name and ``**`` matches any number of parts: ``"layer*.*.conv2"``, ``"blocks.*"``, ``"**.norm"``.

        A list of layers (``nn.ModuleList``, ``nn.ModuleDict``), which never runs itself, stands for its members:
        ``"blocks"``. A module that sits at several places is one layer: globs find it under its first name.

        A name may end in ``#k``, the k-th run of a layer that runs several times in one forward pass (from 1), and
        then in ``:item``, a part of what it returns: ``"relu#2"``, ``"attention:0"``, ``"encoder:last_hidden_state"``.

    Raises
    ------
    LayerNameError
        A pattern matches nothing.

    Examples
    --------
    >>> import workbench as wb
    >>> wb.models.layer_names(wb.models.build("convnet", ((1, 8, 8), 10)), ["head", "stage*"])
    ('stage1', 'stage2', 'head')
    >>> wb.models.layer_names(wb.models.build("convnet", ((1, 8, 8), 10)), "stgae1")
    Traceback (most recent call last):
    workbench.models.layers.LayerNameError: no layer of ConvNet matches 'stgae1'; nearest: stage1, stage2, ...
    """
    return tuple(layer.key for layer in find_layers(model, patterns))


def find_layers(model: nn.Module, patterns: str | Sequence[str]) -> tuple[Layer, ...]:
    """What `layer_names` does, with each address taken apart."""
    patterns = (patterns,) if isinstance(patterns, str) else patterns
    modules = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
    first_names = [name for name, _ in model.named_modules() if name]
    chosen: dict[str, Layer] = {}
    for pattern in patterns:
        name, call, item = _take_apart(pattern, modules)
        if name in modules:
            found = [name]
        else:
            parts = name.split(".")
            found = [each for each in first_names if matches(each.split("."), parts)]
        found = [member for each in found for member in _members(modules, each)]
        if not found:
            raise LayerNameError(_nothing_matches(model, pattern, first_names))
        for each in found:
            key = each + pattern[len(name) :]
            chosen.setdefault(key, Layer(key, each, call, item))
    order = {name: position for position, name in enumerate(modules)}
    return tuple(sorted(chosen.values(), key=lambda layer: order[layer.name]))


def _take_apart(pattern: str, modules: dict[str, nn.Module]) -> tuple[str, int | None, str | None]:
    match = _SELECTED.fullmatch(pattern)
    if pattern in modules or match is None:
        return pattern, None, None
    call = match["call"]
    return match["name"], int(call) if call else None, match["item"]


def matches(parts: list[str], pattern: list[str]) -> bool:
    """Whether a dotted name fits a glob, both given as their parts; the rules are those of `layer_names`.

    >>> matches("layer2.0.conv1".split("."), "layer*.*.conv1".split("."))
    True
    """
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(matches(parts[i:], pattern[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and matches(parts[1:], pattern[1:])


def _members(modules: dict[str, nn.Module], name: str) -> list[str]:
    """The layer itself, or the members of a list of layers."""
    module = modules[name]
    # A subclass may have a forward of its own, and then it is a layer like any other.
    if not isinstance(module, nn.ModuleList | nn.ModuleDict) or _has_forward(module):
        return [name]
    children = [f"{name}.{child}" for child in module._modules]  # noqa: SLF001 - named_children() drops repeats
    return [member for child in children for member in _members(modules, child)]


def _has_forward(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward


def _nothing_matches(model: nn.Module, pattern: str, names: list[str]) -> str:
    near = difflib.get_close_matches(pattern, names, n=4, cutoff=0.4)
    last = [name for name in names if fnmatch.fnmatchcase(name.rpartition(".")[2], pattern)]
    if not near and last:
        return f"no layer of {type(model).__name__} matches {pattern!r}; '**.{pattern}' would, for example {last[0]}"
    return f"no layer of {type(model).__name__} matches {pattern!r}; nearest: {', '.join(near or names[:4])}"
