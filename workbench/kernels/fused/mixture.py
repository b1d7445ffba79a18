"""Running softmax over the components of a mixture, and the sums that the posterior mean and its gradient are made of.

A program has the points of a tile and a share of the components; shares are put together afterwards, in a fixed order.
Where one spread is that of all components, everything that depends on the noise level is a number per point.
"""

import math

import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from workbench.kernels.fused.distances import FEW, Tiles, by_feature, by_point, distances, padded, shares

FEATURES_FEW = Tiles(8, 64, 4)
FEATURES_MANY = Tiles(64, 64, 4)
BACK_FEW = Tiles(16, 32, 2)
BACK_MANY = Tiles(64, 64, 4)
"""Tiles of points of few and of many features, each way; `bench/gpu_tiles.py` finds the fastest."""


@triton.jit
def _joint(
    x, means, zeros, logs, variance, n, m, origin, start, alpha, sigma, d,
    R: tl.constexpr, M: tl.constexpr, FEW: tl.constexpr, SAME: tl.constexpr,
):  # fmt: skip
    """Log w_j N(x; α μ_j, v) up to (2π)^(−d/2), −∞ beyond the last component; shrinkage α s² / v; v."""
    point = start + tl.arange(0, M)
    if SAME:
        v = (alpha * alpha * tl.load(variance) + sigma * sigma)[:, None]
        shrink = alpha[:, None] * tl.load(variance) / v
    else:
        s2 = tl.load(variance + point)[None, :]
        v = (alpha * alpha)[:, None] * s2 + (sigma * sigma)[:, None]
        shrink = alpha[:, None] * s2 / v
    apart = distances(x, means, zeros, alpha, n, m, origin, start, d, R, M, FEW)
    joint = tl.load(logs + point)[None, :] - 0.5 * d * tl.log(v) - apart * (0.5 / v)
    return joint, shrink, v


@triton.jit
def _forward(
    x, means, rows_of_means, zeros, alphas, sigmas, variance, logs, out_max, out_sum, out_kept, out_mean,
    n, m, d, share,
    R: tl.constexpr, M: tl.constexpr, FEW: tl.constexpr, D: tl.constexpr, SAME: tl.constexpr,
):  # fmt: skip
    origin = tl.program_id(0).to(tl.int64) * R
    row = origin + tl.arange(0, R)
    split = tl.program_id(1).to(tl.int64)
    alpha = tl.load(alphas + row)
    sigma = tl.load(sigmas + row)
    largest = tl.full([R], -float("inf"), tl.float32)
    if FEW > 0:  # summed where the weights are: sums over the tile are for the end
        total = tl.zeros([R, M], tl.float32)
        kept = tl.zeros([R, M], tl.float32)
        first = tl.zeros([R, M], tl.float32)
        second = tl.zeros([R, M], tl.float32)
        third = tl.zeros([R, M], tl.float32)
        fourth = tl.zeros([R, M], tl.float32)
    else:
        feature = tl.arange(0, D)
        total = tl.zeros([R], tl.float32)
        kept = tl.zeros([R], tl.float32)
        mean = tl.zeros([R, D], tl.float32)
    for start in range(split * share, min(m, (split + 1) * share), M):
        point = start + tl.arange(0, M)
        joint, shrink, _ = _joint(
            x, means, zeros, logs, variance, n, m, origin, start, alpha, sigma, d, R, M, FEW, SAME
        )  # fmt: skip
        larger = tl.maximum(largest, tl.max(joint, 1))
        base = tl.where(larger == -float("inf"), 0.0, larger)
        weight = tl.exp(joint - base[:, None])
        faded = tl.exp(largest - base)
        largest = larger
        if FEW > 0:
            total = total * faded[:, None] + weight
            if not SAME:
                moved = weight * shrink
                kept = kept * faded[:, None] + moved
                weight = weight - alpha[:, None] * moved
            at = means + point
            first = first * faded[:, None] + weight * tl.load(at)[None, :]
            if FEW > 1:
                second = second * faded[:, None] + weight * tl.load(at + m)[None, :]
            if FEW > 2:
                third = third * faded[:, None] + weight * tl.load(at + 2 * m)[None, :]
            if FEW > 3:
                fourth = fourth * faded[:, None] + weight * tl.load(at + 3 * m)[None, :]
        else:
            total = total * faded + tl.sum(weight, 1)
            if not SAME:
                moved = weight * shrink
                kept = kept * faded + tl.sum(moved, 1)
                weight = weight - alpha[:, None] * moved
            mu = tl.load(rows_of_means + point.to(tl.int64)[:, None] * D + feature[None, :])
            mean = mean * faded[:, None] + tl.dot(weight, mu, input_precision="tf32x3")
    at = split * n + row
    tl.store(out_max + at, largest)
    if FEW > 0:
        tl.store(out_sum + at, tl.sum(total, 1))
        tl.store(out_kept + at, tl.sum(kept, 1))
        at = out_mean + at * FEW
        tl.store(at, tl.sum(first, 1))
        if FEW > 1:
            tl.store(at + 1, tl.sum(second, 1))
        if FEW > 2:
            tl.store(at + 2, tl.sum(third, 1))
        if FEW > 3:
            tl.store(at + 3, tl.sum(fourth, 1))
    else:
        tl.store(out_sum + at, total)
        tl.store(out_kept + at, kept)
        tl.store(out_mean + at[:, None] * D + feature[None, :], mean)


