"""The marginal likelihood of Gaussian targets, and kernels fitted by it (GPML 2.30, 5.9)."""

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from workbench.gp.inference.kernels import KernelFace
from workbench.gp.inference.rows import Rows

WARM_START_ROWS = 600
Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


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
    solved = solve_factored(factor, y)
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

    On many rows a few hundred of them, drawn with `seed`, find the neighbourhood of the optimum and the curvature there
    at a hundredth of the price; quasi-Newton steps on twice as many, and so on, then finish the job on all rows, so the
    result is an optimum of the full likelihood.
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
    kept: tuple[bytes, float, np.ndarray] | None = None

    def loss(point: np.ndarray, some: Rows) -> tuple[float, np.ndarray]:
        nonlocal count, kept
        if len(kernel.theta):
            kernel.theta = point[: len(kernel.theta)]
        if some is rows and kept is not None and kept[0] == point.tobytes():
            return kept[1], kept[2]
        gamma = math.exp(point[-1]) if learn_noise else noise
        value, slope = evidence_and_slope(kernel, some, gamma)
        if some is rows:
            count += 1
            kept = point.tobytes(), -value, -slope[:free]
        return -value, -slope[:free]

    def on(some: Rows) -> Objective:
        return lambda point: loss(point, some)

    def descend(point: np.ndarray, some: Rows, tolerance: float) -> np.ndarray:
        options = {"ftol": tolerance, "gtol": 1e-5, "maxiter": 200}
        point = np.clip(point, *bounds.T)
        return minimize(loss, point, args=(some,), jac=True, method="L-BFGS-B", bounds=bounds, options=options).x

    if len(rows.X) <= WARM_START_ROWS:
        point = descend(start, rows, 1e-10)
    else:
        levels = [rows]
        while len(levels[-1].X) > WARM_START_ROWS:
            levels.append(rows.subset(len(levels[-1].X) // 2, seed))
        some = levels[-1]
        point = descend(start, some, 1e-6)
        curvature = _curvature(on(some), point)
        for some in reversed(levels[:-1]):
            curvature = curvature * 2
            point, curvature, done = _quasi_newton(on(some), point, curvature, bounds)
        if not done:
            point = descend(point, rows, 1e-10)
    value = -loss(point, rows)[0]  # mostly kept from the last step; leaves the kernel at the optimum
    return Fitted(math.exp(point[-1]) if learn_noise else noise, value, count)


def solve_factored(factor: Tensor, y: Tensor) -> Tensor:
    """A⁻¹ y for A = LLᵀ, y (n, p); for a few columns two triangular solves are ten times as fast as LAPACK's potrs."""
    if y.shape[1] > 4:
        return torch.cholesky_solve(y, factor)
    half = torch.linalg.solve_triangular(factor, y, upper=False)
    return torch.linalg.solve_triangular(factor.mT, half, upper=True)


def _curvature(loss: Objective, point: np.ndarray) -> np.ndarray:
    """Hessian by central differences of the slope, made positive definite by turning negative eigenvalues over."""
    h = 1e-3
    columns = [(loss(point + h * unit)[1] - loss(point - h * unit)[1]) / (2 * h) for unit in np.eye(len(point))]
    values, vectors = np.linalg.eigh((np.array(columns) + np.array(columns).T) / 2)
    values = np.maximum(np.abs(values), 1e-4 * np.abs(values).max() + 1e-12)
    return (vectors * values) @ vectors.T


def _quasi_newton(
    loss: Objective,
    point: np.ndarray,
    curvature: np.ndarray,
    bounds: np.ndarray,
    tolerance: float = 1e-4,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Minimise by BFGS from a known curvature, within bounds: the point, the curvature there, whether it converged.

    It has converged when the quadratic model expects less than `tolerance` (nats) from another step.
    """
    value, slope = loss(point)
    for _ in range(30):
        held = ((point <= bounds[:, 0]) & (slope > 0)) | ((point >= bounds[:, 1]) & (slope < 0))
        free = np.flatnonzero(~held)
        move = np.zeros(len(point))
        if len(free):
            move[free] = -np.linalg.solve(curvature[np.ix_(free, free)], slope[free])
        if -slope @ move < 2 * tolerance:
            return point, curvature, True
        length = 1.0
        while True:
            new = np.clip(point + length * move, *bounds.T)
            new_value, new_slope = loss(new)
            if new_value <= value + 1e-4 * slope @ (new - point):
                break
            length *= 0.3
            if length < 1e-3:
                return point, curvature, False
        s, change = new - point, new_slope - slope
        if s @ change > 1e-12:
            seen = curvature @ s
            curvature = curvature - np.outer(seen, seen) / (s @ seen) + np.outer(change, change) / (s @ change)
        point, value, slope = new, new_value, new_slope
    return point, curvature, False


def log_density(y: Tensor, solved: Tensor, log_determinant: float) -> float:
    """Log density of N(0, A) at y, summed over outputs, given A⁻¹y and log|A|; y of shape (n, p)."""
    outputs = y.shape[1]
    return -0.5 * float((y * solved).sum()) - 0.5 * outputs * log_determinant - 0.5 * y.numel() * math.log(2 * math.pi)
