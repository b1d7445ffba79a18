"""Relational distillation: the batch's examples stand to each other in the student as they do in the teacher.

    RKD-D   L = mean over pairs of huber(ψ_s − ψ_t),     ψ(i, j) = ‖f_i − f_j‖ / mean distance of the batch
    RKD-A   L = mean over triplets of huber(∠_s − ∠_t),  ∠(i, j, k) = cos of the angle at f_j

Both are blind to rotations and translations of f and to a positive factor on it. Park et al. 2019 (Eq. 5 to 9); paper
037, method 7. The paper's mix is ``RKDDistance(...) + 2 * RKDAngle(...)``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from workbench.models import Outputs
from workbench.signals.features import FeatureSignal, as_vectors


@dataclass(frozen=True)
class RKDDistance(FeatureSignal):
    """Pairwise distances, each relative to the mean distance of its batch.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> near = Outputs(torch.zeros(4, 3), {"hidden.0": torch.randn(4, 5)})
    >>> far = near.map(lambda f: 3 * f + 1)
    >>> round(float(RKDDistance("hidden.0", "hidden.0")(near, far, torch.zeros(4, dtype=torch.int64))), 6)
    0.0
    """

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """One number for the batch, shape ()."""
        losses = [
            _off_diagonal_mean(_huber(relative_distances(as_vectors(F_s)), relative_distances(as_vectors(F_t))))
            for F_s, F_t in self.pairs(student, teacher)
        ]
        return sum(losses[1:], losses[0])


@dataclass(frozen=True)
class RKDAngle(FeatureSignal):
    """Angles of all triplets; n³ numbers for a batch of n.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> out = Outputs(torch.zeros(4, 3), {"hidden.0": torch.randn(4, 5)})
    >>> RKDAngle("hidden.0", "hidden.0")(out, out, torch.zeros(4, dtype=torch.int64))
    tensor(0.)
    """

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """One number for the batch, shape ()."""
        losses = [
            _huber(angles(as_vectors(F_s)), angles(as_vectors(F_t))).mean() for F_s, F_t in self.pairs(student, teacher)
        ]
        return sum(losses[1:], losses[0])


def relative_distances(vectors: Tensor) -> Tensor:
    """Distances between rows (n, d), divided by the mean over pairs of distinct rows; shape (n, n), zero diagonal."""
    _, distances = _geometry(vectors)
    return distances / _off_diagonal_mean(distances).clamp_min(torch.finfo(vectors.dtype).tiny)


def angles(vectors: Tensor) -> Tensor:
    """Cosines of the angle at row j between rows i and k, shape (n, n, n) indexed (j, i, k); 0 where rows coincide."""
    products, distances = _geometry(vectors)
    # (f_i − f_j) · (f_k − f_j) from inner products alone: n³ numbers instead of n³ d.
    at_j = products.diagonal()[:, None, None] - products[:, :, None] - products[:, None, :] + products[None]
    inverse = torch.where(distances > 0, 1 / torch.where(distances > 0, distances, 1.0), 0.0)
    return at_j * inverse[:, :, None] * inverse[:, None, :]


def _geometry(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Inner products of the centred rows, and their distances with an exact 0 for rows that coincide."""
    centred = vectors - vectors.mean(0)
    products = centred @ centred.mT
    lengths = products.diagonal()
    sums = lengths[:, None] + lengths[None]
    squared = sums - 2 * products
    apart = squared > 16 * torch.finfo(vectors.dtype).eps * sums
    # The square root has no gradient at 0: coinciding rows get a constant instead.
    return products, torch.where(apart, torch.where(apart, squared, 1.0).sqrt(), 0.0)


def _huber(a: Tensor, b: Tensor) -> Tensor:
    return functional.smooth_l1_loss(a, b, reduction="none")


def _off_diagonal_mean(square: Tensor) -> Tensor:
    """Mean over pairs of distinct examples, for a matrix with a zero diagonal."""
    n = square.shape[-1]
    return square.sum() / max(n * (n - 1), 1)
