"""K(x, y) @ columns with tiles of the kernel matrix in registers, distances summed feature by feature.

A program has the points of a tile and a share of the others; shares are added up in a fixed order.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from workbench.kernels.fused.distances import FEW, Tiles, by_feature, by_point, distances, padded, shares

FEATURES_FEW = Tiles(16, 128, 8)
FEATURES_MANY = Tiles(64, 64, 4)
COLUMNS = 64
"""Columns of weights per launch."""


@triton.jit
def profile(u, KERNEL: tl.constexpr, ORDER: tl.constexpr):
    """φ(u), or its derivative of order ORDER; 0 where that is infinite, at u = 0."""
    if KERNEL == 0:
        out = tl.exp(-0.5 * u)
        if ORDER == 1:
            out = -0.5 * out
        if ORDER == 2:
            out = 0.25 * out
    elif KERNEL == 1:
        r = tl.sqrt(u)
        out = tl.exp(-r)
        if ORDER == 1:
            out = tl.where(r == 0, 0.0, -0.5 * out / r)
        if ORDER == 2:
            out = tl.where(r == 0, 0.0, 0.25 * out * (1 + 1 / r) / u)
    elif KERNEL == 2:
        s = tl.sqrt(3 * u)
        out = tl.exp(-s)
        if ORDER == 0:
            out = out * (1 + s)
        elif ORDER == 1:
            out = -1.5 * out
        else:
            out = tl.where(s == 0, 0.0, 2.25 * out / s)
    else:
        s = tl.sqrt(5 * u)
        out = tl.exp(-s)
        if ORDER == 0:
            out = out * (1 + s + s * s / 3)
        elif ORDER == 1:
            out = (-5.0 / 6.0) * out * (1 + s)
        else:
            out = (25.0 / 12.0) * out
    return out


@triton.jit
def _sums(
    x, y, zeros, lanes, columns, out_lanes, out, n, m, d, share,
    KERNEL: tl.constexpr, ORDER: tl.constexpr, R: tl.constexpr, M: tl.constexpr,
    D: tl.constexpr, L: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    origin = tl.program_id(0).to(tl.int64) * R
    row = origin + tl.arange(0, R)
    split = tl.program_id(1).to(tl.int64)
    one = tl.full([R], 1.0, tl.float32)
    # Up to four columns are summed where the kernel's values are: a sum over the tile is for the end.
    if L > 0:
        first = tl.zeros([R, M], tl.float32)
    if L > 1:
        second = tl.zeros([R, M], tl.float32)
    if L > 2:
        third = tl.zeros([R, M], tl.float32)
    if L > 3:
        fourth = tl.zeros([R, M], tl.float32)
    if P > 0:
        total = tl.zeros([R, P], tl.float32)
        column = tl.arange(0, P)
    for start in range(split * share, min(m, (split + 1) * share), M):
        point = start + tl.arange(0, M)
        k = profile(distances(x, y, zeros, one, n, m, origin, start, d, R, M, D), KERNEL, ORDER)
        at = lanes + point
        if L > 0:
            first += k * tl.load(at)[None, :]
        if L > 1:
            second += k * tl.load(at + m)[None, :]
        if L > 2:
            third += k * tl.load(at + 2 * m)[None, :]
        if L > 3:
            fourth += k * tl.load(at + 3 * m)[None, :]
        if P > 0:
            c = tl.load(columns + point.to(tl.int64)[:, None] * P + column[None, :])
            total += tl.dot(k, c, input_precision="tf32x3")
    at = out_lanes + split * L * n + row
    if L > 0:
        tl.store(at, tl.sum(first, 1))
    if L > 1:
        tl.store(at + n, tl.sum(second, 1))
    if L > 2:
        tl.store(at + 2 * n, tl.sum(third, 1))
    if L > 3:
        tl.store(at + 3 * n, tl.sum(fourth, 1))
    if P > 0:
        tl.store(out + (split * n + row)[:, None] * P + column[None, :], total)


def sums(x: Tensor, y: Tensor, columns: Tensor, kernel: int, order: int) -> Tensor:
    """(n, d), (m, d), (m, p) → (n, p), all float32."""
    (n, d), m, p = x.shape, max(1, len(y)), columns.shape[1]
    tiles = FEATURES_FEW if d <= FEW else FEATURES_MANY
    (rows, points), (splits, share) = (padded(n, tiles.rows), padded(m, tiles.points)), shares(n, m, tiles)
    there, others, zeros = by_feature(x, rows), by_feature(y, points), x.new_zeros(tiles.rows, tiles.points)
    # What is left of whole launches of columns goes along with the first, if it is little.
    little = p % COLUMNS if p % COLUMNS <= FEW else 0
    parts = [columns[:, start : start + COLUMNS] for start in range(little, p, COLUMNS)]
    found = []
    for at, part in enumerate(parts or [columns[:, :0]]):
        L = little if at == 0 else 0
        P = max(16, triton.next_power_of_2(part.shape[1])) if part.shape[1] else 0
        lanes, dotted = by_feature(columns[:, :L], points), by_point(part, points, P)
        out_lanes, out = x.new_empty(splits, L, rows), x.new_empty(splits, rows, P)
        _sums[(rows // tiles.rows, splits)](
            there, others, zeros, lanes, dotted, out_lanes, out, rows, points, d, share,
            KERNEL=kernel, ORDER=order, R=tiles.rows, M=tiles.points,
            D=d if d <= FEW else 0, L=L, P=P, num_warps=tiles.warps,
        )  # fmt: skip
        found += [out_lanes.sum(0)[:, :n].mT, out.sum(0)[:n, : part.shape[1]]]
    return torch.cat(found, 1)
