"""Augmentations for images of 8×8 pixels and more: each draws its random part from a generator, then applies it purely.

`draw` takes a generator, `apply` is a pure function of the images and of what was drawn, so that many networks' batches
can be augmented in one go with each network's own draws. ``shift + flip`` does one after the other.

>>> import torch
>>> images = torch.rand(4, 1, 8, 8)
>>> (Shift() + Cutout())(images, torch.Generator().manual_seed(0)).shape
torch.Size([4, 1, 8, 8])
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from workbench.kernels.augment import Change, augment, resample, turn

Draws = tuple[Tensor, ...]


class Augmentation:
    """Base of the augmentations: ``augmentation(x, generator)`` is ``apply(x, *draw(x.shape, generator))``.

    `draws` is the number of tensors that `draw` returns. `separable` says that each example is changed by itself and
    keeps its shape, so that the batches of many networks may be joined into one.
    """

    draws: ClassVar[int] = 1
    separable: ClassVar[bool] = True

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        """The random part for a batch of this shape; each tensor's first axis is the batch."""
        raise NotImplementedError

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:
        """The batch, transformed; same shape and dtype."""
        raise NotImplementedError

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return self.apply(x, *self.draw(x.shape, generator))

    def __add__(self, other: "Augmentation") -> "Chain":
        return Chain((*_links(self), *_links(other)))


@dataclass(frozen=True)
class Chain(Augmentation):
    """One augmentation after the other; made by ``+``."""

    links: tuple[Augmentation, ...]

    @property
    def draws(self) -> int:  # type: ignore[override]
        return sum(link.draws for link in self.links)

    @property
    def separable(self) -> bool:  # type: ignore[override]
        return all(link.separable for link in self.links)

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        return tuple(tensor for link in self.links for tensor in link.draw(shape, generator))

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:
        position = 0
        for link in self.links:
            x = link.apply(x, *draws[position : position + link.draws])
            position += link.draws
        return x


@dataclass(frozen=True)
class Shift(Augmentation):
    """Moves the image by whole pixels, up to `share` of its side (at least one pixel); edge pixels fill the gap."""

    share: float = 0.125
    draws: ClassVar[int] = 2

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        n, height, width = _sizes(self, shape)
        return (_whole(n, self._reach(height), generator), _whole(n, self._reach(width), generator))

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:
        down, right = draws
        height, width = x.shape[-2:]
        rows = (torch.arange(height, device=x.device) - down[:, None]).clamp(0, height - 1)
        columns = (torch.arange(width, device=x.device) - right[:, None]).clamp(0, width - 1)
        n, channels = x.shape[:2]
        x = x.gather(2, rows[:, None, :, None].expand(n, channels, height, width))
        return x.gather(3, columns[:, None, None, :].expand(n, channels, height, width))

    def _reach(self, side: int) -> int:
        return max(1, round(self.share * side))


@dataclass(frozen=True)
class Flip(Augmentation):
    """Mirrors left and right with probability `chance`. Not for digits or letters."""

    chance: float = 0.5

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        n, _, _ = _sizes(self, shape)
        return (_uniform(n, generator) < self.chance,)

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:
        return augment(x, Change(flip=draws[0]))


@dataclass(frozen=True)
class Crop(Augmentation):
    """A random square of at least `least` of each side, resized back (bilinear)."""

    least: float = 0.75
    draws: ClassVar[int] = 2

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        n, _, _ = _sizes(self, shape)
        scale = self.least + (1 - self.least) * _uniform(n, generator)
        offset = (2 * torch.stack([_uniform(n, generator), _uniform(n, generator)], 1) - 1) * (1 - scale)[:, None]
        return scale, offset

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:
        scale, offset = (draw.to(x.dtype) for draw in draws)
        zero = torch.zeros_like(scale)
        rows = torch.stack([scale, zero, offset[:, 0], zero, scale, offset[:, 1]], 1)
        return resample(x, rows.view(-1, 2, 3))


