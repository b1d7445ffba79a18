"""Colour, shift, cutout and an affine map of images in one sampling pass, with gradients to the images.

In this order, as in differentiable Siamese augmentation (Zhao & Bilen 2021), and each optional:

    colour    y = κ (ς (x − grey) + grey − mean) + mean + b     grey over channels, mean over the image
    shift     moved by whole pixels; what comes in is 0
    hole      a rectangle that becomes 0
    affine    read at the points of an affine map, bilinear; outside is 0

Several affine changes (flip, scale, rotation) are one map, hence one interpolation where doing one after the other
interpolates, and blurs, each time. Parameters belong to each image, or one set to all.

Cost, for n images of E elements and b bytes: forward 2 b n E, and backward as much, plus one reading for the mean where
there is colour; the plain version makes six to ten passes. The fused backward pass is a gather: every pixel asks which
points of the map lie within a pixel of it, instead of every point adding to four pixels, so that equal inputs give
equal bits, which `grid_sample`'s atomic additions do not. How near it comes: ``bench/bench_kernels.py``.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from workbench.kernels.dispatch import runs_fused

__all__ = ["Change", "augment"]

REACH = 4
"""Pixels that an output pixel's point may be away, of those that touch one input pixel, for the fused version."""


class Change(NamedTuple):
    """What is done to images (n, c, h, w); first axes are n, or 1 for all alike. None: left out.

    Attributes
    ----------
    color
        Brightness b, saturation ς, contrast κ: (n, 3). Nothing changes at (0, 1, 1).
    shift
        The pixel (down, right) of the image that comes to the top left corner, whole numbers: (n, 2), int64.
    hole
        First row and column, and those after the last, of the rectangle that becomes 0: (n, 4), int64.
    affine
        Maps a point (right, down, 1) of the result, −1..1 along each side, to the point of the image that is seen
        there: (n, 2, 3), as `torch.nn.functional.affine_grid` takes it.
    """

    color: Tensor | None = None
    shift: Tensor | None = None
    hole: Tensor | None = None
    affine: Tensor | None = None


def augment(x: Tensor, change: Change) -> Tensor:
    """The images changed, same shape and dtype; differentiable with respect to them.

    Parameters
    ----------
    x
        Images, shape (n, c, h, w).
    change
        What to do.

    Raises
    ------
    ValueError
        Shapes that do not fit.

    Examples
    --------
    >>> images = torch.arange(4.0).view(1, 1, 2, 2)
    >>> augment(images, Change(affine=torch.tensor([[[-1.0, 0, 0], [0, 1, 0]]])))
    tensor([[[[1., 0.],
              [3., 2.]]]])
    """
    if x.ndim != 4:
        raise ValueError(f"x has shape {tuple(x.shape)}; images are (n, channels, height, width)")
    for (name, given), shape in zip(change._asdict().items(), ((3,), (2,), (4,), (2, 3)), strict=True):
        if given is not None and given.shape not in ((len(x), *shape), (1, *shape)):
            raise ValueError(f"{name} has shape {tuple(given.shape)}; it must be {(len(x), *shape)} or {(1, *shape)}")
    if not x.numel():
        return x
    if not runs_fused("augment", x, refused=_refused(change, x)):
        return by_definition(x, change)
    return _Augment.apply(x, *(None if each is None else each.expand(len(x), *each.shape[1:]) for each in change))


def by_definition(x: Tensor, change: Change) -> Tensor:
    """One after the other; differentiable to any order."""
    if change.color is not None:
        x = _colored(x, change.color.to(x.dtype))
    height, width = x.shape[-2:]
    if change.shift is not None:
        for axis, side in ((2, height), (3, width)):
            at = torch.arange(side, device=x.device) + change.shift[:, axis - 2, None]
            shape = (len(at), 1, side, 1) if axis == 2 else (len(at), 1, 1, side)
            inside = ((at >= 0) & (at < side)).view(shape)
            x = x.gather(axis, at.clamp(0, side - 1).view(shape).expand_as(x)).where(inside, 0)
    if change.hole is not None:
        top, left, bottom, right = change.hole[:, :, None].unbind(1)
        down, across = (torch.arange(side, device=x.device) for side in (height, width))
        rows, columns = (down >= top) & (down < bottom), (across >= left) & (across < right)
        x = x.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], 0)
    if change.affine is not None:
        affine = change.affine.to(x.dtype).expand(len(x), 2, 3)
        grid = functional.affine_grid(affine, list(x.shape), align_corners=False)
        x = functional.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return x


def _colored(x: Tensor, color: Tensor) -> Tensor:
    bright, saturated, contrasted = color[:, :, None, None, None].unbind(1)
    grey, mean = x.mean(1, keepdim=True), x.mean((1, 2, 3), keepdim=True)
    return contrasted * (saturated * (x - grey) + grey - mean) + mean + bright


def _refused(change: Change, x: Tensor) -> str:
    """Why the fused version does not take this, empty where it does."""
    if x.shape[1] > 4:
        return "more than four channels"
    if change.affine is not None and reach(change.affine, *x.shape[-2:]) > REACH:
        return "an affine map that shrinks so much that many pixels see one"
    return ""


def in_pixels(affine: Tensor, height: int, width: int) -> Tensor:
    """The map from output pixel (right, down, 1) to input pixel (right, down), float32: (n, 2, 3)."""
    a = affine.float()
    side = a.new_tensor([width, height])
    linear = a[:, :, :2] * side[:, None] / side
    corner = torch.full_like(side, 0.5)
    middle = (side - 1) / 2
    offset = a[:, :, 2] * side / 2 + middle - linear @ (side / 2 - corner)
    return torch.cat([linear, offset.unsqueeze(2)], 2)


def reach(affine: Tensor, height: int, width: int) -> int:
    """How many pixels around the exact one may see an input pixel; more than `REACH` where the map is singular."""
    linear = in_pixels(affine, height, width)[:, :, :2]
    if bool((torch.linalg.det(linear).abs() < 1e-3).any()):
        return REACH + 1
    return int(torch.linalg.inv(linear).abs().sum(2).max().ceil())


class _Augment(torch.autograd.Function):
    """The fused pass each way; a second derivative goes through the definition."""

    @staticmethod
    def forward(
        x: Tensor, color: Tensor | None, shift: Tensor | None, hole: Tensor | None, affine: Tensor | None
    ) -> Tensor:
        from workbench.kernels.fused import augment as fused  # noqa: PLC0415 - only where Triton is

        return fused.forward(x, Change(color, shift, hole, affine))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        from workbench.kernels.fused import augment as fused  # noqa: PLC0415 - only where Triton is

        x, *change = ctx.saved_tensors
        if torch.is_grad_enabled():
            out = torch.func.vjp(lambda x: by_definition(x, Change(*change)), x)[1](g)[0]
        else:
            out = fused.backward(g, Change(*change))
        return out, None, None, None, None
