"""Windows of images: drawn, cut out and resized, padded, laid out as mosaics; and augmentations made of them."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.training.augment import Augmentation


def square_windows(n: int, shape: tuple[int, int], scale: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Random squares in `n` images: top, left and side in pixels, int64, shape (n, 3).

    As torchvision's ``RandomResizedCrop`` with ratio 1: the share of the image's area is even in `scale`, the side is
    rounded, the place is even. A square larger than the shorter side becomes that side.

    Parameters
    ----------
    shape
        (height, width) of the images.
    """
    height, width = shape
    area = scale[0] + (scale[1] - scale[0]) * torch.rand(n, generator=generator, dtype=torch.float64)
    side = (area * height * width).sqrt().round().clamp(1, min(shape))
    place = torch.rand(2, n, generator=generator, dtype=torch.float64)
    top, left = (place * (torch.tensor([[height], [width]]) - side + 1)).floor()
    return torch.stack([top, left, side], 1).long()


def cut(images: Tensor, windows: Tensor, size: tuple[int, int]) -> Tensor:
    """Each image's window, resized: shape (n, c, *size).

    Bilinear, with the filter widened where it shrinks (antialiased), as ``F.interpolate(window, size, mode="bilinear",
    antialias=True)``; of windows that already have this size the pixels are exactly the image's.

    Parameters
    ----------
    images
        Shape (n, c, height, width).
    windows
        Top, left and side, shape (n, 3); or top, left, height and width, shape (n, 4).
    size
        Height and width to resize to.
    """
    top, left, height, width = windows.to(images)[:, [0, 1, 2, -1]].unbind(1)
    down = _weights(top, height, images.shape[2], size[0])
    across = _weights(left, width, images.shape[3], size[1])
    return down[:, None] @ images @ across[:, None].mT


def _weights(start: Tensor, length: Tensor, side: int, size: int) -> Tensor:
    """How much of each of `side` pixels each of `size` resized ones takes, shape (n, size, side); rows sum to one."""
    start, length = start[:, None, None], length[:, None, None]
    scale = length / size
    pixel = torch.arange(side, device=start.device, dtype=start.dtype) + 0.5
    centre = start + (torch.arange(size, device=start.device, dtype=start.dtype)[:, None] + 0.5) * scale
    weight = (1 - (pixel - centre).abs() / scale.clamp(min=1)).clamp(min=0)
    weight = weight * ((pixel > start) & (pixel < start + length))
    return weight / weight.sum(-1, keepdim=True)


