"""The classifier against scikit-learn, the paper's statements about its three modes, and the card's sharpening."""

import pickle

import gpytorch
import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.model_selection import GridSearchCV

from workbench import records
from workbench.gp import SelfDistilledGPC
from workbench.gp.inference import bernoulli
from workbench.gp.inference.kernels import wrap
from workbench.gp.inference.laplace import evidence_and_slope, find_mode

FIXED = {"hyperparameters": "fixed"}


@pytest.fixture
def labels3(table):
    y = table[1]
    return np.array(["low", "mid", "high"])[np.digitize(y, [-0.4, 0.4])]


@pytest.mark.parametrize("hyperparameters", ["fixed", "first"])
def test_one_step_is_scikit_learns_classifier(table, sklearn_rbf, hyperparameters):
    X, _, y, new = table
    optimizer = None if hyperparameters == "fixed" else "fmin_l_bfgs_b"
    theirs = GaussianProcessClassifier(sklearn_rbf, optimizer=optimizer).fit(X, y)
    ours = SelfDistilledGPC(sklearn_rbf, steps=1, hyperparameters=hyperparameters).fit(X, y)
    assert ours.log_marginal_likelihood_[0] == pytest.approx(theirs.log_marginal_likelihood_value_, abs=1e-3)
    assert ours.predict_proba(new) == pytest.approx(
        theirs.predict_proba(new), abs=1e-6 if hyperparameters == "fixed" else 2e-3
    )


def test_one_step_of_three_classes_is_scikit_learns_one_vs_rest(table, labels3, sklearn_rbf):
    X, *_, new = table
    theirs = GaussianProcessClassifier(sklearn_rbf, optimizer=None, multi_class="one_vs_rest").fit(X, labels3)
    ours = SelfDistilledGPC(sklearn_rbf, steps=1, **FIXED).fit(X, labels3)
    assert ours.classes_.tolist() == theirs.classes_.tolist()
    assert ours.predict_proba(new) == pytest.approx(theirs.predict_proba(new), abs=1e-6)


@pytest.mark.parametrize("steps", [2, 5])
def test_scaled_shares_the_mode_and_mean_of_duplicate_at_t_times_the_variance(table, sklearn_rbf, steps):
    X, _, y, new = table
    build = dict(approach="distribution", steps=steps, **FIXED)
    duplicate = SelfDistilledGPC(sklearn_rbf, mode="duplicate", **build).fit(X, y)
    scaled = SelfDistilledGPC(sklearn_rbf, mode="scaled", **build).fit(X, y)
    for points in (X, new):
        (m1, v1), (m2, v2) = duplicate.latent(points), scaled.latent(points)
        assert m1 == pytest.approx(m2, abs=1e-7)
        assert v2 == pytest.approx(steps * v1, rel=1e-6)
    assert (duplicate.predict(new) == scaled.predict(new)).all()
    less, more = np.abs(scaled.predict_proba(new) - 0.5), np.abs(duplicate.predict_proba(new) - 0.5)
    assert (less <= more + 1e-9).all()


def test_duplicate_is_the_data_repeated_and_scaled_is_the_kernel_times_t(table, sklearn_rbf):
    X, _, y, new = table
    build = dict(approach="distribution", steps=3, **FIXED)
    repeated = GaussianProcessClassifier(sklearn_rbf, optimizer=None).fit(np.tile(X, (3, 1)), np.tile(y, 3))
    ours = SelfDistilledGPC(sklearn_rbf, mode="duplicate", **build).fit(X, y)
    assert ours.predict_proba(new) == pytest.approx(repeated.predict_proba(new), abs=1e-6)
    assert ours.log_marginal_likelihood_[-1] == pytest.approx(repeated.log_marginal_likelihood_value_, abs=1e-6)
    larger = GaussianProcessClassifier(ConstantKernel(3.0) * sklearn_rbf, optimizer=None).fit(X, y)
    ours = SelfDistilledGPC(sklearn_rbf, mode="scaled", **build).fit(X, y)
    assert ours.predict_proba(new) == pytest.approx(larger.predict_proba(new), abs=1e-6)


