"""Low-rank adapters on a network: trained on one, moved to another, scaled, merged into its weights, or taken off.

    W ↦ W + s · (α / r) · B A,   A: (r, inputs), B: (outputs, r), B = 0 at first

(Hu et al. 2022). Paper 096 trains such a change on a diffusion model and adds it, unchanged, to the weights of that
model's few-step students. The network's code is not touched: the weights are parametrised where they are.
"""

import copy
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Kinds of layers whose weights an adapter can act on."""

Network = TypeVar("Network", bound=nn.Module)


class Adapter(Protocol):
    """A change apart from any network; the record of that name is one."""

    @property
    def down(self) -> dict[str, Tensor]:
        """A by parameter."""

    @property
    def up(self) -> dict[str, Tensor]:
        """B by parameter."""

    @property
    def rank(self) -> int:
        """R."""

    @property
    def alpha(self) -> float:
        """α."""


class LowRank(nn.Module):
    """The change of one weight, as a parametrisation of it."""

    def __init__(self, weight: Tensor, rank: int, strength: float, generator: torch.Generator) -> None:
        super().__init__()
        rows = weight.flatten(1)
        outputs, inputs = rows.shape
        least = min(rank, outputs, inputs)
        start = torch.randn(least, inputs, generator=generator) / inputs**0.5
        self.down = nn.Parameter(start.to(rows))
        self.up = nn.Parameter(rows.new_zeros(outputs, least))
        self.strength = strength  # α / r
        self.scale = 1.0

    def forward(self, weight: Tensor) -> Tensor:
        if self.scale == 0:
            return weight
        return weight + self.scale * self.strength * (self.up @ self.down).view_as(weight)


class Attached:
    """An adapter on a network; made by `attach` or `apply`.

    As a context manager it is taken off at the end, unless it was before. Several can be on one network: their changes
    add up.

    Attributes
    ----------
    network
        The network, changed while this is on it.
    parts
        The change of each parameter, by the parameter's name.
    """

    def __init__(self, network: nn.Module, parts: dict[str, LowRank], rank: int, alpha: float, *, freeze: bool) -> None:
        self.network = network
        self.parts = parts
        self.rank = rank
        self.alpha = alpha
        self._on = True
        self._frozen = [p for p in network.parameters() if p.requires_grad] if freeze else []
        for parameter in self._frozen:
            parameter.requires_grad_(False)
        for name, part in parts.items():
            layer, attribute = _owner(network, name)
            # Unsafe skips a trial run; shape and type stay what they are by construction.
            parametrize.register_parametrization(layer, attribute, part, unsafe=True)

    def parameters(self) -> Iterator[nn.Parameter]:
        """The factors, for an optimizer."""
        for part in self.parts.values():
            yield from part.parameters()

    @property
    def scale(self) -> float:
        """s: how strongly the adapter acts; 0: not at all, the weights are then those it was put on, bit for bit."""
        return next(iter(self.parts.values())).scale

    @scale.setter
    def scale(self, value: float) -> None:
        for part in self.parts.values():
            part.scale = float(value)

    def factors(self) -> dict[str, Any]:
        """The factors as they are now, with `rank` and `alpha`: what the record `Adapter` takes."""
        return {
            "down": {key: part.down.detach().cpu().clone() for key, part in self.parts.items()},
            "up": {key: part.up.detach().cpu().clone() for key, part in self.parts.items()},
            "rank": self.rank,
            "alpha": self.alpha,
        }

    def remove(self, *, merge: bool = False) -> None:
        """Take the adapter off. With `merge` its change stays in the weights, as strong as `scale` says.

        Raises
        ------
        RuntimeError
            It is no longer on the network.
        """
        for name, part in self.parts.items():
            layer, attribute = _owner(self.network, name)
            on = parametrize.is_parametrized(layer, attribute)
            stack: Any = layer.parametrizations[attribute] if on else ()  # type: ignore[index]
            if not any(one is part for one in stack):
                raise RuntimeError(f"the adapter is no longer on {name}: it was taken off before")
            if merge:
                with torch.no_grad():
                    stack.original.copy_(part(stack.original))
            if len(stack) == 1:
                _plain(layer, attribute, keep_change=False)
            else:
                del stack[next(i for i, one in enumerate(stack) if one is part)]
        for parameter in self._frozen:
            parameter.requires_grad_(True)
        self._on = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._on:
            self.remove()


def layers(network: nn.Module, only: str | Sequence[str] = "*", without: str | Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the weights an adapter can act on, in network order.

    Parameters
    ----------
    network
        A network, or a wrapper that names it in `adapts` (a `NetworkDenoiser`).
    only, without
        Patterns of layer names to take and to leave out, with ``*`` and ``?``; concept sliders leave out what sees
        the condition, such as ``without="*attn2*"``.

    Examples
    --------
    >>> layers(nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 2)), without="2")
    ('0.weight',)
    """
    taken, left = ((one,) if isinstance(one, str) else tuple(one) for one in (only, without))
    found = tuple(
        f"{name}.weight" if name else "weight"
        for name, layer in _inside(network).named_modules()
        if isinstance(layer, LAYERS)
        and any(fnmatchcase(name, pattern) for pattern in taken)
        and not any(fnmatchcase(name, pattern) for pattern in left)
    )
    if not found:
        raise ValueError(f"only={only!r}, without={without!r} leave no linear layer or convolution of this network")
    return found


