"""The ways to many rows agree with the exact one where both run, and with gpytorch's own."""

import gpytorch
import numpy as np
import pytest
import torch

from workbench.gp import SelfDistilledGPC, SelfDistilledGPR, redistill
from workbench.gp.inference.inducing import Inducing
from workbench.gp.inference.iterative import ConjugateGradient
from workbench.gp.inference.kernels import wrap
from workbench.gp.inference.rows import merge

FIXED = {"hyperparameters": "fixed", "noise": 0.05, "steps": 3}


@pytest.mark.parametrize("approach", ["data", "distribution"])
@pytest.mark.parametrize("method", ["svgp", "cg"])
def test_agrees_with_exact_where_all_rows_are_inducing(table, rbf, method, approach):
    X, y, _, new = table
    weight = np.random.default_rng(0).uniform(0.5, 2, 40)
    exact, other = (
        SelfDistilledGPR(rbf, method=m, approach=approach, normalize_y=True, **FIXED).fit(X, y, sample_weight=weight)
        for m in ("exact", method)
    )
    for step in (1, 3):
        for option in ("return_std", "return_cov"):
            pairs = zip(*(m.predict(new, step=step, **{option: True}) for m in (exact, other)), strict=True)
            assert all(a == pytest.approx(b, abs=1e-6) for a, b in pairs)
    a, b = exact.path(new), other.path(new)
    assert torch.allclose(a.fitted, b.fitted, atol=1e-6)
    if method == "svgp":
        assert b.log_marginal_likelihood.numpy() == pytest.approx(a.log_marginal_likelihood.numpy(), abs=1e-4)
        assert torch.allclose(redistill(b, steps=6, noise=0.2).mean, redistill(a, steps=6, noise=0.2).mean, atol=1e-6)


def test_few_inducing_points_are_close_and_consistent_with_their_own_eigensystem():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (300, 1))
    y = np.sin(3 * X[:, 0]) + 0.1 * rng.normal(size=300)
    new = np.linspace(-2, 2, 50)[:, None]
    exact = SelfDistilledGPR("rbf", method="exact", **FIXED).fit(X, y)
    sparse = SelfDistilledGPR("rbf", method="svgp", inducing=25, **FIXED).fit(X, y)
    assert sparse.predict(new) == pytest.approx(exact.predict(new), abs=1e-3)
    assert sparse.log_marginal_likelihood_[0] <= exact.log_marginal_likelihood_[0] + 1e-6  # it is a lower bound
    path = sparse.path(new)
    again = redistill(path)
    for name in ("mean", "variance", "fitted", "log_marginal_likelihood"):
        assert torch.allclose(getattr(again, name), getattr(path, name), atol=1e-6), name


def test_inducing_posterior_is_gpytorchs_sgpr(rbf):
    rng = np.random.default_rng(1)
    X, new = torch.from_numpy(rng.normal(size=(60, 2))), torch.from_numpy(rng.normal(size=(7, 2)))
    y = torch.sin(X[:, 0])
    Z = X[:12].clone()
    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    likelihood.noise = torch.tensor(0.1).double()

    class Sparse(gpytorch.models.ExactGP):
        def __init__(self):
            super().__init__(X, y, likelihood)
            self.mean_module = gpytorch.means.ZeroMean()
            self.covar_module = gpytorch.kernels.InducingPointKernel(rbf, Z.clone(), likelihood)

        def forward(self, x):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    theirs = Sparse().double()
    rows = merge(X.numpy(), y.numpy()[:, None], None, X)
    engine = Inducing(wrap(rbf, X), rows, Z)
    weights, _ = engine.solve(0.1, rows.scaled)
    bound = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, theirs)(theirs(X), y).item() * len(X)
    assert engine.evidence(0.1, rows.scaled, weights, 0.0) == pytest.approx(bound, abs=0.05)  # their jitter is larger
    with gpytorch.settings.sgpr_diagonal_correction(False):  # else it predicts by FITC, which it did not train
        mean = theirs.eval()(new).mean.detach()
    assert torch.allclose(engine.mean(new, weights)[:, 0], mean, atol=1e-3)


@pytest.mark.parametrize("blocks", [False, True])
def test_conjugate_gradients_with_a_coarse_preconditioner_and_without_a_kept_matrix(table, rbf, blocks, monkeypatch):
    X, y, _, new = table
    if blocks:
        monkeypatch.setattr("workbench.gp.inference.iterative.memory_free", lambda device: 0)
    exact = SelfDistilledGPR(rbf, **FIXED).fit(X, y)
    coarse = SelfDistilledGPR(rbf, method="cg", inducing=5, **FIXED).fit(X, y)
    engine = coarse._engines[0]
    assert isinstance(engine, ConjugateGradient)
    assert (engine._gram is None) == blocks
    assert engine.iterations > 3
    for a, b in zip(coarse.predict(new, return_std=True), exact.predict(new, return_std=True), strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def test_a_solve_that_does_not_converge_says_so(table, rbf):
    X, y, *_ = table
    rows = merge(X, y[:, None], None, torch.zeros(1, 2).double())
    engine = ConjugateGradient(wrap(rbf, rows.X), rows, rows.X[:2], tolerance=1e-30)
    with pytest.warns(UserWarning, match="stopped after"):
        engine.solve(1e-3, rows.scaled)


@pytest.mark.parametrize(
    ("approach", "mode"), [("data", "duplicate"), ("distribution", "duplicate"), ("distribution", "scaled")]
)
def test_variational_classifier_agrees_with_the_exact_one(table, rbf, approach, mode):
    X, _, y, new = table
    build = {"approach": approach, "mode": mode, "steps": 2, "hyperparameters": "fixed"}
    exact = SelfDistilledGPC(rbf, **build).fit(X, y)
    sparse = SelfDistilledGPC(rbf, method="svgp", inducing=40, epochs=2, **build).fit(X, y)
    # Laplace's Gaussian and the best one in KL differ: on this table by two hundredths in probability
    assert sparse.predict_proba(new) == pytest.approx(exact.predict_proba(new), abs=0.04)
    again = SelfDistilledGPC(rbf, method="svgp", inducing=40, epochs=2, **build).fit(X, y)
    assert np.array_equal(again.predict_proba(new), sparse.predict_proba(new))


def test_variational_classifier_learns_its_kernel():
    rng = np.random.default_rng(0)
    X = rng.uniform(-3, 3, (200, 1))
    y = np.sin(3 * X[:, 0]) > 0
    model = SelfDistilledGPC(method="svgp", inducing=30, steps=1, epochs=8).fit(X, y)
    assert model.score(X, y) > 0.95
    assert (
        model.log_marginal_likelihood_[0]
        > SelfDistilledGPC(method="svgp", inducing=30, steps=1, epochs=8, hyperparameters="fixed")
        .fit(X, y)
        .log_marginal_likelihood_[0]
    )
