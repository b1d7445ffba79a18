"""Selective-FD: a client speaks where its density exceeds a uniform one by enough, by KuLSIF; the server drops points
of which the average is ambiguous. A baseline of paper 045.

    r̂(x) = 1/(m λ) Σ_j k(x, x_j) + Σ_i α_i k(x, u_i),   α = −(K₁₁ / n + λ I)⁻¹ K₁₂ 1 / (n m λ)

u_1..u_n are drawn uniformly over the range of the client's data x_1..x_m, k is Gaussian. The public code multiplies by
the matrix instead of its inverse; this is the formula.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.signals.numbers import positive, share
from workbench.training import doors


@dataclass(frozen=True)
class SelectiveFD:
    """The filter by a ratio of densities.

    Attributes
    ----------
    quantile
        Of r̂ on the client's own data, 0..1, which is the threshold: what exceeds it is kept.
    auxiliary
        n, uniform points.
    ridge
        λ > 0.
    width
        Of the Gaussian kernel, > 0, in median distances between the client's points.
    ambiguous
        Averages whose largest probability is below it, 0..1, are dropped by the server.
    """

    quantile: float = 0.05
    auxiliary: int = 100
    ridge: float = 0.1
    width: float = 1.0
    ambiguous: float = 0.3

    def __post_init__(self) -> None:
        share(quantile=self.quantile, ambiguous=self.ambiguous)
        positive(ridge=self.ridge, width=self.width)
        doors.whole("auxiliary", self.auxiliary, 1)

    def fit(self, inputs: Tensor, labels: Tensor, *, seed: int = 0) -> "KuLSIF":  # noqa: ARG002
        """The ratio of one client's data, (n, …), and its threshold."""
        x = inputs.flatten(1)
        low, high = x.amin(0), x.amax(0)
        draws = torch.rand(self.auxiliary, x.shape[1], generator=torch.Generator().manual_seed(seed))
        u = low + (high - low) * draws.to(x)
        apart = torch.pdist(x[:500])
        width = self.width * float(apart.median()) if len(apart) and apart.median() > 0 else self.width
        found = KuLSIF(x, u, coefficients(x, u, self.ridge, width), self.ridge, width)
        return KuLSIF(x, u, found.alpha, self.ridge, width, float(found.ratio(x).quantile(self.quantile)))

    def clear(self, mean: Tensor) -> Tensor:
        """Which averages (n, classes) the server keeps, (n,) bool."""
        return mean.amax(1) >= self.ambiguous


@dataclass(frozen=True)
class KuLSIF:
    """r̂ of one client: (n + m) d floats, and as many multiply-adds a query, after a fit of order n³."""

    x: Tensor
    u: Tensor
    alpha: Tensor
    ridge: float
    width: float
    threshold: float = 0.0

    def ratio(self, points: Tensor) -> Tensor:
        """r̂ of points (q, d), shape (q,)."""
        private = gram(points, self.x, self.width).sum(1) / (len(self.x) * self.ridge)
        return private + gram(points, self.u, self.width) @ self.alpha

    def __call__(self, proxy: Tensor, own: Tensor) -> Tensor:  # noqa: ARG002
        """m_c of each proxy point, (n,) bool."""
        return self.ratio(proxy.flatten(1)) >= self.threshold

    @property
    def floats(self) -> int:
        """That it stores of points; as many multiply-adds it takes a query."""
        return self.x.numel() + self.u.numel()


def gram(a: Tensor, b: Tensor, width: float) -> Tensor:
    """k(a, b) = exp(−‖a − b‖² / 2 width²), (len(a), len(b))."""
    return torch.exp(-torch.cdist(a, b).square() / (2 * width**2))


def coefficients(x: Tensor, u: Tensor, ridge: float, width: float) -> Tensor:
    """α, shape (n,)."""
    n, m = len(u), len(x)
    left = gram(u, u, width) / n + ridge * torch.eye(n, dtype=x.dtype, device=x.device)
    return -torch.linalg.solve(left, gram(u, x, width).sum(1) / (n * m * ridge))
