"""Every output pixel gathers its four taps, coloured as they are read; every input pixel gathers what saw it.

The kernels here are for images that do not fit into a program: `augment_small` has those that do.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from workbench.kernels.augment import SMALL, Change, in_pixels, inverse, reach
from workbench.kernels.fused import augment_small

PIXELS = 256

PER_WARP = 128
"""Pixels of a small image that a warp has."""


@triton.jit
def _taken(
    down, right, image, shift, hole, flip, height, width,
    SHIFT: tl.constexpr, HOLE: tl.constexpr, FLIP: tl.constexpr,
):  # fmt: skip
    """Which input pixel a pixel of the shifted, cut, mirrored image is, and whether it is one at all."""
    inside = (down >= 0) & (down < height) & (right >= 0) & (right < width)
    if FLIP:
        right = tl.where(tl.load(flip + image) != 0, width - 1 - right, right)
    if HOLE:
        at = hole + image * 4
        cut = (down >= tl.load(at)) & (down < tl.load(at + 2)) & (right >= tl.load(at + 1)) & (right < tl.load(at + 3))
        inside = inside & (cut == 0)
    if SHIFT:
        down = down + tl.load(shift + image * 2)
        right = right + tl.load(shift + image * 2 + 1)
        inside = inside & (down >= 0) & (down < height) & (right >= 0) & (right < width)
    return down, right, inside


@triton.jit
def _forward(
    x, out, means, color, shift, hole, flip, affine, channels, height, width,
    COLOR: tl.constexpr, SHIFT: tl.constexpr, HOLE: tl.constexpr, FLIP: tl.constexpr, AFFINE: tl.constexpr,
    C: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * P + tl.arange(0, P)
    channel = tl.arange(0, C)
    size = height * width
    real = pixel < size
    down = pixel // width
    right = pixel % width
    total = tl.zeros([C, P], tl.float32)
    if COLOR:
        bright = tl.load(color + image * 3)
        saturated = tl.load(color + image * 3 + 1)
        contrasted = tl.load(color + image * 3 + 2)
        mean = tl.load(means + image)
    if AFFINE:
        at = affine + image * 6
        u = tl.load(at) * right + tl.load(at + 1) * down + tl.load(at + 2)
        v = tl.load(at + 3) * right + tl.load(at + 4) * down + tl.load(at + 5)
        # Far outside is outside: a float too large for an integer must not become one.
        u = tl.minimum(tl.maximum(u, -2.0), width + 1.0)
        v = tl.minimum(tl.maximum(v, -2.0), height + 1.0)
        left = tl.floor(u)
        top = tl.floor(v)
    for tap in tl.static_range(4 if AFFINE else 1):
        if AFFINE:
            column = left + (tap % 2)
            row = top + (tap // 2)
            weight = (1 - tl.abs(u - column)) * (1 - tl.abs(v - row))
            row, column, inside = _taken(
                row.to(tl.int32), column.to(tl.int32), image, shift, hole, flip, height, width, SHIFT, HOLE, FLIP
            )
        else:
            weight = tl.full([P], 1.0, tl.float32)
            row, column, inside = _taken(down, right, image, shift, hole, flip, height, width, SHIFT, HOLE, FLIP)
        inside = inside & real
        at = x + (image * channels + channel)[:, None] * size + (row * width + column)[None, :]
        there = inside[None, :] & (channel < channels)[:, None]
        value = tl.load(at, mask=there, other=0.0).to(tl.float32)
        if COLOR:
            grey = (tl.sum(value, 0) / channels)[None, :]
            value = contrasted * (saturated * (value - grey) + grey - mean) + mean + bright
        total += tl.where(there, value * weight[None, :], 0.0)
    at = out + (image * channels + channel)[:, None] * size + pixel[None, :]
    tl.store(at, total.to(out.dtype.element_ty), mask=real[None, :] & (channel < channels)[:, None])


@triton.jit
def _backward(
    g, out, received, color, shift, hole, flip, affine, inverse, channels, height, width,
    COLOR: tl.constexpr, SHIFT: tl.constexpr, HOLE: tl.constexpr, FLIP: tl.constexpr, AFFINE: tl.constexpr,
    REACH: tl.constexpr, C: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * P + tl.arange(0, P)
    channel = tl.arange(0, C)
    size = height * width
    real = pixel < size
    # Where the input pixel came to lie after the shift, and whether it is seen there.
    down = pixel // width
    right = pixel % width
    if SHIFT:
        down = down - tl.load(shift + image * 2).to(tl.int32)
        right = right - tl.load(shift + image * 2 + 1).to(tl.int32)
    seen = real & (down >= 0) & (down < height) & (right >= 0) & (right < width)
    if HOLE:
        at = hole + image * 4
        cut = (down >= tl.load(at)) & (down < tl.load(at + 2)) & (right >= tl.load(at + 1)) & (right < tl.load(at + 3))
        seen = seen & (cut == 0)
    if FLIP:
        right = tl.where(tl.load(flip + image) != 0, width - 1 - right, right)
    total = tl.zeros([C, P], tl.float32)
    if AFFINE:
        at = affine + image * 6
        a = tl.load(at)
        b = tl.load(at + 1)
        c = tl.load(at + 2)
        d = tl.load(at + 3)
        e = tl.load(at + 4)
        f = tl.load(at + 5)
        back = inverse + image * 4
        middle_right = tl.load(back) * (right - c) + tl.load(back + 1) * (down - f)
        middle_down = tl.load(back + 2) * (right - c) + tl.load(back + 3) * (down - f)
        first_right = tl.floor(tl.minimum(tl.maximum(middle_right, -16.0), width + 16.0) + 0.5).to(tl.int32)
        first_down = tl.floor(tl.minimum(tl.maximum(middle_down, -16.0), height + 16.0) + 0.5).to(tl.int32)
        for step in range((2 * REACH + 1) * (2 * REACH + 1)):
            column = first_right + step % (2 * REACH + 1) - REACH
            row = first_down + step // (2 * REACH + 1) - REACH
            u = a * column + b * row + c
            v = d * column + e * row + f
            weight = tl.maximum(1 - tl.abs(u - right), 0.0) * tl.maximum(1 - tl.abs(v - down), 0.0)
            inside = seen & (weight > 0) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
            spot = g + (image * channels + channel)[:, None] * size + (row * width + column)[None, :]
            there = inside[None, :] & (channel < channels)[:, None]
            total += tl.where(there, tl.load(spot, mask=there, other=0.0).to(tl.float32) * weight[None, :], 0.0)
    else:
        spot = g + (image * channels + channel)[:, None] * size + (down * width + right)[None, :]
        total += tl.load(spot, mask=seen[None, :] & (channel < channels)[:, None], other=0.0).to(tl.float32)
    if COLOR:
        grey = tl.sum(total, 0)
        tl.store(received + image * tl.num_programs(1) + tl.program_id(1), tl.sum(grey, 0))
        grey = (grey / channels)[None, :]
        saturated = tl.load(color + image * 3 + 1)
        # What reaches a pixel through the image's mean is added afterwards: it needs all pixels.
        total = tl.load(color + image * 3 + 2) * (saturated * (total - grey) + grey)
    written = out + (image * channels + channel)[:, None] * size + pixel[None, :]
    tl.store(written, total, mask=real[None, :] & (channel < channels)[:, None])


def forward(x: Tensor, change: Change) -> Tensor:
    """The images (n, c, h, w) changed; parameters have one row per image, or one for all."""
    n, channels, height, width = x.shape
    x = x.contiguous()
    out = torch.empty_like(x)
    if height * width <= SMALL:
        return _small(augment_small.forward, x, out, change)
    change = _each(change, n)
    told = _parameters(change, x)
    means = x.mean((1, 2, 3), dtype=torch.float32) if change.color is not None else x
    affine = in_pixels(change.affine.to(x.device), height, width).contiguous() if change.affine is not None else x
    _forward[(n, triton.cdiv(height * width, PIXELS))](
        x, out, means, *told, affine,
        channels, height, width, **_flags(change), C=triton.next_power_of_2(channels), P=PIXELS,
    )  # fmt: skip
    return out


def backward(g: Tensor, change: Change) -> Tensor:
    """Upstream (n, c, h, w) → gradient towards the images."""
    n, channels, height, width = g.shape
    g = g.contiguous()
    if height * width <= SMALL:
        return _small(augment_small.backward, g, torch.empty_like(g), change)
    change = _each(change, n)
    out = torch.empty(g.shape, dtype=torch.float32, device=g.device)
    blocks = triton.cdiv(height * width, PIXELS)
    received = torch.empty(n, blocks, dtype=torch.float32, device=g.device)
    told = _parameters(change, g)
    affine = back = g
    steps = 0
    if change.affine is not None:
        affine = in_pixels(change.affine.to(g.device), height, width).contiguous()
        back = inverse(affine[:, :, :2])
        steps = reach(change.affine, height, width)
    _backward[(n, blocks)](
        g, out, received, *told, affine, back,
        channels, height, width, **_flags(change), REACH=steps, C=triton.next_power_of_2(channels), P=PIXELS,
    )  # fmt: skip
    if change.color is not None:
        # Through the image's mean every pixel receives a share of what all of them did.
        share = (1 - change.color[:, 2].to(g.device)) * received.sum(1) / (channels * height * width)
        out += share[:, None, None, None]
    return out.to(g.dtype)


def _small(kernel: Any, x: Tensor, out: Tensor, change: Change) -> Tensor:
    """`out` (n, c, h, w), filled by a program for each image. Parameters that images share are not copied."""
    n, channels, height, width = x.shape
    told = [x if each is None else each.to(x.device) for each in change]
    told = [each if each.ndim < 2 or each[0].is_contiguous() else each.contiguous() for each in told]
    pixels = triton.next_power_of_2(height * width)
    kernel[(n,)](
        x, out, *told, *(0 if len(each) == 1 else each.stride(0) for each in told), channels, height, width,
        **_flags(change), C=channels, P=pixels, num_warps=max(1, min(16, pixels // PER_WARP)),
    )  # fmt: skip
    return out


def _each(change: Change, images: int) -> Change:
    return Change(*(None if given is None else given.expand(images, *given.shape[1:]) for given in change))


def _flags(change: Change) -> dict[str, bool]:
    return {name.upper(): given is not None for name, given in change._asdict().items()}


def _parameters(change: Change, x: Tensor) -> list[Tensor]:
    """Colour as float32, shift, hole and flip as int64; `x`, which is not looked at, where there is none."""
    given = ((change.color, torch.float32), *((e, torch.int64) for e in (change.shift, change.hole, change.flip)))
    return [x if each is None else each.to(x.device, dtype).contiguous() for each, dtype in given]
