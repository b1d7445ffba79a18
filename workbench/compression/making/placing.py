"""Where in a network quantisers stand: a tensor's quantiser is its parametrisation, so that the network computes with
quantised values while what is trained is what lies behind them (shadow weights, or levels).
"""

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

Quantiser = Callable[[Tensor], nn.Module]
"""What makes the quantiser of a tensor."""


def chosen(network: nn.Module, tensors: str = "weights", keep: Sequence[str] = ()) -> list[str]:
    """Names of the parameters that are quantised.

    Parameters
    ----------
    network
        Any module.
    tensors
        ``"weights"``: those of two or more axes, so neither biases nor norms; ``"all"``: every parameter, as in the
        paper's code.
    keep
        Names or globs of parameters that stay in full precision, such as the first and last layer.

    Raises
    ------
    ValueError
        `tensors` is neither; a name in `keep` fits no parameter; nothing is left, or the network is quantised already.
    """
    if tensors not in ("weights", "all"):
        raise ValueError(f"tensors is {tensors!r}; it can be 'weights' (two or more axes) or 'all'")
    if any(parametrize.is_parametrized(module) for module in network.modules()):
        raise ValueError("student has parametrised weights already: give one with plain weights")
    names = [name for name, value in network.named_parameters() if value.is_floating_point()]
    for pattern in keep:
        if not any(fnmatch(name, pattern) for name in names):
            raise ValueError(f"keep has {pattern!r}, which is no parameter; there are {', '.join(names)}")
    wide = dict(network.named_parameters())
    found = [
        name
        for name in names
        if (tensors == "all" or wide[name].ndim >= 2) and not any(fnmatch(name, one) for one in keep)
    ]
    if not found:
        raise ValueError(f"no parameter is left to quantise (tensors={tensors!r}, keep={tuple(keep)!r})")
    return found


def place(network: nn.Module, names: Sequence[str], quantisers: Sequence[nn.Module]) -> None:
    """Let the network compute with quantised tensors."""
    for name, quantiser in zip(names, quantisers, strict=True):
        path, _, own = name.rpartition(".")
        parametrize.register_parametrization(network.get_submodule(path), own, quantiser, unsafe=True)


def placed(network: nn.Module) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Name of each quantised tensor, its quantiser, and what lies behind it."""
    for path, module in network.named_modules():
        for own, each in module.parametrizations.items() if parametrize.is_parametrized(module) else ():
            assert isinstance(each, parametrize.ParametrizationList)
            yield f"{path}.{own}".lstrip("."), each[0], each.original


def deploy(network: nn.Module) -> nn.Module:
    """Put the quantised values in place of their quantisers; the network is then a plain one. In place."""
    network.eval()
    for module in list(network.modules()):
        parametrizations: Any = module.parametrizations if parametrize.is_parametrized(module) else {}
        for own in list(parametrizations):
            parametrize.remove_parametrizations(module, own, leave_parametrized=True)
    return network
