"""Divergences: identities, bounds, closed-form gradients, extreme logits."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from workbench.kernels import divergence, divergence_rows

EVERY = (
    divergence.forward_kl,
    divergence.reverse_kl,
    divergence.jeffreys,
    divergence.jensen_shannon,
    divergence.skew_kl,
    divergence.skew_reverse_kl,
    divergence.total_variation,
)


@pytest.fixture(scope="module", autouse=True, params=["by definition", "in blocks"])
def version(request):
    """All of this holds for either: the definitions, and the same in blocks with the gradient in closed form."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "in blocks":
            patch.setattr(divergence, "SMALL", 0)
            patch.setattr(divergence_rows, "BLOCK", 10)
        yield request.param


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


@pytest.mark.parametrize("function", EVERY)
@settings(max_examples=3)
@given(pair=logit_pairs(scales=(0.1, 1.0)))
def test_first_and_second_derivatives_of_both_sides(function, pair):
    if function is divergence.total_variation:  # has a kink where p = q
        pair[0][:, 0] += 0.5
    student, teacher = (each[:2, :3].clone().requires_grad_() for each in pair)

    def value(s, t):
        return function(s, t, student_temperature=2.0, teacher_temperature=1.5)

    assert torch.autograd.gradcheck(value, (student, teacher))
    assert torch.autograd.gradgradcheck(value, (student, teacher))


@pytest.mark.parametrize("function", EVERY)
@given(pair=logit_pairs())
def test_gradients_sum_to_zero_and_vanish_at_equality(function, pair):
    assert gradient(function, *pair).sum(1).abs().max() <= 1e-10
    assert gradient(function, pair[0], pair[0]).abs().max() <= 1e-10


@pytest.mark.parametrize("function", EVERY)
@given(pair=logit_pairs())
def test_a_masked_class_is_as_good_as_absent(function, pair):
    few = [each.clone() for each in pair]
    masked = [torch.cat([each, torch.full_like(each[:, :2], -math.inf)], 1) for each in few]
    torch.testing.assert_close(function(*masked), function(*few))
    slope = gradient(function, *masked)
    torch.testing.assert_close(slope[:, :-2], gradient(function, *few))
    assert (slope[:, -2:] == 0).all()


@pytest.mark.parametrize("function", EVERY)
@pytest.mark.parametrize("side", [0, 1])
def test_nan_gives_nan_in_its_row_only(function, side):
    pair = list(torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0)).unbind(0))
    pair[side][1, 2] = math.nan
    assert function(*pair).isnan().tolist() == [False, True, False]
    assert gradient(function, *pair).isnan().any(1).tolist() == [False, True, False]


@pytest.mark.parametrize("function", EVERY)
def test_weights_multiply_and_ignored_rows_count_for_nothing(function):
    student, teacher = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(1)).double().unbind(0)
    weights, plain = torch.tensor([2.0, 0.0, 1.0, 1.0]).double(), function(student, teacher)
    slope = gradient(function, student, teacher)
    student[2], teacher[3] = math.nan, math.inf
    told = {"weights": weights, "ignore": torch.tensor([False, False, True, True])}
    torch.testing.assert_close(function(student, teacher, **told), plain * weights * plain.new_tensor([1, 1, 0, 0]))
    expected = slope * (weights * plain.new_tensor([1, 1, 0, 0]))[:, None]
    torch.testing.assert_close(gradient(function, student, teacher, **told), expected)


@pytest.mark.parametrize("function", EVERY)
def test_single_and_half_precision(function):
    student, teacher = (4 * torch.randn(2, 6, 50, generator=torch.Generator().manual_seed(2))).unbind(0)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)):
        s, t = student.to(dtype), teacher.to(dtype)
        exact, slope = function(s.double(), t.double()), gradient(function, s.double(), t.double())
        value = function(s, t)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-6)
        mine = gradient(function, s, t)
        assert mine.dtype == dtype
        torch.testing.assert_close(mine.double(), slope, rtol=tolerance, atol=tolerance * float(slope.abs().max()))


