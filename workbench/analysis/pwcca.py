"""Projection weighted CCA: canonical correlations weighted by how much of the features each direction carries."""

from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.analysis.compact import leading
from workbench.analysis.svcca import spans_everything

__all__ = ["PWCCA"]


@dataclass(frozen=True)
class PWCCA:
    """Weighted mean of canonical correlations (Morcos, Raghu & Bengio 2018, Eq. 2 and 4).

        ρ = Σ_i α_i ρ_i / Σ_i α_i,   α_i = Σ_j |⟨h_i, x_j⟩|

    h_i: the canonical directions of a in example space; x_j: the centred features of a. The paper weights by one side,
    which makes the order of a and b matter; `symmetric` averages both orders, so that maps can be transposed. As in the
    paper, CCA is between the principal directions that explain `variance` (1: all). With as many of them as examples
    CCA is 1 whatever the features, and the value NaN.

    In 0..1; unchanged by translation and isotropic scaling, and by any invertible linear map of the side whose
    features do not weight. The weights are sums over a layer's own units, so a rotation of the weighting side changes
    them.

    Examples
    --------
    >>> x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> measure = PWCCA()
    >>> round(measure.compare(measure.prepare(x), measure.prepare(-3 * x + 1)), 6)
    1.0
    """

    variance: float = 0.99
    symmetric: bool = True
    name = "pwcca"
    least = 3
    rotation_free = False
    undefined = "as many directions as examples"

    def __post_init__(self) -> None:
        if not 0 < self.variance <= 1:
            raise ValueError(f"variance={self.variance} is a share and must be in (0, 1]")

    def prepare(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The kept left singular vectors (n, p), and the centred features in their coordinates, (p, d)."""
        left = leading(features, self.variance)
        return left, left.mT @ (features - features.mean(0))

    def compare(self, a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> float:
        if spans_everything(a[0], b[0]):
            return float("nan")
        forward = _weighted(*a, b[0])
        return (forward + _weighted(*b, a[0])) / 2 if self.symmetric else forward


def _weighted(left: Tensor, coordinates: Tensor, other: Tensor) -> float:
    directions, correlations, _ = torch.linalg.svd(left.mT @ other, full_matrices=False)
    weights = (directions.mT @ coordinates).abs().sum(1)
    return float((weights * correlations.clamp(0, 1)).sum() / weights.sum())
