"""Representational similarity analysis: do two layers rank the pairs of examples alike by distance?"""

from dataclasses import dataclass

import torch
from scipy.stats import rankdata
from torch import Tensor

from workbench.kernels import hsic

__all__ = ["RSA"]


@dataclass(frozen=True)
class RSA:
    """Spearman correlation of the two dissimilarity matrices' entries (Kriegeskorte, Mur & Bandettini 2008).

    The dissimilarity of two examples is their Euclidean distance: unlike 1 − Pearson across units, the other usual
    choice, it does not depend on the basis the units form. In −1..1; symmetric; unchanged by translation, rotation and
    isotropic scaling.

    Examples
    --------
    >>> x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> measure = RSA()
    >>> round(measure.compare(measure.prepare(x), measure.prepare(5 * x.flip(1) - 2)), 6)
    1.0
    """

    name = "rsa"
    least = 3
    undefined = "all distances equal"

    def prepare(self, features: Tensor) -> Tensor:
        """Centred ranks of the distances of unit norm, shape (n (n−1)/2,); tied distances share their mean rank."""
        centred = features - features.mean(0)
        squared = hsic.distances(centred @ centred.mT)
        rows, columns = torch.triu_indices(len(features), len(features), 1)
        # Distances that differ by rounding only are ties, whichever way the examples were rotated.
        steps = (squared[rows, columns] / squared.max().clamp_min(1e-300)).round(decimals=12)
        ranks = torch.from_numpy(rankdata(steps.numpy()))
        ranks = ranks - ranks.mean()
        return ranks / ranks.norm()

    def compare(self, a: Tensor, b: Tensor) -> float:
        return float((a @ b).clamp(-1, 1))
