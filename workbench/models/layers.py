"""Layers of any network by name or glob."""

import difflib
import fnmatch
from collections.abc import Sequence

from torch import nn


class LayerNameError(ValueError):
    """A layer pattern that matches nothing in the network. The message lists the nearest names."""


def layer_names(model: nn.Module, patterns: str | Sequence[str]) -> tuple[str, ...]:
    """The layers that `patterns` address, in network order, without repeats.

    Parameters
    ----------
    model
        Any network.
    patterns
        Names as in ``model.named_modules()``, or globs in which ``*``, ``?`` and ``[…]`` match within one part of a
        dotted name and ``**`` matches any number of parts: ``"layer*.*.conv2"``, ``"blocks.*"``, ``"**.norm"``. A list
        of layers (``nn.ModuleList``), which never runs itself, stands for its members: ``"blocks"``.

    Raises
    ------
    LayerNameError
        A pattern matches nothing.

    Examples
    --------
    >>> import workbench as wb
    >>> wb.models.layer_names(wb.models.build("convnet", ((1, 8, 8), 10)), ["head", "stage*"])
    ('stage1', 'stage2', 'head')
    """
    if isinstance(patterns, str):
        patterns = (patterns,)
    modules = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
    # A module that sits at two places is one layer: globs find it under its first name, its other names are aliases.
    first = {name for name, _ in model.named_modules() if name}
    chosen: set[str] = set()
    for pattern in patterns:
        if pattern in modules:
            found = [pattern]
        else:
            found = [name for name in first if _matches(name.split("."), pattern.split("."))]
        if not found:
            raise LayerNameError(_nothing_matches(model, pattern, list(modules)))
        for name in found:
            chosen.update(_members(modules, name))
    return tuple(name for name in modules if name in chosen)


def _matches(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[i:], pattern[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _members(modules: dict[str, nn.Module], name: str) -> list[str]:
    """The layer itself, or the members of a list of layers."""
    module = modules[name]
    if not isinstance(module, nn.ModuleList | nn.ModuleDict):
        return [name]
    return [found for child, _ in module.named_children() for found in _members(modules, f"{name}.{child}")]


def _nothing_matches(model: nn.Module, pattern: str, names: list[str]) -> str:
    near = difflib.get_close_matches(pattern, names, n=4, cutoff=0.3) or names[:4]
    return f"no layer of {type(model).__name__} matches {pattern!r}; nearest: {', '.join(near)}"
