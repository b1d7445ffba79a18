"""Any callable is a signal, alone and in sums, through `distill`; what is none is refused where it enters."""

import math

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.knowledge import KL, CrossEntropy, Hint, distill, distill_many
from workbench.models import Outputs
from workbench.signals.signal import Custom, Sum, as_signal

QUICK = {"steps": 6, "progress": False, "device": "cpu"}


def soft(student, teacher, labels):
    """Soft labels by hand, at T = 4."""
    log_q, p = (student.logits / 4).log_softmax(1), (teacher.logits / 4).softmax(1)
    return 16 * (p * (p.log() - log_q)).sum(1)


def labels_only(student, teacher, labels):
    return nn.functional.cross_entropy(student.logits, labels)


@pytest.fixture(scope="module")
def data():
    return wb.data.load("digits").subset(100)


@pytest.fixture(scope="module")
def teacher(data):
    return wb.training.fit(wb.models.build("mlp", data, seed=9), data, epochs=2, progress=False).model


def student(data):
    return wb.models.build("mlp", data, width=[8])


def learned(data, teacher, signal, **options):
    made = student(data)
    distill(teacher, made, data, signal, **QUICK, **options)
    return made(data.test.inputs)


@pytest.mark.parametrize(
    ("signal", "same"),
    [
        (soft, KL(4)),
        (KL(4) / 2, 0.5 * KL(4)),
        (-(-1 * KL(4)), KL(4)),
        (KL(4) - 0.5 * KL(4), 0.5 * KL(4)),
        (sum([KL(4), CrossEntropy()]), KL(4) + CrossEntropy()),
        (sum([soft, CrossEntropy()], CrossEntropy() * 0), KL(4) + CrossEntropy()),
        (0.5 * KL(4) + soft, 1.5 * KL(4)),
        (soft + 0.5 * KL(4), 1.5 * KL(4)),
        (soft - 0.5 * KL(4), 0.5 * KL(4)),
        (KL(4) + labels_only, KL(4) + CrossEntropy()),
    ],
    ids=lambda signal: getattr(signal, "__name__", None) or repr(signal)[:60],
)
def test_it_trains_as_what_it_equals(data, teacher, signal, same):
    weight = 0.0 if signal is not soft else None
    found, expected = (learned(data, teacher, one, labels_weight=weight) for one in (signal, same))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_difference_is_a_difference():
    outputs = Outputs(torch.tensor([[1.0, 0.0]])), Outputs(torch.tensor([[0.0, 2.0]])), torch.tensor([0])
    half, whole = (KL(4) - 0.5 * KL(4))(*outputs), KL(4)(*outputs)
    torch.testing.assert_close(half, whole / 2)
    torch.testing.assert_close((-KL(4))(*outputs), -whole)
    torch.testing.assert_close((labels_only - CrossEntropy())(*outputs), torch.zeros(1))
    assert isinstance(KL() + soft, Sum)
    assert repr(KL(4) + 0.5 * as_signal(soft)) == "KL(temperature=4) + 0.5 * soft"


def test_many_students_learn_from_a_callable(data, teacher):
    pair = [wb.models.build("mlp", data, width=[8], seed=seed) for seed in (0, 1)]
    records = distill_many(teacher, pair, data, soft, **QUICK)
    torch.testing.assert_close(records[0].model(data.test.inputs), learned(data, teacher, KL(4)), rtol=1e-3, atol=1e-3)


def test_a_module_is_trained_with_the_student_and_stays_as_it_is(data, teacher):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1.0))

        def forward(self, student, teacher, labels):
            return (self.scale * student.logits - teacher.logits).square().mean(1)

    mine = Scaled()
    bound = as_signal(mine).bind(None, None, None, generator=torch.Generator())
    assert [tuple(parameter.shape) for parameter in bound.parameters()] == [()]
    free, fixed = (
        learned(data, teacher, mine, lr=0.1),
        learned(
            data, teacher, lambda s, t, y: mine(s, t, y).detach() * 0 + (s.logits - t.logits).square().mean(1), lr=0.1
        ),
    )
    assert mine.scale.item() == 1.0
    assert not torch.allclose(free, fixed)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("kl", r"signal is 'kl'; .*use KL\(temperature=4\)"),
        ("kd", r"use KL\(temperature=4\)"),
        ("DKD", r"use DKD\(…\)"),
        ("rubbish", r"signal is 'rubbish'; it must be a signal or a function"),
        (KL, r"signal is the class KL; pass one made of it: KL\(…\)"),
        (4, "signal is 4"),
    ],
)
def test_what_is_no_signal_is_refused(data, teacher, wrong, message):
    with pytest.raises(ValueError, match=message):
        distill(teacher, student(data), data, wrong, **QUICK)
    if not isinstance(wrong, int):
        with pytest.raises(ValueError, match=message):
            KL() + wrong


@pytest.mark.parametrize("weight", [math.nan, math.inf, "2", None, [1.0]])
def test_weights_are_finite_numbers(weight):
    for act in (lambda: weight * KL(), lambda: KL() * weight, lambda: KL() / weight):
        with pytest.raises(ValueError, match=r"(weight|divisor) is .*it must be a number"):
            act()
    with pytest.raises(ValueError, match="divisor is 0"):
        KL() / 0


