"""PLD: closed-form gradient and Hessian, special cases, invariances."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from workbench.knowledge.methods.pld import (
    PLD,
    ListMLE,
    PListMLE,
    TeacherPListMLE,
    choice_losses,
    choice_weights,
    label_first_order,
)
from workbench.models import Outputs


@st.composite
def problems(draw, least=2, scale=2.0):
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    n, classes = draw(st.integers(1, 4)), draw(st.integers(least, 7))
    student, teacher = (scale * torch.randn(n, classes, generator=generator, dtype=torch.float64) for _ in range(2))
    return student, teacher, torch.randint(classes, (n,), generator=generator)


def loss(signal, student, teacher, labels):
    return signal(Outputs(student), Outputs(teacher), labels)


def gradient(signal, student, teacher, labels):
    student = student.clone().requires_grad_()
    loss(signal, student, teacher, labels).sum().backward()
    return student.grad


def choices(student, order):
    """σ_k for every rank k: softmax over the remaining classes, zero elsewhere; shape (C, C) for one example."""
    rows = []
    for k in range(len(order)):
        left = order[k:]
        rows.append(torch.zeros_like(student).scatter(0, left, student[left].softmax(0)))
    return torch.stack(rows)


@given(problems())
def test_the_label_comes_first_then_falling_teacher_logits(problem):
    _, teacher, labels = problem
    order = label_first_order(teacher, labels)
    assert torch.equal(order[:, 0], labels)
    assert (teacher.gather(1, order[:, 1:]).diff(dim=1) <= 0).all()
    assert torch.equal(order.sort(1).values, torch.arange(teacher.shape[1]).expand_as(order))
    alpha = choice_weights(teacher, order, 2.0)
    torch.testing.assert_close(alpha, (teacher / 2).softmax(1).gather(1, order))
    torch.testing.assert_close(alpha.sum(1), torch.ones(len(alpha), dtype=alpha.dtype))


@given(problems(), st.floats(0.5, 5))
def test_closed_form_gradient_which_sums_to_zero(problem, tau):
    student, teacher, labels = problem
    order = label_first_order(teacher, labels)
    alpha = choice_weights(teacher, order, tau)
    expected = torch.stack(
        [
            (a[:, None] * (choices(s, o) - torch.eye(len(s), dtype=s.dtype)[o])).sum(0)
            for s, o, a in zip(student, order, alpha, strict=True)
        ]
    )
    measured = gradient(PLD(tau), *problem)
    torch.testing.assert_close(measured, expected)
    assert measured.sum(1).abs().max() < 1e-12


@given(problems())
def test_hessian_is_positive_semidefinite_with_constants_in_its_null_space(problem):
    student, teacher, labels = (tensor[:1] for tensor in problem)
    hessian = torch.autograd.functional.hessian(lambda s: loss(PLD(2), s[None], teacher, labels).sum(), student[0])
    order = label_first_order(teacher, labels)
    alpha = choice_weights(teacher, order, 2.0)[0]
    sigma = choices(student[0], order[0])
    expected = sum(a * (torch.diag(s) - torch.outer(s, s)) for a, s in zip(alpha, sigma, strict=True))
    torch.testing.assert_close(hessian, expected)
    assert torch.linalg.eigvalsh(hessian).min() > -1e-12
    assert (hessian @ torch.ones_like(student[0])).abs().max() < 1e-12


@given(problems(), st.floats(-50, 50))
def test_blind_to_constants_but_not_to_scale(problem, c):
    student, teacher, labels = problem
    torch.testing.assert_close(loss(PLD(), student + c, teacher, labels), loss(PLD(), *problem))
    torch.testing.assert_close(loss(PLD(), student, teacher + c, labels), loss(PLD(), *problem))
    assert (loss(PLD(), 2 * student, teacher, labels) - loss(PLD(), *problem)).abs().max() > 1e-6


@given(problems())
def test_a_certain_teacher_makes_it_cross_entropy(problem):
    student, teacher, labels = problem
    certain = teacher.scatter(1, labels[:, None], 1e6)
    torch.testing.assert_close(
        loss(PLD(), student, certain, labels), functional.cross_entropy(student, labels, reduction="none")
    )
    expected = student.softmax(1) - functional.one_hot(labels, student.shape[1])
    torch.testing.assert_close(gradient(PLD(), student, certain, labels), expected)


@given(problems())
def test_the_last_choice_costs_nothing(problem):
    student, teacher, labels = problem
    assert (choice_losses(student, label_first_order(teacher, labels))[:, -1] == 0).all()


@given(problems())
def test_two_classes_are_confidence_weighted_cross_entropy_and_nothing_more(problem):
    student, teacher = problem[0][:, :2], problem[1][:, :2]
    labels = problem[2] % 2
    confidence = teacher.softmax(1).gather(1, labels[:, None])[:, 0]
    expected = confidence * functional.cross_entropy(student, labels, reduction="none")
    torch.testing.assert_close(loss(PLD(), student, teacher, labels), expected)


@given(st.integers(0, 2**32))
def test_rankings_have_probabilities_that_sum_to_one(seed):
    student = torch.randn(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    orders = torch.tensor(list(itertools.permutations(range(4))))
    negative_logs = choice_losses(student.expand(24, 4), orders).sum(1)
    torch.testing.assert_close((-negative_logs).exp().sum(), torch.tensor(1.0, dtype=torch.float64))


@given(problems())
def test_list_mle_is_the_ranking_likelihood_and_pld_of_an_even_teacher(problem):
    student, teacher, labels = problem
    order = label_first_order(teacher, labels)
    torch.testing.assert_close(loss(ListMLE(), *problem), choice_losses(student, order).sum(1) / student.shape[1])
    torch.testing.assert_close(loss(PLD(1e9), *problem), loss(ListMLE(), *problem), rtol=1e-6, atol=1e-8)


def test_position_weights_fall_and_do_not_overflow():
    many = torch.zeros(1, 3000, dtype=torch.float64)
    assert PListMLE()(Outputs(many), Outputs(many), torch.tensor([0])).isfinite().all()
    student = torch.tensor([[0.3, -1.0, 0.5]], dtype=torch.float64)
    teacher, label = torch.tensor([[1.0, 0.0, 2.0]], dtype=torch.float64), torch.tensor([0])
    terms = choice_losses(student, torch.tensor([[0, 2, 1]]))[0]
    expected = (terms * torch.tensor([3.0, 1.0, 0.0]) / 4).sum()
    torch.testing.assert_close(loss(PListMLE(), student, teacher, label)[0], expected)


@pytest.mark.parametrize("signal", [PLD(), PLD(4), ListMLE(), PListMLE()])
@given(problem=problems(), seed=st.integers(0, 1000))
def test_renaming_the_classes_everywhere_changes_nothing(signal, problem, seed):
    student, teacher, labels = problem
    order = torch.randperm(student.shape[1], generator=torch.Generator().manual_seed(seed))
    renamed = order.argsort()[labels]
    torch.testing.assert_close(loss(signal, student[:, order], teacher[:, order], renamed), loss(signal, *problem))


@given(problems())
def test_the_teacher_enters_through_order_and_weights_only_and_gets_no_gradient(problem):
    student, teacher, labels = problem
    order = label_first_order(teacher, labels)
    by_hand = (choice_weights(teacher, order, 1.0) * choice_losses(student, order)).sum(1)
    torch.testing.assert_close(loss(PLD(), *problem), by_hand)
    teacher = teacher.clone().requires_grad_()
    assert not loss(PLD(), student, teacher, labels).requires_grad


@given(problems(least=3))
def test_infimum_is_zero_and_lies_at_infinite_scale(problem):
    _, teacher, labels = problem
    order = label_first_order(teacher, labels)
    steps = torch.arange(teacher.shape[1], 0, -1, dtype=torch.float64).expand_as(teacher)
    ranked = torch.zeros_like(teacher).scatter(1, order, steps)
    values = [loss(PLD(), scale * ranked, teacher, labels) for scale in (1, 10, 100)]
    assert (values[0] > values[1]).all()
    assert (values[2] < 1e-12).all()
    assert (values[2] >= 0).all()


def test_extreme_logits_stay_finite():
    student = torch.tensor([[1e4, -1e4, 0.0, 3.0], [-1e8, 1e8, 0.0, 1.0]], dtype=torch.float64)
    problem = student, student.flip(1), torch.tensor([1, 0])
    assert loss(PLD(), *problem).isfinite().all()
    assert gradient(PLD(), *problem).isfinite().all()


@given(problems(), st.sampled_from([1.0, 4.0]))
def test_a_rank_weighs_the_teachers_kth_largest_probability(problem, temperature):
    """Paper 092's p-ListMLE: −Σ_k p_(k) log P(π_k | left), p sorted."""
    student, teacher, labels = problem
    expected = []
    for s, t, y in zip(student, teacher, labels, strict=True):
        order = [int(y), *sorted((c for c in range(len(t)) if c != y), key=lambda c: -float(t[c]))]
        p = sorted((t / temperature).softmax(0).tolist(), reverse=True)
        total = 0.0
        for k, c in enumerate(order):
            total = total - p[k] * s[order[k:]].log_softmax(0)[0]
            assert order[k] == c
        expected.append(total)
    torch.testing.assert_close(loss(TeacherPListMLE(temperature), student, teacher, labels), torch.stack(expected))


@given(problems())
def test_where_the_teacher_is_right_it_is_pld(problem):
    student, teacher, _ = problem
    labels = teacher.argmax(1)
    torch.testing.assert_close(
        loss(TeacherPListMLE(2.0), student, teacher, labels), loss(PLD(2.0), student, teacher, labels)
    )
