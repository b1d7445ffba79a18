"""Divergences: identities, bounds, closed-form gradients, extreme logits."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from workbench.kernels import divergence

EVERY = (
    divergence.forward_kl,
    divergence.reverse_kl,
    divergence.jeffreys,
    divergence.jensen_shannon,
    divergence.skew_kl,
    divergence.skew_reverse_kl,
    divergence.total_variation,
)


@st.composite
def logit_pairs(draw, scales=(0.1, 1.0, 10.0)):
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    shape = (draw(st.integers(1, 4)), draw(st.integers(2, 7)))
    student, teacher = (
        draw(st.sampled_from(scales)) * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    return student, teacher


def naive_kl(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p / q).log()).sum(-1)


def gradient(function, student, teacher, **options):
    student = student.clone().requires_grad_()
    function(student, teacher, **options).sum().backward()
    return student.grad


@given(logit_pairs(), st.sampled_from([0.5, 1.0, 4.0]), st.sampled_from([1.0, 3.0]))
def test_values_follow_their_definitions(pair, student_temperature, teacher_temperature):
    student, teacher = pair
    q, p = (student / student_temperature).softmax(1), (teacher / teacher_temperature).softmax(1)
    told = {"student_temperature": student_temperature, "teacher_temperature": teacher_temperature}

    def close(a, b):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)

    m = 0.3 * p + 0.7 * q
    close(divergence.forward_kl(student, teacher, **told), naive_kl(p, q))
    close(divergence.reverse_kl(student, teacher, **told), naive_kl(q, p))
    close(divergence.jeffreys(student, teacher, **told), naive_kl(p, q) + naive_kl(q, p))
    close(divergence.jensen_shannon(student, teacher, beta=0.3, **told), 0.3 * naive_kl(p, m) + 0.7 * naive_kl(q, m))
    close(divergence.skew_kl(student, teacher, alpha=0.3, **told), naive_kl(p, m))
    close(divergence.skew_reverse_kl(student, teacher, alpha=0.7, **told), naive_kl(q, m))
    close(divergence.total_variation(student, teacher, **told), 0.5 * (p - q).abs().sum(1))


@pytest.mark.parametrize("function", EVERY)
@given(pair=logit_pairs(), shift=st.floats(-5, 5))
def test_never_negative_zero_at_equality_and_blind_to_constants(function, pair, shift):
    student, teacher = pair
    assert (function(student, teacher) >= -1e-12).all()
    assert (function(teacher + shift, teacher).abs() <= 1e-12).all()
    torch.testing.assert_close(function(student + shift, teacher - shift), function(student, teacher))


@pytest.mark.parametrize("function", EVERY)
@given(pair=logit_pairs(), seed=st.integers(0, 1000))
def test_relabelling_classes_changes_nothing(function, pair, seed):
    student, teacher = pair
    order = torch.randperm(student.shape[1], generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(function(student[:, order], teacher[:, order]), function(student, teacher))


@given(logit_pairs())
def test_jeffreys_is_the_sum_of_both_kls(pair):
    total = divergence.forward_kl(*pair) + divergence.reverse_kl(*pair)
    torch.testing.assert_close(divergence.jeffreys(*pair), total, rtol=1e-9, atol=1e-12)


@given(logit_pairs(), st.floats(0.01, 0.99))
def test_skew_limits_bounds_and_symmetry(pair, alpha):
    student, teacher = pair
    torch.testing.assert_close(divergence.skew_kl(*pair, alpha=0), divergence.forward_kl(*pair))
    torch.testing.assert_close(divergence.skew_reverse_kl(*pair, alpha=0), divergence.reverse_kl(*pair))
    assert (divergence.skew_kl(*pair, alpha=1) == 0).all()
    assert (divergence.skew_reverse_kl(*pair, alpha=1) == 0).all()
    skewed = divergence.skew_kl(*pair, alpha=alpha)
    assert (skewed <= -math.log(alpha) + 1e-12).all()
    assert (skewed <= (1 - alpha) * divergence.forward_kl(*pair) + 1e-12).all()
    torch.testing.assert_close(
        divergence.skew_reverse_kl(student, teacher, alpha=alpha), divergence.skew_kl(teacher, student, alpha=alpha)
    )


@given(logit_pairs())
def test_half_skews_make_the_jensen_shannon_divergence(pair):
    halves = 0.5 * divergence.skew_kl(*pair, alpha=0.5) + 0.5 * divergence.skew_reverse_kl(*pair, alpha=0.5)
    torch.testing.assert_close(divergence.jensen_shannon(*pair), halves)
    assert (divergence.jensen_shannon(*pair) <= math.log(2) + 1e-12).all()


@given(logit_pairs(scales=(0.1, 1.0)), st.sampled_from([1.0, 4.0]))
def test_closed_form_gradients_of_both_kls(pair, T):
    student, teacher = pair
    q, p = (student / T).softmax(1), (teacher / T).softmax(1)
    told = {"student_temperature": T, "teacher_temperature": T}
    torch.testing.assert_close(gradient(divergence.forward_kl, *pair, **told), (q - p) / T)
    reverse = q * ((q / p).log() - naive_kl(q, p)[:, None]) / T
    torch.testing.assert_close(gradient(divergence.reverse_kl, *pair, **told), reverse)


@given(logit_pairs(scales=(0.1, 1.0)), st.floats(0.05, 0.95))
def test_closed_form_gradients_of_the_skew_divergences(pair, alpha):
    student, teacher = pair
    q, p = student.softmax(1), teacher.softmax(1)

    def through_softmax(coefficient: Tensor) -> Tensor:
        return q * (coefficient - (q * coefficient).sum(1, keepdim=True))

    mixed = alpha * p + (1 - alpha) * q
    forward = through_softmax(-(1 - alpha) * p / mixed)
    torch.testing.assert_close(gradient(divergence.skew_kl, *pair, alpha=alpha), forward, rtol=1e-7, atol=1e-10)
    assert ((1 - alpha) * p / mixed <= (1 - alpha) / alpha + 1e-12).all()
    mixed = (1 - alpha) * p + alpha * q
    reverse = through_softmax(-((mixed / q).log() - 1 + alpha * q / mixed))
    torch.testing.assert_close(gradient(divergence.skew_reverse_kl, *pair, alpha=alpha), reverse, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("function", EVERY)
def test_extreme_logits_give_finite_values_and_gradients(function):
    student = torch.tensor([[1e4, -1e4, 0.0], [0.0, 1e4, 1e4], [-1e300, 0.0, 1e300]], dtype=torch.float64)
    teacher = student.flip(1)
    assert function(student, teacher).isfinite().all()
    assert gradient(function, student, teacher).isfinite().all()


def test_skew_kl_is_bounded_on_disjoint_supports():
    student, teacher = torch.tensor([[1e4, 0.0]]).double(), torch.tensor([[0.0, 1e4]]).double()
    assert divergence.skew_kl(student, teacher, alpha=0.1).item() == pytest.approx(-math.log(0.1))
    assert divergence.forward_kl(student, teacher).item() == 1e4


@pytest.mark.parametrize("function", EVERY)
def test_rows_are_independent_and_any_leading_shape_does(function):
    student, teacher = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)).double().unbind(0)
    both = function(student, teacher)
    torch.testing.assert_close(both[1], function(student[1], teacher[1]))
    torch.testing.assert_close(torch.func.vmap(function)(student[None], teacher[None])[0], both)


def test_bad_arguments_are_named():
    two, three = torch.zeros(1, 2), torch.zeros(1, 3)
    with pytest.raises(ValueError, match=r"student logits have shape \(1, 2\)"):
        divergence.forward_kl(two, three)
    with pytest.raises(ValueError, match="must be positive"):
        divergence.forward_kl(two, two, student_temperature=0)
    with pytest.raises(ValueError, match="beta is 1"):
        divergence.jensen_shannon(two, two, beta=1)
    with pytest.raises(ValueError, match=r"alpha is -0\.1"):
        divergence.skew_kl(two, two, alpha=-0.1)
