"""Every output pixel gathers its four taps, coloured as they are read; every input pixel gathers what saw it."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from workbench.kernels.augment import Change, in_pixels, reach

PIXELS = 256


@triton.jit
def _taken(down, right, image, shift, hole, height, width, SHIFT: tl.constexpr, HOLE: tl.constexpr):
    """Which input pixel a pixel of the shifted, cut image is, and whether it is one at all."""
    inside = (down >= 0) & (down < height) & (right >= 0) & (right < width)
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
    x, out, means, color, shift, hole, affine, channels, height, width,
    COLOR: tl.constexpr, SHIFT: tl.constexpr, HOLE: tl.constexpr, AFFINE: tl.constexpr,
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
                row.to(tl.int32), column.to(tl.int32), image, shift, hole, height, width, SHIFT, HOLE
            )
        else:
            weight = tl.full([P], 1.0, tl.float32)
            row, column, inside = _taken(down, right, image, shift, hole, height, width, SHIFT, HOLE)
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
    g, out, color, shift, hole, affine, inverse, channels, height, width,
    COLOR: tl.constexpr, SHIFT: tl.constexpr, HOLE: tl.constexpr, AFFINE: tl.constexpr,
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
        saturated = tl.load(color + image * 3 + 1)
        grey = (tl.sum(total, 0) / channels)[None, :]
        # What reaches a pixel through the image's mean is added afterwards: it needs all pixels.
        total = tl.load(color + image * 3 + 2) * (saturated * (total - grey) + grey)
    written = out + (image * channels + channel)[:, None] * size + pixel[None, :]
    tl.store(written, total, mask=real[None, :] & (channel < channels)[:, None])


def forward(x: Tensor, change: Change) -> Tensor:
    """The images changed; parameters have one row per image."""
    n, channels, height, width = x.shape
    x = x.contiguous()
    out = torch.empty_like(x)
    color, shift, hole = _parameters(change, x)
    means = x.mean((1, 2, 3), dtype=torch.float32) if color is not None else x
    affine = in_pixels(change.affine.to(x.device), height, width).contiguous() if change.affine is not None else x
    _forward[(n, triton.cdiv(height * width, PIXELS))](
        x, out, means, *(x if each is None else each for each in (color, shift, hole)), affine,
        channels, height, width, **_flags(change), C=triton.next_power_of_2(channels), P=PIXELS,
    )  # fmt: skip
    return out


def backward(g: Tensor, change: Change) -> Tensor:
    """Upstream (n, c, h, w) → gradient towards the images."""
    n, channels, height, width = g.shape
    g = g.contiguous()
    out = torch.empty(g.shape, dtype=torch.float32, device=g.device)
    color, shift, hole = _parameters(change, g)
    affine = inverse = g
    steps = 0
    if change.affine is not None:
        affine = in_pixels(change.affine.to(g.device), height, width).contiguous()
        inverse = torch.linalg.inv(affine[:, :, :2]).contiguous()
        steps = reach(change.affine, height, width)
    _backward[(n, triton.cdiv(height * width, PIXELS))](
        g, out, *(g if each is None else each for each in (color, shift, hole)), affine, inverse,
        channels, height, width, **_flags(change), REACH=steps, C=triton.next_power_of_2(channels), P=PIXELS,
    )  # fmt: skip
    if color is not None:
        # What reached a channel's pixels sums up to κ times what came, whatever ς; κ may be 0, so it is run with κ = 1.
        total = out.sum((1, 2, 3)) / color[:, 2] if bool((color[:, 2] > 0.1).all()) else _uncolored(g, change)
        out += ((1 - color[:, 2]) * total / (channels * height * width))[:, None, None, None]
    return out.to(g.dtype)


def _uncolored(g: Tensor, change: Change) -> Tensor:
    return backward(g, change._replace(color=None)).sum((1, 2, 3), dtype=torch.float32)


def _flags(change: Change) -> dict[str, bool]:
    return {name.upper(): given is not None for name, given in change._asdict().items()}


def _parameters(change: Change, x: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    color = None if change.color is None else change.color.to(x.device, torch.float32).contiguous()
    shift, hole = (None if e is None else e.to(x.device, torch.int64).contiguous() for e in (change.shift, change.hole))
    return color, shift, hole
