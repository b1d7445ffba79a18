"""From kernel and rows to a fitted regression chain: which engine, which kernel parameters, which mixing weights."""

from dataclasses import dataclass

import numpy as np
import torch

from workbench.gp.inference.evidence import maximise_evidence
from workbench.gp.inference.exact import Exact
from workbench.gp.inference.inducing import Inducing, choose_inducing
from workbench.gp.inference.iterative import ConjugateGradient
from workbench.gp.inference.kernels import KernelFace
from workbench.gp.inference.rows import Rows, merge
from workbench.gp.making.chain import Engine, Step, best_mixing, data_step, distribution_step, run

HYPERPARAMETER_ROWS = 1_500


@dataclass(frozen=True)
class Recipe:
    """How a chain is made; the estimator's parameters of the same names, with `method` decided and `seed` drawn."""

    approach: str
    method: str
    hyperparameters: str
    learn_noise: bool
    inducing: int
    seed: int
    progress: bool

    def engine(self, kernel: KernelFace, rows: Rows) -> Engine:
        """The way to condition on `rows` that `method` names."""
        if self.method == "exact":
            return Exact(kernel, rows)
        Z = choose_inducing(rows, self.inducing, self.seed)
        if self.method == "svgp":
            return Inducing(kernel, rows, Z)
        return ConjugateGradient(kernel, rows, Z, progress=self.progress)

    def fit_kernel(self, kernel: KernelFace, rows: Rows, noise: float, *, learn_noise: bool = False) -> float:
        """Fit `kernel` in place by marginal likelihood; returns the noise, fitted too where asked.

        The likelihood is the exact one; where all rows would be too many for it, that of a random 1,500 of them.
        """
        if self.method != "exact" and len(rows.X) > HYPERPARAMETER_ROWS:
            rows = rows.subset(HYPERPARAMETER_ROWS, self.seed)
        return maximise_evidence(kernel, rows, noise, learn_noise=learn_noise, seed=self.seed).noise

    def chain(
        self, kernel: KernelFace, rows: Rows, noise: np.ndarray, mixing: np.ndarray
    ) -> tuple[list[Engine], list[Step]]:
        """All steps; one engine, or with hyperparameters="all" one per step. `noise` includes the kernel's own."""
        engine = self.engine(kernel, rows)
        if self.hyperparameters != "all":
            return [engine], run(engine, noise, mixing, self.approach)
        engines, white = [engine], kernel.white
        chain = [data_step(engine, float(noise[0]), 1.0, None)]
        for t in range(1, len(noise)):
            own = engines[-1].kernel.copy()
            if self.approach == "data":
                alpha, last = float(mixing[t]), chain[-1].fitted
                goal = rows.with_targets((alpha * rows.scaled + (1 - alpha) * last) / rows.root, rows.spread * alpha**2)
                self.fit_kernel(own, goal, float(noise[t]) - white)
                noise[t] += own.white - white
                engines.append(self.engine(own, rows))
                chain.append(data_step(engines[-1], float(noise[t]), alpha, last))
            else:
                self.fit_kernel(own, rows, float(1 / (1 / noise[: t + 1]).sum()) - white)
                engines.append(self.engine(own, rows))
                chain.append(distribution_step(engines[-1], noise, t))
        return engines, chain

    def best_mixing(
        self,
        kernel: KernelFace,
        X: np.ndarray,
        y: np.ndarray,
        weight: np.ndarray | None,
        *,
        noise: np.ndarray,
        held_out: float,
        like: torch.Tensor,
    ) -> np.ndarray:
        """Each step's best α on a random share `held_out` of the rows X (N, features), y (N, p); shape (T,)."""
        held = round(len(X) * held_out)
        if not 0 < held < len(X):
            raise ValueError(
                f"mixing='best' holds out validation_fraction={held_out} of {len(X)} rows, which leaves no rows on one "
                "side: give more rows, or the mixing weights themselves"
            )
        order = np.random.default_rng(self.seed).permutation(len(X))
        valid, train = order[:held], order[held:]
        rows = merge(X[train], y[train], None if weight is None else weight[train], like)
        engine = self.engine(kernel.copy(), rows)
        engine.prepare(noise.tolist())
        return best_mixing(engine, noise, torch.as_tensor(X[valid]).to(like), torch.as_tensor(y[valid]).to(like))
