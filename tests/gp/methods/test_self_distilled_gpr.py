"""The regressor against scikit-learn, gpytorch, its own closed form, and the paper's equivalences."""

import pickle

import gpytorch
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from workbench import records
from workbench.gp import SelfDistilledGPR, redistill
from workbench.gp.inference.evidence import evidence_and_slope
from workbench.gp.inference.exact import Exact
from workbench.gp.inference.kernels import wrap
from workbench.gp.inference.rows import merge
from workbench.gp.making.chain import best_mixing

FIXED = {"hyperparameters": "fixed", "noise": 0.05}


@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("hyperparameters", ["fixed", "first"])
@pytest.mark.parametrize("normalize", [False, True])
def test_one_step_is_scikit_learns_regressor(table, sklearn_rbf, white, hyperparameters, normalize):
    X, y, _, new = table
    kernel = sklearn_rbf + WhiteKernel(0.1, (1e-3, 1e1)) if white else sklearn_rbf
    optimizer = None if hyperparameters == "fixed" else "fmin_l_bfgs_b"
    theirs = GaussianProcessRegressor(kernel, alpha=0.05, optimizer=optimizer, normalize_y=normalize).fit(X, y)
    ours = SelfDistilledGPR(kernel, noise=0.05, steps=1, hyperparameters=hyperparameters, normalize_y=normalize)
    ours.fit(X, y)
    tolerance = 1e-10 if optimizer is None else 2e-3
    assert ours.log_marginal_likelihood_[0] == pytest.approx(theirs.log_marginal_likelihood_value_, abs=1e-3)
    for option in ("return_std", "return_cov"):
        for a, b in zip(ours.predict(new, **{option: True}), theirs.predict(new, **{option: True}), strict=True):
            assert a == pytest.approx(b, abs=tolerance)


def test_one_step_is_gpytorchs_exact_gp(table, rbf):
    X, y, _, new = table

    class Exact(gpytorch.models.ExactGP):
        def __init__(self, x, t, likelihood):
            super().__init__(x, t, likelihood)
            self.mean_module, self.covar_module = gpytorch.means.ZeroMean(), rbf

        def forward(self, x):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    x, t = torch.from_numpy(X), torch.from_numpy(y)
    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    likelihood.noise = 0.05
    theirs = Exact(x, t, likelihood).double()
    evidence = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, theirs)(theirs(x), t) * len(x)
    posterior = theirs.eval()(torch.from_numpy(new))
    ours = SelfDistilledGPR(rbf, steps=1, **FIXED).fit(X, y)
    mean, covariance = ours.predict(new, return_cov=True)
    assert mean == pytest.approx(posterior.mean.detach().numpy(), abs=1e-8)
    assert covariance == pytest.approx(posterior.covariance_matrix.detach().numpy(), abs=1e-8)
    assert ours.log_marginal_likelihood_[0] == pytest.approx(evidence.item(), abs=1e-6)


@pytest.mark.parametrize(
    "kernel",
    [
        "matern", "periodic", "linear", "rational-quadratic",
        gpytorch.kernels.RBFKernel(ard_num_dims=2) * gpytorch.kernels.LinearKernel(active_dims=[0])
        + gpytorch.kernels.ScaleKernel(gpytorch.kernels.MaternKernel(nu=1.5, active_dims=[1])),
        gpytorch.kernels.RBFKernel(lengthscale_prior=gpytorch.priors.GammaPrior(3.0, 6.0)),
        ConstantKernel(1.0) * RBF([1.0, 2.0]) + WhiteKernel(0.2),
    ],
)  # fmt: skip
def test_slope_of_the_evidence_is_its_derivative(table, kernel):
    X, y, *_ = table
    weight = np.random.default_rng(1).uniform(0.5, 3, len(X))
    X = np.vstack([X, X[:3]])  # equal inputs, so that the merged terms count
    rows = merge(X, np.append(y, y[:3] + 1)[:, None], np.append(weight, [1, 2, 3]), torch.zeros(1, 2).double())
    face = wrap(kernel, rows.X)
    theta, noise, h = face.theta, 0.3, 1e-5
    slope = evidence_and_slope(face, rows, noise)[1]
    numbers = []
    for i in range(len(theta) + 1):
        ends = []
        for sign in (1, -1):
            face.theta = theta + sign * h * (np.arange(len(theta)) == i)
            ends.append(evidence_and_slope(face, rows, noise * np.exp(sign * h * (i == len(theta))))[0])
        numbers.append((ends[0] - ends[1]) / (2 * h))
    assert slope == pytest.approx(np.array(numbers), abs=2e-5, rel=1e-5)


