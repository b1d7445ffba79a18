"""A classifier's latent function on many rows: stochastic variational inference on inducing points, with gpytorch."""

import copy
import math
from typing import Any

import gpytorch
import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from workbench.gp.inference.bernoulli import (
    ContinuousBernoulliLikelihood,
    ExponentialFamilyLikelihood,
    LogisticLikelihood,
    averaged_mean,
    averaged_sigmoid,
)
from workbench.gp.inference.kernels import GPyTorchKernel, KernelFace
from workbench.gp.inference.rows import Rows

BATCH = 1024
CHUNK = 4096


class SparseGP(gpytorch.models.ApproximateGP):
    """A zero-mean GP with a free Gaussian over whitened function values at inducing inputs Z (M, features)."""

    def __init__(self, kernel: gpytorch.kernels.Kernel, Z: Tensor) -> None:
        q = gpytorch.variational.NaturalVariationalDistribution(len(Z), mean_init_std=0.0)
        strategy = gpytorch.variational.VariationalStrategy(self, Z, q, learn_inducing_locations=False)
        super().__init__(strategy)
        self.mean_module = gpytorch.means.ZeroMean()
        self.covar_module = kernel

    def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


class VariationalLatent:
    """One latent function by SVGP (Hensman et al. 2015): natural gradients for q(u), Adam for the kernel.

    Parameters
    ----------
    kernel, rows
        As in `ExactLatent`; the kernel must be gpytorch's, whose parameters take gradients.
    Z
        Inducing inputs, shape (M, features).
    epochs
        Passes over the rows per step.
    seed
        Of the order of the batches.
    progress
        Show a bar per step.
    """

    def __init__(self, kernel: KernelFace, rows: Rows, Z: Tensor, *, epochs: int, seed: int, progress: bool) -> None:
        if not isinstance(kernel, GPyTorchKernel):
            raise TypeError(
                "method='svgp' trains the kernel by gradients and needs a gpytorch kernel for classification, not "
                f"scikit-learn's {kernel.describe()}: use gpytorch.kernels, or method='exact'"
            )
        self.kernel, self.rows, self.Z = kernel, rows, Z
        self.epochs, self.seed, self.progress = epochs, seed, progress
        self.evidence = np.zeros(0)
        self.targets = self.fitted = rows.y.new_empty(0)
        self._models: list[SparseGP] = []

    def distil(self, approach: str, mode: str, mixing: np.ndarray, *, hyperparameters: str, consistent: bool) -> None:
        """Run all steps; arguments as in `SelfDistilledGPC`, `mixing` of shape (T,)."""
        if approach == "distribution" and mode == "sequential" and len(mixing) > 1:
            raise ValueError(
                "mode='sequential' chains exact Laplace posteriors; with method='svgp' use mode='duplicate', which it "
                "approximates, or mode='scaled'"
            )
        labels = self.rows.y[:, 0]
        kernel: Any = self.kernel.kernel
        targets: list[Tensor] = []
        fitted: list[Tensor] = []
        evidence: list[float] = []
        for t, alpha in enumerate(mixing.tolist()):
            likelihood: ExponentialFamilyLikelihood = LogisticLikelihood()
            y, counts, scale = labels, self.rows.weight, 1.0
            if t and approach == "data":
                likelihood, y = ContinuousBernoulliLikelihood(), alpha * labels + (1 - alpha) * fitted[-1]
            elif t:
                counts = counts * (t + 1) if mode == "duplicate" else counts
                scale = t + 1.0 if mode == "scaled" else 1.0
            learn = hyperparameters == "all" or (hyperparameters == "first" and t == 0)
            model = self._model(kernel, scale)
            evidence.append(self._train(model, likelihood, y, counts, learn=learn, name=f"step {t + 1}"))
            if learn:
                kernel = model.covar_module if scale == 1 else model.covar_module.base_kernel
            self._models.append(model)
            average = averaged_mean if consistent and t and approach == "data" else averaged_sigmoid
            targets.append(y)
            fitted.append(average(*self.moments(self.rows.X, t)))
        self.targets, self.fitted = torch.stack(targets), torch.stack(fitted)
        self.evidence = np.array(evidence)

    def moments(self, x: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Latent mean and variance at x (m, features) after `step` (from 0), both (m,)."""
        model = self._models[step].eval()
        means, variances = [], []
        with torch.no_grad():
            for start in range(0, len(x), CHUNK):
                q = model(x[start : start + CHUNK])
                means.append(q.mean)
                variances.append(q.variance)
        return torch.cat(means), torch.cat(variances)

    def describe(self) -> str:
        return self.fitted_kernel().describe()

    def fitted_kernel(self) -> GPyTorchKernel:
        return GPyTorchKernel(self._models[-1].covar_module)

    def _model(self, kernel: gpytorch.kernels.Kernel, scale: float) -> SparseGP:
        kernel = copy.deepcopy(kernel)
        if scale != 1:
            kernel = gpytorch.kernels.ScaleKernel(kernel).to(self.Z)
            kernel.outputscale = scale
            kernel.raw_outputscale.requires_grad_(False)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return SparseGP(kernel, self.Z).to(self.Z)

    def _train(
        self,
        model: SparseGP,
        likelihood: ExponentialFamilyLikelihood,
        y: Tensor,
        counts: Tensor,
        *,
        learn: bool,
        name: str,
    ) -> float:
        """Maximise the evidence lower bound; returns it, over all rows, in nats."""
        model.train()
        likelihood = likelihood.to(self.Z)
        n = len(y)
        batch = min(BATCH, n)
        natural = gpytorch.optim.NGD(model.variational_parameters(), num_data=n, lr=0.1)
        free = [p for p in model.hyperparameters() if p.requires_grad] if learn else []
        adam = torch.optim.Adam(free, lr=0.05) if free else None
        generator = torch.Generator().manual_seed(self.seed)
        updates = self.epochs * max(math.ceil(n / batch), 10)  # few rows need more than one update per pass
        order = torch.empty(0, dtype=torch.int64)
        with torch.random.fork_rng(), tqdm(total=updates, desc=name, disable=not self.progress) as bar:
            torch.manual_seed(self.seed)
            for update in range(updates):
                if len(order) < batch:
                    order = torch.randperm(n, generator=generator)
                index, order = order[:batch].to(y.device), order[batch:]
                # full steps forget the start, falling ones average the batches' noise out
                natural.param_groups[0]["lr"] = 0.5 if batch == n else 0.5 / (1 + 10 * update / updates)
                natural.zero_grad()
                q = model(self.rows.X[index])
                fit = (counts[index] * likelihood.expected_log_prob(y[index], q)).sum() / batch
                loss = model.variational_strategy.kl_divergence() / n - fit
                loss.backward()
                natural.step()
                if adam is not None:
                    adam.step()
                    adam.zero_grad()
                bar.update()
        return self._bound(model.eval(), likelihood, y, counts)

    def _bound(self, model: SparseGP, likelihood: ExponentialFamilyLikelihood, y: Tensor, counts: Tensor) -> float:
        total = 0.0
        with torch.no_grad():
            for start in range(0, len(y), CHUNK):
                part = slice(start, start + CHUNK)
                fit = counts[part] * likelihood.expected_log_prob(y[part], model(self.rows.X[part]))
                total += float(fit.sum())
            return total - float(model.variational_strategy.kl_divergence())
