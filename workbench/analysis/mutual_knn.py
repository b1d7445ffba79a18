"""Mutual nearest neighbours: how many of an example's neighbours do two layers agree on?"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["MutualKNN"]


@dataclass(frozen=True)
class MutualKNN:
    """Mean share of common k nearest neighbours (Huh, Cheung, Wang & Isola 2024, Appendix A).

        s = mean_i |N_k^A(i) ∩ N_k^B(i)| / k,   neighbours by cosine similarity, i itself excluded

    In 0..1; symmetric; unchanged by rotation and by scaling of each example, not by translation. Two unrelated
    layers share k / (n − 1) on average, not 0.

    Examples
    --------
    >>> x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> measure = MutualKNN(k=5)
    >>> measure.compare(measure.prepare(x), measure.prepare(7 * x.flip(1)))
    1.0
    """

    k: int = 10
    name = "mknn"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k={self.k} must be at least 1")

    @property
    def least(self) -> int:
        return self.k + 2

    def prepare(self, features: Tensor) -> Tensor:
        """Who is a neighbour of whom, bool, shape (n, n)."""
        unit = features / features.norm(dim=1, keepdim=True).clamp_min(1e-300)
        cosine = unit @ unit.mT
        cosine.fill_diagonal_(-torch.inf)
        nearest = cosine.topk(self.k, dim=1).indices
        return torch.zeros(cosine.shape, dtype=torch.bool).scatter_(1, nearest, value=True)

    def compare(self, a: Tensor, b: Tensor) -> float:
        return float((a & b).sum()) / (self.k * len(a))
