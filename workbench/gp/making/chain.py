"""The loop of paper 001: each step's targets, weights and evidence, on any engine that solves for one noise."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from workbench.gp.inference.evidence import merged_constant
from workbench.gp.inference.kernels import KernelFace
from workbench.gp.inference.rows import Rows
from workbench.gp.inference.spectrum import Spectrum
from workbench.gp.making.filters import harmonic_noise


class Engine(Protocol):
    """What the estimators ask of a way to condition a Gaussian process: `Exact`, `Inducing`, `ConjugateGradient`."""

    kernel: KernelFace
    rows: Rows
    jitter: float

    def prepare(self, noises: list[float]) -> None: ...
    def solve(self, noise: float, targets: Tensor) -> tuple[Tensor, Tensor]: ...
    def evidence(self, noise: float, targets: Tensor, weights: Tensor, spread: float) -> float: ...
    def mean(self, X: Tensor, weights: Tensor) -> Tensor: ...
    def variance(self, X: Tensor, noise: float) -> Tensor: ...
    def covariance(self, X: Tensor, noise: float) -> Tensor: ...
    def spectrum(self) -> Spectrum: ...
    def projections(self, X: Tensor) -> Tensor: ...
    def directions(self) -> Tensor: ...
    def condition_number(self, noise: float) -> float: ...


@dataclass(frozen=True, eq=False)
class Step:
    """One step: what it was fitted to, what it made of it (both scaled by √w, shape (n, p)), and with which noise.

    `weights` are the engine's; `noise` is the one of the ordinary Gaussian process with this posterior; `evidence` is
    the log density, in nats, of `targets` under the prior of the step.
    """

    targets: Tensor
    fitted: Tensor
    weights: Tensor
    noise: float
    evidence: float


def data_step(engine: Engine, noise: float, mixing: float, last: Tensor | None) -> Step:
    """Fit to ``α y + (1 − α) y^{(t−1)}``; `last` is the fitted value of the step before, None at the first."""
    rows = engine.rows
    y = rows.scaled
    targets = y if last is None else mixing * y + (1 - mixing) * last
    spread = rows.spread * (1.0 if last is None else mixing**2)  # predictions agree on equal inputs, targets need not
    weights, fitted = engine.solve(noise, targets)
    return Step(targets, fitted, weights, noise, engine.evidence(noise, targets, weights, spread))


def distribution_step(engine: Engine, noises: np.ndarray, step: int) -> Step:
    """Condition the posterior of step − 1 (from 0) once more on y: one regression with the harmonic noise."""
    effective = float(harmonic_noise(torch.as_tensor(noises[: step + 1]))[-1])
    weights, fitted = engine.solve(effective, engine.rows.scaled)
    now = _stacked_evidence(engine, noises[: step + 1], effective, weights)
    before = 0.0
    if step:
        last = float(harmonic_noise(torch.as_tensor(noises[:step]))[-1])
        before = _stacked_evidence(engine, noises[:step], last, engine.solve(last, engine.rows.scaled)[0])
    return Step(engine.rows.scaled, fitted, weights, effective, now - before)


def run(engine: Engine, noises: np.ndarray, mixing: np.ndarray, approach: str) -> list[Step]:
    """All steps on one engine, for γ_t and α_t of shape (T,)."""
    if approach == "distribution":
        engine.prepare(harmonic_noise(torch.as_tensor(noises)).tolist())
        return [distribution_step(engine, noises, t) for t in range(len(noises))]
    engine.prepare(noises.tolist())
    steps: list[Step] = []
    for gamma, alpha in zip(noises.tolist(), mixing.tolist(), strict=True):
        steps.append(data_step(engine, gamma, alpha, steps[-1].fitted if steps else None))
    return steps


def best_mixing(engine: Engine, noises: np.ndarray, X: Tensor, y: Tensor, *, clip: bool = True) -> np.ndarray:
    """Each step's α that is best on a validation split, in closed form, shape (T,).

    With A the validation prediction of a fit to y and B of a fit to the last step's predictions,
    ``α* = ⟨y − B, A − B⟩ / ‖A − B‖²`` (paper 001, section B). Step 1 sees only y: its α is 1.

    Parameters
    ----------
    engine, noises
        Conditioned on the training part; γ of each step.
    X, y
        Validation inputs (m, features) and targets (m, p), normalised like the engine's.
    clip
        Keep α in 0..1.
    """
    chosen = [1.0]
    step = data_step(engine, float(noises[0]), 1.0, None)
    for gamma in noises[1:].tolist():
        pure = engine.solve(gamma, engine.rows.scaled)[0]
        taught = engine.solve(gamma, step.fitted)[0]
        true, taught = engine.mean(X, pure), engine.mean(X, taught)
        gap = true - taught
        size = float(gap.square().sum())
        alpha = float(((y - taught) * gap).sum()) / size if size > 0 else 1.0
        chosen.append(min(1.0, max(0.0, alpha)) if clip else alpha)
        step = data_step(engine, gamma, chosen[-1], step.fitted)
    return np.array(chosen)


def _stacked_evidence(engine: Engine, noises: np.ndarray, effective: float, weights: Tensor) -> float:
    """Evidence of the data stacked once per noise level, from the single regression that equals it."""
    rows = engine.rows
    if effective == 0:
        return math.nan  # the second look at targets known without noise has no density
    base = engine.evidence(effective, rows.scaled, weights, 0.0)
    base -= merged_constant(rows, effective, 0.0)
    total = float(rows.weight.sum()) * rows.y.shape[1]
    # Π N(y | f, γ_s) = N(y | f, γ_eff) · √(2πγ_eff) / Π √(2πγ_s), for the merged row and for each row around it
    constant = 0.5 * rows.y.numel() * math.log(2 * math.pi * effective)
    constant -= 0.5 * total * float(np.log(2 * math.pi * noises).sum())
    return base + constant - 0.5 * rows.spread / effective