def test_weights_of_labels_are_checked(data, teacher):
    for wrong in (math.nan, "1", -1):
        with pytest.raises(ValueError, match="labels_weight is"):
            distill(teacher, student(data), data, labels_weight=wrong, **QUICK)


@pytest.mark.parametrize("returned", [3.0, torch.zeros(2, 2), None])
def test_what_a_callable_returns_is_checked_before_anything_is_trained(data, teacher, returned):
    made = student(data)
    before = made(data.test.inputs)

    def mine(student, teacher, labels):
        return returned

    with pytest.raises(ValueError, match=r"mine returned .*a signal is a tensor \(n,\)"):
        distill(teacher, made, data, mine, **QUICK)
    assert torch.equal(made(data.test.inputs), before)


@pytest.mark.parametrize(
    ("name", "wrong"), [("teacher", "resnet"), ("teacher", 3), ("student", None), ("student", nn.Linear)]
)
def test_what_is_no_network_is_refused(data, teacher, name, wrong):
    given = {"teacher": teacher, "student": student(data)} | {name: wrong}
    with pytest.raises(ValueError, match=f"{name} is .*it must be a network"):
        distill(given["teacher"], given["student"], data, **QUICK)


def test_a_callable_may_say_that_it_needs_no_teacher(data):
    assert Custom(labels_only).needs_teacher
    with pytest.raises(ValueError, match="teacher is None, but labels_only needs one"):
        distill(None, student(data), data, labels_only, labels_weight=0, **QUICK)

    def alone(student, teacher, labels):
        assert teacher is None
        return labels_only(student, teacher, labels)

    alone.needs_teacher = False
    assert distill(None, student(data), data, alone, labels_weight=0, **QUICK).accuracy > 0


@pytest.mark.parametrize("fails", [False, True])
def test_a_teacher_is_left_as_it_was_found(data, fails):
    network = wb.models.build("convnet", data, width=4, norm="batch", seed=1)
    network.stage1.eval()
    network.stage1.conv.weight.requires_grad_(False)
    seen = []
    network.head.register_forward_hook(lambda *_: seen.append(1))
    state = {name: value.clone() for name, value in network.state_dict().items()}

    def found():
        return (
            [part.training for part in network.modules()],
            [parameter.requires_grad for parameter in network.parameters()],
            [len(part._forward_hooks) for part in network.modules()],
        )

    before = found()
    assert len(set(before[0])) == 2
    small = wb.models.build("convnet", data, width=4)
    signal = KL(4) + Hint("stage2", "stage2")
    if fails:
        with pytest.raises(ValueError, match="boom"):
            distill(network, small, data, signal + _boom, **QUICK)
    else:
        distill(network, small, data, signal, **QUICK)
        distill_many(network, [wb.models.build("convnet", data, width=4, seed=5)], data, signal, **QUICK)
    assert found() == before
    assert seen
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name])


def _boom(student, teacher, labels):
    raise ValueError("boom")


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("HintonKD", r"KL\(temperature=4\)"),
        ("KDLoss", r"KL\(temperature=4\)"),
        ("FitNet", "Hint"),
        ("ATLossWithHooks", "AttentionTransfer"),
        ("SPKDLoss", "SimilarityPreserving"),
        ("RKDLoss", "RKDDistance"),
        ("CRDLoss", r"CRD\(…\)"),
        ("DKDLoss", r"DKD\(…\)"),
        ("PKTLoss", r"PKT\(…\)"),
    ],
)
def test_other_libraries_names_lead_to_ours(name, use):
    for module in (wb.knowledge, wb.signals):
        with pytest.raises(AttributeError, match=f"has no '{name}': use .*{use}"):
            getattr(module, name)
    with pytest.raises(AttributeError, match="Nonsense"):
        wb.knowledge.Nonsense  # noqa: B018


@pytest.mark.parametrize(
    ("made", "argument", "wrong"),
    [
        (KL, "temperature", "4"),
        (KL, "temperature", math.inf),
        (wb.knowledge.PLD, "temperature", math.nan),
        (wb.knowledge.DIST, "beta", math.nan),
        (CrossEntropy, "smoothing", "0.1"),
        (wb.knowledge.Mutual, "temperature", 0),
        (wb.knowledge.Mutual, "weight", math.nan),
        (wb.knowledge.BDKD, "weight", "1"),
        (wb.knowledge.BalancedKL, "delta", None),
        (wb.knowledge.KDCL, "temperature", -1),
        (wb.knowledge.AugmentedKD, "labels_weight", "half"),
        (lambda **given: wb.knowledge.CRD("a", "b", **given), "temperature", "x"),
        (lambda **given: wb.knowledge.OwnTeacher("a", "b", **given), "alpha", 2),
    ],
)
def test_a_signals_numbers_are_checked_where_they_enter(made, argument, wrong):
    with pytest.raises(ValueError, match=f"{argument} is .*it must be"):
        made(**{argument: wrong})
