"""Kernel matrices times vectors: sums where they are known, blocks of the matrix otherwise, the same either way."""

import gpytorch
import pytest
import torch
from sklearn.gaussian_process import kernels as sk

from workbench.gp.inference import products
from workbench.gp.inference.kernels import wrap

X = torch.randn(30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Z = torch.randn(20, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
V = torch.randn(20, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def ard():
    kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.MaternKernel(nu=1.5, ard_num_dims=3))
    kernel.base_kernel.lengthscale = torch.tensor([0.5, 1.0, 3.0])
    return kernel


KNOWN = {
    "rbf": None,
    "matern": "matern",
    "ard": ard(),
    "laplace": gpytorch.kernels.MaternKernel(nu=0.5),
    "sklearn": 2.0 * sk.RBF([0.5, 1.0, 2.0]) + sk.WhiteKernel(0.3),
    "sklearn matern": sk.Matern(0.7, nu=2.5) * sk.ConstantKernel(3.0),
    "sklearn of nu ∞": sk.Matern(0.7, nu=float("inf")),
}
UNKNOWN = {
    "periodic": "periodic",
    "some features": gpytorch.kernels.RBFKernel(active_dims=(0, 2)),
    "a sum": gpytorch.kernels.RBFKernel() + gpytorch.kernels.MaternKernel(),
    "sklearn of nu 0.7": sk.Matern(0.7, nu=0.7),
    "sklearn sum": sk.RBF(1.0) + sk.Matern(1.0),
    "sklearn product": sk.RBF(1.0) * sk.Matern(1.0),
}


@pytest.mark.parametrize("name", [*KNOWN, *UNKNOWN])
def test_is_the_matrix_times_the_vectors(name):
    kernel = wrap((KNOWN | UNKNOWN)[name], X)
    assert (products.stationary(kernel) is None) == (name in UNKNOWN)
    torch.testing.assert_close(products.product(kernel, X, Z, V, block=7), kernel.cross(X, Z) @ V)
    assert products.product(kernel, X[:0], Z, V, block=7).shape == (0, 4)


def test_sums_never_hold_the_matrix(monkeypatch):
    kernel = wrap("matern", X)
    monkeypatch.setattr(kernel, "cross", lambda *_: pytest.fail("the matrix was computed"))
    assert products.product(kernel, X, Z, V, block=7).shape == (30, 4)
