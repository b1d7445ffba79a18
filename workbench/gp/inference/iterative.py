"""Exact conditioning on many rows by preconditioned conjugate gradients: products with the Gram matrix, no factor.

The preconditioner is the inducing-point approximation of the same Gram matrix, inverted by Woodbury's identity
(Gardner et al. 2018 use a pivoted Cholesky factor in its place). The Gram matrix is kept when it fits into half of
the free memory, and is summed over inside each product when it does not.
"""

import math
import warnings

import torch
from torch import Tensor
from tqdm.auto import tqdm

from workbench.gp.inference.inducing import Inducing
from workbench.gp.inference.kernels import KernelFace
from workbench.gp.inference.products import product
from workbench.gp.inference.rows import Rows
from workbench.gp.inference.spectrum import Spectrum, probe_positive
from workbench.gp.making.checks import memory_free


class ConjugateGradient:
    """The Gaussian process on all rows, solved iteratively; the interface of `Exact` without an eigensystem.

    Parameters
    ----------
    kernel, rows
        As for `Exact`.
    Z
        Inducing inputs of the preconditioner, shape (M, features).
    tolerance
        A solve ends when every right-hand side's residual is below this share of its norm.
    progress
        Show a bar per solve.
    """

    def __init__(
        self, kernel: KernelFace, rows: Rows, Z: Tensor, *, tolerance: float = 1e-8, progress: bool = False
    ) -> None:
        self.kernel, self.rows, self.tolerance, self.progress = kernel, rows, tolerance, progress
        self.jitter = 0.0
        self.iterations = 0
        self._preconditioner = Inducing(kernel, rows, Z)
        self._gram: Tensor | None = None
        n = len(rows.X)
        self._block = max(1, 30_000_000 // n)
        if n * n * rows.X.element_size() <= memory_free(rows.X.device) // 2:
            self._gram = torch.empty(n, n, dtype=rows.X.dtype, device=rows.X.device)
            for start in range(0, n, self._block):
                part = slice(start, start + self._block)
                self._gram[part] = self.kernel.cross(rows.X[part], rows.X) * rows.root[part] * rows.root.T
            probe_positive(self._gram[:256, :256])

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_gram": None}  # products after loading sum over it

    def prepare(self, noises: list[float]) -> None:
        """Nothing to choose."""

    def product(self, vectors: Tensor) -> Tensor:
        """√w K √w vectors, for (n, p)."""
        if self._gram is not None:
            return self._gram @ vectors
        rows = self.rows
        return product(self.kernel, rows.X, rows.X, rows.root * vectors, self._block) * rows.root

    def solve(self, noise: float, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Weights ``(K + γI)⁻¹ targets`` and fitted values ``targets − γ weights``, both (n, p).

        Each column runs its own conjugate gradients; the products with the Gram matrix are shared.
        """
        if noise <= 0:
            raise ValueError("noise is 0: method='cg' needs a positive noise; use method='exact' to interpolate")
        weights = self._preconditioner.precondition(noise, targets)
        residual = targets - self.product(weights) - noise * weights
        size = targets.norm(dim=0).clamp_min(torch.finfo(targets.dtype).tiny)
        z = self._preconditioner.precondition(noise, residual)
        direction, energy = z, (residual * z).sum(0)
        best = math.inf
        limit = min(1000, 20 + 2 * len(targets))
        with tqdm(total=limit, desc=f"conjugate gradients, γ={noise:.3g}", disable=not self.progress) as bar:
            for _ in range(limit):
                worst = float((residual.norm(dim=0) / size).max())
                best = min(best, worst)
                bar.set_postfix(residual=f"{worst:.1e}")
                if worst < self.tolerance:
                    break
                image = self.product(direction) + noise * direction
                length = energy / (direction * image).sum(0).clamp_min(torch.finfo(targets.dtype).tiny)
                weights = weights + length * direction
                residual = residual - length * image
                z = self._preconditioner.precondition(noise, residual)
                last, energy = energy, (residual * z).sum(0)
                direction = z + energy / last.clamp_min(torch.finfo(targets.dtype).tiny) * direction
                self.iterations += 1
                bar.update()
            else:
                warnings.warn(
                    f"conjugate gradients stopped after {limit} iterations at a relative residual of {best:.1e} "
                    f"(asked: {self.tolerance:.1e}): more inducing points or a larger noise would help",
                    stacklevel=2,
                )
        return weights, targets - noise * weights

    def evidence(self, noise: float, targets: Tensor, weights: Tensor, spread: float) -> float:  # noqa: ARG002
        """NaN: a log determinant needs a factor. `Exact` and `Inducing` have one."""
        return math.nan

    def mean(self, X: Tensor, weights: Tensor) -> Tensor:
        """Posterior mean at X (m, features) for weights (n, ...); shape (m, ...)."""
        scaled = self.rows.root * weights.reshape(len(weights), -1)
        return product(self.kernel, X, self.rows.X, scaled, self._block).reshape(len(X), *weights.shape[1:])

    def variance(self, X: Tensor, noise: float) -> Tensor:
        """Posterior variance at X, shape (m,): one solve per row of X, 512 of them at a time."""
        parts = []
        for start in range(0, len(X), 512):
            part = X[start : start + 512]
            seen = self.rows.root * self.kernel.cross(self.rows.X, part)
            parts.append(self.kernel.diagonal(part) - (seen * self.solve(noise, seen)[0]).sum(0))
        return torch.cat(parts).clamp_min(0)

    def covariance(self, X: Tensor, noise: float) -> Tensor:
        """Posterior covariance at X, shape (m, m)."""
        seen = self.rows.root * self.kernel.cross(self.rows.X, X)
        return self.kernel.covariance(X) - seen.T @ self.solve(noise, seen)[0]

    def condition_number(self, noise: float) -> float:
        """An upper bound: the inducing-point approximation's."""
        return self._preconditioner.condition_number(noise)

    def spectrum(self) -> Spectrum:
        """There is none: it would take the n × n matrix that this path avoids."""
        raise NotImplementedError("method='cg' has no eigensystem: use method='exact' or 'svgp'")

    def projections(self, X: Tensor) -> Tensor:
        return self.spectrum().vectors[: len(X)]

    def directions(self) -> Tensor:
        return self.spectrum().vectors