def attach(
    network: nn.Module,
    *,
    rank: int = 4,
    alpha: float = 1.0,
    only: str | Sequence[str] = "*",
    without: str | Sequence[str] = (),
    seed: int = 0,
    freeze: bool = True,
) -> Attached:
    """Put a new adapter on a network; it changes nothing until it is trained.

    Parameters
    ----------
    network
        A network, or a wrapper that names it in `adapts` (a `NetworkDenoiser`); changed in place.
    rank, alpha
        r and α.
    only, without
        Which layers; see `layers`.
    seed
        Of A.
    freeze
        The network's own parameters need no gradient while the adapter is on.

    Raises
    ------
    ValueError
        `rank` is under 1, or no layer is left.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 2))
    >>> before = network(torch.ones(1, 2))
    >>> on = attach(network, rank=2)
    >>> bool((network(torch.ones(1, 2)) == before).all()), sum(p.numel() for p in on.parameters())
    (True, 40)
    >>> on.remove()
    """
    if rank < 1:
        raise ValueError(f"rank is {rank}; it must be at least 1")
    inside = _inside(network)
    generator = torch.Generator().manual_seed(seed)
    parts = {
        name: LowRank(_weight(inside, name), rank, alpha / rank, generator) for name in layers(inside, only, without)
    }
    return Attached(inside, parts, rank, alpha, freeze=freeze)


def apply(network: nn.Module, adapter: Adapter, scale: float = 1.0, *, freeze: bool = False) -> Attached:
    """Put an adapter on a network, be it the one it was trained on or another of the same layers.

    Parameters
    ----------
    network
        A network, or a wrapper that names it in `adapts` (a `NetworkDenoiser`); changed in place until the adapter is
        removed.
    adapter
        The change.
    scale
        s.
    freeze
        As in `attach`.

    Raises
    ------
    ValueError
        The network lacks a layer of the adapter, or has it in another shape.

    Examples
    --------
    >>> base, student = (nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 2)) for _ in range(2))
    >>> from workbench.records import Adapter
    >>> with attach(base) as on:
    ...     adapter = Adapter(name="nothing yet", **on.factors())
    >>> with apply(student, adapter, scale=-1):
    ...     moved = student(torch.ones(1, 2))
    >>> bool((moved == student(torch.ones(1, 2))).all())
    True
    """
    inside = _inside(network)
    generator, parts = torch.Generator(), {}
    for name, down in adapter.down.items():
        weight, up = _weight(inside, name), adapter.up[name]
        if (len(up), down.shape[1]) != tuple(weight.flatten(1).shape):
            raise ValueError(
                f"the adapter changes {name} by a matrix of {len(up)} × {down.shape[1]}, but this network has it in "
                f"shape {tuple(weight.shape)}: it was trained on another architecture"
            )
        part = LowRank(weight, len(down), adapter.alpha / adapter.rank, generator)
        part.down.data, part.up.data = down.to(weight, copy=True), up.to(weight, copy=True)
        part.requires_grad_(freeze)
        parts[name] = part
    attached = Attached(inside, parts, adapter.rank, adapter.alpha, freeze=freeze)
    attached.scale = scale
    return attached


def merged(network: Network, adapter: Adapter | None = None, scale: float = 1.0) -> Network:
    """A copy of a network with an adapter's change in its weights; the copy's ``state_dict`` is a plain one again.

    Parameters
    ----------
    network
        A network, or a wrapper that names it in `adapts` (a `NetworkDenoiser`); not changed.
    adapter
        The change; None: whatever adapters are on it, as strong as they are.
    scale
        s of `adapter`.

    Examples
    --------
    >>> network = nn.Linear(3, 2)
    >>> with attach(network) as on:
    ...     list(merged(network).state_dict())
    ['weight', 'bias']
    """
    other = copy.deepcopy(network)
    if adapter is not None:
        apply(other, adapter, scale).remove(merge=True)
        return other
    for layer in list(other.modules()):
        if isinstance(layer, LAYERS) and parametrize.is_parametrized(layer, "weight"):
            wanted = layer.parametrizations["weight"].original.requires_grad  # type: ignore[index, union-attr]
            _plain(layer, "weight", keep_change=True)
            layer.weight.requires_grad_(wanted)
    return other


def _inside(network: nn.Module) -> nn.Module:
    """The network itself, where `network` is a wrapper whose class says by ``adapts`` which attribute holds it."""
    held = getattr(type(network), "adapts", "")
    return getattr(network, held) if held else network


def _plain(layer: nn.Module, attribute: str, *, keep_change: bool) -> None:
    """Take every parametrisation off a layer's parameter."""
    # A deep copy shares the class that torch made for the layer, and torch deletes the parameter's property there:
    # without a class of its own, what is taken off the copy breaks the original.
    kind = type(layer)
    layer.__class__ = type(kind.__name__, kind.__bases__, dict(kind.__dict__))
    parametrize.remove_parametrizations(layer, attribute, leave_parametrized=keep_change)
    for name, parameter in list(layer.named_parameters(recurse=False)):
        if name != attribute:  # the weight comes first again, as optimizers and averages of the parameters count them
            delattr(layer, name)
            layer.register_parameter(name, parameter)


def _owner(network: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The layer that has a parameter, and what it calls it."""
    path, _, attribute = name.rpartition(".")
    return network.get_submodule(path), attribute


def _weight(network: nn.Module, name: str) -> Tensor:
    try:
        layer, attribute = _owner(network, name)
        weight = getattr(layer, attribute)
    except AttributeError:
        raise ValueError(
            f"the adapter changes {name}, which this network does not have: it was trained on another architecture"
        ) from None
    if not isinstance(layer, LAYERS):
        raise ValueError(  # noqa: TRY004 - what is wrong is the network, not the type of an argument
            f"{name} belongs to a {type(layer).__name__}; an adapter acts on linear layers and convolutions"
        )
    return weight
