"""Colour, shift, cutout, mirroring and an affine map of images in one sampling pass, with gradients to the images.

In this order, as in differentiable Siamese augmentation (Zhao & Bilen 2021), and each optional:

    colour    y = κ (ς (x − grey) + grey − mean) + mean + b     grey over channels, mean over the image
    shift     moved by whole pixels; what comes in is 0
    hole      a rectangle that becomes 0
    flip      left to right
    affine    read at the points of an affine map, bilinear; outside is 0

Parameters belong to each image, or one set to all. Two interpolating maps in a row are two passes: composed into one
they would blur less than what they stand for.

Cost, for n images of E elements and b bytes: forward 2 b n E, and backward as much, of images of up to `SMALL` pixels,
which one program holds; of larger ones one reading and one writing more, for the mean, where there is colour. The plain
version, which runs on a CPU, makes two passes for each part and six for an affine map. The fused backward pass is a
gather: every pixel asks which points of the map lie within a pixel of it, instead of every point adding to four pixels,
so that equal inputs give equal bits, which `grid_sample`'s atomic additions do not. Share of a GPU's bandwidth:
``BENCHMARKS-GPU.md``.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.kernels.dispatch import INTERPRETED, runs_fused

__all__ = ["Change", "augment", "resample", "turn"]

SMALL = 4096
"""Pixels of an image that one program of the fused version holds."""

REACH = 4
"""Of larger ones: pixels that an output pixel's point may be away, of those that touch one input pixel, for it."""

TWICE = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 13)
"""Whether torch differentiates `grid_sample` twice."""


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
    flip
        Which images are mirrored left to right: (n,), bool.
    affine
        Maps a point (right, down, 1) of the result, −1..1 along each side, to the point of the image that is seen
        there: (n, 2, 3), as `resample` takes it.
    """

    color: Tensor | None = None
    shift: Tensor | None = None
    hole: Tensor | None = None
    flip: Tensor | None = None
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
    >>> augment(images, Change(flip=torch.tensor([True])))
    tensor([[[[1., 0.],
              [3., 2.]]]])
    """
    if x.ndim != 4:
        raise ValueError(f"x has shape {tuple(x.shape)}; images are (n, channels, height, width)")
    for (name, given), shape in zip(change._asdict().items(), ((3,), (2,), (4,), (), (2, 3)), strict=True):
        if given is not None and given.shape not in ((len(x), *shape), (1, *shape)):
            raise ValueError(f"{name} has shape {tuple(given.shape)}; it must be {(len(x), *shape)} or {(1, *shape)}")
    if not x.numel() or all(each is None for each in change):
        return x
    if x.device.type == "cpu" and not INTERPRETED:
        return by_definition(x, change)
    result: Tensor = _Augment.apply(x, *change)
    return result


def by_definition(x: Tensor, change: Change) -> Tensor:
    """One after the other; differentiable to any order."""
    height, width = x.shape[-2:]
    if change.color is not None:
        x = _colored(x, change.color.to(x.dtype))
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
    if change.flip is not None:
        x = torch.where(change.flip[:, None, None, None], x.flip(3), x)
    if change.affine is not None:
        x = resample(x, change.affine.to(x.dtype), outside="zeros")
    return x


def resample(x: Tensor, affine: Tensor, outside: str = "border") -> Tensor:
    """Images (n, c, h, w) read at the points of affine maps (n or 1, 2, 3), bilinear; −1..1 spans each side.

    `outside`: what lies beyond the image, ``"border"`` (its edge pixels) or ``"zeros"``.
    """
    # torch's affine_grid, written out: it has no rule for vmap.
    height, width = x.shape[-2:]
    down = (2 * torch.arange(height, device=x.device, dtype=x.dtype) + 1) / height - 1
    right = (2 * torch.arange(width, device=x.device, dtype=x.dtype) + 1) / width - 1
    points = torch.stack([right.expand(height, width), down[:, None].expand(height, width)], 2)
    grid = points.flatten(0, 1) @ affine[:, :, :2].mT + affine[:, None, :, 2]
    grid = grid.unflatten(1, (height, width)).expand(len(x), height, width, 2)
    if TWICE:
        return F.grid_sample(x, grid, mode="bilinear", padding_mode=outside, align_corners=False)
    found: Tensor = _Sampled.apply(x, grid, outside)
    return found


def gathered(x: Tensor, grid: Tensor, outside: str) -> Tensor:
    """`grid_sample` from its four taps, written out: four times as slow, differentiable to any order."""
    (height, width), points = x.shape[-2:], grid.flatten(1, 2)
    u, v = (((points[..., axis] + 1) * side - 1) / 2 for axis, side in ((0, width), (1, height)))
    if outside == "border":
        u, v = u.clamp(0, width - 1), v.clamp(0, height - 1)
    left, top, total = u.detach().floor(), v.detach().floor(), torch.zeros_like(x)
    for down in (0, 1):
        for right in (0, 1):
            row, column = top + down, left + right
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            weight = ((1 - (u - column).abs()) * (1 - (v - row).abs())).where(inside, 0)
            at = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()
            seen = x.flatten(2).gather(2, at.unsqueeze(1).expand(-1, x.shape[1], -1))
            total = total + (seen * weight.unsqueeze(1)).view_as(x)
    return total


