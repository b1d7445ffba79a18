"""Label spaces over the same examples: every example keeps its place and gets its class's group."""

import pytest
import torch

import workbench as wb
from workbench.data import DataError, joined, label_spaces, relabelled, unlabelled


@pytest.fixture(scope="module")
def digits():
    return wb.data.load("digits")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("parity", lambda d: "odd" if d % 2 else "even"),
        ("at least 5", lambda d: "5 or more" if d >= 5 else "below 5"),
        ("has a loop", lambda d: "loop" if d in (0, 6, 8, 9) else "none"),
        ("rest of three", lambda d: f"3 k + {d % 3}"),
    ],
)
def test_each_digit_is_what_a_person_would_say(digits, name, says):
    space = label_spaces(digits)[name]
    for split, own in ((space.train, digits.train), (space.test, digits.test)):
        assert split.inputs is own.inputs
        told = [split.classes[label] for label in split.labels.tolist()]
        assert told == [says(digit) for digit in own.labels.tolist()]


def test_examples_without_a_label_stay_without(digits):
    both = joined(digits.train.take(slice(0, 5)), unlabelled(digits.train.take(slice(5, 9))))
    parity = relabelled(both, ["even", "odd"] * 5)
    assert torch.equal(parity.labelled, both.labelled)
    assert torch.equal(parity.labels[:5], both.labels[:5] % 2)


def test_other_data_have_theirs_and_two_classes_none():
    wine = wb.data.load("wine")
    assert {name: len(space.classes) for name, space in label_spaces(wine).items()} == {"parity": 2, "upper half": 2}
    assert label_spaces(wb.data.load("breast_cancer")) == {}
    with pytest.raises(DataError, match="groups has 2 names for 3 classes"):
        relabelled(wine, ["a", "b"])
