"""Digits that have to be found: each lies somewhere in a larger picture, among strokes that mean nothing."""

import torch
from torch import Tensor

from workbench.data.assemble import Part, assemble
from workbench.data.dataset import Dataset
from workbench.data.digits import CLASSES, split_digits
from workbench.data.sampling import DataError

_DIGIT = 8


def digit_scenes(
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    side: int = 16,
    strokes: int = 3,
    noise: float = 0.1,
) -> Dataset:
    """1,797 grey scenes of one digit each: an 8×8 digit at a random place, short strokes around it, and noise.

    Most of a scene says nothing about its class, so that a crop is worth as much as it finds of the digit. Strokes are
    as dark and as thick as a digit's but keep out of its 8×8 box. The split is that of `digits` with the same seed.

    Parameters
    ----------
    seed
        Seed of the split, the places, the strokes and the noise.
    device
        Where the tensors live.
    side
        Side of a scene in pixels, at least 8.
    strokes
        Number of strokes.
    noise
        Standard deviation of Gaussian noise on every pixel, as a share of the range from white to black.

    Returns
    -------
    Dataset
        ``index`` is the digit's position among the 1,797.

    Raises
    ------
    DataError
        `side` is too small for a digit, or `strokes` or `noise` is negative.

    Examples
    --------
    >>> digit_scenes()
    Dataset('digit-scenes', 1,200 train + 597 test × 1×16×16, 10 classes, cpu)
    """
    if side < _DIGIT:
        raise DataError(f"side={side} must be at least {_DIGIT}, the side of a digit")
    if strokes < 0 or noise < 0:
        raise DataError(f"strokes={strokes} and noise={noise} must not be negative")
    generator = torch.Generator().manual_seed(seed)
    train, test = (
        Part(_scenes(part.inputs, side, strokes, noise, generator), part.labels, part.index)
        for part in split_digits(seed)
    )
    return assemble("digit-scenes", train, test, CLASSES, device=device)


def _scenes(digits: Tensor, side: int, strokes: int, noise: float, generator: torch.Generator) -> Tensor:
    """Scenes, shape (n, 1, side, side), of digits (n, 1, 8, 8); pixels in 0..1."""
    n = len(digits)
    top, left = torch.randint(side - _DIGIT + 1, (2, n), generator=generator)
    at = torch.arange(side)
    down, right = at - top[:, None], at - left[:, None]  # of each row and column, from the digit's corner
    boxed = _inside(down)[:, :, None] & _inside(right)[:, None]
    rows = down.clamp(0, _DIGIT - 1)[:, :, None]
    columns = right.clamp(0, _DIGIT - 1)[:, None]
    placed = digits[torch.arange(n)[:, None, None], 0, rows, columns]
    around = _strokes(n, side, strokes, generator)
    scenes = torch.where(boxed, placed, around)
    scenes = scenes + noise * torch.randn(scenes.shape, generator=generator)
    return scenes.clamp(0, 1)[:, None]


def _inside(offset: Tensor) -> Tensor:
    return (offset >= 0) & (offset < _DIGIT)


def _strokes(n: int, side: int, strokes: int, generator: torch.Generator) -> Tensor:
    """Anti-aliased line segments of 3 to 7 pixels anywhere, shape (n, side, side)."""
    if not strokes:
        return torch.zeros(n, side, side)
    centre = side * torch.rand(n, strokes, 1, 1, 2, generator=generator)
    angle = torch.pi * torch.rand(n, strokes, 1, 1, generator=generator)
    half = 1.5 + 2 * torch.rand(n, strokes, 1, 1, generator=generator)
    ink = 0.6 + 0.4 * torch.rand(n, strokes, 1, 1, generator=generator)
    axis = torch.arange(side) + 0.5
    offset = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1) - centre
    along = torch.stack([angle.sin(), angle.cos()], -1)
    position = (offset * along).sum(-1)
    distance = (offset - position.clamp(-half, half)[..., None] * along).norm(dim=-1)
    return (ink * (1.3 - distance).clamp(0, 1)).amax(1)