@triton.jit
def _backward(
    x, means, rows_of_means, zeros, alphas, sigmas, variance, logs, density, g0, levels, alongs,
    out_kept, out_h, out_mean, n, m, d, share,
    R: tl.constexpr, M: tl.constexpr, FEW: tl.constexpr, D: tl.constexpr, SAME: tl.constexpr,
):  # fmt: skip
    origin = tl.program_id(0).to(tl.int64) * R
    row = origin + tl.arange(0, R)
    split = tl.program_id(1).to(tl.int64)
    alpha = tl.load(alphas + row)
    sigma = tl.load(sigmas + row)
    log_p = tl.load(density + row)
    level = tl.load(levels + row)
    along = tl.load(alongs + row)
    if FEW > 0:
        kept = tl.zeros([R, M], tl.float32)
        total = tl.zeros([R, M], tl.float32)
        first = tl.zeros([R, M], tl.float32)
        second = tl.zeros([R, M], tl.float32)
        third = tl.zeros([R, M], tl.float32)
        fourth = tl.zeros([R, M], tl.float32)
    else:
        feature = tl.arange(0, D)
        kept = tl.zeros([R], tl.float32)
        total = tl.zeros([R], tl.float32)
        mean = tl.zeros([R, D], tl.float32)
        upstream = tl.load(g0 + row[:, None] * D + feature[None, :])
    for start in range(split * share, min(m, (split + 1) * share), M):
        point = start + tl.arange(0, M)
        joint, shrink, v = _joint(
            x, means, zeros, logs, variance, n, m, origin, start, alpha, sigma, d, R, M, FEW, SAME
        )  # fmt: skip
        r = tl.exp(joint - log_p[:, None])
        if FEW > 0:
            toward = tl.zeros([R, M], tl.float32)
            for each in tl.static_range(FEW):
                b = tl.load(means + tl.cast(m, tl.int64) * each + point)
                toward += tl.load(g0 + row * FEW + each)[:, None] * b[None, :]
        else:
            across = tl.load(means + feature.to(tl.int64)[:, None] * m + point[None, :])
            toward = tl.dot(upstream, across, input_precision="tf32x3")
        h = (1 - alpha[:, None] * shrink) * toward + (shrink * along[:, None] + level[:, None])
        h = h * r * (1 / v)
        if FEW > 0:
            kept += r * shrink
            total += h
            at = means + point
            first += h * tl.load(at)[None, :]
            if FEW > 1:
                second += h * tl.load(at + m)[None, :]
            if FEW > 2:
                third += h * tl.load(at + 2 * m)[None, :]
            if FEW > 3:
                fourth += h * tl.load(at + 3 * m)[None, :]
        else:
            kept += tl.sum(r * shrink, 1)
            total += tl.sum(h, 1)
            mu = tl.load(rows_of_means + point.to(tl.int64)[:, None] * D + feature[None, :])
            mean += tl.dot(h, mu, input_precision="tf32x3")
    at = split * n + row
    if FEW > 0:
        tl.store(out_kept + at, tl.sum(kept, 1))
        tl.store(out_h + at, tl.sum(total, 1))
        at = out_mean + at * FEW
        tl.store(at, tl.sum(first, 1))
        if FEW > 1:
            tl.store(at + 1, tl.sum(second, 1))
        if FEW > 2:
            tl.store(at + 2, tl.sum(third, 1))
        if FEW > 3:
            tl.store(at + 3, tl.sum(fourth, 1))
    else:
        tl.store(out_kept + at, kept)
        tl.store(out_h + at, total)
        tl.store(out_mean + at[:, None] * D + feature[None, :], mean)


