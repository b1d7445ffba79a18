"""Similarity preserving: examples that excite the teacher alike shall excite the student alike.

    L = (1 / B²) ‖ Ĝ_s − Ĝ_t ‖²_F,   G = F Fᵀ over the batch, Ĝ with rows of unit length

Blind to rotations of F and to a factor on it. Tung & Mori 2019 (Eq. 1 to 4); paper 037, method 8.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from workbench.models import Outputs
from workbench.signals.features import FeatureSignal, as_vectors


@dataclass(frozen=True)
class SimilarityPreserving(FeatureSignal):
    """Gram matrices of the batch; layers of any two sizes can be compared.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> out = Outputs(torch.zeros(4, 3), {"stage2": torch.randn(4, 5, 2, 2)})
    >>> SimilarityPreserving("stage2", "stage2")(out, out, torch.zeros(4, dtype=torch.int64))
    tensor(0.)
    """

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """One number for the batch, shape ()."""
        losses = [(gram(F_s) - gram(F_t)).square().mean() for F_s, F_t in self.pairs(student, teacher)]
        return sum(losses[1:], losses[0])


def gram(feature: Tensor) -> Tensor:
    """Inner products of the examples' flattened features, rows of unit length, shape (n, n)."""
    vectors = as_vectors(feature)
    return functional.normalize(vectors @ vectors.mT, dim=1)
