"""K(x, y) @ columns with tiles of the kernel matrix in registers, distances summed feature by feature."""

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, POINTS = 64, 64
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
    x, y, columns, out, n, m, d, p,
    KERNEL: tl.constexpr, ORDER: tl.constexpr, R: tl.constexpr, M: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    column = tl.arange(0, P)
    real = row < n
    total = tl.zeros([R, P], tl.float32)
    for start in range(0, m, M):
        point = start + tl.arange(0, M)
        there = point < m
        u = tl.zeros([R, M], tl.float32)
        for feature in range(d):
            a = tl.load(x + row * d + feature, mask=real, other=0.0)
            b = tl.load(y + point.to(tl.int64) * d + feature, mask=there, other=0.0)
            apart = a[:, None] - b[None, :]
            u += apart * apart
        k = tl.where(there[None, :], profile(u, KERNEL, ORDER), 0.0)
        at = columns + point.to(tl.int64)[:, None] * p + column[None, :]
        c = tl.load(at, mask=there[:, None] & (column < p)[None, :], other=0.0)
        if P == 1:
            total += tl.sum(k * tl.trans(c), 1)[:, None]
        else:
            total += tl.dot(k, c, input_precision="ieee")
    tl.store(out + row[:, None] * p + column[None, :], total, mask=real[:, None] & (column < p)[None, :])


def sums(x: Tensor, y: Tensor, columns: Tensor, kernel: int, order: int) -> Tensor:
    """(n, d), (m, d), (m, p) → (n, p), all float32."""
    x, y = x.contiguous(), y.contiguous()
    parts = []
    for part in columns.split(COLUMNS, 1):
        p = part.shape[1]
        out = torch.empty(len(x), p, dtype=torch.float32, device=x.device)
        _sums[(triton.cdiv(len(x), ROWS),)](
            x, y, part.contiguous(), out, len(x), len(y), x.shape[1], p,
            KERNEL=kernel, ORDER=order, R=ROWS, M=POINTS, P=1 if p == 1 else max(16, triton.next_power_of_2(p)),
            num_warps=8,
        )  # fmt: skip
        parts.append(out)
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)
