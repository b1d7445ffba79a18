"""Exact conditioning on the training rows: one Cholesky factor per noise level, or one eigensystem for all of them."""

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from workbench.gp.inference.evidence import log_density, merged_constant, solve_factored
from workbench.gp.inference.kernels import KernelFace
from workbench.gp.inference.rows import Rows
from workbench.gp.inference.spectrum import Spectrum, decompose, probe_positive

MANY_NOISES = 6  # one eigendecomposition costs about as much as this many Cholesky factors and their use


class Exact:
    """The Gaussian process on all rows. Targets and weights are in scaled rows (√w y), which have equal noise.

    Attributes
    ----------
    jitter
        The most that had to be added to the diagonal to make a system solvable; 0 where none was needed.
    """

    def __init__(self, kernel: KernelFace, rows: Rows) -> None:
        self.kernel, self.rows = kernel, rows
        self.jitter = 0.0
        self._gram: Tensor | None = None
        self._spectrum: Spectrum | None = None
        self._factors: dict[float, tuple[Tensor, float]] = {}

    def __getstate__(self) -> dict[str, Any]:
        # what is O(n²) is computed again when it is needed: pickles and copies stay small
        return self.__dict__ | {"_gram": None, "_spectrum": None, "_factors": {}}

    @property
    def gram(self) -> Tensor:
        """√w K √w without noise, shape (n, n)."""
        if self._gram is None:
            gram = self.kernel.gram(self.rows.X)
            probe_positive(gram)
            self._gram = gram if self.rows.plain else gram * self.rows.root * self.rows.root.T
        return self._gram

    def spectrum(self) -> Spectrum:
        """The eigensystem of `gram`; computed on first use, kept."""
        if self._spectrum is None:
            self._spectrum = decompose(self.gram)
        return self._spectrum

    def prepare(self, noises: list[float]) -> None:
        """Choose between factors and the eigensystem for the noise levels to come."""
        if len(set(noises)) > MANY_NOISES:
            self.spectrum()

    def solve(self, noise: float, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Weights ``(K + γI)⁻¹ targets`` and fitted values ``K (K + γI)⁻¹ targets``, both of shape (n, p)."""
        if self._spectrum is not None:
            noise += self._rank_jitter(noise)
            weights = self._spectrum.solve(noise, targets)
        else:
            factor, noise = self._factor(noise)
            weights = solve_factored(factor, targets)
        return weights, torch.add(targets, weights, alpha=-noise)

    def evidence(self, noise: float, targets: Tensor, weights: Tensor, spread: float) -> float:
        """Log marginal likelihood, in nats, of the unscaled targets; `weights` from `solve`, `spread` as in `Rows`."""
        if self._spectrum is not None:
            noise += self._rank_jitter(noise)
            determinant = self._spectrum.log_determinant(noise)
        else:
            factor, noise = self._factor(noise)
            determinant = 2 * float(factor.diagonal().log().sum())
        return log_density(targets, weights, determinant) + merged_constant(self.rows, noise, spread)

    def mean(self, X: Tensor, weights: Tensor) -> Tensor:
        """Posterior mean at X (m, features) for weights (n, ...); shape (m, ...)."""
        scaled = self.rows.root * weights.reshape(len(weights), -1)
        parts = [self.kernel.cross(X[part], self.rows.X) @ scaled for part in self._parts(len(X))]
        return torch.cat(parts).reshape(len(X), *weights.shape[1:])

    def variance(self, X: Tensor, noise: float) -> Tensor:
        """Posterior variance at X, shape (m,)."""
        parts = [self.kernel.diagonal(X[p]) - self._whitened(X[p], noise).square().sum(0) for p in self._parts(len(X))]
        return torch.cat(parts).clamp_min(0)

    def covariance(self, X: Tensor, noise: float) -> Tensor:
        """Posterior covariance at X, shape (m, m)."""
        seen = self._whitened(X, noise)
        return self.kernel.covariance(X) - seen.T @ seen

    def projections(self, X: Tensor) -> Tensor:
        """k(X, training rows) V, shape (m, n)."""
        vectors = self.rows.root * self.spectrum().vectors
        return torch.cat([self.kernel.cross(X[part], self.rows.X) @ vectors for part in self._parts(len(X))])

    def directions(self) -> Tensor:
        """Eigenvectors in units of the unscaled rows, shape (n, n)."""
        return self.spectrum().vectors / self.rows.root

    def condition_number(self, noise: float) -> float:
        """(d_max + γ) / (d_min + γ), with d_min = 0 where the eigensystem is not known: an upper bound."""
        if self._spectrum is not None:
            return float((self._spectrum.values[0] + noise) / (self._spectrum.values[-1] + noise))
        start = torch.ones(len(self.rows.X), 1, dtype=self.gram.dtype, device=self.gram.device)
        for _ in range(20):
            start = self.gram @ (start / start.norm())
        return float(start.norm() + noise) / noise if noise else float("inf")

    def _parts(self, count: int) -> Iterator[slice]:
        size = max(1, 30_000_000 // max(len(self.rows.X), 1))
        return (slice(start, start + size) for start in range(0, count, size))

    def _whitened(self, X: Tensor, noise: float) -> Tensor:
        """A (n, m) whose AᵀA is what the data take off the prior covariance."""
        if self._spectrum is not None:
            noise += self._rank_jitter(noise)
            return (self.projections(X) / (self._spectrum.values + noise).sqrt()).T
        factor, _ = self._factor(noise)
        return torch.linalg.solve_triangular(factor, self.rows.root * self.kernel.cross(self.rows.X, X), upper=False)

    def _rank_jitter(self, noise: float) -> float:
        """What a singular Gram matrix needs on its diagonal when there is next to no noise."""
        values = self.spectrum().values
        floor = len(values) * float(torch.finfo(values.dtype).eps) * float(values[0])
        if float(values[-1]) + noise > floor:
            return 0.0
        return self._report(10 * floor)

    def _factor(self, noise: float) -> tuple[Tensor, float]:
        """Lower Cholesky factor of K + γI, and the γ it was made with (jitter included)."""
        if noise not in self._factors:
            gram = self.gram.clone()
            total = noise
            gram.diagonal().add_(noise)
            factor, failed = torch.linalg.cholesky_ex(gram)
            jitter = 10 * len(gram) * float(torch.finfo(gram.dtype).eps) * float(self.gram.diagonal().mean())
            while failed:
                if total > 1e-3 * float(self.gram.diagonal().mean()) + noise:
                    decompose(self.gram)  # says which eigenvalue is to blame
                    raise ValueError("kernel gives a Gram matrix that no jitter makes positive definite")
                total = noise + self._report(jitter)
                gram = self.gram.clone()
                gram.diagonal().add_(total)
                factor, failed = torch.linalg.cholesky_ex(gram)
                jitter *= 10
            self._factors[noise] = factor, total
        return self._factors[noise]

    def _report(self, jitter: float) -> float:
        if jitter > self.jitter:
            warnings.warn(
                f"the Gram matrix is singular at this noise: {jitter:.2g} was added to its diagonal (see jitter_); "
                "a larger noise avoids it",
                stacklevel=2,
            )
            self.jitter = jitter
        return jitter
