"""Laplace's approximation for exponential-family targets (GPML algorithms 3.1, 3.2 and 5.1), with counts and sites.

Counts r_i repeat an observation (``duplicate`` distillation, sample weights, merged rows); Gaussian sites (Λ, h) carry
an earlier Laplace posterior as the prior, ``C⁻¹ = K⁻¹ + Λ`` and ``C⁻¹ m = h`` (``sequential`` distillation).
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from workbench.gp.inference.bernoulli import Family
from workbench.gp.inference.kernels import KernelFace


@dataclass(frozen=True, eq=False)
class Mode:
    """The Gaussian that Laplace's approximation puts at the mode.

    Attributes
    ----------
    latent
        f̂ at the training inputs, shape (n,).
    weights
        K⁻¹ f̂: the posterior mean at x is ``k(x, X) @ weights``, shape (n,).
    precision
        What all observations so far add to K⁻¹, shape (n,).
    sites
        h after this step: ``(K⁻¹ + precision) f̂``, shape (n,).
    evidence
        Log marginal likelihood, in nats.
    half_log_determinant
        ½ log |I + P½ K P½|, P = precision.
    """

    latent: Tensor
    weights: Tensor
    precision: Tensor
    sites: Tensor
    evidence: float
    half_log_determinant: float


def find_mode(
    gram: Tensor,
    family: Family,
    targets: Tensor,
    counts: Tensor,
    *,
    prior: Mode | None = None,
    start: Tensor | None = None,
    iterations: int = 100,
) -> Mode:
    """Newton's method for the mode of ``Σ r_i log p(y_i | f_i) + log p(f)``, steps halved while the objective falls.

    Parameters
    ----------
    gram
        K, shape (n, n).
    family, targets, counts
        Likelihood, y in 0..1 and r > 0, shapes (n,).
    prior
        An earlier posterior to start from in place of N(0, K).
    start
        K⁻¹ f to start from, shape (n,); zeros otherwise.

    Notes
    -----
    ``P = Λ + W``, ``b = W f + r (y − μ) + h``, ``a = b − P½ B⁻¹ P½ K b``, ``f ← K a``.
    """
    zero = torch.zeros_like(targets)
    held, h = (zero, zero) if prior is None else (prior.precision, prior.sites)

    def objective(f: Tensor, a: Tensor) -> float:
        likelihood = counts * (targets * f - family.log_partition(f))
        return float((likelihood + h * f - 0.5 * held * f.square() - 0.5 * a * f).sum())

    a = (zero if prior is None else prior.weights) if start is None else start
    f = gram @ a
    value = objective(f, a)
    for _ in range(iterations):
        W = counts * family.variance(f)
        P = held + W
        b = W * f + counts * (targets - family.mean(f)) + h
        factor = factor_of(gram, P)
        goal = b - P.sqrt() * torch.cholesky_solve((P.sqrt() * (gram @ b))[:, None], factor)[:, 0]
        length, move = 1.0, goal - a
        while True:
            new_a = a + length * move
            new_f = gram @ new_a
            new_value = objective(new_f, new_a)
            if new_value >= value - 1e-12 * abs(value) or length < 1e-4:
                break
            length /= 2
        change = float((new_f - f).abs().max())
        a, f, value = new_a, new_f, new_value
        if change < 1e-9 * (1 + float(f.abs().max())):
            break
    else:
        warnings.warn(f"Newton's method for the mode stopped after {iterations} iterations", stacklevel=2)
    gradient = counts * (targets - family.mean(f))
    W = counts * family.variance(f)
    P = held + W
    determinant = float(factor_of(gram, P).diagonal().log().sum())
    likelihood = float((counts * (targets * f - family.log_partition(f))).sum())
    if prior is None:
        distance, before = float(gradient @ f), 0.0
    else:
        distance, before = float(gradient @ (f - prior.latent)), prior.half_log_determinant
    evidence = likelihood - 0.5 * distance - (determinant - before)
    return Mode(f, h - held * f + gradient, P, h + W * f + gradient, evidence, determinant)


def latent_variance(mode: Mode, factor: Tensor, cross: Tensor, diagonal: Tensor) -> Tensor:
    """Variance of f at x, shape (m,), from `factor_of` (n, n), k(X, x) (n, m) and k(x, x) (m,)."""
    seen = torch.linalg.solve_triangular(factor, mode.precision.sqrt()[:, None] * cross, upper=False)
    return (diagonal - seen.square().sum(0)).clamp_min(0)


def evidence_and_slope(
    kernel: KernelFace, X: Tensor, family: Family, *, targets: Tensor, counts: Tensor, start: Tensor | None = None
) -> tuple[float, np.ndarray, Tensor]:
    """Laplace's log marginal likelihood, its slope in θ (GPML algorithm 5.1) and K⁻¹ f̂ at the mode.

    The mode moves with θ: its share of the slope needs A‴, here that of the family in use, so the continuous Bernoulli
    has an exact slope too.
    """
    gram, pullback = kernel.gram_and_pullback(X)
    gram.diagonal().add_(kernel.white)
    mode = find_mode(gram, family, targets, counts, start=start)
    root = mode.precision.sqrt()
    factor = factor_of(gram, mode.precision)
    R = root[:, None] * torch.cholesky_solve(torch.diag(root), factor)
    C = torch.linalg.solve_triangular(factor, root[:, None] * gram, upper=False)
    spread = gram.diagonal() - C.square().sum(0)
    implicit = -0.5 * spread * counts * family.third(mode.latent)
    u = implicit - R @ (gram @ implicit)
    a = mode.weights
    sensitivity = 0.5 * (torch.outer(a, a) - R) + 0.5 * (torch.outer(u, a) + torch.outer(a, u))
    prior, prior_slope = kernel.log_prior()
    slope = pullback(sensitivity) + float(sensitivity.diagonal().sum()) * kernel.white_slope() + prior_slope
    return mode.evidence + prior, slope, a


def maximise_evidence(kernel: KernelFace, X: Tensor, family: Family, targets: Tensor, counts: Tensor) -> float:
    """Fit `kernel` (in place) by Laplace's marginal likelihood with L-BFGS-B; returns the value reached, in nats."""
    if not len(kernel.theta):
        return evidence_and_slope(kernel, X, family, targets=targets, counts=counts)[0]
    last: Tensor | None = None

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal last
        kernel.theta = theta
        try:
            value, slope, last = evidence_and_slope(kernel, X, family, targets=targets, counts=counts, start=last)
        except torch.linalg.LinAlgError:
            return math.inf, np.zeros(len(theta))
        return -value, -slope

    start = np.clip(kernel.theta, *kernel.bounds.T)
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=kernel.bounds)
    return -loss(best.x)[0]


def factor_of(gram: Tensor, precision: Tensor) -> Tensor:
    """Lower Cholesky factor of ``B = I + P½ K P½``, shape (n, n)."""
    root = precision.sqrt()
    B = gram * root * root[:, None]
    B.diagonal().add_(1)
    return torch.linalg.cholesky(B)
