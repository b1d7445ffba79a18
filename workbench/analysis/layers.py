"""Which layers are worth comparing when nobody says."""

from torch import nn

__all__ = ["default_layers"]


def default_layers(model: nn.Module) -> tuple[str, ...]:
    """Names of the layers a comparison shows by default, in the order in which the network registers them.

    1. The blocks: composite modules inside an ``nn.Sequential`` or ``nn.ModuleList`` that holds nothing else
       (``layer1.0`` … of a ResNet, ``blocks.0`` … of a ViT), the outermost such ones; then the classifier, if the
       network ends in a layer of its own.
    2. Fewer than two of them: the stages, that is the direct children with parameters.
    3. Fewer than two of those: every layer with a weight matrix or convolution.

    Examples
    --------
    >>> block = lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    >>> default_layers(nn.Sequential(nn.Flatten(), nn.Sequential(block(), block()), nn.Linear(4, 2)))
    ('1.0', '1.1', '2')
    >>> default_layers(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)))
    ('0', '2')
    """
    blocks = _blocks(model)
    if len(blocks) >= 2:
        last = [name for name, module in model.named_modules() if _is_leaf(module) and _has_parameters(module)][-1]
        inside = any(last == name or last.startswith(f"{name}.") for name in blocks)
        return tuple(blocks) if inside else (*blocks, last)
    prefix, root = "", model
    while True:  # a network wrapped in another module of one child
        children = [(name, child) for name, child in root.named_children() if _has_parameters(child)]
        if len(children) != 1 or _is_leaf(children[0][1]):
            break
        prefix, root = f"{prefix}{children[0][0]}.", children[0][1]
    stages = [prefix + name for name, child in children]
    if len(stages) >= 2:
        return tuple(stages)
    weighted = [
        name
        for name, module in model.named_modules()
        if _is_leaf(module) and any(parameter.dim() >= 2 for parameter in module.parameters())
    ]
    return tuple(weighted or [name for name, _ in model.named_children()] or [""])


def _blocks(model: nn.Module) -> list[str]:
    found: list[str] = []
    for name, module in model.named_modules():
        children = list(module.named_children())
        if not (isinstance(module, (nn.Sequential, nn.ModuleList)) and children):
            continue
        if all(_is_block(child) for _, child in children):
            found += [f"{name}.{child}" if name else child for child, _ in children]
    return [name for name in found if not any(name.startswith(f"{other}.") for other in found if other != name)]


def _is_block(module: nn.Module) -> bool:
    """A composite with a class of its own, or a plain Sequential of layers."""
    if isinstance(module, nn.Sequential):
        return not _is_leaf(module) and all(map(_is_leaf, module.children()))
    return not _is_leaf(module) and not isinstance(module, nn.ModuleList)


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
