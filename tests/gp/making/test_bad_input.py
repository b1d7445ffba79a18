"""What bad input gets: an error that names the argument and the remedy, or jitter that is reported."""

import gpytorch
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.gaussian_process.kernels import RBF

from workbench.gp import SelfDistilledGPC, SelfDistilledGPR, redistill
from workbench.gp.inference.kernels import wrap

X, Y = np.linspace(0, 1, 12)[:, None], np.sin(np.linspace(0, 6, 12))
FIXED = {"hyperparameters": "fixed"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"approach": "both"}, "approach is 'both'; it can be 'data', 'distribution'"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": 2.0}, "steps is 2.0"),
        ({"noise": -0.1}, "cannot be negative"),
        ({"noise": [0.1, 0.2, 0.3]}, r"noise has shape \(3,\); for steps=2"),
        ({"noise": np.nan}, "finite"),
        ({"noise": "much"}, "noise is 'much'"),
        ({"mixing": 1.5}, "mixing is 1.5"),
        ({"mixing": "worst"}, "mixing is 'worst'"),
        ({"mixing": 0.2, "approach": "distribution"}, "leave mixing=0"),
        ({"mixing": "best", "approach": "distribution"}, "needs approach='data'"),
        ({"mixing": "best", "validation_fraction": 0.01}, "no rows on one side"),
        ({"mixing": "best", "validation_fraction": 1.0}, "between 0 and 1"),
        ({"hyperparameters": "last"}, "hyperparameters is 'last'"),
        ({"learn_noise": True, "hyperparameters": "fixed"}, "learn_noise=True"),
        ({"learn_noise": True, "noise": 0.0}, "noise is 0"),
        ({"method": "magic"}, "method is 'magic'"),
        ({"method": "cg", "noise": 0.0, **FIXED}, "method='exact' to interpolate"),
        ({"inducing": 0}, "inducing is 0"),
        ({"device": "abacus"}, "device is 'abacus'"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"kernel": "rbf2"}, "kernel is 'rbf2'; by name it can be 'rbf'"),
        ({"kernel": gpytorch.kernels.RBFKernel(ard_num_dims=3)}, "ard_num_dims=3"),
        ({"kernel": gpytorch.kernels.RBFKernel(active_dims=[4])}, "active_dims"),
        ({"kernel": gpytorch.kernels.RBFKernel(batch_shape=torch.Size([2]))}, "batch shape"),
    ],
)
def test_regressor_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        SelfDistilledGPR(**options).fit(X, Y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "triple"}, "mode is 'triple'"),
        ({"targets": "hard"}, "targets is 'hard'"),
        ({"mixing": "best"}, "regression only"),
        ({"method": "cg"}, "method is 'cg'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"method": "svgp", "approach": "distribution", "mode": "sequential"}, "mode='duplicate'"),
    ],
)
def test_classifier_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        SelfDistilledGPC(**options).fit(X, Y > 0)


@pytest.mark.parametrize("kernel", [RBF, 3.0, gpytorch.kernels.RBFKernel])
def test_kernel_of_a_wrong_type(kernel):
    with pytest.raises(TypeError, match="it must be a gpytorch kernel, a scikit-learn kernel, a name or None"):
        SelfDistilledGPR(kernel).fit(X, Y)


def test_variational_classifier_needs_a_gpytorch_kernel():
    with pytest.raises(TypeError, match="needs a gpytorch kernel"):
        SelfDistilledGPC(RBF(), method="svgp").fit(X, Y > 0)


def test_single_class():
    with pytest.raises(ValueError, match="1 class only, yes"):
        SelfDistilledGPC().fit(X, ["yes"] * 12)
    with pytest.raises(ValueError, match="rows of weight 0 do not count"):
        SelfDistilledGPC().fit(X, Y > 0, sample_weight=Y > 0)


def test_equal_inputs_with_different_targets():
    x, y = np.vstack([X, X[3:4]]), np.append(Y, 9.0)
    with pytest.raises(ValueError, match="rows 3, 12"):
        SelfDistilledGPR(noise=0.0, **FIXED).fit(x, y)
    model = SelfDistilledGPR(RBF(0.05), noise=1e-6, steps=1, **FIXED).fit(x, y)
    assert model.predict(X[3:4])[0] == pytest.approx((Y[3] + 9) / 2, abs=1e-3)


def test_no_noise_on_a_singular_matrix_reports_its_jitter():
    x = np.linspace(0, 1, 200)[:, None]
    with pytest.warns(UserWarning, match="was added to its diagonal"):
        model = SelfDistilledGPR("rbf", noise=0.0, steps=1, **FIXED).fit(x, np.sin(3 * x[:, 0]))
    assert 0 < model.jitter_ < 1e-8
    assert model.predict(x) == pytest.approx(np.sin(3 * x[:, 0]), abs=1e-4)


