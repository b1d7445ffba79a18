"""Running softmax over the components of a mixture, and the sums that the posterior mean and its gradient are made of.

A program has ROWS points and a share of the components; shares are put together afterwards, in a fixed order.
"""

import math

import triton
import triton.language as tl
from torch import Tensor

ROWS, COMPONENTS = 16, 64
PROGRAMS = 264
"""Programs wanted in flight: two for each multiprocessor of a large GPU."""


@triton.jit
def _joint(x, means, logs, variance, row, point, real, there, alpha, sigma, d, R: tl.constexpr, M: tl.constexpr):
    """Log w_j N(x; α μ_j, v) up to (2π)^(−d/2), −∞ beyond the last component; shrinkage α s² / v; v."""
    s2 = tl.load(variance + point, mask=there, other=0.0)
    v = (alpha * alpha)[:, None] * s2[None, :] + (sigma * sigma)[:, None]
    apart = tl.zeros([R, M], tl.float32)
    for feature in range(d):
        a = tl.load(x + row * d + feature, mask=real, other=0.0)
        b = tl.load(means + point.to(tl.int64) * d + feature, mask=there, other=0.0)
        one = a[:, None] - alpha[:, None] * b[None, :]
        apart += one * one
    log_w = tl.load(logs + point, mask=there, other=-float("inf"))
    joint = log_w[None, :] - 0.5 * d * tl.log(v) - apart / (2 * v)
    return joint, alpha[:, None] * s2[None, :] / v, v