@pytest.mark.parametrize("many", [False, True])  # many noise levels take the eigensystem, few take factors
@pytest.mark.parametrize("approach", ["data", "distribution"])
def test_path_predict_and_redistill_agree(table, rbf, approach, many):
    X, y, _, new = table
    steps = 8 if many else 3
    noise = np.linspace(0.05, 0.4, steps)
    mixing = np.linspace(0.0, 0.5, steps) if approach == "data" else 0.0
    model = SelfDistilledGPR(
        rbf, approach=approach, steps=steps, noise=noise, mixing=mixing, hyperparameters="fixed", normalize_y=True
    ).fit(X, y)
    path = model.path(new, np.zeros(9))
    assert model.predict(new).shape == (9,)
    for t in range(steps):
        mean, std = model.predict(new, return_std=True, step=t + 1)
        assert path.mean[t, :, 0].numpy() == pytest.approx(mean, abs=1e-10)
        assert path.variance[t, :, 0].sqrt().numpy() == pytest.approx(std, abs=1e-8)
    start = SelfDistilledGPR(rbf, steps=1, hyperparameters="fixed", normalize_y=True).fit(X, y).path(new, np.zeros(9))
    again = redistill(start, approach=approach, steps=steps, noise=noise, mixing=mixing)
    for name in ("mean", "variance", "filters", "effective_noise", "limit_mean", "limit_variance", "targets", "fitted"):
        assert torch.allclose(getattr(again, name), getattr(path, name), atol=1e-9), name
    assert again.log_marginal_likelihood.numpy() == pytest.approx(model.log_marginal_likelihood_, abs=1e-7)


def test_distribution_steps_are_one_regression_with_the_harmonic_noise_and_the_stacked_data(table, sklearn_rbf):
    X, y, _, new = table
    noise = [0.3, 0.1, 0.7]
    ours = SelfDistilledGPR(sklearn_rbf, approach="distribution", steps=3, noise=noise, hyperparameters="fixed")
    mean, covariance = ours.fit(X, y).predict(new, return_cov=True)
    harmonic = 1 / sum(1 / g for g in noise)
    one = GaussianProcessRegressor(sklearn_rbf, alpha=harmonic, optimizer=None).fit(X, y)
    stacked = GaussianProcessRegressor(sklearn_rbf, alpha=np.repeat(noise, len(X)), optimizer=None)
    stacked.fit(np.tile(X, (3, 1)), np.tile(y, 3))
    for other in (one, stacked):
        m, c = other.predict(new, return_cov=True)
        assert mean == pytest.approx(m, abs=1e-9)
        assert covariance == pytest.approx(c, abs=1e-9)
    assert ours.log_marginal_likelihood_.sum() == pytest.approx(stacked.log_marginal_likelihood_value_, abs=1e-8)
    reordered = SelfDistilledGPR(
        sklearn_rbf, approach="distribution", steps=3, noise=noise[::-1], hyperparameters="fixed"
    ).fit(X, y)
    assert reordered.predict(new) == pytest.approx(mean, abs=1e-10)


def test_distribution_step_is_the_posterior_used_as_prior(table, rbf):
    """The definition itself: m_t and C_t by conditioning the last posterior process, on a joint grid."""
    X, y, _, new = table
    points = torch.from_numpy(np.vstack([X, new]))
    covariance, mean, n = wrap(rbf, points).gram(points), torch.zeros(len(points)).double(), len(X)
    for gamma in (0.3, 0.1):
        gain = torch.linalg.solve(covariance[:n, :n] + gamma * torch.eye(n).double(), covariance[:n]).T
        mean = mean + gain @ (torch.from_numpy(y) - mean[:n])
        covariance = covariance - gain @ covariance[:n]
    model = SelfDistilledGPR(rbf, approach="distribution", steps=2, noise=[0.3, 0.1], hyperparameters="fixed")
    m, c = model.fit(X, y).predict(new, return_cov=True)
    assert m == pytest.approx(mean[n:].numpy(), abs=1e-9)
    assert c == pytest.approx(covariance[n:, n:].numpy(), abs=1e-9)


