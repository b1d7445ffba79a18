"""Features of any width as coordinates no wider than there are examples, with all distances and angles kept."""

import torch
from torch import Tensor

__all__ = ["compact", "leading", "principal"]

ROUNDING = 1e-6
"""Directions below this share of the features' norm are the rounding of float32 activations, not features."""


def compact(features: Tensor) -> Tensor:
    """Coordinates F with F Fᵀ = X Xᵀ: shape (n, ...) → (n, min(n, d)), float64, on the CPU.

    A measure that does not change under rotation gives the same for F as for X, so that a convolution's thousands of
    features per example need not be kept. Features no wider than n are returned as they are.

    Examples
    --------
    >>> features = torch.randn(5, 1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> short = compact(features)
    >>> short.shape, torch.allclose(short @ short.T, features @ features.T)
    (torch.Size([5, 5]), True)
    """
    flat = features.flatten(1).double().cpu()
    if flat.shape[1] <= len(flat):
        return flat
    if not bool(flat.isfinite().all()):
        return flat[:, : len(flat)] * torch.nan  # has no coordinates; stays recognisable
    values, vectors = torch.linalg.eigh(flat @ flat.mT)
    return vectors * values.clamp_min(0).sqrt()


def principal(features: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors (n, r) and singular values (r,), falling, of centred features; r is their rank.

    Directions that are no more than rounding are left out: CCA would count them as full ones.
    """
    centred = features - features.mean(0)
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    rank = int((values > ROUNDING * features.norm()).sum())
    return left[:, :rank], values[:rank]


def leading(features: Tensor, variance: float) -> Tensor:
    """Left singular vectors (n, p) of the fewest principal directions that explain the share `variance`, 0..1."""
    left, values = principal(features)
    share = values.square().cumsum(0) / values.square().sum()
    kept = len(values) if variance == 1 else int((share < variance - 1e-12).sum()) + 1
    return left[:, :kept]