class _Sampled(torch.autograd.Function):
    """`grid_sample`, whose gradient torch before 2.13 does not differentiate again: that goes through `gathered`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, grid: Tensor, outside: str) -> Tensor:
        return F.grid_sample(x, grid, mode="bilinear", padding_mode=outside, align_corners=False)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[object, ...], output: Tensor) -> None:  # noqa: ARG004
        x, grid, ctx.outside = inputs
        ctx.save_for_backward(x, grid)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, grid = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            pull: Any = torch.func.vjp(lambda x, grid: gathered(x, grid, ctx.outside), x, grid)[1]
            return *pull(g), None
        modes = 0, ("zeros", "border").index(ctx.outside), False
        return *torch.ops.aten.grid_sampler_2d_backward(g, x, grid, *modes, ctx.needs_input_grad[:2]), None


def turn(angle: Tensor, aspect: float) -> Tensor:
    """Affine maps (n, 2, 3) that turn by angles (n,), in radians, images whose height is `aspect` × their width."""
    sine, cosine, zero = angle.sin(), angle.cos(), torch.zeros_like(angle)
    # The grid counts each side as 2: on an image that is not square a plain rotation would shear.
    rows = torch.stack([cosine, -sine * aspect, zero, sine / aspect, cosine, zero], 1)
    return rows.view(-1, 2, 3)


def _colored(x: Tensor, color: Tensor) -> Tensor:
    bright, saturated, contrasted = color[:, :, None, None, None].unbind(1)
    x = x + bright
    if x.shape[1] > 1:  # a single channel is its own mean
        grey = x.mean(1, keepdim=True)
        x = (x - grey) * saturated + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * contrasted + mean


def _fuses(x: Tensor, change: Change) -> bool:
    refused = ""
    if x.shape[1] > 4:
        refused = "more than four channels"
    elif change.affine is not None and x.shape[-2:].numel() > SMALL and reach(change.affine, *x.shape[-2:]) > REACH:
        refused = "an affine map that shrinks so much that many pixels see one"
    return runs_fused("augment", x, refused=refused)


def in_pixels(affine: Tensor, height: int, width: int) -> Tensor:
    """The map from output pixel (right, down, 1) to input pixel (right, down), float32: (n, 2, 3)."""
    a = affine.float()
    side = a.new_tensor([width, height])
    linear = a[:, :, :2] * side[:, None] / side
    corner = torch.full_like(side, 0.5)
    middle = (side - 1) / 2
    offset = a[:, :, 2] * side / 2 + middle - linear @ (side / 2 - corner)
    return torch.cat([linear, offset.unsqueeze(2)], 2)


def inverse(linear: Tensor) -> Tensor:
    """Of matrices (n, 2, 2), written out: torch's asks the device whether one is singular. Infinite where one is."""
    (a, b), (c, d) = (row.unbind(1) for row in linear.unbind(1))
    return torch.stack([d, -b, -c, a], 1).view(-1, 2, 2) / (a * d - b * c)[:, None, None]


def reach(affine: Tensor, height: int, width: int) -> int:
    """How many pixels around the exact one may see an input pixel; more than `REACH` where the map is singular."""
    furthest = inverse(in_pixels(affine, height, width)[:, :, :2]).abs().sum(2).amax()
    return int(furthest.nan_to_num(REACH + 1).clamp(max=REACH + 1).ceil())


class _Augment(torch.autograd.Function):
    """The fused pass each way, where it takes the images; a second derivative goes through the definition."""

    @staticmethod
    def forward(x: Tensor, *told: Tensor | None) -> Tensor:
        change = Change(*told)
        if not _fuses(x, change):
            return by_definition(x, change)
        from workbench.kernels.fused import augment as fused  # noqa: PLC0415 - only where Triton is

        return fused.forward(x, change)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[object, ...], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, *told = ctx.saved_tensors
        change = Change(*told)
        nothing = (None,) * len(told)
        if torch.is_grad_enabled() or not _fuses(x, change):
            pull: Any = torch.func.vjp(lambda x: by_definition(x, change), x)[1]
            return pull(g)[0], *nothing
        from workbench.kernels.fused import augment as fused  # noqa: PLC0415 - only where Triton is

        return fused.backward(g, change), *nothing

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, *told: Tensor | None) -> tuple[Tensor, int]:
        """The mapped axis is one more axis of images."""
        size = info.batch_size
        each: list[Tensor | None] = []
        images = x.expand(size, *x.shape) if in_dims[0] is None else x.movedim(in_dims[0], 0)
        for value, axis in zip(told, in_dims[1:], strict=True):
            if value is None:
                each.append(None)
                continue
            whole = value.expand(size, *value.shape) if axis is None else value.movedim(axis, 0)
            each.append(whole.expand(size, images.shape[1], *whole.shape[2:]).flatten(0, 1))
        return _Augment.apply(images.flatten(0, 1), *each).unflatten(0, (size, -1)), 0
