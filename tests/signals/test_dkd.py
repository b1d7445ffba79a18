"""Decoupled distillation against its definition, written with probabilities, and its identity with soft labels."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench.models import Outputs
from workbench.signals import DKD, KL


def problem(seed, n=5, classes=6):
    g = torch.Generator().manual_seed(seed)
    s, t = (3 * torch.randn(n, classes, generator=g, dtype=torch.float64) for _ in range(2))
    return Outputs(s), Outputs(t), torch.randint(classes, (n,), generator=g)


@given(seed=st.integers(0, 1000), temperature=st.sampled_from([1.0, 4.0]))
def test_its_definition(seed, temperature):
    student, teacher, labels = problem(seed)
    expected = []
    for s, t, y in zip(student.logits, teacher.logits, labels, strict=True):
        q, p = (s / temperature).softmax(0), (t / temperature).softmax(0)
        target = p[y] * (p[y] / q[y]).log() + (1 - p[y]) * ((1 - p[y]) / (1 - q[y])).log()
        rest = 0.0
        for c in range(len(s)):
            if c != y:
                a, b = p[c] / (1 - p[y]), q[c] / (1 - q[y])
                rest = rest + a * (a / b).log()
        expected.append(temperature**2 * (0.5 * target + 3.0 * rest))
    found = DKD(0.5, 3.0, temperature)(student, teacher, labels)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-9, atol=1e-10)


@given(seed=st.integers(0, 1000))
def test_soft_labels_are_target_plus_the_rest_at_its_probability(seed):
    """KL = TCKD + (1 − p_y) NCKD, the paper's Eq. 6."""
    student, teacher, labels = problem(seed)
    target, rest = DKD(1.0, 0.0, 4.0)(student, teacher, labels), DKD(0.0, 1.0, 4.0)(student, teacher, labels)
    p_y = (teacher.logits / 4).softmax(1)[torch.arange(len(labels)), labels]
    torch.testing.assert_close(KL(4.0)(student, teacher, labels), target + (1 - p_y) * rest, rtol=1e-9, atol=1e-10)


def test_a_teacher_equal_to_the_student_and_constants_on_logits():
    student, teacher, labels = problem(0)
    torch.testing.assert_close(DKD()(student, student, labels), torch.zeros(5, dtype=torch.float64))
    shifted = Outputs(student.logits + 3.0)
    torch.testing.assert_close(DKD()(shifted, teacher, labels), DKD()(student, teacher, labels))


def test_a_certain_teacher_gives_finite_numbers():
    """p_y rounds to 1, so 1 − p_y is 0: logits, not probabilities, are what is computed with."""
    student = Outputs(torch.tensor([[90.0, 0.0, 1.0]], requires_grad=True))
    loss = DKD(temperature=1.0)(student, Outputs(torch.tensor([[200.0, 3.0, 0.0]])), torch.tensor([0])).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.logits.grad).all()


@pytest.mark.parametrize(
    "arguments", [{"alpha": -1}, {"beta": float("nan")}, {"temperature": "4"}, {"temperature": True}]
)
def test_numbers_are_checked(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} is"):
        DKD(**arguments)
