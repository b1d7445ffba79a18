"""Kernel sums: the definition, all derivatives, limits, and memory."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.gaussian_process.kernels import RBF, Matern

from workbench.kernels import kernel_sums as module
from workbench.kernels.kernel_sums import KERNELS, kernel_sums, mmd

SKLEARN = {
    "rbf": RBF,
    "laplace": lambda h: Matern(h, nu=0.5),
    "matern32": lambda h: Matern(h, nu=1.5),
    "matern52": lambda h: Matern(h, nu=2.5),
}


@pytest.fixture(scope="module", autouse=True, params=[1 << 18, 10])
def block(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(module.BLOCK, "cpu", request.param)
        yield


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=10)
@given(st.integers(1, 7), st.integers(1, 7), st.sampled_from([1, 3, 12]), st.sampled_from([None, 0, 1, 3]))
def test_values_are_scikit_learns(kernel, n, m, d, p):
    x, y = normal(n, d, seed=n), normal(m, d, seed=m + 50) + 100  # far from the origin
    x += 100
    weights = None if p is None else normal(m, *([p] if p else []), seed=3)
    exact = torch.from_numpy(SKLEARN[kernel](1.7)(x.numpy(), y.numpy()))
    expected = exact.sum(1) if p is None else exact @ weights
    torch.testing.assert_close(kernel_sums(x, y, weights, kernel=kernel, bandwidth=1.7), expected)


@pytest.mark.parametrize("d", [2, 9])
@pytest.mark.parametrize("kernel", KERNELS)
def test_first_and_second_derivatives(kernel, d):
    x, y, w = (
        normal(3, d).requires_grad_(),
        normal(2, d, seed=1).requires_grad_(),
        normal(2, 2, seed=2).requires_grad_(),
    )
    h = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)

    def value(x, y, w, h):
        return kernel_sums(x, y, w, kernel=kernel, bandwidth=h)

    assert torch.autograd.gradcheck(value, (x, y, w, h))
    assert torch.autograd.gradgradcheck(value, (x, y, w, h))


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_point_on_another_has_a_finite_gradient(kernel):
    x = normal(4, 2).requires_grad_()
    mmd(x, x.detach(), kernel=kernel).backward()
    assert x.grad.isfinite().all()


@settings(max_examples=10)
@given(st.integers(2, 6), st.integers(2, 6), st.sampled_from(KERNELS))
def test_mmd(n, m, kernel):
    x, y = normal(n, 2, seed=n), normal(m, 2, seed=m + 9) + 1
    k = SKLEARN[kernel](0.9)
    xx, yy, xy = (torch.from_numpy(k(a.numpy(), b.numpy())) for a, b in ((x, x), (y, y), (x, y)))
    told = {"kernel": kernel, "bandwidth": 0.9}
    torch.testing.assert_close(mmd(x, y, **told), xx.mean() + yy.mean() - 2 * xy.mean())
    off = (xx.sum() - n) / (n * (n - 1)) + (yy.sum() - m) / (m * (m - 1)) - 2 * xy.mean()
    torch.testing.assert_close(mmd(x, y, unbiased=True, **told), off)
    assert mmd(x, y, **told) >= 0
    torch.testing.assert_close(mmd(y, x, **told), mmd(x, y, **told))
    assert mmd(x, x.flip(0), **told).abs() <= 1e-14


def test_wide_bandwidths_see_the_means_only():
    x, y = normal(20, 3), normal(30, 3, seed=1) + 0.3
    for h in (1e2, 1e3):  # rbf: h² MMD² → ‖μ_x − μ_y‖²
        assert float(h**2 * mmd(x, y, bandwidth=h)) == pytest.approx(
            float((x.mean(0) - y.mean(0)).square().sum()), rel=10 / h
        )


def test_nan_and_infinity_stay_in_their_rows_and_nothing_sums_to_zero():
    x = normal(3, 2).float()
    x[1, 0] = math.nan
    assert kernel_sums(x, normal(5, 2).float()).isnan().tolist() == [False, True, False]
    assert kernel_sums(normal(3, 2), normal(0, 2)).tolist() == [0, 0, 0]
    assert kernel_sums(normal(0, 2), normal(3, 2)).shape == (0,)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_far_away_is_nothing_with_no_slope(kernel, dtype):
    for far in (1e2, 1e6, 1e17):
        x = torch.tensor([[far, 0.0]], dtype=dtype, requires_grad=True)
        value = kernel_sums(x, normal(3, 2).to(dtype), kernel=kernel, bandwidth=0.5)
        assert 0 <= value.item() < 1e-30
        assert torch.autograd.grad(value, x)[0].abs().max() < 1e-15


def test_bad_arguments_are_named():
    points = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="kernel is 'cosine'"):
        kernel_sums(points, points, kernel="cosine")
    with pytest.raises(ValueError, match="bandwidth is 0"):
        kernel_sums(points, points, bandwidth=0)
    with pytest.raises(ValueError, match=r"weights have shape \(2,\)"):
        kernel_sums(points, points, torch.ones(2))
    with pytest.raises(ValueError, match=r"y \(3, 4\)"):
        kernel_sums(points, torch.zeros(3, 4))
    with pytest.raises(ValueError, match="two on either side"):
        mmd(points[:1], points, unbiased=True)
