"""Characteristic functions: the definition, derivatives, and the identities of paper 036."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.kernels import characteristic as kernel


@pytest.fixture(scope="module", autouse=True, params=[1 << 18, 12])
def block(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(kernel.BLOCK, "cpu", request.param)
        yield


def normal(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=10)
@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 4), st.sampled_from([(), (3,), (2, 3)]))
def test_values_and_gradients_are_those_of_the_definition(n, d, K, sets):
    x, t = normal(*sets, n, d, seed=n).requires_grad_(), normal(K, d, seed=d).requires_grad_()
    mine, exact = kernel.characteristic_function(x, t), kernel.by_definition(x, t)
    torch.testing.assert_close(mine, exact)
    up = [normal(*sets, K, seed=i) for i in range(2)]
    torch.testing.assert_close(torch.autograd.grad(mine, (x, t), up), torch.autograd.grad(exact, (x, t), up))
    assert ((mine[0].square() + mine[1].square()) <= 1 + 1e-12).all()


def test_first_and_second_derivatives():
    x, t = normal(2, 3, 2).requires_grad_(), normal(2, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(kernel.characteristic_function, (x, t))
    assert torch.autograd.gradgradcheck(kernel.characteristic_function, (x, t))
    each = normal(2, 3, 2, seed=2).requires_grad_()  # frequencies of its own for either set
    assert torch.autograd.gradcheck(kernel.characteristic_function, (x, each))
    assert torch.autograd.gradcheck(lambda x, t: kernel.discrepancy(x, normal(4, 2, seed=3), t), (x, t))


@settings(max_examples=10)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_equal_weights_give_the_plain_distance(n, m, seed):
    x, y, t = normal(n, 3, seed=seed), normal(m, 3, seed=seed + 1), normal(5, 3, seed=seed + 2)
    (a, b), (c, e) = kernel.characteristic_function(x, t), kernel.characteristic_function(y, t)
    plain = ((a - c).square() + (b - e).square()).sqrt() / math.sqrt(2)
    value = kernel.discrepancy(x, y, t)
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(kernel.discrepancy(y, x, t), value)
    assert ((value >= 0) & (value <= math.sqrt(2))).all()


def test_identical_sets_translations_and_the_origin():
    x, t = normal(40, 3), normal(6, 3, seed=1)
    assert kernel.discrepancy(x, x[torch.randperm(40, generator=torch.Generator().manual_seed(0))], t).max() <= 1e-12
    moved = kernel.discrepancy(x, x + normal(3, seed=2), t, alpha=1, beta=0)
    assert moved.max() <= 1e-12  # amplitudes do not see where a sample lies
    assert kernel.discrepancy(x, x + normal(3, seed=2), t, alpha=0, beta=1).mean() > 0.1
    real, imaginary = kernel.characteristic_function(x, torch.zeros(1, 3, dtype=torch.float64))
    assert (real, imaginary) == (1, 0)


def test_bochner_small_frequencies_and_classes_at_once():
    x, y = normal(30, 2), normal(25, 2, seed=1) + 0.5
    t = normal(20_000, 2, seed=2) / 1.5
    (a, b), (c, e) = kernel.characteristic_function(x, t), kernel.characteristic_function(y, t)

    def mean(u, v):
        return (-torch.cdist(u, v).square() / (2 * 1.5**2)).exp().mean()

    mmd = mean(x, x) + mean(y, y) - 2 * mean(x, y)
    assert float(((a - c).square() + (b - e).square()).mean()) == pytest.approx(float(mmd), rel=0.05)
    tiny = 1e-3
    slope = kernel.discrepancy(x, y, tiny * 1.5 * t).mean() / tiny
    assert float(slope) == pytest.approx(float((x.mean(0) - y.mean(0)).norm()) / math.sqrt(math.pi), rel=0.05)
    both = kernel.discrepancy(torch.stack([x, x + 1]), torch.stack([y, y]), t[:50])
    torch.testing.assert_close(both[1], kernel.discrepancy(x + 1, y, t[:50]))


def test_nan_stays_in_its_set_and_equal_sets_have_a_finite_gradient():
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    kernel.discrepancy(x, x.detach(), torch.eye(3)).sum().backward()
    assert x.grad.isfinite().all()
    broken = x.detach().clone()
    broken[1, 2, 0] = math.nan
    assert kernel.discrepancy(broken, x.detach(), torch.eye(3)).isnan().all(1).tolist() == [False, True]


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match=r"frequencies \(4, 2\)"):
        kernel.characteristic_function(torch.zeros(3, 5), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="no points"):
        kernel.characteristic_function(torch.zeros(0, 2), torch.zeros(4, 2))
