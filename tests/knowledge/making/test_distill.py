"""distill: weight 0 is plain training to the bit, many students equal one by one, the teacher stays as it is."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.knowledge import (
    KL,
    PLD,
    BornAgain,
    Committee,
    CrossEntropy,
    Hint,
    OwnTeacher,
    assistants,
    distill,
    distill_many,
    generations,
)
from workbench.knowledge.making.distill import bind, training_loss

QUICK = {"steps": 12, "lr": 1e-2, "progress": False, "device": "cpu"}


@pytest.fixture(scope="module")
def data():
    return wb.data.load("digits").subset(120)


def mlp(data, seed=0, width=8):
    return wb.models.build("mlp", data, width=[width], seed=seed)


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("signal", [KL(4), Hint("hidden.0", "hidden.0"), PLD(2)])
def test_weight_zero_is_plain_training_bit_for_bit(data, signal):
    plain, told = mlp(data), mlp(data)
    wb.training.fit(plain, data, **QUICK)
    distill(mlp(data, 1, 16), told, data, CrossEntropy() + 0.0 * signal, **QUICK)
    assert equal(plain, told)


def test_labels_are_added_unless_the_signal_is_a_loss_by_itself(data):
    terms = [(type(term.signal).__name__, term.weight) for term in training_loss(0.5 * KL(2)).terms]
    assert terms == [("CrossEntropy", 1.0), ("KL", 0.5)]
    assert training_loss(PLD()) == PLD()
    assert training_loss(0.1 * CrossEntropy() + 0.9 * KL(4)).terms[0].weight == 0.1
    assert training_loss(BornAgain(), labels_weight=1).terms[0].weight == 1
    assert training_loss() == training_loss(KL(4), labels_weight=1)
    with pytest.raises(ValueError, match="labels_weight is -1"):
        training_loss(KL(4), labels_weight=-1)


def test_the_teacher_is_left_alone_and_the_signals_parts_are_dropped(data):
    teacher = wb.models.build("convnet", data, width=6, norm="batch", seed=1)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = wb.models.build("convnet", data, width=3)
    names = set(student.state_dict())
    record = distill(teacher, student, data, Hint("stage2", "stage2"), **QUICK)
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert teacher.training  # as it was found
    assert set(record.state) == names
    assert record.model is student
    assert "Hint" in record.settings["loss"]


def test_a_teacher_in_training_mode_still_teaches_in_evaluation_mode(data):
    def taught(mode):
        teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Dropout(0.9))
        torch.nn.init.normal_(teacher[1].weight, generator=torch.Generator().manual_seed(0))
        torch.nn.init.zeros_(teacher[1].bias)
        student = mlp(data)
        distill(teacher.train(mode), student, data, **QUICK)
        return student

    assert equal(taught(mode=True), taught(mode=False))


def test_many_students_equal_one_by_one(data):
    signal = CrossEntropy() + 0.5 * KL(4) + 0.1 * Hint("hidden.0", "hidden.0")
    subsets = [data.subset(60, seed=seed).to(dtype=torch.float64) for seed in (3, 4)]
    teachers = [mlp(data, 10 + k, 16).double() for k in range(2)]

    def students():
        return [mlp(data, seed).double() for seed in (3, 4)]

    together = distill_many(teachers, students(), subsets, signal, seeds=[3, 4], **QUICK)
    for record, teacher, student, subset, seed in zip(together, teachers, students(), subsets, (3, 4), strict=True):
        alone = distill(teacher, student, subset, signal, seed=seed, **QUICK)
        for name, value in alone.state.items():
            torch.testing.assert_close(record.state[name], value, atol=1e-9, rtol=1e-9)


def test_copies_of_one_teacher_teach_as_the_one(data):
    teacher = mlp(data, 1, 16).double()
    exact = data.to(dtype=torch.float64)
    told = []
    for source in (teacher, Committee([teacher, teacher, teacher], temperature=4)):
        student = mlp(data).double()
        distill(source, student, exact, KL(4), labels_weight=0, **QUICK)
        told.append(student.state_dict())
    for name, value in told[0].items():
        torch.testing.assert_close(told[1][name], value, atol=1e-9, rtol=1e-9)


def test_a_committee_averages_soft_labels_at_its_temperature(data):
    members = [mlp(data, seed).double() for seed in range(3)]
    inputs = data.test.inputs[:5].double()
    committee = Committee(members, temperature=4)(inputs)
    expected = torch.stack([(member(inputs) / 4).softmax(1) for member in members]).mean(0)
    torch.testing.assert_close((committee / 4).softmax(1), expected)
    with pytest.raises(ValueError, match="at least one"):
        Committee([])


def test_a_cross_modal_teacher_sees_its_own_view_of_the_same_examples(data):
    blurred = replace(data, train=replace(data.train, inputs=torch.zeros_like(data.train.inputs)))
    teacher = mlp(data, 1, 16)
    sees_clean, sees_nothing = mlp(data), mlp(data)
    distill(teacher, sees_clean, blurred, KL(4), teacher_data=data, **QUICK)
    distill(teacher, sees_nothing, blurred, KL(4), **QUICK)
    assert not equal(sees_clean, sees_nothing)
    # a table of the teacher's answers by row gives the same student as showing it the clean images by hand
    answers = teacher(data.train.inputs).detach()
    by_hand = mlp(data)
    loss = bind(training_loss(KL(4)), teacher, by_hand, blurred)
    wb.training.fit(by_hand, blurred, loss=loss, guide=lambda _, rows: wb.models.Outputs(answers[rows]), **QUICK)
    for a, b in zip(by_hand.state_dict().values(), sees_clean.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)


def test_chains(data):
    family = generations(lambda seed: mlp(data, seed), data, count=2, **QUICK)
    assert [record.name for record in family] == ["generation 0", "generation 1", "generation 2"]
    assert family[1].settings["loss"] == "BornAgain()"
    assert len({record.settings["seed"] for record in family}) == 3
    chain = assistants(mlp(data, 1, 32), [mlp(data, 0, 16), mlp(data, 0, 8)], data, KL(4), **QUICK)
    assert [record.state["head.weight"].shape[1] for record in chain] == [16, 8]
    with pytest.raises(ValueError, match="count is -1"):
        generations(lambda seed: mlp(data, seed), data, count=-1)


def test_no_teacher_where_none_is_needed(data):
    student = wb.models.build("convnet", data, width=3)
    names = set(student.state_dict())
    record = distill(None, student, data, OwnTeacher("stage1", "stage2"), **QUICK)
    assert set(record.state) == names


def test_mistakes_are_named(data):
    student = mlp(data)
    with pytest.raises(ValueError, match="student is the teacher itself"):
        distill(student, student, data)
    with pytest.raises(ValueError, match=r"teacher is None, but .*KL.* needs one"):
        distill(None, student, data)
    with pytest.raises(ValueError, match="teacher scores 7 classes and student 10"):
        distill(wb.models.build("mlp", ((1, 8, 8), 7)), student, data)
    with pytest.raises(wb.models.LayerNameError, match=r"hidden\.0"):
        distill(mlp(data, 1), student, data, Hint("hidden.7", "hidden.0"))
    with pytest.raises(ValueError, match="teachers has 3 entries for 2 students"):
        distill_many([mlp(data)] * 3, [mlp(data), mlp(data, 1)], data)
    with pytest.raises(TypeError, match="bind it"):
        Hint("a", "b")(None, None, None)


def test_a_record_can_be_the_teacher_and_sums_keep_their_weights(data):
    record = wb.training.fit(mlp(data, 1), data, **QUICK)
    assert distill(record, mlp(data), data, **QUICK).accuracy >= 0
    total = 2 * (KL(4) + 0.5 * CrossEntropy())
    assert [term.weight for term in total.terms] == [2.0, 1.0]
