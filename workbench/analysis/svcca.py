"""Singular vector canonical correlation analysis: how well the main directions of two layers predict each other."""

from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.analysis.compact import principal

__all__ = ["SVCCA", "canonical_correlations"]


def canonical_correlations(left_a: Tensor, left_b: Tensor) -> Tensor:
    """Canonical correlations of two centred subspaces given by orthonormal columns, (n, p) and (n, q): (min(p, q),)."""
    return torch.linalg.svdvals(left_a.mT @ left_b).clamp(0, 1)


@dataclass(frozen=True)
class SVCCA:
    """Mean canonical correlation of the principal directions that explain `variance` (Raghu et al. 2017, section 2).

        ρ = 1/min(p, q) Σ_i σ_i(U_Aᵀ U_B),   U: left singular vectors of the centred features

    In 0..1; symmetric; unchanged by translation, rotation and isotropic scaling, and for ``variance=1`` (plain
    CCA) by any invertible linear map. With as many directions as examples CCA is 1 whatever the features:
    n must be well above the width.

    Examples
    --------
    >>> x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> measure = SVCCA(variance=1)
    >>> skewed = x @ torch.tensor([[2.0, 1, 0, 0], [0, 1, 0, 0], [0, 3, 1, 0], [0, 0, 0, 5]], dtype=torch.float64)
    >>> round(measure.compare(measure.prepare(x), measure.prepare(skewed)), 6)
    1.0
    """

    variance: float = 0.99
    name = "svcca"
    least = 3

    def __post_init__(self) -> None:
        if not 0 < self.variance <= 1:
            raise ValueError(f"variance={self.variance} is a share and must be in (0, 1]")

    def prepare(self, features: Tensor) -> Tensor:
        """The kept left singular vectors, shape (n, p)."""
        left, values = principal(features)
        share = values.square().cumsum(0) / values.square().sum()
        kept = len(values) if self.variance == 1 else int((share < self.variance - 1e-12).sum()) + 1
        return left[:, :kept]

    def compare(self, a: Tensor, b: Tensor) -> float:
        return float(canonical_correlations(a, b).mean())