class Indefinite(gpytorch.kernels.Kernel):
    """|x − x'| is no covariance."""

    def forward(self, x1, x2, diag=False, **_):
        return self.covar_dist(x1, x2, diag=diag)


@pytest.mark.parametrize(
    "estimator", [SelfDistilledGPR(Indefinite(), **FIXED), SelfDistilledGPC(Indefinite(), **FIXED)]
)
def test_kernel_that_is_not_positive_definite(estimator):
    with pytest.raises(ValueError, match="kernel is not positive definite"):
        estimator.fit(X, Y > 0 if isinstance(estimator, SelfDistilledGPC) else Y)


def test_a_million_rows_on_the_exact_path():
    x, y = np.zeros((1_000_000, 1)), np.zeros(1_000_000)
    with pytest.raises(MemoryError, match=r"1,000,000 rows would take 32 TB .* use method='svgp' or method='cg'"):
        SelfDistilledGPR(method="exact").fit(x, y)
    y[0] = 1
    with pytest.raises(MemoryError, match="use method='svgp'"):
        SelfDistilledGPC(method="exact").fit(x, y)


def test_constant_targets():
    with pytest.warns(UserWarning, match="targets are constant"):
        model = SelfDistilledGPR(normalize_y=True).fit(X, np.full(12, 0.1 + 0.2))
    assert model.predict(X) == pytest.approx(0.3)
    assert np.isfinite(SelfDistilledGPR().fit(X, np.full(12, 5.0)).predict(X)).all()


@pytest.mark.parametrize("approach", ["data", "distribution"])
def test_one_row(approach):
    model = SelfDistilledGPR(noise=0.1, steps=3, approach=approach, **FIXED).fit([[0.0]], [1.0])
    share = model.path([[0.0]]).eigenvalues[0].item()
    shrunk = (share / (share + 0.1)) ** 3 if approach == "data" else share / (share + 0.1 / 3)
    assert model.predict([[0.0]])[0] == pytest.approx(shrunk)


def test_text_and_missing_values():
    frame = pd.DataFrame({"age": [1.0, 2, 3], "town": ["Aarhus", "Lund", "Oslo"], "flag": [True, False, True]})
    for estimator in (SelfDistilledGPR(), SelfDistilledGPC()):
        with pytest.raises(ValueError, match="column 'town' of X"):
            estimator.fit(frame, [0, 1, 0])
        with pytest.raises(ValueError, match="NaN"):
            estimator.fit([[0.0], [np.nan], [2.0]], [0, 1, 0])


@pytest.mark.parametrize("weight", [[1, 2], -np.ones(12), np.zeros(12), np.full(12, np.nan)])
def test_weights(weight):
    with pytest.raises(ValueError, match="sample_weight"):
        SelfDistilledGPR().fit(X, Y, sample_weight=weight)


def test_float32_where_it_ruins_the_filter():
    with pytest.warns(UserWarning, match=r"condition number .* dtype='float64'"):
        SelfDistilledGPR(noise=1e-5, dtype="float32", **FIXED).fit(X, Y)
    fine = SelfDistilledGPR(noise=0.1, dtype="float32", **FIXED).fit(X, Y)
    assert fine.predict(X) == pytest.approx(SelfDistilledGPR(noise=0.1, **FIXED).fit(X, Y).predict(X), abs=1e-4)
    assert fine.condition_number_ < 1e3


def test_steps_that_are_not_there():
    model = SelfDistilledGPR(steps=2, **FIXED).fit(X, Y)
    for step in (0, 3, 1.0, True):
        with pytest.raises(ValueError, match="the fitted steps are 1 to 2"):
            model.predict(X, step=step)
    with pytest.raises(RuntimeError, match="At most one"):
        model.predict(X, return_std=True, return_cov=True)
    with pytest.raises(ValueError, match="mixing is 2"):
        redistill(model.path(X), mixing=2)


def test_the_kernel_that_was_given_is_never_changed():
    kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())
    before = {name: value.clone() for name, value in kernel.state_dict().items()}
    SelfDistilledGPR(kernel, steps=1).fit(X, Y)
    SelfDistilledGPC(kernel, steps=1).fit(X, Y > 0)
    assert all(torch.equal(value, before[name]) for name, value in kernel.state_dict().items())
    assert wrap(kernel, torch.zeros(1, 1).double()).kernel.raw_outputscale.dtype == torch.float64
    assert kernel.raw_outputscale.dtype == torch.float32