@triton.jit
def _forward(
    x, means, alphas, sigmas, variance, logs, out_max, out_sum, out_kept, out_mean, n, m, d, share,
    R: tl.constexpr, M: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    split = tl.program_id(1).to(tl.int64)
    real = row < n
    feature = tl.arange(0, D)
    alpha = tl.load(alphas + row, mask=real, other=1.0)
    sigma = tl.load(sigmas + row, mask=real, other=1.0)
    largest = tl.full([R], -float("inf"), tl.float32)
    total = tl.zeros([R], tl.float32)
    kept = tl.zeros([R], tl.float32)
    mean = tl.zeros([R, D], tl.float32)
    for start in range(split * share, min(m, (split + 1) * share), M):
        point = start + tl.arange(0, M)
        there = point < min(m, (split + 1) * share)
        joint, shrink, _ = _joint(x, means, logs, variance, row, point, real, there, alpha, sigma, d, R, M)
        larger = tl.maximum(largest, tl.max(joint, 1))
        base = tl.where(larger == -float("inf"), 0.0, larger)
        weight = tl.exp(joint - base[:, None])
        faded = tl.exp(largest - base)
        moved = weight * shrink
        at = means + point.to(tl.int64)[:, None] * d + feature[None, :]
        mu = tl.load(at, mask=there[:, None] & (feature < d)[None, :], other=0.0)
        total = total * faded + tl.sum(weight, 1)
        kept = kept * faded + tl.sum(moved, 1)
        mean = mean * faded[:, None] + tl.dot(weight - alpha[:, None] * moved, mu, input_precision="ieee")
        largest = larger
    at = split * n + row
    tl.store(out_max + at, largest, mask=real)
    tl.store(out_sum + at, total, mask=real)
    tl.store(out_kept + at, kept, mask=real)
    tl.store(out_mean + at[:, None] * d + feature[None, :], mean, mask=real[:, None] & (feature < d)[None, :])


@triton.jit
def _backward(
    x, means, alphas, sigmas, variance, logs, density, g0, levels, alongs, out_kept, out_h, out_mean, n, m, d, share,
    R: tl.constexpr, M: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    split = tl.program_id(1).to(tl.int64)
    real = row < n
    feature = tl.arange(0, D)
    alpha = tl.load(alphas + row, mask=real, other=1.0)
    sigma = tl.load(sigmas + row, mask=real, other=1.0)
    log_p = tl.load(density + row, mask=real, other=0.0)
    level = tl.load(levels + row, mask=real, other=0.0)
    along = tl.load(alongs + row, mask=real, other=0.0)
    kept = tl.zeros([R], tl.float32)
    total = tl.zeros([R], tl.float32)
    mean = tl.zeros([R, D], tl.float32)
    for start in range(split * share, min(m, (split + 1) * share), M):
        point = start + tl.arange(0, M)
        there = point < min(m, (split + 1) * share)
        joint, shrink, v = _joint(x, means, logs, variance, row, point, real, there, alpha, sigma, d, R, M)
        r = tl.exp(joint - log_p[:, None])
        toward = tl.zeros([R, M], tl.float32)
        for each in range(d):
            a = tl.load(g0 + row * d + each, mask=real, other=0.0)
            b = tl.load(means + point.to(tl.int64) * d + each, mask=there, other=0.0)
            toward += a[:, None] * b[None, :]
        h = (1 - alpha[:, None] * shrink) * toward + shrink * along[:, None] + level[:, None]
        h = h * r / v
        at = means + point.to(tl.int64)[:, None] * d + feature[None, :]
        mu = tl.load(at, mask=there[:, None] & (feature < d)[None, :], other=0.0)
        kept += tl.sum(r * shrink, 1)
        total += tl.sum(h, 1)
        mean += tl.dot(h, mu, input_precision="ieee")
    at = split * n + row
    tl.store(out_kept + at, kept, mask=real)
    tl.store(out_h + at, total, mask=real)
    tl.store(out_mean + at[:, None] * d + feature[None, :], mean, mask=real[:, None] & (feature < d)[None, :])


def _shares(n: int, m: int) -> tuple[int, int]:
    """Into how many shares the components are split, and the size of one."""
    tiles = triton.cdiv(m, COMPONENTS)
    splits = max(1, min(PROGRAMS // triton.cdiv(n, ROWS), triton.cdiv(tiles, 4)))
    share = triton.cdiv(tiles, splits) * COMPONENTS
    return triton.cdiv(m, share), share


def _launch(kernel, tensors: list[Tensor], outs: list[Tensor], n: int, m: int, d: int, splits: int, share: int) -> None:
    kernel[(triton.cdiv(n, ROWS), splits)](
        *(each.contiguous() for each in tensors), *outs, n, m, d, share,
        R=ROWS, M=COMPONENTS, D=max(16, triton.next_power_of_2(d)),
    )  # fmt: skip


def forward(
    x: Tensor, means: Tensor, alpha: Tensor, sigma: Tensor, variance: Tensor, logs: Tensor
) -> tuple[Tensor, Tensor]:
    """Log-density (n,) and posterior mean (n, d)."""
    (n, d), m = x.shape, len(means)
    splits, share = _shares(n, m)
    largest, total, kept = (x.new_empty(splits, n) for _ in range(3))
    mean = x.new_empty(splits, n, d)
    _launch(_forward, [x, means, alpha, sigma, variance, logs], [largest, total, kept, mean], n, m, d, splits, share)
    top = largest.amax(0)
    scale = (largest - top).exp()
    whole = (total * scale).sum(0)
    x0 = ((mean * scale.unsqueeze(2)).sum(0) + (kept * scale).sum(0).unsqueeze(1) * x) / whole.unsqueeze(1)
    return top + whole.log() - d / 2 * math.log(2 * math.pi), x0


def backward(
    x: Tensor, means: Tensor, alpha: Tensor, sigma: Tensor, variance: Tensor, logs: Tensor,
    log_density: Tensor, g0: Tensor, level: Tensor, along: Tensor,
) -> Tensor:  # fmt: skip
    """The gradient towards x, (n, d); `level` and `along` are those of `workbench.kernels.mixture`."""
    (n, d), m = x.shape, len(means)
    splits, share = _shares(n, m)
    density = log_density + d / 2 * math.log(2 * math.pi)
    kept, total, mean = x.new_empty(splits, n), x.new_empty(splits, n), x.new_empty(splits, n, d)
    tensors = [x, means, alpha, sigma, variance, logs, density, g0, level, along]
    _launch(_backward, tensors, [kept, total, mean], n, m, d, splits, share)
    return kept.sum(0).unsqueeze(1) * g0 + alpha.unsqueeze(1) * mean.sum(0) - total.sum(0).unsqueeze(1) * x
