"""Small images changed in one reading and one writing each way: a program has a whole image, in registers.

What a pixel gathers comes from the other pixels' registers, by way of the memory that a program shares, so that rows
read at an angle cost no more than straight ones. The forward pass reads an image a second time where it is shifted or
mirrored, which the cache answers.
"""

import triton
import triton.language as tl


@triton.jit
def _map(affine, height, width):
    """The affine map in pixels: from (right, down) of the result to (right, down) of the image."""
    across = (width - 1) * 0.5
    along = (height - 1) * 0.5
    a = tl.load(affine).to(tl.float32)
    b = tl.load(affine + 1).to(tl.float32) * width / height
    d = tl.load(affine + 3).to(tl.float32) * height / width
    e = tl.load(affine + 4).to(tl.float32)
    c = tl.load(affine + 2).to(tl.float32) * (width * 0.5) + across - (a * across + b * along)
    f = tl.load(affine + 5).to(tl.float32) * (height * 0.5) + along - (d * across + e * along)
    return a, b, c, d, e, f


@triton.jit
def _tapped(values, u, v, left, top, height, width, P: tl.constexpr):
    """Bilinear: Σ over four taps of weight × value, 0 outside."""
    total = tl.zeros([P], tl.float32)
    for tap in tl.static_range(4):
        column = left + (tap % 2)
        row = top + (tap // 2)
        weight = (1 - tl.abs(u - column)) * (1 - tl.abs(v - row))
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        index = tl.where(inside, row * width + column, 0.0).to(tl.int32)
        total += tl.where(inside, tl.gather(values, index, 0) * weight, 0.0)
    return total


@triton.jit
def forward(
    x, out, color, shift, hole, flip, affine,
    color_row, shift_row, hole_row, flip_row, affine_row, channels, height, width,
    COLOR: tl.constexpr, SHIFT: tl.constexpr, HOLE: tl.constexpr, FLIP: tl.constexpr, AFFINE: tl.constexpr,
    C: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """One image changed; `color_row` and so on: from one image's numbers to the next one's, 0 where they are shared."""
    image = tl.program_id(0).to(tl.int64)
    pixel = tl.arange(0, P)
    size = height * width
    real = pixel < size
    row = pixel // width
    column = pixel % width
    here = x + image * (channels * size)
    if COLOR:
        total = tl.zeros([P], tl.float32)
        for channel in tl.static_range(C):
            total += tl.load(here + channel * size + pixel, mask=real, other=0.0).to(tl.float32)
        mean = tl.sum(total, 0) / (channels * size)
        at = color + image * color_row
        bright = tl.load(at).to(tl.float32)
        saturated = tl.load(at + 1).to(tl.float32)
        contrasted = tl.load(at + 2).to(tl.float32)
    # Which pixel of the image each one of the shifted, cut, mirrored image is, and whether it is one at all.
    down = row
    right = column
    seen = real
    if FLIP:
        right = tl.where(tl.load(flip + image * flip_row) != 0, width - 1 - right, right)
    if HOLE:
        at = hole + image * hole_row
        cut = (down >= tl.load(at)) & (down < tl.load(at + 2)) & (right >= tl.load(at + 1)) & (right < tl.load(at + 3))
        seen = seen & (cut == 0)
    if SHIFT:
        down = down + tl.load(shift + image * shift_row).to(tl.int32)
        right = right + tl.load(shift + image * shift_row + 1).to(tl.int32)
        seen = seen & (down >= 0) & (down < height) & (right >= 0) & (right < width)
    spot = here + down * width + right
    if COLOR:
        total = tl.zeros([P], tl.float32)
        for channel in tl.static_range(C):
            total += tl.load(spot + channel * size, mask=seen, other=0.0).to(tl.float32)
        grey = total / channels
    if AFFINE:
        a, b, c, d, e, f = _map(affine + image * affine_row, height, width)
        u = a * column + b * row + c
        v = d * column + e * row + f
        # Far outside is outside: a float too large for an integer must not become one.
        u = tl.minimum(tl.maximum(u, -2.0), width + 1.0)
        v = tl.minimum(tl.maximum(v, -2.0), height + 1.0)
        left = tl.floor(u)
        top = tl.floor(v)
    for channel in tl.static_range(C):
        value = tl.load(spot + channel * size, mask=seen, other=0.0).to(tl.float32)
        if COLOR:
            value = contrasted * (saturated * (value - grey) + grey - mean) + mean + bright
            value = tl.where(seen, value, 0.0)
        if AFFINE:
            value = _tapped(value, u, v, left, top, height, width, P)
        at = out + image * (channels * size) + channel * size + pixel
        tl.store(at, value.to(out.dtype.element_ty), mask=real)


@triton.jit
def backward(
    g, out, color, shift, hole, flip, affine,
    color_row, shift_row, hole_row, flip_row, affine_row, channels, height, width,
    COLOR: tl.constexpr, SHIFT: tl.constexpr, HOLE: tl.constexpr, FLIP: tl.constexpr, AFFINE: tl.constexpr,
    C: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """The gradient towards one image, of that towards what it became."""
    image = tl.program_id(0).to(tl.int64)
    pixel = tl.arange(0, P)
    size = height * width
    real = pixel < size
    # Where the input pixel came to lie after the shift, and whether it is seen there.
    down = pixel // width
    right = pixel % width
    if SHIFT:
        down = down - tl.load(shift + image * shift_row).to(tl.int32)
        right = right - tl.load(shift + image * shift_row + 1).to(tl.int32)
    seen = real & (down >= 0) & (down < height) & (right >= 0) & (right < width)
    if HOLE:
        at = hole + image * hole_row
        cut = (down >= tl.load(at)) & (down < tl.load(at + 2)) & (right >= tl.load(at + 1)) & (right < tl.load(at + 3))
        seen = seen & (cut == 0)
    if FLIP:
        right = tl.where(tl.load(flip + image * flip_row) != 0, width - 1 - right, right)
    here = g + image * (channels * size)
    if AFFINE:
        from_ = here + pixel
        seen_there = real
    else:
        from_ = here + down * width + right
        seen_there = seen
    first = tl.load(from_, mask=seen_there, other=0.0).to(tl.float32)
    if C > 1:
        second = tl.load(from_ + size, mask=seen_there, other=0.0).to(tl.float32)
    if C > 2:
        third = tl.load(from_ + 2 * size, mask=seen_there, other=0.0).to(tl.float32)
    if C > 3:
        fourth = tl.load(from_ + 3 * size, mask=seen_there, other=0.0).to(tl.float32)
    if AFFINE:
        a, b, c, d, e, f = _map(affine + image * affine_row, height, width)
        # The points that see a pixel lie less than this far from the one that sees its middle; all are looked at where
        # the map shrinks so much that one pixel of the result may see any.
        size_of = 1 / (a * e - b * d)
        reach_right = (tl.abs(e) + tl.abs(b)) * tl.abs(size_of)
        reach_down = (tl.abs(d) + tl.abs(a)) * tl.abs(size_of)
        near = (reach_right < width) & (reach_down < height)
        middle_right = (e * (right - c) - b * (down - f)) * size_of
        middle_down = (a * (down - f) - d * (right - c)) * size_of
        first_right = tl.floor(tl.minimum(tl.maximum(middle_right - reach_right, -2.0 * width), 2.0 * width)) + 1
        first_down = tl.floor(tl.minimum(tl.maximum(middle_down - reach_down, -2.0 * height), 2.0 * height)) + 1
        first_right = tl.where(near, first_right, 0.0)
        first_down = tl.where(near, first_down, 0.0)
        columns = tl.where(near, tl.ceil(2 * reach_right), width * 1.0).to(tl.int32)
        rows = tl.where(near, tl.ceil(2 * reach_down), height * 1.0).to(tl.int32)
        one = tl.zeros([P], tl.float32)
        two = tl.zeros([P], tl.float32)
        three = tl.zeros([P], tl.float32)
        four = tl.zeros([P], tl.float32)
        for below in range(rows):
            row = first_down + below
            for beside in range(columns):
                column = first_right + beside
                weight = tl.maximum(1 - tl.abs(a * column + b * row + c - right), 0.0)
                weight = weight * tl.maximum(1 - tl.abs(d * column + e * row + f - down), 0.0)
                inside = (weight > 0) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
                index = tl.where(inside, row * width + column, 0.0).to(tl.int32)
                one += tl.where(inside, tl.gather(first, index, 0) * weight, 0.0)
                if C > 1:
                    two += tl.where(inside, tl.gather(second, index, 0) * weight, 0.0)
                if C > 2:
                    three += tl.where(inside, tl.gather(third, index, 0) * weight, 0.0)
                if C > 3:
                    four += tl.where(inside, tl.gather(fourth, index, 0) * weight, 0.0)
        first = tl.where(seen, one, 0.0)
        if C > 1:
            second = tl.where(seen, two, 0.0)
        if C > 2:
            third = tl.where(seen, three, 0.0)
        if C > 3:
            fourth = tl.where(seen, four, 0.0)
    if COLOR:
        grey = first
        if C > 1:
            grey += second
        if C > 2:
            grey += third
        if C > 3:
            grey += fourth
        saturated = tl.load(color + image * color_row + 1).to(tl.float32)
        contrasted = tl.load(color + image * color_row + 2).to(tl.float32)
        # Through the image's mean every pixel receives a share of what all of them did.
        share = (1 - contrasted) * tl.sum(grey, 0) / (channels * size)
        grey = grey / channels
        first = contrasted * (saturated * (first - grey) + grey) + share
        if C > 1:
            second = contrasted * (saturated * (second - grey) + grey) + share
        if C > 2:
            third = contrasted * (saturated * (third - grey) + grey) + share
        if C > 3:
            fourth = contrasted * (saturated * (fourth - grey) + grey) + share
    at = out + image * (channels * size) + pixel
    tl.store(at, first.to(out.dtype.element_ty), mask=real)
    if C > 1:
        tl.store(at + size, second.to(out.dtype.element_ty), mask=real)
    if C > 2:
        tl.store(at + 2 * size, third.to(out.dtype.element_ty), mask=real)
    if C > 3:
        tl.store(at + 3 * size, fourth.to(out.dtype.element_ty), mask=real)
