"""Self-distillation step by step, by Cholesky on the Gram matrix, agrees with the one process of the theorems."""

import numpy as np
import pytest
import torch
from sklearn.gaussian_process.kernels import RBF

from workbench.gp import SelfDistilledGPR
from workbench.gp.making import stepwise

X = np.linspace(0, 1, 9)[:, None]
Y = np.sin(9 * X[:, 0]) + 0.1 * np.cos(31 * X[:, 0])


def fitted(**options):
    return SelfDistilledGPR(RBF(0.15), noise=[0.3, 0.1, 0.2], steps=3, hyperparameters="fixed", **options).fit(X, Y)


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("options", [{"approach": "data", "mixing": 0.2}, {"approach": "distribution"}])
def test_steps_and_the_ordinary_process_agree(options, step):
    model = fitted(**options)
    path = model.path(np.linspace(-0.2, 1.2, 21)[:, None])
    found = stepwise.largest_difference(model.fitted_kernel, path, 21, approach=options["approach"], step=step)
    assert found["mean"] < 1e-11
    assert found["std"] is None if options["approach"] == "data" else found["std"] < 1e-8


def test_another_noise_would_be_seen(monkeypatch):
    model = fitted(approach="distribution")
    path = model.path(X)
    monkeypatch.setattr(stepwise, "harmonic_noise", lambda noise: torch.full((len(noise),), 0.2))
    found = stepwise.largest_difference(model.fitted_kernel, path, len(X), approach="distribution", step=3)
    assert found["mean"] > 1e-3
