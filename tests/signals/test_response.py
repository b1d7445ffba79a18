"""Signals on logits: gradients in closed form, limits, and what leaves them unchanged."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench.knowledge import DIST, KL, CrossEntropy, LogitRegression, OldClasses
from workbench.models import Outputs


@st.composite
def problems(draw, scale=1.0):
    """Student logits, teacher logits (n, classes) in float64, labels (n,)."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    n, classes = draw(st.integers(2, 6)), draw(st.integers(2, 8))
    student, teacher = (scale * torch.randn(n, classes, generator=generator, dtype=torch.float64) for _ in range(2))
    return student, teacher, torch.randint(classes, (n,), generator=generator)


def gradient(signal, student, teacher, labels):
    student = student.clone().requires_grad_()
    signal(Outputs(student), Outputs(teacher), labels).sum().backward()
    return student.grad


@given(problems(scale=3.0), st.floats(0.5, 50))
def test_soft_label_gradient_is_t_times_the_difference_of_softened_probabilities(problem, T):
    student, teacher, _ = problem
    expected = T * ((student / T).softmax(1) - (teacher / T).softmax(1))
    torch.testing.assert_close(gradient(KL(T), *problem), expected)


@given(problems())
def test_at_high_temperature_soft_labels_are_regression_of_centred_logits(problem):
    student, teacher, _ = problem
    centred = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    limit = centred / student.shape[1]

    def error(T):
        return (gradient(KL(T), *problem) - limit).abs().max().item()

    # the error is O(1/T): ten times the temperature, a tenth of it (give or take the next order)
    assert error(1e4) < 1e-3
    assert error(1e4) <= 0.11 * error(1e3) + 1e-12


@given(problems())
def test_logit_regression_of_centred_logits_has_the_limits_direction(problem):
    student, teacher, labels = problem
    centred = [logits - logits.mean(1, keepdim=True) for logits in (student, teacher)]
    regression = gradient(LogitRegression(), *centred, labels)
    torch.testing.assert_close(regression / (2 * student.shape[1]), gradient(KL(1e6), *problem), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("signal", [KL(1), KL(4), LogitRegression(), DIST(), OldClasses((0, 1))])
@given(problem=problems())
def test_zero_loss_and_gradient_at_the_teacher(signal, problem):
    _, teacher, labels = problem
    assert signal(Outputs(teacher), Outputs(teacher), labels).abs().max() < 1e-7  # DIST's cosine has an epsilon
    assert gradient(signal, teacher, teacher, labels).abs().max() < 1e-6


@given(problems())
def test_label_smoothing_is_cross_entropy_with_an_even_share(problem):
    student, _, labels = problem
    log_q = student.log_softmax(1)
    expected = -0.9 * log_q.gather(1, labels[:, None])[:, 0] - 0.1 * log_q.mean(1)
    torch.testing.assert_close(CrossEntropy(0.1)(Outputs(student), None, labels), expected)


@given(problems())
def test_old_classes_leave_the_new_ones_alone(problem):
    student, teacher, labels = problem
    assert (gradient(OldClasses((0, 1)), student, teacher, labels)[:, 2:] == 0).all()


@given(problems())
def test_dist_sees_neither_scale_nor_shift_of_probabilities(problem):
    student, teacher, labels = problem
    q, p = (logits.softmax(1) for logits in (student, teacher))
    correlations = [torch.corrcoef(torch.stack([a, b]))[0, 1] for a, b in zip(q, p, strict=True)]
    between_classes = 1 - torch.stack(correlations).mean()
    measured = DIST(beta=1, gamma=0, temperature=1)(Outputs(student), Outputs(teacher), labels)
    if student.shape[1] > 2:  # two classes always correlate perfectly, where rounding decides
        torch.testing.assert_close(measured, between_classes, atol=1e-6, rtol=1e-6)


def test_bad_settings_are_refused():
    for make in (lambda: KL(0), lambda: DIST(temperature=-1), lambda: CrossEntropy(1.5)):
        with pytest.raises(ValueError, match="it must"):
            make()
