"""Empirical characteristic functions of sets of features, and the discrepancy of two, without keeping all the phases.

    Φ_X(t) = (1/n) Σ_i exp(i ⟨t, x_i⟩)

    D(X, Y) = mean_t √( α (|Φ_X| − |Φ_Y|)² + β · 2 (|Φ_X| |Φ_Y| − Re Φ_X Φ̄_Y) )

α weighs the amplitudes (spread), β the phases (location); at α = β = ½ each term is |Φ_X − Φ_Y| / √2. Paper 036.

Cost, for n points of d features and K frequencies: n K d multiply-adds for the values and 3 n K d for the gradients of
points and frequencies, n K sines and cosines each way. From d ≈ 32 on the products decide, so these are the BLAS's,
block by block; on a GPU one kernel turns a block of phases into its sums, reading it once, and one into its slopes,
instead of the four and seven passes of the expression, and products of one set from 64 features on are made by the
units for bfloat16, to float32's precision. Memory: a block of phases and its slopes, whatever n and K are. On two cores
0.44 of the time and 0.07 of the memory of the expression, and 1.6 times as long as what `torch.compile` makes of it,
which needs a compiler (``BENCHMARKS.md``). Of a GPU: ``BENCHMARKS-GPU.md``.
"""

from typing import Any

import torch
from torch import Tensor

from workbench.kernels.dispatch import runs_fused

__all__ = ["characteristic_function", "discrepancy"]

BLOCK = {"cpu": 1 << 18, "cuda": 1 << 23}
"""Phases at a time: what stays in a cache, or fills a GPU."""


def characteristic_function(points: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of Φ at every frequency.

    Parameters
    ----------
    points
        Shape (..., n, d), n ≥ 1.
    frequencies
        Shape (K, d), for all sets, or (..., K, d), a set of frequencies for each.

    Returns
    -------
    tuple of Tensor
        Shape (..., K) each; the root of the sum of their squares is at most 1. Half precision is raised to float32.

    Raises
    ------
    ValueError
        Shapes that do not fit; no points.

    Examples
    --------
    >>> real, imaginary = characteristic_function(torch.tensor([[1.0], [-1.0]]), torch.tensor([[0.0], [torch.pi]]))
    >>> real
    tensor([ 1., -1.])
    """
    if points.ndim < 2 or frequencies.ndim < 2 or points.shape[-1] != frequencies.shape[-1]:
        raise ValueError(
            f"points have shape {tuple(points.shape)}, frequencies {tuple(frequencies.shape)}: "
            "they must be (..., n, d) and (K, d) with the same d"
        )
    if points.shape[-2] == 0:
        raise ValueError("there are no points: the characteristic function of an empty set is undefined")
    wide = torch.promote_types(torch.promote_types(points.dtype, frequencies.dtype), torch.float32)
    x, t = points.to(wide), frequencies.to(wide)
    sets = torch.broadcast_shapes(x.shape[:-2], t.shape[:-2])
    return _Characteristic.apply(x.expand(*sets, *x.shape[-2:]), t)


def discrepancy(x: Tensor, y: Tensor, frequencies: Tensor, *, alpha: float = 0.5, beta: float = 0.5) -> Tensor:
    """How far two sets are apart at each frequency, the terms under the mean of D(X, Y).

    Parameters
    ----------
    x, y
        Shapes (..., n, d) and (..., m, d); n and m may differ.
    frequencies
        Shape (K, d) or (..., K, d).
    alpha, beta
        Weights of amplitude and phase, ≥ 0.

    Returns
    -------
    Tensor
        Shape (..., K), ≥ 0; at α = β = ½ at most √2. Where it is 0, so is its gradient.

    Examples
    --------
    >>> points = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> bool((discrepancy(points, points.flip(0), torch.eye(3)) < 1e-6).all())
    True
    """
    return distance(characteristic_function(x, frequencies), characteristic_function(y, frequencies), alpha, beta)


def distance(
    phi_x: tuple[Tensor, Tensor], phi_y: tuple[Tensor, Tensor], alpha: float = 0.5, beta: float = 0.5
) -> Tensor:
    """`discrepancy` from the two characteristic functions, where one of them is known already."""
    (a, b), (c, e) = phi_x, phi_y
    # 2 (|Φ| |Ψ| − Re Φ Ψ̄) = |Φ − Ψ|² − (|Φ| − |Ψ|)², which keeps its digits where the two are alike.
    squared = beta * ((a - c).square() + (b - e).square())
    if alpha != beta:
        amplitude = root(a.square() + b.square()) - root(c.square() + e.square())
        squared = squared + (alpha - beta) * amplitude.square()
    return root(squared)


def root(value: Tensor) -> Tensor:
    """√value, 0 where value ≤ 0 with gradient 0 there instead of infinite; NaN stays."""
    none = value <= 0
    return value.masked_fill(none, 1).sqrt().masked_fill(none, 0)


def by_definition(points: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Φ as it is written; differentiable to any order, holds all the phases."""
    phases = points @ frequencies.mT
    return phases.cos().mean(-2), phases.sin().mean(-2)


def _blocks(x: Tensor, t: Tensor) -> list[slice]:
    rows = max(1, BLOCK.get(x.device.type, BLOCK["cuda"]) // max(1, x.shape[:-2].numel() * t.shape[-2]))
    return [slice(start, start + rows) for start in range(0, x.shape[-2], rows)]


class _Characteristic(torch.autograd.Function):
    """Sums over blocks of points; the gradients compute each block's phases again."""

    @staticmethod
    def forward(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        if runs_fused("characteristic", x, t):
            total = _on_gpu(x, t).sums()
        else:
            total = torch.zeros(2, *x.shape[:-2], t.shape[-2], dtype=x.dtype, device=x.device)
            for rows in _blocks(x, t):
                phases = x[..., rows, :] @ t.mT
                cosines = phases.cos()
                total[0] += cosines.sum(-2)
                total[1] += torch.sin(phases, out=cosines).sum(-2)
        total /= x.shape[-2]
        return total[0], total[1]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:  # noqa: ARG004
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, real: Tensor, imaginary: Tensor) -> Any:
        x, t = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            phases = x @ t.mT
            slopes = (imaginary.unsqueeze(-2) * phases.cos() - real.unsqueeze(-2) * phases.sin()) / x.shape[-2]
            return slopes @ t, (slopes.mT @ x).sum_to_size(t.shape)
        real, imaginary = (each / x.shape[-2] for each in (real, imaginary))
        if runs_fused("characteristic", x, t):
            return _on_gpu(x, t).slopes(real, imaginary, *ctx.needs_input_grad)
        for_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        for_t = x.new_zeros(*x.shape[:-2], *t.shape[-2:]) if ctx.needs_input_grad[1] else None
        for rows in _blocks(x, t):
            part = x[..., rows, :]
            phases = part @ t.mT
            sines = phases.sin().mul_(real.unsqueeze(-2))
            slopes = phases.cos_().mul_(imaginary.unsqueeze(-2)).sub_(sines)
            if for_x is not None:
                for_x[..., rows, :] = slopes @ t
            if for_t is not None:
                for_t += slopes.mT @ part
        return for_x, None if for_t is None else for_t.sum_to_size(t.shape)


def _on_gpu(x: Tensor, t: Tensor) -> Any:
    from workbench.kernels.fused import characteristic as fused  # noqa: PLC0415 - only where Triton is

    return fused.Phases(x, t, _blocks(x, t))
