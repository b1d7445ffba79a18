"""HSIC from centred Gram matrices against the papers' formulas, and its leave-one-out against leaving one out."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.kernels import hsic

sizes = st.integers(5, 12)
seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=25, deadline=None)


def layers(seed, count, n, width=3, offset=0.0):
    make = torch.Generator().manual_seed(seed)
    return torch.randn(count, n, width, generator=make, dtype=torch.float64) * 2 + offset


def grams(seed, count, n, **how):
    x = layers(seed, count, n, **how)
    return x @ x.mT


def hsic1(K, L):
    """Song et al. 2012, Eq. 5, loops and all."""
    n = len(K)
    K, L = K.clone().fill_diagonal_(0), L.clone().fill_diagonal_(0)
    one = torch.ones(n, dtype=K.dtype)
    middle = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    return ((K @ L).trace() + middle - 2 / (n - 2) * (one @ K @ L @ one)) / (n * (n - 3))


def hsic0(K, L):
    n = len(K)
    H = torch.eye(n, dtype=K.dtype) - 1 / n
    return (K @ H @ L @ H).trace() / (n - 1) ** 2


BRUTE = {True: hsic1, False: hsic0}


@pytest.mark.parametrize("debiased", [True, False])
@few
@given(seed=seeds, n=sizes)
def test_every_pair_equals_the_papers_formula(debiased, seed, n):
    K, L = grams(seed, 3, n), grams(seed + 1, 2, n, width=5)
    found = hsic.hsic(hsic.center(K, debiased=debiased), hsic.center(L, debiased=debiased), debiased=debiased)
    expected = torch.stack([torch.stack([BRUTE[debiased](one, other) for other in L]) for one in K])
    torch.testing.assert_close(found, expected)


@few
@given(seed=seeds, n=st.integers(4, 8))
def test_unbiased_hsic_is_the_mean_over_quadruples(seed, n):
    """HSIC₁ is a U-statistic: the mean over ordered quadruples of different examples of Song et al.'s kernel."""
    from itertools import permutations

    K, L = grams(seed, 1, n)[0], grams(seed + 1, 1, n)[0]
    terms = [K[i, j] * (L[i, j] + L[p, q] - 2 * L[i, p]) for i, j, p, q in permutations(range(n), 4)]
    torch.testing.assert_close(torch.stack(terms).mean(), hsic1(K, L))


@pytest.mark.parametrize("debiased", [True, False])
@few
@given(seed=seeds, n=sizes)
def test_rows_of_centred_matrices_sum_to_zero(debiased, seed, n):
    centred = hsic.center(grams(seed, 2, n), debiased=debiased)
    assert centred.sum(-1).abs().max() < 1e-9
    torch.testing.assert_close(centred, centred.mT)


@pytest.mark.parametrize("debiased", [True, False])
@few
@given(seed=seeds, n=st.integers(6, 12))
def test_leave_one_out_equals_leaving_one_out(debiased, seed, n):
    K, L = grams(seed, 2, n), grams(seed + 1, 3, n)
    settings_ = {"debiased": debiased}
    found = hsic.leave_one_out(hsic.center(K, **settings_), hsic.center(L, **settings_), **settings_)
    for i in range(n):
        stay = [j for j in range(n) if j != i]
        for a in range(2):
            for b in range(3):
                expected = BRUTE[debiased](K[a][stay][:, stay], L[b][stay][:, stay])
                torch.testing.assert_close(found[a, b, i], expected)
    same = hsic.leave_one_out(hsic.center(K, **settings_), hsic.center(L[:2], **settings_), paired=True, **settings_)
    torch.testing.assert_close(same, found[[0, 1], [0, 1]])


@few
@given(seed=seeds, n=sizes)
def test_mean_of_leave_one_out_is_the_whole_for_a_u_statistic(seed, n):
    K = hsic.center(grams(seed, 2, n))
    torch.testing.assert_close(hsic.leave_one_out(K, K).mean(-1), hsic.hsic(K, K))


def test_a_large_mean_does_not_cost_the_digits_that_matter():
    exact = layers(0, 1, 40)[0]
    shifted = (exact + 1e4).float()
    found = hsic.center(hsic.gram(shifted).double())
    expected = hsic.center(hsic.gram(shifted.double()))
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_constant_features_give_exact_zeros_whatever_their_size():
    assert hsic.gram(torch.full((10, 7), 0.1)).eq(0).all()
    assert hsic.gram(torch.full((10, 7), 3e5) + torch.arange(7)).eq(0).all()
    assert hsic.gram(torch.zeros(10, 7)).eq(0).all()


@few
@given(seed=seeds, n=sizes, scale=st.floats(1e-3, 1e3))
def test_rbf_sees_distances_relative_to_their_median(seed, n, scale):
    x = layers(seed, 1, n)[0]
    found = hsic.rbf(hsic.gram(scale * x)[None], 0.5)[0]
    d2 = torch.cdist(x, x).square()
    median = torch.stack([d2[i, j] for i in range(n) for j in range(i)]).median()
    torch.testing.assert_close(found, (-d2 / (2 * 0.25 * median)).exp())


def test_rbf_of_mostly_equal_examples_is_its_limit():
    x = torch.tensor([[0.0], [0.0], [0.0], [0.0], [1.0]])
    expected = torch.ones(5, 5)
    expected[4, :4] = expected[:4, 4] = 0
    assert torch.equal(hsic.rbf(hsic.gram(x)[None])[0], expected)


@pytest.mark.parametrize(("debiased", "n"), [(True, 3), (False, 1)])
def test_too_few_examples_are_refused(debiased, n):
    with pytest.raises(ValueError, match=f"HSIC from {n} examples is undefined"):
        hsic.center(torch.ones(1, n, n), debiased=debiased)
    with pytest.raises(ValueError, match="leaves fewer"):
        hsic.leave_one_out(torch.zeros(1, n + 1, n + 1), torch.zeros(1, n + 1, n + 1), debiased=debiased)
