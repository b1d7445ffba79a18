"""The exact identities of paper 055 (labels and soft labels in balance) in float64."""

import math

import pytest
import torch
from torch.nn import functional

from workbench.data import UNLABELLED
from workbench.knowledge import Committee, CrossEntropy, Hinton
from workbench.models import Outputs

N, K = 7, 5


@pytest.fixture
def case():
    g = torch.Generator().manual_seed(0)
    student, teacher = (2 * torch.randn(N, K, generator=g, dtype=torch.float64) for _ in range(2))
    return student, teacher, torch.randint(K, (N,), generator=g)


def loss(signal, student, teacher, labels):
    return signal(Outputs(student), Outputs(teacher), labels)


def gradient(signal, student, teacher, labels):
    student = student.clone().requires_grad_()
    loss(signal, student, teacher, labels).sum().backward()
    return student.grad


def kl(p, q):
    return (p * (p.log() - q.log())).sum(-1)


def close(a, b, atol=1e-10):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


def test_a_the_ends_of_the_balance(case):
    student, teacher, labels = case
    close(loss(Hinton(7.0, alpha=1.0), *case), functional.cross_entropy(student, labels, reduction="none"))
    close(loss(Hinton(1.0, alpha=0.0), *case), kl(teacher.softmax(1), student.softmax(1)))


@pytest.mark.parametrize("T", [0.5, 1.0, 4.0, 16.0])
def test_b_the_gradient_of_the_soft_term(case, T):
    student, teacher, _ = case
    close(gradient(Hinton(T, alpha=0.0), *case), T * ((student / T).softmax(1) - (teacher / T).softmax(1)))


def test_c_high_temperatures_match_centred_logits(case):
    student, teacher, labels = case
    centred = [z - z.mean(1, keepdim=True) for z in (student, teacher)]
    limit = loss(Hinton(math.inf, alpha=0.0), *case)
    close(limit, (centred[0] - centred[1]).square().sum(1) / (2 * K))
    close(gradient(Hinton(math.inf, alpha=0.0), *case), (centred[0] - centred[1]) / K)
    errors = [(loss(Hinton(T, alpha=0.0), *case) - limit).abs().max() for T in (100.0, 1000.0)]
    assert 9 < float(errors[0] / errors[1]) < 11  # O(1/T)
    mixed = loss(Hinton(math.inf, alpha=0.3), *case)
    close(mixed, 0.3 * functional.cross_entropy(student, labels, reduction="none") + 0.7 * limit)


def test_d_low_temperatures_are_the_teachers_decisions(case):
    student, teacher, _ = case
    T = 0.001
    decided = functional.cross_entropy(student / T, teacher.argmax(1), reduction="none")
    close(loss(Hinton(T, alpha=0.0), *case) / T**2, decided, atol=1e-6)


def test_e_a_one_hot_teacher_is_the_label(case):
    student, _, labels = case
    sure = 1000 * functional.one_hot(labels, K).double()
    close(
        loss(Hinton(1.0, alpha=0.0), student, sure, labels), functional.cross_entropy(student, labels, reduction="none")
    )


def test_f_a_teacher_that_knows_nothing_is_label_smoothing(case):
    student, _, labels = case
    smooth = 0.9 * functional.one_hot(labels, K).double() + 0.1 / K
    soft = loss(Hinton(1.0, alpha=0.0), student, smooth.log(), labels)
    difference = loss(CrossEntropy(smoothing=0.1), student, student, labels) - soft
    close(difference, torch.full((N,), float(-(smooth[0] * smooth[0].log()).sum()), dtype=torch.float64))


def test_g_at_temperature_1_the_balance_is_of_the_targets(case):
    student, teacher, labels = case
    p = teacher.softmax(1)
    target = 0.3 * functional.one_hot(labels, K).double() + 0.7 * p
    expected = -(target * student.log_softmax(1)).sum(1) + 0.7 * (p * p.log()).sum(1)
    close(loss(Hinton(1.0, alpha=0.3), *case), expected)


@pytest.mark.parametrize("T", [1.0, 4.0, math.inf])
def test_h_a_constant_added_to_logits_changes_nothing(case, T):
    student, teacher, labels = case
    shifts = torch.randn(2, N, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    close(loss(Hinton(T), student + shifts[0], teacher + shifts[1], labels), loss(Hinton(T), *case))


@pytest.mark.parametrize("T", [1.0, 4.0])
def test_i_a_committee_teaches_as_its_members_do_on_average(T):
    """The difference of the two losses does not depend on the student."""
    g = torch.Generator().manual_seed(2)
    members = [torch.nn.Linear(3, K).double() for _ in range(3)]
    committee, x = Committee(members, temperature=T), torch.randn(N, 3, generator=g, dtype=torch.float64)
    labels, differences = torch.zeros(N, dtype=torch.int64), []
    for _ in range(2):
        student = torch.randn(N, K, generator=g, dtype=torch.float64)
        each = torch.stack([loss(Hinton(T, alpha=0.0), student, member(x), labels) for member in members]).mean(0)
        differences.append(each - loss(Hinton(T, alpha=0.0), student, committee(x), labels))
    close(*differences)
    assert bool((differences[0] > 0).all())


@pytest.mark.parametrize("T", [0.7, 2.0, 9.0])
def test_j_soft_labels_grow_softer_with_the_temperature(case, T):
    _, teacher, _ = case
    heat = torch.full((N, 1), T, dtype=torch.float64, requires_grad=True)
    q = (teacher / heat).softmax(1)
    entropy = -(q * q.log()).sum(1)
    slope = torch.autograd.grad(entropy.sum(), heat)[0][:, 0]
    variance = (q * teacher.square()).sum(1) - (q * teacher).sum(1).square()
    close(slope, variance / T**3)
    assert (slope > 0).all()


def test_an_example_without_a_label_learns_from_the_teacher_alone(case):
    student, teacher, labels = case
    some = labels.clone()
    some[2:] = UNLABELLED
    found = loss(Hinton(4.0, alpha=0.25), student, teacher, some)
    close(found[:2], loss(Hinton(4.0, alpha=0.25), *case)[:2])
    close(found[2:], 0.75 * loss(Hinton(4.0, alpha=0.0), *case)[2:])


def test_defaults_are_the_cards():
    assert (Hinton().temperature, Hinton().alpha) == (4.0, 0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "temperature is 0"),
        ({"alpha": 1.5}, "alpha is 1.5"),
        ({"temperature": math.nan}, "temperature is nan"),
    ],
)
def test_what_cannot_be_meant_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        Hinton(**options)
