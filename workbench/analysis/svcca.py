"""Singular vector canonical correlation analysis: how well the main directions of two layers predict each other."""

from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.analysis.compact import leading

__all__ = ["SVCCA", "canonical_correlations", "spans_everything"]


def canonical_correlations(left_a: Tensor, left_b: Tensor) -> Tensor:
    """Canonical correlations of two centred subspaces given by orthonormal columns, (n, p) and (n, q): (min(p, q),)."""
    return torch.linalg.svdvals(left_a.mT @ left_b).clamp(0, 1)


def spans_everything(left_a: Tensor, left_b: Tensor) -> bool:
    """One of the subspaces is all that n centred examples can span, so that its correlations are 1 with anything."""
    return max(left_a.shape[1], left_b.shape[1]) >= len(left_a) - 1


@dataclass(frozen=True)
class SVCCA:
    """Mean canonical correlation of the principal directions that explain `variance` (Raghu et al. 2017, section 2).

        ρ = 1/min(p, q) Σ_i σ_i(U_Aᵀ U_B),   U: left singular vectors of the centred features

    In 0..1; symmetric; unchanged by translation, rotation and isotropic scaling, and for ``variance=1`` (plain
    CCA) by any invertible linear map. With as many directions as examples CCA is 1 whatever the features
    and the value NaN; n must be well above the number of directions.

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
    undefined = "as many directions as examples"

    def __post_init__(self) -> None:
        if not 0 < self.variance <= 1:
            raise ValueError(f"variance={self.variance} is a share and must be in (0, 1]")

    def prepare(self, features: Tensor) -> Tensor:
        """The kept left singular vectors, shape (n, p)."""
        return leading(features, self.variance)

    def compare(self, a: Tensor, b: Tensor) -> float:
        if spans_everything(a, b):
            return float("nan")
        return float(canonical_correlations(a, b).mean())
