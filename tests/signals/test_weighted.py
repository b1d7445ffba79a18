"""Weights of single examples: they follow their example wherever it is drawn, and a weight of 1 changes nothing."""

import pytest
import torch

import workbench as wb
from workbench.knowledge import KL, CrossEntropy, Hint, Weighted, distill


@pytest.fixture
def data():
    return wb.data.load("digits").subset(90)


def trained(data, signal, teacher=None, **options):
    student = wb.models.build("mlp", data, width=8)
    plain = {"steps": 6, "progress": False, "device": "cpu", "labels_weight": 0, "batch_size": 32}
    return distill(teacher, student, data, signal, **plain | options).state


def same(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


def test_weights_of_one_change_nothing(data):
    teacher = wb.models.build("mlp", data, seed=1)
    for signal in (KL(4), CrossEntropy(), Hint("hidden.0", "hidden.0")):
        weighted = Weighted(signal, torch.ones(90))
        assert same(trained(data, weighted, teacher), trained(data, signal, teacher))
    assert same(trained(data, Weighted(CrossEntropy(), torch.ones(90))), trained(data, CrossEntropy()))


def test_an_example_of_weight_nothing_teaches_nothing(data):
    weights = torch.ones(90)
    weights[[3, 40]] = 0
    labels = data.train.labels.clone()
    labels[[3, 40]] = (labels[[3, 40]] + 1) % 10
    other = wb.data.Split(data.train.inputs, labels, data.classes, data.mean, data.std)
    told = Weighted(CrossEntropy(), weights)
    assert same(trained(data.train, told), trained(other, told))
    assert not same(trained(data.train, CrossEntropy()), trained(other, CrossEntropy()))
    weights[3] = 1
    told = Weighted(CrossEntropy(), weights)
    assert not same(trained(data.train, told), trained(other, told))


def test_weights_multiply_and_sums_take_them(data):
    teacher = wb.models.build("mlp", data, seed=1)
    two = trained(data, Weighted(KL(4), torch.full((90,), 2.0)) + 0.5 * CrossEntropy(), teacher, steps=3)
    plain = trained(data, 2.0 * KL(4) + 0.5 * CrossEntropy(), teacher, steps=3)
    for name, value in two.items():
        torch.testing.assert_close(value, plain[name])


@pytest.mark.parametrize(
    ("weights", "message"),
    [([1.0, -1.0], "values from -1"), ([1.0, float("nan")], "must be finite"), ([[1.0]], r"shape \(1, 1\)")],
)
def test_bad_weights_are_named(weights, message):
    with pytest.raises(ValueError, match=message):
        Weighted(KL(4), torch.tensor(weights))


def test_what_does_not_fit_is_refused(data):
    teacher = wb.models.build("mlp", data, seed=1)
    with pytest.raises(ValueError, match="the number of weights is 3, but data has 90 training examples"):
        trained(data, Weighted(KL(4), torch.ones(3)), teacher)
    with pytest.raises(ValueError, match="one loss for the whole batch"):
        trained(data, Weighted(lambda s, t, labels: s.logits.mean(), torch.ones(90)), teacher)
    with pytest.raises(ValueError, match="one student at a time"):
        wb.knowledge.distill_many(
            teacher, [wb.models.build("mlp", data)], data, Weighted(KL(4), torch.ones(90)), steps=1
        )
