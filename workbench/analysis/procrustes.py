"""Orthogonal Procrustes similarity: how well a rotation lays one layer's examples onto the other's."""

from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.analysis.compact import principal

__all__ = ["Procrustes"]


@dataclass(frozen=True)
class Procrustes:
    """Procrustes similarity of centred features of unit Frobenius norm (Ding, Denain & Steinhardt 2021, Eq. 4).

        s = ‖Aᵀ B‖_* = 1 − d²/2,   d² = min over orthogonal Q of ‖A Q − B‖²_F

    In 0..1; 1 only for the same cloud; symmetric; unchanged by translation, rotation and isotropic scaling.
    √(2 − 2s) is a metric. Biased upward where the features are wider than there are examples.

    Examples
    --------
    >>> x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> measure = Procrustes()
    >>> round(measure.compare(measure.prepare(x), measure.prepare(5 * x.flip(1) - 2)), 6)
    1.0
    """

    name = "procrustes"
    least = 2

    def prepare(self, features: Tensor) -> Tensor:
        """Centred coordinates of unit norm, shape (n, r)."""
        left, values = principal(features)
        return left * (values / values.norm())

    def compare(self, a: Tensor, b: Tensor) -> float:
        return min(float(torch.linalg.svdvals(a.mT @ b).sum()), 1.0)
