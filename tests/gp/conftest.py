"""The paper's eleven points, and kernels in the two languages that the estimators understand."""

import gpytorch
import numpy as np
import pytest
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

# fmt: off
Y = np.array([0.38476637, 1.23339677, 1.33232242, 0.69201595, -0.29756146, -0.24189291, -0.79644858, -0.96164802,
              -0.49672510, -0.34696660, 0.55895127])
# fmt: on


def scaled_rbf(amplitude=1.0, lengthscale=1.0):
    kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel()).double()
    kernel.outputscale, kernel.base_kernel.lengthscale = amplitude, lengthscale
    return kernel


@pytest.fixture
def golden():
    """(inputs, targets, kernel exp(−80 |x − x'|²), grid, sin 2πx on the grid)."""
    kernel = gpytorch.kernels.RBFKernel().double()
    kernel.lengthscale = 160**-0.5
    grid = np.linspace(0, 1, 101)[:, None]
    return np.linspace(0, 1, 11)[:, None], Y, kernel, grid, np.sin(2 * np.pi * grid[:, 0])


@pytest.fixture
def table():
    """(inputs (40, 2), noisy targets (40,), labels (40,), new inputs (9, 2))."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    return (
        X,
        np.sin(2 * X[:, 0]) + 0.1 * rng.normal(size=40),
        (X[:, 0] + 0.5 * rng.normal(size=40) > 0).astype(int),
        rng.normal(size=(9, 2)),
    )


@pytest.fixture
def rbf():
    return scaled_rbf(2.0, 0.7)


@pytest.fixture
def sklearn_rbf():
    return ConstantKernel(2.0) * RBF(0.7)