@pytest.mark.parametrize("approach", ["data", "distribution"])
@pytest.mark.parametrize("learned", [False, True])
def test_weights_are_repeats(table, sklearn_rbf, approach, learned):
    X, y, _, new = table
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 4, len(X))
    again = y[:5] + 1  # and the same inputs with other targets
    X2, y2, w2 = np.vstack([X, X[:5]]), np.append(y, again), np.append(counts, np.ones(5, int))
    build = SelfDistilledGPR(
        sklearn_rbf, approach=approach, steps=3, noise=0.1, mixing=0.3 if approach == "data" else 0.0,
        hyperparameters="first" if learned else "fixed", learn_noise=learned,
    )  # fmt: skip
    weighted = build.fit(X2, y2, sample_weight=w2)
    means, likelihood = weighted.predict(new, return_std=True), weighted.log_marginal_likelihood_
    repeated = build.fit(np.repeat(X2, w2, 0), np.repeat(y2, w2))
    for a, b in zip(means, repeated.predict(new, return_std=True), strict=True):
        assert a == pytest.approx(b, abs=1e-6 if learned else 1e-11)
    assert likelihood == pytest.approx(repeated.log_marginal_likelihood_, abs=1e-5)
    if not learned and approach == "data":
        # rows that scikit-learn does not merge: the evidence of step 1 is that of the plain repeated data
        plain = GaussianProcessRegressor(sklearn_rbf, alpha=0.1, optimizer=None)
        plain.fit(np.repeat(X2, w2, 0), np.repeat(y2, w2))
        assert likelihood[0] == pytest.approx(plain.log_marginal_likelihood_value_, abs=1e-7)


def test_several_outputs_are_each_their_own(table, rbf):
    X, y, _, new = table
    Y = pd.DataFrame({"a": y, "b": 10 + 3 * y**2})
    model = SelfDistilledGPR(rbf, steps=3, normalize_y=True, **FIXED).fit(X, Y)
    mean, std = model.predict(new, return_std=True)
    assert mean.shape == std.shape == (9, 2)
    for i, name in enumerate(Y):
        alone = SelfDistilledGPR(rbf, steps=3, normalize_y=True, **FIXED).fit(X, Y[name])
        m, s = alone.predict(new, return_std=True)
        assert mean[:, i] == pytest.approx(m, abs=1e-11)
        assert std[:, i] == pytest.approx(s, abs=1e-11)
    assert model.path(new).target_names == ("a", "b")
    assert model.sample_y(new, 3).shape == (9, 2, 3)


def test_best_mixing_is_the_minimum_on_the_validation_rows(table, rbf):
    X, y, *_ = table
    y = y + 0.8 * np.random.default_rng(5).normal(size=40)  # so much noise that self-distillation helps
    build = {"steps": 2, "noise": 0.05, "hyperparameters": "fixed"}
    model = SelfDistilledGPR(rbf, mixing="best", **build).fit(X, y)
    order = np.random.default_rng(np.random.RandomState(0).randint(2**31 - 1)).permutation(len(X))
    valid, train = order[:8], order[8:]

    def error(alpha):
        part = SelfDistilledGPR(rbf, mixing=[0, alpha], **build).fit(X[train], y[train])
        return np.mean((part.predict(X[valid]) - y[valid]) ** 2)

    at0, half, at1 = (error(alpha) for alpha in (0.0, 0.5, 1.0))  # the error is a parabola in α: three points are it
    vertex = 0.5 - (at1 - at0) / (4 * (at0 - 2 * half + at1))
    engine = model._engines[0]
    free = best_mixing(
        Exact(engine.kernel, merge(X[train], y[train, None], None, engine.rows.X)),
        np.full(2, 0.05),
        torch.from_numpy(X[valid]),
        torch.from_numpy(y[valid, None]),
        clip=False,
    )
    assert free[1] == pytest.approx(vertex, abs=1e-6)
    assert model.mixing_[1] == pytest.approx(np.clip(vertex, 0, 1), abs=1e-6)
    assert model.mixing_[0] == 1