def test_sequential_is_laplace_with_the_last_posterior_as_prior(table, rbf):
    """By hand: Newton on log p(y|f) − ½ (f − m)ᵀ C⁻¹ (f − m), with C and m of the step before as full matrices."""
    X, _, y, new = table
    points = torch.from_numpy(X)
    labels = torch.from_numpy(y).double()
    covariance, mean = wrap(rbf, points).gram(points) + 1e-9 * torch.eye(len(X)).double(), torch.zeros(len(X)).double()
    steps = []
    for _ in range(3):
        inverse, f = torch.linalg.inv(covariance), mean.clone()
        for _ in range(30):
            slope = labels - torch.sigmoid(f) - inverse @ (f - mean)
            f = f + torch.linalg.solve(inverse + torch.diag(bernoulli.LOGISTIC.variance(f)), slope)
        covariance = torch.linalg.inv(inverse + torch.diag(bernoulli.LOGISTIC.variance(f)))
        mean = f
        steps.append((mean, covariance.diagonal()))
    model = SelfDistilledGPC(rbf, approach="distribution", mode="sequential", steps=3, **FIXED).fit(X, y)
    for t, (m, v) in enumerate(steps):
        ours = model.latent(X, step=t + 1)
        assert ours[0][:, 0] == pytest.approx(m.numpy(), abs=1e-4)
        assert ours[1][:, 0] == pytest.approx(v.numpy(), abs=1e-4)
    duplicate = SelfDistilledGPC(rbf, approach="distribution", steps=3, **FIXED).fit(X, y)
    apart = np.abs(duplicate.latent(new)[0] - model.latent(new)[0]).max()
    assert 1e-3 < apart < 0.2  # a further approximation, but not another model


def test_data_centric_classification_sharpens():
    rng = np.random.default_rng(0)
    X = rng.uniform(-3, 3, (40, 1))
    y = rng.random(40) < 1 / (1 + np.exp(-2 * np.sin(2 * X[:, 0])))
    kernel = ConstantKernel(2.0) * RBF(0.7)
    size = [np.abs(step).mean() for step in _modes(SelfDistilledGPC(kernel, steps=6, **FIXED).fit(X, y))]
    assert size == sorted(size)
    model = SelfDistilledGPC(kernel, steps=6, targets="consistent", **FIXED).fit(X, y)
    consistent = [np.abs(step).mean() for step in _modes(model)]
    assert consistent[-1] < size[-1]


def _modes(model):
    path = model.path(model._data[0])
    return path.mean[:, :, 0].numpy()


def test_data_centric_step_solves_its_own_equation(table, rbf):
    """At the mode of a continuous Bernoulli step f̂ = K (y − μ(f̂)), with the last probabilities as y."""
    X, _, y, _ = table
    model = SelfDistilledGPC(rbf, steps=3, mixing=[0, 0.3, 0], **FIXED).fit(X, y)
    path = model.path(X)
    K = wrap(rbf, torch.from_numpy(X)).gram(torch.from_numpy(X))
    assert torch.allclose(path.targets[1, :, 0], 0.3 * torch.from_numpy(y) + 0.7 * path.fitted[0, :, 0])
    assert torch.allclose(path.targets[2], path.fitted[1])
    for t in (1, 2):
        f = path.mean[t, :, 0]
        assert torch.allclose(f, K @ (path.targets[t, :, 0] - bernoulli.mean(f)), atol=1e-8)
    assert torch.allclose(path.probabilities[:, :, 1], path.fitted[:, :, 0], atol=1e-10)


