"""Born-again: gradients, the two ablations' invariants, the ensemble's inequality, the kernel limit."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from workbench.knowledge import CWTM, DKPP, BornAgain, Committee, CrossEntropy, LogitRegression
from workbench.knowledge.methods.born_again import confidences, permuted
from workbench.models import Outputs


@st.composite
def problems(draw, least=2):
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    n, classes = draw(st.integers(1, 6)), draw(st.integers(least, 7))
    student, teacher = (2 * torch.randn(n, classes, generator=generator, dtype=torch.float64) for _ in range(2))
    return student, teacher, torch.randint(classes, (n,), generator=generator)


def loss(signal, student, teacher, labels):
    return signal(Outputs(student), Outputs(teacher), labels)


def gradient(signal, student, teacher, labels):
    student = student.clone().requires_grad_()
    loss(signal, student, teacher, labels).sum().backward()
    return student.grad


@given(problems())
def test_gradient_is_q_minus_p_and_splits_into_label_and_dark_knowledge(problem):
    student, teacher, labels = problem
    q, p = student.softmax(1), teacher.softmax(1)
    measured = gradient(BornAgain(), *problem)
    torch.testing.assert_close(measured, q - p)
    true = functional.one_hot(labels, q.shape[1]).double()
    torch.testing.assert_close(measured, (q - p) * true + (q - p) * (1 - true))
    assert measured.sum(1).abs().max() < 1e-12


@given(problems())
def test_a_one_hot_teacher_is_label_training_and_with_labels_twice_that(problem):
    student, teacher, labels = problem
    certain = torch.zeros_like(teacher).scatter(1, labels[:, None], 1e6)
    hard = loss(CrossEntropy(), student, certain, labels)
    torch.testing.assert_close(loss(BornAgain(), student, certain, labels), hard)
    torch.testing.assert_close(loss(BornAgain() + CrossEntropy(), student, certain, labels), 2 * hard)


@given(problems())
def test_a_student_at_its_teacher_gets_no_gradient(problem):
    _, teacher, labels = problem
    assert gradient(BornAgain(), teacher, teacher, labels).abs().max() < 1e-12


@given(problems())
def test_cwtm_with_constant_confidence_is_cross_entropy(problem):
    student, teacher, labels = problem
    constant = teacher[:1].expand_as(teacher)
    torch.testing.assert_close(loss(CWTM(), student, constant, labels), loss(CrossEntropy(), *problem).mean())


@given(problems(), st.integers(0, 1000))
def test_cwtm_knows_the_teacher_through_its_confidence_only(problem, seed):
    student, teacher, labels = problem
    w = teacher.softmax(1).amax(1)
    hard = loss(CrossEntropy(), *problem)
    for scale in (1.0, 7.0):  # invariant to scaling all weights
        torch.testing.assert_close(loss(CWTM(), *problem), (scale * w * hard).sum() / (scale * w).sum())
    torch.testing.assert_close(confidences(teacher), w)
    shuffled = permuted(teacher, teacher, seed)
    torch.testing.assert_close(loss(CWTM(), student, shuffled, labels), loss(CWTM(), *problem))
    torch.testing.assert_close(gradient(CWTM(), student, shuffled, labels), gradient(CWTM(), *problem))


@given(problems(), st.integers(0, 1000))
def test_dkpp_keeps_maximum_place_entropy_and_sorted_probabilities(problem, seed):
    _, teacher, _ = problem
    p = teacher.softmax(1)
    shuffled = permuted(p, teacher, seed)
    assert torch.equal(shuffled.argmax(1), p.argmax(1))
    assert torch.equal(shuffled.amax(1), p.amax(1))
    assert torch.equal(shuffled.sort(1).values, p.sort(1).values)
    entropies = [-(t.sort(1).values * t.sort(1).values.log()).sum(1) for t in (p, shuffled)]
    assert torch.equal(*entropies)


def test_dkpp_draws_every_permutation_about_equally_often():
    n = 12_000
    teacher = torch.randn(n, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    teacher[:, 1] += 20  # the largest; 0, 2 and 3 are shuffled
    marks = torch.tensor([1.0, 9.0, 2.0, 3.0]).expand(n, 4)
    drawn = permuted(marks, teacher, seed=0)[:, [0, 2, 3]]
    counts = [(drawn == torch.tensor(order)).all(1).sum().item() for order in itertools.permutations((1.0, 2.0, 3.0))]
    assert sum(counts) == n
    # each count is binomial: mean n/6, standard deviation about 41
    assert all(abs(count - n / 6) < 5 * math.sqrt(n * 5 / 36) for count in counts)


def test_dkpp_averages_to_label_smoothing_of_each_example():
    p = torch.tensor([[0.6, 0.25, 0.1, 0.05]], dtype=torch.float64).expand(6, 4)
    orders = torch.tensor([(0, *order) for order in itertools.permutations((1, 2, 3))])
    mean = p.gather(1, orders).mean(0)
    torch.testing.assert_close(mean, torch.tensor([0.6, 0.4 / 3, 0.4 / 3, 0.4 / 3], dtype=torch.float64))
    draws = torch.stack([permuted(p[:1], p[:1], seed)[0] for seed in range(3000)]).mean(0)
    torch.testing.assert_close(draws, mean, atol=0.01, rtol=0)


@given(problems())
def test_dkpp_repeats_itself_and_depends_on_its_seed(problem):
    _, teacher, _ = problem
    p = teacher.softmax(1)
    assert torch.equal(permuted(p, teacher, 3), permuted(p, teacher, 3))
    if p.shape[1] > 4:
        assert any(not torch.equal(permuted(p, teacher, 0), permuted(p, teacher, seed)) for seed in range(1, 6))


@given(problems())
def test_dkpp_of_two_classes_is_ban(problem):
    student, teacher, labels = problem[0][:, :2], problem[1][:, :2], problem[2] % 2
    torch.testing.assert_close(loss(DKPP(), student, teacher, labels), loss(BornAgain(), student, teacher, labels))


@given(problems())
def test_ensemble_nll_is_at_most_the_mean_of_its_members(problem):
    student, teacher, labels = problem

    class Fixed(torch.nn.Module):
        def __init__(self, logits):
            super().__init__()
            self.logits = logits

        def forward(self, x):
            return self.logits

    committee = Committee([Fixed(student), Fixed(teacher)])(torch.zeros(1))
    torch.testing.assert_close(committee.softmax(1), (student.softmax(1) + teacher.softmax(1)) / 2)
    members = (functional.cross_entropy(student, labels) + functional.cross_entropy(teacher, labels)) / 2
    assert functional.cross_entropy(committee, labels) <= members + 1e-12


# Card 001: the 11-point data of Mobahi and Borup, kernel exp(−80 (x − x')²), λ = 0.2, targets sin 2πx on 0, 0.01, …, 1.
POINTS = torch.arange(11, dtype=torch.float64) / 10
VALUES = torch.tensor(
    [
        *(0.38476637, 1.23339677, 1.33232242, 0.69201595, -0.29756146, -0.24189291),
        *(-0.79644858, -0.96164802, -0.49672510, -0.34696660, 0.55895127),
    ],
    dtype=torch.float64,
)
GRID = torch.arange(101, dtype=torch.float64) / 100


def kernel(a, b):
    return torch.exp(-80 * (a[:, None] - b[None]) ** 2)


@pytest.mark.parametrize(
    ("alpha", "golden"),
    [
        (0.0, (0.16477, 0.15076, 0.14915, 0.15561, 0.16735, 0.18251)),
        (0.35, (0.16477, 0.15424, 0.15089, 0.14983, 0.14954, 0.14948)),
        (0.25, (0.16477, 0.15309, 0.14958, 0.14903, 0.14946, 0.15011)),
    ],
)
def test_with_squared_loss_and_a_kernel_network_generations_are_the_gaussian_process_chain(alpha, golden):
    """α = 0 is BAN; a weight α on the labels is BAN+L. Each generation is trained to its optimum by one Newton step."""
    K, K_grid, lam = kernel(POINTS, POINTS), kernel(GRID, POINTS), 0.2
    signal = LogitRegression()
    taught, errors = None, []
    closed = VALUES
    for generation in range(len(golden)):

        def objective(a, taught=taught):
            student = Outputs((K @ a)[:, None])
            labels = signal(student, Outputs(VALUES[:, None]), None)
            if taught is None:
                told = labels
            else:
                told = alpha * labels + (1 - alpha) * signal(student, Outputs(taught[:, None]), None)
            return 0.5 * told.sum() + 0.5 * lam * a @ K @ a

        start = torch.zeros(11, dtype=torch.float64)
        gradient = torch.autograd.functional.jacobian(objective, start)
        hessian = torch.autograd.functional.hessian(objective, start)
        a = -torch.linalg.solve(hessian, gradient)
        taught = K @ a
        told = alpha * VALUES + (1 - alpha) * closed if generation else VALUES
        closed = K @ torch.linalg.solve(K + lam * torch.eye(11, dtype=torch.float64), told)
        torch.testing.assert_close(taught, closed, atol=1e-9, rtol=0)
        errors.append((K_grid @ a - torch.sin(2 * torch.pi * GRID)).square().mean().item())
    assert errors == pytest.approx(golden, abs=1.2e-5)  # the published errors have five decimals
