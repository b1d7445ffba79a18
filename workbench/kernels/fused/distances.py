"""Squared distances of a tile of points to a tile of others, summed feature by feature: nothing cancels.

Points lie feature by feature, (d, n), and are padded to whole tiles, so that a program reads neighbours together and
without asking where they end. A pair costs two instructions a feature.
"""

from typing import NamedTuple

import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

FEW = 4
"""Features, or columns, up to which loops over them are written out and sums stay where they are made."""

PROGRAMS = 1056
"""Programs wanted: eight for each multiprocessor of a large GPU, so that the last to end are a small part."""


class Tiles(NamedTuple):
    """Points of either side in a tile, and the warps that work on it."""

    rows: int
    points: int
    warps: int


@triton.jit
def distances(x, y, zeros, scale, n, m, row, point, d, R: tl.constexpr, M: tl.constexpr, D: tl.constexpr):
    """‖x − scale · y‖², (R, M), of R points from `row` on of x (d, n) and M from `point` on of y (d, m).

    D > 0: that d, written out. `zeros` (R, M) are where the sums begin: reading them gives each thread four neighbours
    of a row, which it then reads together, where a tile made of nothing would be dealt out one by one.
    """
    rows = tl.arange(0, R)
    points = tl.arange(0, M)
    x_at = x + row
    y_at = y + point
    if D > 0:
        u = tl.zeros([R, M], tl.float32)
        for _ in tl.static_range(D):
            apart = tl.load(x_at + rows)[:, None] - scale[:, None] * tl.load(y_at + points)[None, :]
            u += apart * apart
            x_at += n
            y_at += m
    else:
        u = tl.load(zeros + rows[:, None] * M + points[None, :])
        for _ in tl.range(0, d, loop_unroll_factor=4):
            apart = tl.load(x_at + rows)[:, None] - scale[:, None] * tl.load(y_at + points)[None, :]
            u += apart * apart
            x_at += n
            y_at += m
    return u


def padded(size: int, whole: int) -> int:
    """The next multiple."""
    return triton.cdiv(size, whole) * whole


def by_feature(x: Tensor, size: int, features: int = 0) -> Tensor:
    """(n, d) → (d or `features`, size), zeros where there is nothing."""
    return by_point(x, size, features or x.shape[1]).mT.contiguous()


def by_point(x: Tensor, size: int, columns: int) -> Tensor:
    """(n, d) → (size, columns), zeros where there is nothing."""
    more = (0, columns - x.shape[1], 0, size - len(x))
    return F.pad(x, more) if any(more) else x.contiguous()


def shares(n: int, m: int, tiles: Tiles) -> tuple[int, int]:
    """Into how many shares m points are split so that programs are many enough, and the size of one."""
    blocks = triton.cdiv(m, tiles.points)
    splits = max(1, min(PROGRAMS // triton.cdiv(n, tiles.rows), blocks // 4))
    share = triton.cdiv(blocks, splits) * tiles.points
    return triton.cdiv(m, share), share
