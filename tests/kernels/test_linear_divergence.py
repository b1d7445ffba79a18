"""Divergences behind output heads: equal to those of the logits, in chunks."""

import math

import pytest
import torch

from workbench.kernels import divergence
from workbench.kernels import linear_divergence as module
from workbench.kernels.linear_divergence import linear_divergence

NAMES = tuple(module._KINDS)


@pytest.fixture(autouse=True, params=[1 << 20, 25])
def chunk(request, monkeypatch):
    monkeypatch.setitem(module.LOGITS, "cpu", request.param)


def problem(dtype=torch.float64, seed=0, rows=(2, 4), classes=11):
    make = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=make, dtype=torch.float64).to(dtype)

    return normal(*rows, 3).requires_grad_(), normal(classes, 3).requires_grad_(), normal(*rows, 5), normal(classes, 5)


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_are_those_of_the_logits(name):
    h, W, ht, Wt = problem()
    weights = torch.rand(2, 4, generator=torch.Generator().manual_seed(1)).double()
    ignore = torch.tensor([[False] * 4, [False, True, False, False]])
    told = {"student_temperature": 2.0, "teacher_temperature": 1.5}
    mine = linear_divergence(h, W, ht, Wt, divergence=name, weights=weights, ignore=ignore, **told)
    exact = getattr(divergence, name)(h @ W.mT, ht @ Wt.mT, weights=weights, ignore=ignore, **told).sum()
    torch.testing.assert_close(mine, exact)
    slopes = torch.autograd.grad(3 * mine, (h, W)), torch.autograd.grad(3 * exact, (h, W))
    torch.testing.assert_close(*slopes)
    assert (slopes[0][0][1, 1] == 0).all()


def test_without_weights_it_is_the_mean_of_what_counts():
    h, W, ht, Wt = problem()
    rows = divergence.forward_kl(h @ W.mT, ht @ Wt.mT)
    torch.testing.assert_close(linear_divergence(h, W, ht, Wt), rows.mean())
    ignore = torch.zeros(2, 4, dtype=torch.bool)
    ignore[0] = True
    torch.testing.assert_close(linear_divergence(h, W, ht, Wt, ignore=ignore), rows[1].mean())
    assert linear_divergence(h, W, ht, Wt, ignore=~torch.zeros_like(ignore)) == 0
    hidden = ht.clone()
    hidden[0] = math.nan
    torch.testing.assert_close(linear_divergence(h, W, hidden, Wt, ignore=ignore), rows[1].mean())
    assert linear_divergence(h, W, hidden, Wt).isnan()


def test_derivatives_of_first_and_second_order():
    h, W, ht, Wt = problem(rows=(3,), classes=4)
    assert torch.autograd.gradcheck(lambda h, W: linear_divergence(h, W, ht, Wt, divergence="skew_kl"), (h, W))
    assert torch.autograd.gradgradcheck(lambda h, W: linear_divergence(h, W, ht, Wt, divergence="skew_kl"), (h, W))


def test_half_precision_adds_up_in_single():
    h, W, ht, Wt = problem(torch.bfloat16, rows=(64,))
    value = linear_divergence(h, W, ht, Wt)
    assert value.dtype == torch.float32
    wide = [each.detach().double().requires_grad_() for each in (h, W, ht, Wt)]
    exact = linear_divergence(*wide)
    torch.testing.assert_close(value.double(), exact, rtol=2e-2, atol=0)
    for mine, theirs in zip(torch.autograd.grad(value, (h, W)), torch.autograd.grad(exact, wide[:2]), strict=True):
        assert mine.dtype == torch.bfloat16
        torch.testing.assert_close(mine.double(), theirs, rtol=2e-2, atol=2e-2 * float(theirs.abs().max()))


def test_nothing_is_kept_without_gradients():
    h, W, ht, Wt = (each.detach() for each in problem())
    assert not linear_divergence(h, W, ht, Wt).requires_grad


def test_bad_arguments_are_named():
    h, W, ht, Wt = (each.detach() for each in problem())
    with pytest.raises(ValueError, match="divergence is 'kl'"):
        linear_divergence(h, W, ht, Wt, divergence="kl")
    with pytest.raises(ValueError, match="the teacher's head"):
        linear_divergence(h, W, ht, W)
    with pytest.raises(ValueError, match="the same rows"):
        linear_divergence(h[0], W, ht, Wt)
    with pytest.raises(ValueError, match="alpha is 1"):
        linear_divergence(h, W, ht, Wt, divergence="skew_kl", alpha=1)
