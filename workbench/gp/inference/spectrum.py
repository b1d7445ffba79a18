"""The eigensystem of a training Gram matrix, from which every step, noise and mixing weight follows by a filter."""

from typing import NamedTuple

import torch
from torch import Tensor

ROUNDING = 1e-9


class Spectrum(NamedTuple):
    """√w K √w = V diag(d) Vᵀ, d falling: `values` (r,) and `vectors` (n, r), r ≤ n for a low-rank Gram matrix."""

    values: Tensor
    vectors: Tensor

    def solve(self, noise: float, y: Tensor) -> Tensor:
        """(K + γI)⁻¹ y for y of shape (n, p); in the directions that the Gram matrix has."""
        return self.vectors @ ((self.vectors.T @ y) / (self.values + noise)[:, None])

    def log_determinant(self, noise: float) -> float:
        """The logarithm of |K + γI| in r directions."""
        return float((self.values + noise).log().sum())


def decompose(gram: Tensor) -> Spectrum:
    """The eigensystem of a symmetric positive semi-definite matrix, shape (n, n).

    Eigenvalues that are negative by rounding alone become 0.

    Raises
    ------
    ValueError
        The matrix has an eigenvalue that rounding does not explain.

    Examples
    --------
    >>> decompose(torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)).values.round(decimals=6)
    tensor([3., 1.], dtype=torch.float64)
    """
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(0), vectors.flip(1)
    refuse_negative(values)
    return Spectrum(values.clamp_min(0), vectors)


def refuse_negative(values: Tensor) -> None:
    """Refuse eigenvalues (falling) that are below zero by more than rounding."""
    tolerance = max(ROUNDING, len(values) * float(torch.finfo(values.dtype).eps) * 10)
    if float(values[-1]) < -tolerance * max(float(values[0]), 0.0) or not torch.isfinite(values).all():
        raise ValueError(
            f"kernel is not positive definite on these inputs: its Gram matrix has eigenvalues from {values[-1]:.3g} "
            f"to {values[0]:.3g}; use a kernel that is a covariance function"
        )


def probe_positive(gram: Tensor, rows: int = 256) -> None:
    """Refuse a Gram matrix (n, n) that is not finite, or whose first rows show that its kernel is no covariance.

    A principal submatrix of a positive definite matrix is positive definite, and a small one costs next to nothing.
    """
    if not torch.isfinite(gram.sum()):  # one NaN or infinity is enough to spoil a sum
        raise ValueError("kernel gives NaN or infinite values on these inputs: check its parameters and the scale of X")
    refuse_negative(torch.linalg.eigvalsh(gram[:rows, :rows]).flip(0))
