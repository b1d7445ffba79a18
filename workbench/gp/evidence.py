"""The marginal likelihood of Gaussian targets, and kernels fitted by it (GPML 2.30, 5.9)."""

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from workbench.gp.kernels import KernelFace
from workbench.gp.rows import Rows

WARM_START_ROWS = 600


class Fitted(NamedTuple):
    """Where the optimiser ended: noise variance, log marginal likelihood in nats, evaluations on all rows."""

    noise: float
    evidence: float
    evaluations: int


def merged_constant(rows: Rows, noise: float, spread: float) -> float:
    """What weights and merged rows add to log N(√w y; 0, √w K √w + γI): the density of each row around its group."""
    extra = (float(rows.weight.sum()) - len(rows.X)) * rows.y.shape[1]
    if noise == 0:
        return math.inf if extra else 0.0  # equal targets at one input, seen twice without noise
    within = spread / noise if spread else 0.0
    return -0.5 * ((extra * math.log(2 * math.pi * noise) if extra else 0.0) + within)


def evidence_and_slope(kernel: KernelFace, rows: Rows, noise: float) -> tuple[float, np.ndarray]:
    """Log marginal likelihood of the targets, summed over outputs, and its slope in (θ, log γ).

    ``−½ yᵀA⁻¹y − ½ log|A| − n/2 log 2π`` with ``A = K + γI``; its derivative in A is ``½ (aaᵀ − A⁻¹)``, a = A⁻¹y.
    Returns −inf and zeros where A is not positive definite, which a line search steps back from.
    """
    gram, pullback = kernel.gram_and_pullback(rows.X)
    plain, y = rows.plain, rows.scaled
    if not plain:
        gram = gram * rows.root * rows.root.T
    outputs, total = y.shape[1], noise + kernel.white
    gram.diagonal().add_(total)
    factor, failed = torch.linalg.cholesky_ex(gram)
    if failed or not torch.isfinite(factor.diagonal()).all():
        return -math.inf, np.zeros(len(kernel.theta) + 1)
    solved = torch.cholesky_solve(y, factor)
    value = -0.5 * float((y * solved).sum()) - outputs * float(factor.diagonal().log().sum())
    value -= 0.5 * y.numel() * math.log(2 * math.pi)
    sensitivity = torch.cholesky_inverse(factor).mul_(-0.5 * outputs)
    sensitivity.addmm_(solved, solved.T, alpha=0.5)
    value += merged_constant(rows, total, rows.spread)
    extra = (float(rows.weight.sum()) - len(rows.X)) * outputs
    noise_slope = float(sensitivity.diagonal().sum()) - 0.5 * (extra / total - rows.spread / total**2)
    if not plain:
        sensitivity.mul_(rows.root).mul_(rows.root.T)
    prior, prior_slope = kernel.log_prior()
    slope = pullback(sensitivity) + noise_slope * kernel.white_slope() + prior_slope
    return value + prior, np.append(slope, noise_slope * noise)


def maximise_evidence(kernel: KernelFace, rows: Rows, noise: float, *, learn_noise: bool, seed: int = 0) -> Fitted:
    """Fit `kernel` (in place), and the noise where asked, by marginal likelihood with L-BFGS-B.

    On many rows a quarter of them, drawn with `seed`, finds the neighbourhood at a sixty-fourth of the price; all rows
    then finish the job, so the result is an optimum of the full likelihood.
    """
    if float(rows.y.abs().max()) == 0:
        warnings.warn(
            "the targets are constant: there is nothing to fit the kernel to, it stays as given", stacklevel=3
        )
        learn_noise, free = False, 0
    else:
        free = len(kernel.theta) + learn_noise
    if not free:
        return Fitted(noise, evidence_and_slope(kernel, rows, noise)[0], 1)
    start = np.append(kernel.theta, math.log(noise) if learn_noise else [])
    noise_bounds = np.reshape([[math.log(1e-8), math.log(1e5)]] * learn_noise, (-1, 2))
    bounds = np.vstack([kernel.bounds, noise_bounds])
    count = 0

    def loss(point: np.ndarray, some: Rows) -> tuple[float, np.ndarray]:
        nonlocal count
        count += some is rows
        if len(kernel.theta):
            kernel.theta = point[: len(kernel.theta)]
        gamma = math.exp(point[-1]) if learn_noise else noise
        value, slope = evidence_and_slope(kernel, some, gamma)
        return -value, -slope[:free]

    def descend(point: np.ndarray, some: Rows, tolerance: float) -> np.ndarray:
        options = {"ftol": tolerance, "gtol": 1e-5, "maxiter": 200}
        point = np.clip(point, *bounds.T)
        return minimize(loss, point, args=(some,), jac=True, method="L-BFGS-B", bounds=bounds, options=options).x

    point = start
    if len(rows.X) > WARM_START_ROWS:
        warm = descend(start, rows.subset(max(WARM_START_ROWS // 2, len(rows.X) // 4), seed), 1e-6)
        if loss(warm, rows)[0] < loss(start, rows)[0]:
            point = warm
    point = descend(point, rows, 1e-10)
    value = -loss(point, rows)[0]
    return Fitted(math.exp(point[-1]) if learn_noise else noise, value, count)


def log_density(y: Tensor, solved: Tensor, log_determinant: float) -> float:
    """Log density of N(0, A) at y, summed over outputs, given A⁻¹y and log|A|; y of shape (n, p)."""
    outputs = y.shape[1]
    return -0.5 * float((y * solved).sum()) - 0.5 * outputs * log_determinant - 0.5 * y.numel() * math.log(2 * math.pi)