class _Problem:
    """Points and components as the programs take them: padded to whole tiles, with components of weight zero."""

    def __init__(
        self, tiles: tuple[Tiles, Tiles], x: Tensor, means: Tensor, levels: list[Tensor], variance: Tensor, logs: Tensor
    ) -> None:
        (self.n, self.d), m = x.shape, len(means)
        self.few = self.d if self.d <= FEW else 0
        self.wide = self.few or max(16, triton.next_power_of_2(self.d))
        self.tiles = tiles[0] if self.few else tiles[1]
        self.rows, self.points = padded(self.n, self.tiles.rows), padded(m, self.tiles.points)
        self.splits, self.share = shares(self.n, m, self.tiles)
        self.same = len(variance) == 1
        self.given = [
            by_feature(x, self.rows), by_feature(means, self.points, self.wide),
            by_point(means, self.points, self.wide),
            x.new_zeros(self.tiles.rows, self.tiles.points), *(self.level(each, 1.0) for each in levels),
            variance.contiguous() if self.same else _filled(variance, self.points, 1.0),
            _filled(logs, self.points, -math.inf),
        ]  # fmt: skip

    def level(self, value: Tensor, beyond: float = 0.0) -> Tensor:
        return _filled(value, self.rows, beyond)

    def run(self, kernel, more: list[Tensor], outs: int) -> list[Tensor]:  # type: ignore[no-untyped-def]
        """`outs` sums (n,) of each share, and the last (n, d)."""
        found = [self.given[0].new_empty(self.splits, self.rows) for _ in range(outs)]
        mean = self.given[0].new_empty(self.splits, self.rows, self.wide)
        kernel[(self.rows // self.tiles.rows, self.splits)](
            *self.given, *more, *found, mean, self.rows, self.points, self.d, self.share,
            R=self.tiles.rows, M=self.tiles.points, FEW=self.few, D=self.wide, SAME=self.same,
            num_warps=self.tiles.warps,
        )  # fmt: skip
        return [*(each[:, : self.n] for each in found), mean[:, : self.n, : self.d]]


def _filled(value: Tensor, size: int, beyond: float) -> Tensor:
    return F.pad(value, (0, size - len(value)), value=beyond) if size > len(value) else value.contiguous()


def forward(
    x: Tensor, means: Tensor, alpha: Tensor, sigma: Tensor, variance: Tensor, logs: Tensor
) -> tuple[Tensor, Tensor]:
    """Log-density (n,) and posterior mean (n, d); s² is (m,), or (1,) for all alike."""
    problem = _Problem((FEATURES_FEW, FEATURES_MANY), x, means, [alpha, sigma], variance, logs)
    largest, total, kept, mean = problem.run(_forward, [], 3)
    top = largest.amax(0)
    scale = (largest - top).exp()
    whole = (total * scale).sum(0)
    mean = (mean * scale.unsqueeze(2)).sum(0) / whole.unsqueeze(1)
    if problem.same:
        shrink = alpha * variance / (alpha.square() * variance + sigma.square())
        x0 = (1 - alpha * shrink).unsqueeze(1) * mean + shrink.unsqueeze(1) * x
    else:
        x0 = mean + ((kept * scale).sum(0) / whole).unsqueeze(1) * x
    return top + whole.log() - x.shape[1] / 2 * math.log(2 * math.pi), x0


def backward(
    x: Tensor, means: Tensor, alpha: Tensor, sigma: Tensor, variance: Tensor, logs: Tensor,
    log_density: Tensor, g0: Tensor, level: Tensor, along: Tensor,
) -> Tensor:  # fmt: skip
    """The gradient towards x, (n, d); `level` and `along` are those of `workbench.kernels.mixture`."""
    problem = _Problem((BACK_FEW, BACK_MANY), x, means, [alpha, sigma], variance, logs)
    density = problem.level(log_density + x.shape[1] / 2 * math.log(2 * math.pi))
    upstream = by_point(g0, problem.rows, problem.wide)
    kept, total, mean = problem.run(_backward, [density, upstream, problem.level(level), problem.level(along)], 2)
    return kept.sum(0).unsqueeze(1) * g0 + alpha.unsqueeze(1) * mean.sum(0) - total.sum(0).unsqueeze(1) * x
