"""The theorems of self-distilled regression, checked without the eigensystem: step after step against one process."""

from typing import Any

import torch
from torch import Tensor

from workbench.gp.inference.kernels import wrap
from workbench.gp.making.filters import harmonic_noise
from workbench.records import PosteriorPath


def largest_difference(kernel: Any, path: PosteriorPath, grid: int, *, approach: str, step: int) -> dict[str, Any]:
    """Largest differences, on the leading `grid` inputs, between the steps taken one by one and one ordinary process.

    Data-centric steps are refitted to the last step's predictions, distribution-centric ones condition the last
    posterior process anew; both by Cholesky, on the Gram matrix. The ordinary process has noise 1 / Σ 1/γ, or for
    data-centric steps the noise ``V diag(λ) Vᵀ``.

    Returns
    -------
    ``approach``, ``mean`` and (distribution-centric) ``std``, in units of the targets.
    """
    assert path.directions is not None
    assert path.noise is not None
    assert path.scale is not None
    assert path.offset is not None
    noise, mixing = path.noise[:step], path.mixing[:step]
    weight = torch.bincount(path.groups).double()
    root = weight.sqrt()
    rows = torch.zeros(len(weight), path.train_inputs.shape[1], dtype=torch.float64)
    rows[path.groups] = path.train_inputs
    targets = torch.zeros(len(weight), path.train_targets.shape[1], dtype=torch.float64)
    targets.index_add_(0, path.groups, path.train_targets)
    y = root[:, None] * ((targets / weight[:, None] - path.offset) / path.scale)
    face = wrap(kernel, rows)
    gram = face.gram(rows) * root * root[:, None]
    x = path.inputs[:grid]
    cross = face.cross(x, rows) * root
    if approach == "data":
        stepwise = _refitted(gram, cross, y, noise, mixing)
        assert path.effective_noise is not None
        vectors = path.directions * root[:, None]
        stiff = vectors * path.effective_noise[step - 1].clamp_max(1e12) @ vectors.T
        once = cross @ torch.cholesky_solve(y, torch.linalg.cholesky(gram + stiff))
        return {"approach": approach, "mean": float(((stepwise - once) * path.scale).abs().max()), "std": None}
    prior = face.covariance(x)
    mean, covariance = _conditioned(gram, cross, prior, y, noise)
    effective = float(harmonic_noise(noise)[-1])
    factor = torch.linalg.cholesky(gram + effective * torch.eye(len(gram), dtype=gram.dtype))
    once = cross @ torch.cholesky_solve(y, factor)
    left = (prior - cross @ torch.cholesky_solve(cross.T, factor)).diagonal().clamp_min(0).sqrt()
    spread = (covariance.diagonal().clamp_min(0).sqrt() - left) * path.scale.max()
    return {
        "approach": approach,
        "mean": float(((mean - once) * path.scale).abs().max()),
        "std": float(spread.abs().max()),
    }


def _refitted(gram: Tensor, cross: Tensor, y: Tensor, noise: Tensor, mixing: Tensor) -> Tensor:
    """Mean at the grid (m, p) after refitting to the last predictions, once per noise."""
    targets, mean = y, cross @ torch.zeros_like(y)
    for t, (gamma, alpha) in enumerate(zip(noise.tolist(), mixing.tolist(), strict=True)):
        factor = torch.linalg.cholesky(gram + gamma * torch.eye(len(gram), dtype=gram.dtype))
        if t:
            targets = alpha * y + (1 - alpha) * targets
        weights = torch.cholesky_solve(targets, factor)
        mean, targets = cross @ weights, gram @ weights
    return mean


def _conditioned(gram: Tensor, cross: Tensor, prior: Tensor, y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (m, p) and covariance (m, m) at the grid: the posterior process is the next prior, once per noise."""
    joint = torch.cat([torch.cat([gram, cross.T], 1), torch.cat([cross, prior], 1)])
    n = len(gram)
    mean = torch.zeros(len(joint), y.shape[1], dtype=y.dtype)
    for gamma in noise.tolist():
        factor = torch.linalg.cholesky(joint[:n, :n] + gamma * torch.eye(n, dtype=y.dtype))
        mean = mean + joint[:, :n] @ torch.cholesky_solve(y - mean[:n], factor)
        joint = joint - joint[:, :n] @ torch.cholesky_solve(joint[:n], factor)
    return mean[n:], joint[n:, n:]