def pad(crops: Tensor, shape: tuple[int, int]) -> Tensor:
    """Small images (n, c, h, w) in the middle of zeros, the mean grey, of (height, width) = `shape`."""
    down, right = shape[0] - crops.shape[-2], shape[1] - crops.shape[-1]
    return F.pad(crops, (right // 2, right - right // 2, down // 2, down - down // 2))


def cells(side: int, factor: int) -> list[slice]:
    """`side` pixels as `factor` runs; what does not divide makes the first ones a pixel longer."""
    if not 1 <= factor <= side:
        raise ValueError(f"factor is {factor}; it must be in 1..{side}, the image's side in pixels")
    base, rest = divmod(side, factor)
    ends = [(k + 1) * base + min(k + 1, rest) for k in range(factor)]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def tile(crops: Tensor, shape: tuple[int, int]) -> Tensor:
    """Mosaics (n, c, *shape) of crops (n, q², c, h, w), row by row; a crop that is too small is enlarged (nearest)."""
    factor = math.isqrt(crops.shape[1])
    mosaic = crops.new_empty(len(crops), crops.shape[2], *shape)
    for k, (rows, columns) in enumerate(_grid(shape, factor)):
        size = rows.stop - rows.start, columns.stop - columns.start
        piece = crops[:, k]
        mosaic[:, :, rows, columns] = piece if piece.shape[-2:] == size else F.interpolate(piece, size)
    return mosaic


def untile(mosaic: Tensor, factor: int) -> list[Tensor]:
    """The q² cells of mosaics (n, c, h, w), row by row, each (n, c, cell height, cell width)."""
    return [mosaic[:, :, rows, columns] for rows, columns in _grid(tuple(mosaic.shape[-2:]), factor)]


def _grid(shape: tuple[int, ...], factor: int) -> list[tuple[slice, slice]]:
    return [(rows, columns) for rows in cells(shape[0], factor) for columns in cells(shape[1], factor)]


@dataclass(frozen=True)
class ShufflePatches(Augmentation):
    """Cuts the image into `factor` strips along each side and shuffles the columns, then the rows of the grid.

    Pixels only change their places; with `factor` 1 nothing does.
    """

    factor: int = 2
    draws: ClassVar[int] = 2

    def draw(self, shape: torch.Size, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Where each strip goes, for rows and for columns: two permutations per example, each (n, factor)."""
        drawn = torch.rand(2, shape[0], self.factor, generator=generator, device=generator.device)
        return tuple(drawn.argsort(-1))

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:
        for axis, place in zip((2, 3), draws, strict=True):
            x = x.gather(axis, _spread(self._order(place, x.shape[axis]), x, axis))
        return x

    def _order(self, place: Tensor, side: int) -> Tensor:
        """Which row (column) of the image each row (column) of the result is, shape (n, side)."""
        lengths = torch.tensor([piece.stop - piece.start for piece in cells(side, self.factor)])
        strip = torch.arange(self.factor).repeat_interleave(lengths).to(place.device)
        return (place[:, strip] * side + torch.arange(side, device=place.device)).argsort(1)


def _spread(order: Tensor, x: Tensor, axis: int) -> Tensor:
    return (order[:, None, :, None] if axis == 2 else order[:, None, None, :]).expand(x.shape)


@dataclass(frozen=True)
class RandomResizedCrop(Augmentation):
    """A random part of the image, `scale` of its area and `ratio` (width : height, log-even) in shape, resized back.

    As in torchvision: sides are rounded to pixels and do not exceed the image.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    draws: ClassVar[int] = 1

    def draw(self, shape: torch.Size, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Top, left, height and width in pixels, shape (n, 4)."""
        if len(shape) != 4:
            raise ValueError(f"RandomResizedCrop is for images (n, c, height, width); the inputs have {tuple(shape)}")
        n, _, height, width = shape
        area, aspect, top, left = torch.rand(4, n, generator=generator, device=generator.device, dtype=torch.float64)
        area = (self.scale[0] + (self.scale[1] - self.scale[0]) * area) * height * width
        low, high = (math.log(r) for r in self.ratio)
        aspect = (low + (high - low) * aspect).exp()
        tall = (area / aspect).sqrt().round().clamp(1, height)
        wide = (area * aspect).sqrt().round().clamp(1, width)
        corner = (top * (height - tall + 1)).floor(), (left * (width - wide + 1)).floor()
        return (torch.stack([*corner, tall, wide], 1).long(),)

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:
        return cut(x, draws[0], (x.shape[2], x.shape[3]))


@dataclass(frozen=True)
class PaddedCrops(Augmentation):
    """With probability `chance`, a random square of the image, shrunk to 1/`factor` of its side, amid zeros.

    A classifier that never saw such pictures says nothing about crops that are scored this way.
    """

    factor: int = 2
    scale: tuple[float, float] = (0.08, 1.0)
    chance: float = 0.5
    draws: ClassVar[int] = 2

    def draw(self, shape: torch.Size, generator: torch.Generator) -> tuple[Tensor, ...]:
        if generator.device.type != "cpu":  # windows are drawn in double precision on the CPU
            seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
            return tuple(drawn.to(generator.device) for drawn in self.draw(shape, torch.Generator().manual_seed(seed)))
        windows = square_windows(shape[0], (shape[2], shape[3]), self.scale, generator)
        return torch.rand(shape[0], generator=generator) < self.chance, windows

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:
        cropped, windows = draws
        shape = (x.shape[2], x.shape[3])
        small = cut(x, windows, (shape[0] // self.factor, shape[1] // self.factor))
        return torch.where(cropped[:, None, None, None], pad(small, shape), x)