@pytest.mark.parametrize("function", EVERY)
def test_backward_may_run_twice_and_under_vmap(function):
    student, teacher = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(3)).double().unbind(0)
    student.requires_grad_()
    value = function(student, teacher)
    first = torch.autograd.grad(value.sum(), student, retain_graph=True)[0]
    (second,) = torch.autograd.grad(2 * value.sum(), student)
    torch.testing.assert_close(second, 2 * first)
    mapped = torch.vmap(function)(student, teacher)
    torch.testing.assert_close(torch.autograd.grad(mapped.sum(), student)[0], first)
    told = torch.vmap(torch.func.grad(lambda s, t: function(s, t).sum()), in_dims=(1, None))(
        student.detach(), teacher[:, 0]
    )
    torch.testing.assert_close(
        told, torch.func.grad(lambda s: function(s, teacher[:, :1].expand_as(s)).sum())(student.detach()).movedim(1, 0)
    )
    hessian = torch.func.hessian(lambda s: function(s, teacher[0, 0]).sum())(student.detach()[0, 0])
    torch.testing.assert_close(hessian, hessian.mT)


def test_hotter_softmaxes_regress_centred_logits():
    """T → ∞: T² KL has gradient ((s − s̄) − (t − t̄)) / C, with an error of order 1/T (paper 037)."""
    student, teacher = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(4)).double().unbind(0)
    limit = ((student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))) / 6
    for T in (1e2, 1e3):
        told = {"student_temperature": T, "teacher_temperature": T}
        assert (T**2 * gradient(divergence.forward_kl, student, teacher, **told) - limit).abs().max() <= 10 / T


@pytest.mark.parametrize("function", EVERY)
@settings(max_examples=6)
@given(pair=logit_pairs(scales=(1.0,)), k=st.integers(0, 7))
def test_a_sparse_teacher_is_a_teacher_of_buckets(function, pair, k):
    student, teacher = pair
    k = min(k, student.shape[1])
    sparse = divergence.Sparse.of(teacher, k)
    value = function(student, sparse, student_temperature=2.0)
    assert (value <= function(student, teacher, student_temperature=2.0) + 1e-12).all()
    if k == student.shape[1]:
        torch.testing.assert_close(value, function(student, teacher, student_temperature=2.0))
    rest = (student / 2).scatter(-1, sparse.ids, -torch.inf).logsumexp(-1, keepdim=True)
    seen = torch.cat([student.gather(-1, sparse.ids) / 2, rest], -1)
    told = torch.cat([sparse.values, sparse.tail[:, None]], -1)
    torch.testing.assert_close(value, function(seen, told))
    assert gradient(function, student, sparse).sum(1).abs().max() <= 1e-10


def test_buckets_have_first_and_second_derivatives():
    student = torch.randn(2, 5, generator=torch.Generator().manual_seed(5)).double().requires_grad_()
    ids = torch.tensor([[0, 3], [1, 2]])
    assert torch.autograd.gradcheck(lambda s: divergence.buckets(s, ids, temperature=2.0), student)
    assert torch.autograd.gradgradcheck(lambda s: divergence.buckets(s, ids, temperature=2.0), student)


def test_sparse_teachers_refuse_what_they_cannot_do():
    student, sparse = torch.zeros(2, 4), divergence.Sparse.of(torch.zeros(2, 4), 2)
    with pytest.raises(ValueError, match="record its logits at that temperature"):
        divergence.forward_kl(student, sparse, teacher_temperature=2)
    with pytest.raises(ValueError, match=r"rows \(2,\)"):
        divergence.forward_kl(student[:1], sparse)
    with pytest.raises(ValueError, match=r"weights have shape \(3,\)"):
        divergence.forward_kl(student, student, weights=torch.ones(3))


def test_blocks_keep_nothing_but_the_gradient(version):
    if version == "by definition":
        pytest.skip("is about the blocks")
    student, teacher = torch.randn(2, 5, 7).unbind(0)
    student.requires_grad_()
    value = divergence.jensen_shannon(student, teacher)
    assert value.grad_fn.kept.gradient.shape == (5, 7)
    assert divergence.jensen_shannon(student.detach(), teacher).grad_fn is None
    assert all(
        torch.equal(*(gradient(divergence.jensen_shannon, student.detach(), teacher) for _ in range(2)))
        for _ in range(2)
    )