@pytest.mark.parametrize("family", [bernoulli.LOGISTIC, bernoulli.CONTINUOUS])
@pytest.mark.parametrize(
    "kernel", [gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel(ard_num_dims=2)), "sklearn"]
)
def test_slope_of_laplaces_evidence_is_its_derivative(table, sklearn_rbf, family, kernel):
    X, *_ = table
    X = torch.from_numpy(X)
    rng = np.random.default_rng(2)
    targets, counts = torch.from_numpy(rng.uniform(size=40)), torch.from_numpy(rng.uniform(0.5, 3, 40))
    face = wrap(sklearn_rbf if kernel == "sklearn" else kernel, X)
    theta, h = face.theta, 1e-4
    slope = evidence_and_slope(face, X, family, targets=targets, counts=counts)[1]
    for i in range(len(theta)):
        ends = []
        for sign in (1, -1):
            face.theta = theta + sign * h * (np.arange(len(theta)) == i)
            ends.append(evidence_and_slope(face, X, family, targets=targets, counts=counts)[0])
        assert slope[i] == pytest.approx((ends[0] - ends[1]) / (2 * h), abs=1e-5)


@pytest.mark.parametrize(
    ("approach", "mode"), [("data", "duplicate"), ("distribution", "scaled"), ("distribution", "sequential")]
)
def test_weights_are_repeats(table, sklearn_rbf, approach, mode):
    X, _, y, new = table
    X, y = np.vstack([X, X[:5]]), np.append(y, 1 - y[:5])  # the same inputs with the other label
    counts = np.random.default_rng(3).integers(0, 4, len(X))
    build = SelfDistilledGPC(sklearn_rbf, approach=approach, mode=mode, steps=3, **FIXED)
    weighted = build.fit(X, y, sample_weight=counts).predict_proba(new)
    repeated = build.fit(np.repeat(X, counts, 0), np.repeat(y, counts))
    assert repeated.predict_proba(new) == pytest.approx(weighted)


@pytest.mark.parametrize(
    ("approach", "mode"),
    [("data", "duplicate"), ("distribution", "duplicate"), ("distribution", "scaled"), ("distribution", "sequential")],
)
def test_kernels_of_every_step(table, approach, mode):
    X, _, y, new = table
    model = SelfDistilledGPC(approach=approach, mode=mode, steps=3, hyperparameters="all").fit(X, y)
    first = SelfDistilledGPC(steps=1).fit(X, y)
    assert model.predict_proba(new, step=1) == pytest.approx(first.predict_proba(new), abs=1e-9)
    assert np.isfinite(model.log_marginal_likelihood_).all()


def test_newton_converges_from_a_far_start(rbf):
    X = torch.linspace(0, 1, 30).double()[:, None]
    gram = 100 * wrap(rbf, X).gram(X)
    targets = (X[:, 0] > 0.5).double()
    near = find_mode(gram, bernoulli.CONTINUOUS, targets, torch.ones(30).double())
    far = find_mode(gram, bernoulli.CONTINUOUS, targets, torch.ones(30).double(), start=3 * torch.randn(
        30, generator=torch.Generator().manual_seed(0)).double())  # fmt: skip
    assert torch.allclose(near.latent, far.latent, atol=1e-6)


def test_path_names_classes_and_counts_errors(table, labels3, sklearn_rbf, tmp_path):
    X, *_ = table
    model = SelfDistilledGPC(sklearn_rbf, steps=2, **FIXED).fit(X, labels3)
    path = records.open(model.path(X, labels3).save(tmp_path / "path.safetensors"))
    assert path.classes == ("high", "low", "mid")
    assert path.error.tolist() == pytest.approx([(model.predict(X, step=t) != labels3).mean() for t in (1, 2)])
    assert path.probabilities.sum(-1).numpy() == pytest.approx(1)
    assert {"probability[low]", "std"} <= set(path.to_frame().columns)
    assert len(path.to_frame()) == 2 * 40 * 3
    with pytest.raises(ValueError, match="not among the fitted classes"):
        model.path(X[:1], ["tall"])


def test_grid_search_and_pickle(table):
    X, _, y, new = table
    search = GridSearchCV(SelfDistilledGPC(**FIXED), {"approach": ["data", "distribution"], "steps": [1, 2]}, cv=2)
    search.fit(X, y)
    assert np.allclose(pickle.loads(pickle.dumps(search)).predict_proba(new), search.predict_proba(new))