@pytest.mark.parametrize("approach", ["data", "distribution"])
def test_every_step_may_have_its_own_kernel(table, approach):
    X, y, _, new = table
    build = {"approach": approach, "steps": 3, "noise": 0.05}
    once = SelfDistilledGPR(hyperparameters="first", **build).fit(X, y)
    each = SelfDistilledGPR(hyperparameters="all", **build).fit(X, y)
    assert each.predict(new, step=1) == pytest.approx(once.predict(new, step=1), abs=1e-12)
    if approach == "data":  # re-fitted on the very targets of step 2: it explains them at least as well
        assert each.log_marginal_likelihood_[1] >= once.log_marginal_likelihood_[1] - 1e-6
    path = each.path(new)
    assert not path.interactive
    with pytest.raises(ValueError, match="no eigensystem"):
        redistill(path, steps=2)


def test_learned_noise_beats_the_given_one_and_keeps_proportions(table):
    X, y, *_ = table
    given = SelfDistilledGPR(noise=[0.5, 0.25]).fit(X, y)
    learned = SelfDistilledGPR(noise=[0.5, 0.25], learn_noise=True).fit(X, y)
    assert learned.log_marginal_likelihood_[0] > given.log_marginal_likelihood_[0] + 1
    assert learned.noise_[0] == pytest.approx(2 * learned.noise_[1])


def test_grid_search_pipeline_and_pickle(table, sklearn_rbf):
    X, y, _, new = table
    pipe = make_pipeline(StandardScaler(), SelfDistilledGPR(sklearn_rbf, **FIXED))
    name = "selfdistilledgpr__"
    grid = {name + "steps": [1, 3], name + "noise": [0.1, 1.0], name + "kernel__k2__length_scale": [0.5, 1.0]}
    search = GridSearchCV(pipe, grid, cv=2).fit(X, y)
    copy = pickle.loads(pickle.dumps(search))
    assert np.array_equal(copy.predict(new), search.predict(new))
    loaded = pickle.loads(pickle.dumps(SelfDistilledGPR(steps=2, **FIXED).fit(X, y)))
    assert loaded.path(new).interactive


def test_path_is_saved_and_opened(table, rbf, tmp_path):
    X, y, _, new = table
    frame = pd.DataFrame(X, columns=["age", "bmi"])
    model = SelfDistilledGPR(rbf, steps=2, **FIXED).fit(frame, pd.Series(y, name="progress"))
    path = model.path(pd.DataFrame(new, columns=["age", "bmi"]), np.zeros(9))
    opened = records.open(path.save(tmp_path / "path.safetensors"))
    assert torch.allclose(redistill(opened, steps=5).mean, redistill(path, steps=5).mean, atol=1e-14)
    table = opened.to_frame()
    assert list(table.columns) == ["step", "point", "age", "bmi", "output", "mean", "std"]
    assert len(table) == 18
    assert set(table["output"]) == {"progress"}
    assert "best step" in opened.summary()


def test_samples_have_the_posteriors_moments(table, rbf):
    X, y, _, new = table
    model = SelfDistilledGPR(rbf, steps=2, **FIXED).fit(X, y)
    mean, covariance = model.predict(new, return_cov=True)
    draws = model.sample_y(new, 20_000, random_state=1)
    assert draws.mean(1) == pytest.approx(mean, abs=0.03)
    assert np.cov(draws) == pytest.approx(covariance, abs=0.04)


def test_the_warm_start_ends_at_an_optimum_of_all_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(700, 2))
    y = np.sin(X[:, 0]) + 0.3 * rng.normal(size=700)
    model = SelfDistilledGPR(ConstantKernel(1.0) * RBF(1.0), noise=0.1, steps=1).fit(X, y)
    theirs = GaussianProcessRegressor(ConstantKernel(1.0) * RBF(1.0), alpha=0.1).fit(X, y)
    assert model.log_marginal_likelihood_[0] == pytest.approx(theirs.log_marginal_likelihood_value_, abs=1e-3)


def test_the_warm_start_stops_at_bounds():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(700, 2))
    kernel = ConstantKernel(1.0, (0.5, 2.0)) * RBF([1.0, 1.0], (0.5, 3.0))
    model = SelfDistilledGPR(kernel, noise=0.1, steps=1).fit(X, np.sin(X[:, 0]) + 0.3 * rng.normal(size=700))
    theirs = GaussianProcessRegressor(kernel, alpha=0.1).fit(X, model._data[1][:, 0])
    assert model.log_marginal_likelihood_[0] == pytest.approx(theirs.log_marginal_likelihood_value_, abs=1e-3)