@dataclass(frozen=True)
class Rotate(Augmentation):
    """Turns by an angle drawn evenly from ±`degrees` (bilinear; edge pixels fill the corners)."""

    degrees: float = 15.0

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        n, _, _ = _sizes(self, shape)
        return ((2 * _uniform(n, generator) - 1) * math.radians(self.degrees),)

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:
        angle = draws[0].to(x.dtype)
        return resample(x, turn(angle, x.shape[-2] / x.shape[-1]))


@dataclass(frozen=True)
class Noise(Augmentation):
    """Adds Gaussian noise of standard deviation `scale`, in units of the normalised inputs; for inputs of any shape."""

    scale: float = 0.1

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        return (torch.randn(shape, generator=generator, device=generator.device),)

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:
        return x + self.scale * draws[0].to(x.dtype)


@dataclass(frozen=True)
class Cutout(Augmentation):
    """Sets a square of `share` of the side, centred anywhere, to 0, the inputs' mean (DeVries & Taylor 2017)."""

    share: float = 0.375
    draws: ClassVar[int] = 2

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        n, _, _ = _sizes(self, shape)
        return _uniform(n, generator), _uniform(n, generator)

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:
        first, last = [], []
        for side, draw in zip(x.shape[-2:], draws, strict=True):
            length = max(1, round(self.share * side))
            first.append((draw * side).floor().long() - length // 2)
            last.append(first[-1] + length)
        return augment(x, Change(hole=torch.stack([*first, *last], 1)))


Augment = Callable[[Tensor, torch.Generator], Tensor]


@runtime_checkable
class Staged(Protocol):
    """An augmentation that changes along the run."""

    def at(self, step: int) -> Augment:
        """What it is at a step, counted from 0."""


def at_step(augment: Augment, step: int) -> Augment:
    """The augmentation as it is at a step of the run."""
    return augment.at(step) if isinstance(augment, Staged) else augment


AUGMENTATIONS: dict[str, Augmentation] = {
    "shift": Shift(),
    "flip": Flip(),
    "crop": Crop(),
    "rotate": Rotate(),
    "noise": Noise(),
    "cutout": Cutout(),
}


def resolve(augment: str | Augment | None) -> Augment | None:
    """An augmentation by name (``"shift"``, ``"shift+flip"``), or a callable as it is.

    Raises
    ------
    ValueError
        No augmentation has this name.
    """
    if augment is None or callable(augment):
        return augment
    if not isinstance(augment, str):
        raise TypeError(f"augment is a {type(augment).__name__}; it is a name, or a function of (inputs, generator)")
    names = [name.strip() for name in augment.split("+")]
    unknown = [name for name in names if name not in AUGMENTATIONS]
    if unknown:
        raise ValueError(
            f"augment is {augment!r}, but there is no {unknown[0]!r}; names are {', '.join(AUGMENTATIONS)}, "
            "joined by +, or pass a function of (inputs, generator)"
        )
    links = tuple(AUGMENTATIONS[name] for name in names)
    return links[0] if len(links) == 1 else Chain(links)


def _links(augmentation: Augmentation) -> tuple[Augmentation, ...]:
    return augmentation.links if isinstance(augmentation, Chain) else (augmentation,)


def _sizes(augmentation: Augmentation, shape: torch.Size) -> tuple[int, int, int]:
    if len(shape) != 4:
        raise ValueError(
            f"{type(augmentation).__name__} is for images (n, channels, height, width), "
            f"but the inputs have shape {tuple(shape)}: use Noise, or no augmentation"
        )
    return shape[0], shape[2], shape[3]


def _uniform(n: int, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator, device=generator.device)


def _whole(n: int, reach: int, generator: torch.Generator) -> Tensor:
    return torch.randint(-reach, reach + 1, (n,), generator=generator, device=generator.device)
