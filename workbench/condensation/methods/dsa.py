"""Differentiable Siamese augmentation: real and synthetic images see the same random change, and gradients pass it.

Zhao & Bilen, “Dataset Condensation with Differentiable Siamese Augmentation”, ICML 2021. Ranges, order and fillings are
those of the public code, which also works on normalised images: what is cut out, or comes in from outside the image,
is 0, the mean of the data, and brightness is in units of its standard deviation.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from workbench.kernels.augment import Change, augment, turn
from workbench.training.augment import Augmentation, Draws

# The columns of the uniform numbers that an example's change is made of.
_COLUMNS = {"color": (0, 3), "crop": (3, 5), "cutout": (5, 7), "flip": (7, 8), "scale": (8, 10), "rotate": (10, 11)}
_WIDTH = 11


@dataclass(frozen=True)
class Siamese(Augmentation):
    """Colour, crop, cutout, flip, scale and rotation, each differentiable with respect to the image.

    Called as an augmentation, ``siamese(x, generator)``, every image has parameters of its own, as when networks are
    trained on the synthetic images. `shared` and `by_class` draw parameters that many images share: what makes it
    Siamese.

    Attributes
    ----------
    strategy
        Names joined by ``+``, in the order of application. The papers leave out ``flip`` for digits and letters.
    mode
        ``"single"``: one of the names is drawn for the whole batch (the public code's default, and that of DSA, DM and
        MTT); ``"all"``: all of them, one after the other.
    brightness
        Adds an even draw from ±`brightness` / 2.
    saturation
        Each pixel's distance from the mean of its channels is multiplied by an even draw from 0..`saturation`; does
        nothing to grey images.
    contrast
        The distance from the mean of the image is multiplied by an even draw from `contrast`..`contrast` + 1.
    crop
        Moved by whole pixels, up to this share of each side; what comes in is 0.
    cutout
        Sides of the rectangle that becomes 0, as a share of the image's; centred anywhere.
    flip
        Chance of being mirrored left to right.
    scale
        Each side is seen at an even draw from 1/`scale`..`scale` (bilinear; outside the image is 0).
    rotate
        Degrees; turned by an even draw from ± this (bilinear; outside the image is 0).

    Raises
    ------
    ValueError
        An unknown name or mode.

    Examples
    --------
    >>> import torch
    >>> images = torch.rand(4, 3, 8, 8)
    >>> siamese = Siamese("color+crop+cutout")
    >>> change = siamese.shared(torch.Generator().manual_seed(0))
    >>> change(images).shape, bool((change(images[:1]) == change(images)[:1]).all())
    (torch.Size([4, 3, 8, 8]), True)
    """

    strategy: str = "color+crop+cutout+flip+scale+rotate"
    mode: Literal["single", "all"] = "single"
    brightness: float = 1.0
    saturation: float = 2.0
    contrast: float = 0.5
    crop: float = 0.125
    cutout: float = 0.5
    flip: float = 0.5
    scale: float = 1.2
    rotate: float = 15.0
    draws: ClassVar[int] = 2

    def __post_init__(self) -> None:
        unknown = [name for name in self.names if name not in _COLUMNS]
        if unknown:
            raise ValueError(
                f"strategy is {self.strategy!r}, but there is no {unknown[0]!r}; names are {', '.join(_COLUMNS)}, "
                "joined by +"
            )
        if self.mode not in ("single", "all"):
            raise ValueError(f"mode is {self.mode!r}; it can be 'single' (one name per batch) or 'all'")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the strategy, in order."""
        return tuple(name.strip() for name in self.strategy.split("+"))

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        """Which name (−1: all of them), int64, (n,), the same for the batch; and uniform numbers in 0..1, (n, 11)."""
        n, device = shape[0], generator.device
        which = torch.full((n,), -1, device=device)
        if self.mode == "single":
            which = torch.randint(len(self.names), (1,), generator=generator, device=device).expand(n).clone()
        return which, torch.rand(n, _WIDTH, generator=generator, device=device)

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:
        """The images (n, c, h, w), changed as drawn; images of one batch may have drawn different names."""
        if x.ndim != 4:
            raise ValueError(f"Siamese is for images (n, channels, height, width), not for shape {tuple(x.shape)}")
        which, uniform = draws[0], draws[1].to(x.device)
        chosen = which.unique().tolist()
        if len(chosen) == 1:
            return self._change(x, chosen[0], uniform)
        parts = [(which == name).nonzero().flatten().to(x.device) for name in chosen]
        changed = [self._change(x[rows], name, uniform[rows]) for name, rows in zip(chosen, parts, strict=True)]
        return torch.cat(changed)[torch.cat(parts).argsort()]

    def shared(self, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
        """One change for all: a function of images (n, c, h, w) that does the same to each of any batch."""
        which, uniform = self.draw(torch.Size((1,)), generator)
        return lambda x: self.apply(x, which.expand(len(x)), uniform.expand(len(x), -1))

    def by_class(self, classes: int, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
        """One change per class: a function of images grouped by class, (classes, m, c, h, w), for any m."""
        drawn = [self.draw(torch.Size((1,)), generator) for _ in range(classes)]
        which, uniform = (torch.cat(parts) for parts in zip(*drawn, strict=True))

        def change(x: Tensor) -> Tensor:
            each = x.shape[1]
            draws = which.repeat_interleave(each), uniform.repeat_interleave(each, 0)
            return self.apply(x.flatten(0, 1), *draws).unflatten(0, (classes, each))

        return change

    def _change(self, x: Tensor, which: int, uniform: Tensor) -> Tensor:
        """Names that follow each other as `Change` has them are one pass; two that interpolate are two."""
        change = Change()
        for name in self.names if which < 0 else self.names[which : which + 1]:
            first, end = _COLUMNS[name]
            field, value = getattr(self, f"_{name}")(x, *uniform[:, first:end].unbind(1))
            if any(given is not None for given in change[Change._fields.index(field) :]):
                x, change = augment(x, change), Change()
            change = change._replace(**{field: value})
        return augment(x, change)

    def _color(self, x: Tensor, bright: Tensor, saturated: Tensor, contrasted: Tensor) -> tuple[str, Tensor]:
        bright, saturated, contrasted = (draw.to(x.dtype) for draw in (bright, saturated, contrasted))
        parts = [(bright - 0.5) * self.brightness, saturated * self.saturation, contrasted + self.contrast]
        return "color", torch.stack(parts, 1)

    def _crop(self, x: Tensor, down: Tensor, right: Tensor) -> tuple[str, Tensor]:
        starts = []
        for side, draw in zip(x.shape[-2:], (down, right), strict=True):
            reach = _rounded(side * self.crop)
            starts.append((draw * (2 * reach + 1)).floor().long() - reach)
        return "shift", torch.stack(starts, 1)

    def _cutout(self, x: Tensor, down: Tensor, right: Tensor) -> tuple[str, Tensor]:
        first, last = [], []
        for side, draw in zip(x.shape[-2:], (down, right), strict=True):
            length = _rounded(side * self.cutout)
            first.append((draw * (side + 1 - length % 2)).floor().long() - length // 2)
            last.append(first[-1] + length)
        return "hole", torch.stack([*first, *last], 1)

    def _flip(self, x: Tensor, draw: Tensor) -> tuple[str, Tensor]:  # noqa: ARG002
        return "flip", draw < self.flip

    def _scale(self, x: Tensor, across: Tensor, along: Tensor) -> tuple[str, Tensor]:
        least = 1 / self.scale
        across, along = (least + draw.to(x.dtype) * (self.scale - least) for draw in (across, along))
        zero = torch.zeros_like(across)
        rows = torch.stack([across, zero, zero, zero, along, zero], 1)
        return "affine", rows.view(-1, 2, 3)

    def _rotate(self, x: Tensor, draw: Tensor) -> tuple[str, Tensor]:
        angle = (2 * draw.to(x.dtype) - 1) * math.radians(self.rotate)
        return "affine", turn(angle, x.shape[-2] / x.shape[-1])


def _rounded(size: float) -> int:
    return int(size + 0.5)
