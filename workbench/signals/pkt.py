"""Probabilistic knowledge transfer: an example's neighbours are as likely in the student as in the teacher.

    L = mean over i, j of  p_{j|i} log(p_{j|i} / q_{j|i}),    p_{j|i} = K_ij / Σ_k K_ik,    K = (1 + cosine) / 2

p of the teacher's features, q of the student's, over the batch; any widths go together. Passalis & Tefas 2018 (Eq. 5, 6
and 8); as in the authors' code an example counts among its own neighbours.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from workbench.models import Outputs
from workbench.signals.features import FeatureSignal, as_vectors


@dataclass(frozen=True)
class PKT(FeatureSignal):
    """Neighbourhoods under cosine similarity; blind to rotations and to each example's scale.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> out = Outputs(torch.zeros(4, 3), {"pool": torch.randn(4, 5, generator=torch.Generator().manual_seed(0))})
    >>> round(float(PKT("pool", "pool")(out, out.map(lambda f: 2 * f), torch.zeros(4, dtype=torch.int64))), 6)
    0.0
    """

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """One number for the batch, shape ()."""
        losses = []
        for F_s, F_t in self.pairs(student, teacher):
            q, p = neighbours(as_vectors(F_s)), neighbours(as_vectors(F_t))
            losses.append((p * ((p + EPSILON) / (q + EPSILON)).log()).mean())
        return sum(losses[1:], losses[0])


EPSILON = 1e-7
"""Added to probabilities before the logarithm, as in the authors' code: opposite features have K = 0."""


def neighbours(vectors: Tensor) -> Tensor:
    """p_{j|i} of rows (n, d): shape (n, n), rows sum to 1."""
    unit = functional.normalize(vectors, dim=1, eps=EPSILON)
    K = (1 + unit @ unit.mT) / 2
    return K / K.sum(1, keepdim=True)
