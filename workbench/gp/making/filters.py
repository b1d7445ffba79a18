"""Self-distillation as a filter on eigenvalues: every step of every variant in O(n), given one eigendecomposition.

With K = V diag(d) Vᵀ the posterior mean of step t at x is ``k(x, X) V diag(w) Vᵀ y``, at the training inputs
``V diag(b) Vᵀ y`` with b = d·w, and its variance ``k(x, x) − k(x, X) V diag(v) Vᵀ k(X, x)``.

Paper 001: sections A (data-centric), B (α-weighted, the predecessor's kernel ridge) and C (distribution-centric).
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Filters(NamedTuple):
    """What T steps do to each of r eigen-directions; all of shape (T, r).

    `weights` w and `kept` b act on Vᵀy (mean), `reduction` v on k(x, X)V (variance); `effective_noise` is the noise
    that an ordinary Gaussian process would need in each direction to have the same mean.
    """

    weights: Tensor
    kept: Tensor
    reduction: Tensor
    effective_noise: Tensor


def data_filters(eigenvalues: Tensor, noise: Tensor, mixing: Tensor) -> Filters:
    """Data-centric steps: ``b_t = d/(d+γ_t) · (α_t + (1−α_t) b_{t−1})``, ``b_0 = 1``.

    Parameters
    ----------
    eigenvalues
        d ≥ 0, shape (r,).
    noise, mixing
        γ_t > 0 and α_t for each step, shape (T,). α = 0 is the paper's data-centric distillation.

    Notes
    -----
    w is evaluated as ``(α + (1−α) b_{t−1}) / (d + γ)``, never as b/d, so that a vanishing d is harmless.

    Examples
    --------
    >>> d = torch.tensor([1.0, 0.25], dtype=torch.float64)
    >>> g, a = torch.full((2,), 0.25).double(), torch.zeros(2).double()
    >>> data_filters(d, g, a).kept
    tensor([[0.8000, 0.5000],
            [0.6400, 0.2500]], dtype=torch.float64)
    """
    shifted = eigenvalues + noise[:, None]
    keep = eigenvalues / shifted
    seen = torch.empty_like(keep)  # the targets' share of y in each direction
    last = torch.ones_like(eigenvalues)
    for t, alpha in enumerate(mixing.tolist()):
        torch.add(last * (1 - alpha), alpha, out=seen[t])
        last = keep[t] * seen[t]
    weights = seen / shifted
    effective = (noise[:, None] + eigenvalues * (1 - seen)) / seen
    return Filters(weights, eigenvalues * weights, 1 / shifted, effective)


def distribution_filters(eigenvalues: Tensor, noise: Tensor) -> Filters:
    """Distribution-centric steps: ordinary regression with the harmonic noise ``1 / Σ_{s≤t} 1/γ_s``."""
    effective = harmonic_noise(noise)[:, None].expand(-1, len(eigenvalues))
    weights = 1 / (eigenvalues + effective)
    return Filters(weights, eigenvalues * weights, weights, effective)


def harmonic_noise(noise: Tensor) -> Tensor:
    """The noise of the single regression that equals t distribution-centric steps: ``1 / Σ_{s≤t} 1/γ_s``, shape (T,).

    Examples
    --------
    >>> harmonic_noise(torch.tensor([0.2, 0.2, 0.1]))
    tensor([0.2000, 0.1000, 0.0500])
    """
    return 1 / (1 / noise).cumsum(0)


def filters(approach: str, eigenvalues: Tensor, noise: Tensor, mixing: Tensor) -> Filters:
    """`data_filters` or `distribution_filters`, by the estimator's `approach`."""
    if approach == "data":
        return data_filters(eigenvalues, noise, mixing)
    return distribution_filters(eigenvalues, noise)


def limit_filters(approach: str, eigenvalues: Tensor, noise: Tensor, mixing: Tensor) -> Filters:
    """The same after infinitely many steps, the last γ and α repeated for ever; all of shape (r,).

    Data-centric with α > 0: ridge regression with noise γ/α; with α = 0: the zero function, with the variance of a
    single step. Distribution-centric: interpolation of the targets, in the directions that the kernel has.
    """
    gamma, alpha = noise[-1], mixing[-1]
    one = torch.ones_like(eigenvalues)
    if approach == "data":
        weights = alpha / (alpha * eigenvalues + gamma)
        kept = eigenvalues * weights
        return Filters(weights, kept, 1 / (eigenvalues + gamma), one * (gamma / alpha))
    present = eigenvalues > eigenvalues.max() * len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps
    weights = torch.where(present, 1 / torch.where(present, eigenvalues, one), torch.zeros_like(one))
    return Filters(weights, present.to(eigenvalues.dtype), weights, torch.zeros_like(one))


def geometric_filter(eigenvalues: Tensor, noise: float, mixing: float, step: int) -> Tensor:
    """The share b of step t for constant γ and α, in one expression (paper 001, section B); shape (r,).

    ``α a (1 − ((1−α)a)^t) / (1 − (1−α)a) + (1−α)^t a^t`` with ``a = d/(d+γ)``.
    """
    a = eigenvalues / (eigenvalues + noise)
    rate = (1 - mixing) * a
    return mixing * a * (1 - rate**step) / (1 - rate) + rate**step
