"""Many rows through a few inducing points: the best variational posterior (SVGP) in closed form, and its eigensystem.

For Gaussian noise and fixed Z the variational posterior q(u) that stochastic SVGP training approaches is known
(Titsias 2009; Hensman et al. 2013, Eq. 4): no training loop is needed. With ``A = L⁻¹ k(Z, X) √w``, ``LLᵀ = k(Z, Z)``
and ``AAᵀ = U diag(s) Uᵀ`` its mean is that of the Gram matrix ``Q = AᵀA``, whose eigenvalues are s: self-distillation
filters s exactly as it filters d in the full model. Time O(nM²), memory O(nM) for M inducing points.
"""

import math

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from workbench.gp.inference.evidence import log_density, merged_constant
from workbench.gp.inference.kernels import KernelFace
from workbench.gp.inference.rows import Rows
from workbench.gp.inference.spectrum import Spectrum, probe_positive


def choose_inducing(rows: Rows, count: int, seed: int) -> Tensor:
    """Inducing inputs, shape (min(count, n), features): all rows where they are few, else k-means centres."""
    if count >= len(rows.X):
        return rows.X
    # a few rows per centre settle k-means; more cost time and move nothing that matters here
    sample = rows.subset(min(len(rows.X), 20 * count), seed)
    means = MiniBatchKMeans(count, random_state=seed, n_init=1, batch_size=4 * count, max_iter=20)
    means.fit(sample.X.cpu().numpy(), sample_weight=sample.weight.cpu().numpy())
    centres = np.unique(means.cluster_centers_, axis=0)
    return torch.as_tensor(centres).to(rows.X)


class Inducing:
    """The optimal variational posterior on inducing inputs `Z` (M, features), with the interface of `Exact`.

    Weights have shape (M, p); `evidence` is the lower bound on the log marginal likelihood.
    """

    def __init__(self, kernel: KernelFace, rows: Rows, Z: Tensor) -> None:
        self.kernel, self.rows, self.Z = kernel, rows, Z
        inner = kernel.cross(Z, Z)
        probe_positive(inner)
        self.jitter = 10 * len(Z) * float(torch.finfo(inner.dtype).eps) * float(inner.diagonal().mean())
        while True:
            self._factor, failed = torch.linalg.cholesky_ex(inner + self.jitter * torch.eye(len(Z)).to(inner))
            if not failed:
                break
            self.jitter *= 10
        # numerically M × n with the rows' chunk as the outer loop, so that no second n × M array lives beside it
        self._seen = torch.empty(len(Z), len(rows.X), dtype=inner.dtype, device=inner.device)
        self.missing = 0.0  # trace of K − Q, weighted: what the inducing points cannot express
        for start in range(0, len(rows.X), 8192):
            part = slice(start, start + 8192)
            self._seen[:, part] = self._whiten(rows.X[part]) * rows.root[part].T
            gap = (
                kernel.diagonal(rows.X[part]) - kernel.white - (self._seen[:, part].square().sum(0) / rows.weight[part])
            )
            self.missing += float((gap.clamp_min(0) * rows.weight[part]).sum())
        values, vectors = torch.linalg.eigh(self._seen @ self._seen.T)
        values, vectors = values.flip(0), vectors.flip(1)
        kept = values > len(Z) * float(torch.finfo(values.dtype).eps) * values[0]
        self._values, self._rotation = values[kept], vectors[:, kept]

    def prepare(self, noises: list[float]) -> None:
        """Nothing to choose: the eigensystem serves every noise."""

    def solve(self, noise: float, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Weights ``U (s + γ)⁻¹ Uᵀ A targets`` (M, p) and fitted values ``Aᵀ weights`` (n, p)."""
        seen = self._rotation.T @ (self._seen @ targets)
        weights = self._rotation @ (seen / (self._values + noise)[:, None])
        return weights, self._seen.T @ weights

    def evidence(self, noise: float, targets: Tensor, weights: Tensor, spread: float) -> float:
        """The evidence lower bound ``log N(y; 0, Q + γI) − tr(K − Q)/2γ``, in nats."""
        if noise == 0:
            return -math.inf
        left_out = len(self.rows.X) - len(self._values)
        determinant = float((self._values + noise).log().sum()) + left_out * math.log(noise)
        solved = (targets - self._seen.T @ weights) / noise
        bound = log_density(targets, solved, determinant) - 0.5 * targets.shape[1] * self.missing / noise
        return bound + merged_constant(self.rows, noise, spread)

    def mean(self, X: Tensor, weights: Tensor) -> Tensor:
        """Posterior mean at X (m, features) for weights (M, ...); shape (m, ...)."""
        flat = weights.reshape(len(weights), -1)
        parts = [self._whiten(X[start : start + 8192]).T @ flat for start in range(0, len(X), 8192)]
        return torch.cat(parts).reshape(len(X), *weights.shape[1:])

    def variance(self, X: Tensor, noise: float) -> Tensor:
        """Posterior variance at X, shape (m,): prior − Q + what the data leave of Q."""
        parts = []
        for start in range(0, len(X), 8192):
            part = X[start : start + 8192]
            parts.append(self.kernel.diagonal(part) - self._taken(part, noise).square().sum(0))
        return torch.cat(parts).clamp_min(0)

    def covariance(self, X: Tensor, noise: float) -> Tensor:
        """Posterior covariance at X, shape (m, m)."""
        taken = self._taken(X, noise)
        return self.kernel.covariance(X) - taken.T @ taken

    def spectrum(self) -> Spectrum:
        """Eigensystem of Q: values (r,), vectors (n, r)."""
        return Spectrum(self._values, self._seen.T @ (self._rotation / self._values.sqrt()))

    def projections(self, X: Tensor) -> Tensor:
        """q(X, training rows) V, shape (m, r)."""
        return self._whiten(X).T @ (self._rotation * self._values.sqrt())

    def directions(self) -> Tensor:
        """Eigenvectors in units of the unscaled rows, shape (n, r)."""
        return self.spectrum().vectors / self.rows.root

    def condition_number(self, noise: float) -> float:
        """(s_max + γ) / γ: n > M, so Q has a null space."""
        return float(self._values[0] + noise) / noise if noise else math.inf

    def precondition(self, noise: float, vectors: Tensor) -> Tensor:
        """(Q + γI)⁻¹ vectors for (n, p): an approximate inverse of the full K + γI."""
        return (vectors - self.solve(noise, vectors)[1]) / noise

    def _whiten(self, X: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self._factor, self.kernel.cross(self.Z, X), upper=False)

    def _taken(self, X: Tensor, noise: float) -> Tensor:
        share = (self._values / (self._values + noise)).sqrt()
        return share[:, None] * (self._rotation.T @ self._whiten(X))
