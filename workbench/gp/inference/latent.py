"""The chain of posteriors of one latent function of a classifier, exact up to Laplace's approximation."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from workbench.gp.inference.bernoulli import CONTINUOUS, LOGISTIC, Family, averaged_mean, averaged_sigmoid
from workbench.gp.inference.kernels import KernelFace
from workbench.gp.inference.laplace import Mode, factor_of, find_mode, latent_variance, maximise_evidence
from workbench.gp.inference.rows import Rows


class Latent(Protocol):
    """What the classifier asks of one latent function: `ExactLatent` or `VariationalLatent`.

    `evidence` has shape (T,); `targets` and `fitted` (T, n): what each step was fitted to and its probabilities there.
    """

    rows: Rows
    evidence: np.ndarray
    targets: Tensor
    fitted: Tensor

    def distil(
        self, approach: str, mode: str, mixing: np.ndarray, *, hyperparameters: str, consistent: bool
    ) -> None: ...
    def moments(self, x: Tensor, step: int) -> tuple[Tensor, Tensor]: ...
    def describe(self) -> str: ...
    def fitted_kernel(self) -> KernelFace: ...


class ExactLatent:
    """One latent function by Laplace's approximation on all rows.

    Parameters
    ----------
    kernel
        Fitted in place where hyperparameters are not fixed.
    rows
        Merged rows; ``y`` of shape (n, 1) is the share of positive labels at each input.
    """

    def __init__(self, kernel: KernelFace, rows: Rows) -> None:
        self.kernel, self.rows = kernel, rows
        self.evidence = np.zeros(0)
        self.targets = self.fitted = rows.y.new_empty(0)
        self._modes: list[Mode] = []
        self._kernels: list[KernelFace] = []
        self._scales: list[float] = []
        self._factor: tuple[int, Tensor] | None = None

    def distil(self, approach: str, mode: str, mixing: np.ndarray, *, hyperparameters: str, consistent: bool) -> None:
        """Run all steps; arguments as in `SelfDistilledGPC`, `mixing` of shape (T,)."""
        labels, kernel = self.rows.y[:, 0], self.kernel
        targets: list[Tensor] = []
        fitted: list[Tensor] = []
        gram: Tensor | None = None
        for t, alpha in enumerate(mixing.tolist()):
            family, y, counts, scale = LOGISTIC, labels, self.rows.weight, 1.0
            prior = None
            if t and approach == "data":
                family, y = CONTINUOUS, alpha * labels + (1 - alpha) * fitted[-1]
            elif t:
                counts = counts * (t + 1) if mode == "duplicate" else counts
                scale = t + 1.0 if mode == "scaled" else 1.0
                prior = self._modes[-1] if mode == "sequential" else None
            if hyperparameters == "all" or (hyperparameters == "first" and t == 0):
                kernel = kernel.copy()
                # the kernel that explains the labels as often as they were seen, whatever the mode calls them later
                seen = self.rows.weight * (t + 1) if approach == "distribution" else counts
                maximise_evidence(kernel, self.rows.X, family, y, seen)
                if mode == "sequential" and approach == "distribution" and t:
                    prior = self._replay(kernel, t)
                gram = None
            if gram is None:
                gram = kernel.gram(self.rows.X)
                gram.diagonal().add_(kernel.white)
            start = None if prior is not None or not self._modes else self._modes[-1].weights / scale
            scaled = gram * scale if scale != 1 else gram
            found = find_mode(scaled, family, y, counts, prior=prior, start=start)
            self._modes.append(found)
            self._kernels.append(kernel)
            self._scales.append(scale)
            targets.append(y)
            factor = factor_of(scaled, found.precision)
            variance = latent_variance(found, factor, scaled, scaled.diagonal())
            average = averaged_mean if consistent and family is CONTINUOUS else averaged_sigmoid
            fitted.append(average(found.latent, variance))
            self._factor = t, factor
        self.targets, self.fitted = torch.stack(targets), torch.stack(fitted)
        self.evidence = np.array([found.evidence for found in self._modes])

    def moments(self, x: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Latent mean and variance at x (m, features) after `step` (from 0), both (m,)."""
        mode, kernel, scale = self._modes[step], self._kernels[step], self._scales[step]
        factor = self._factor_at(step)
        size = max(1, 30_000_000 // len(self.rows.X))
        means, variances = [], []
        for start in range(0, len(x), size):
            part = x[start : start + size]
            cross = scale * kernel.cross(self.rows.X, part)
            means.append(cross.T @ mode.weights)
            variances.append(latent_variance(mode, factor, cross, scale * kernel.diagonal(part)))
        return torch.cat(means), torch.cat(variances)

    def describe(self) -> str:
        return self._kernels[-1].describe()

    def fitted_kernel(self) -> KernelFace:
        return self._kernels[-1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_factor": None}  # O(n²), and quickly made again

    def _factor_at(self, step: int) -> Tensor:
        """The Cholesky factor of a step; the last one asked for is kept, all of them would be T·n² numbers."""
        if self._factor is None or self._factor[0] != step:
            kernel, scale = self._kernels[step], self._scales[step]
            gram = kernel.gram(self.rows.X) * scale
            gram.diagonal().add_(kernel.white * scale)
            self._factor = step, factor_of(gram, self._modes[step].precision)
        return self._factor[1]

    def _replay(self, kernel: KernelFace, steps: int) -> Mode:
        """The posterior after `steps` sequential looks at the labels, under another kernel."""
        gram = kernel.gram(self.rows.X)
        gram.diagonal().add_(kernel.white)
        mode: Mode | None = None
        family: Family = LOGISTIC
        for _ in range(steps):
            mode = find_mode(gram, family, self.rows.y[:, 0], self.rows.weight, prior=mode)
        assert mode is not None
        return mode
