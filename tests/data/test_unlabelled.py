"""A pool beside a labelled split: no label survives, labels count nothing where there is none, the rest is as ever."""

import pytest
import torch

import workbench as wb
from workbench.data import UNLABELLED, DataError, Split, beside, joined, unlabelled
from workbench.knowledge import KL, CrossEntropy, distill
from workbench.models import Outputs


@pytest.fixture
def data():
    return wb.data.load("digits").subset(100)


def same(a, b):
    return all(torch.equal(x, b.model.state_dict()[name]) for name, x in a.model.state_dict().items())


def test_no_label_survives_and_the_examples_stay(data):
    pool = unlabelled(data.train)
    assert (pool.labels == UNLABELLED).all()
    assert torch.equal(pool.inputs, data.train.inputs)
    assert (pool.classes, pool.shape) == (data.classes, data.shape)
    assert not pool.labelled.any()
    assert pool.counts.tolist() == [0] * 10
    assert torch.equal(pool.take([3, 5]).index, data.train.index[[3, 5]])


def test_a_pool_is_normalised_as_the_data_beside_it(data):
    other = data.renormalise(mean=[0.1], std=[2.0])
    pool = unlabelled(other, like=data)
    torch.testing.assert_close(pool.inputs, data.train.inputs)
    assert torch.equal(pool.mean, data.mean)
    bare = unlabelled(data.train.inputs[:7], like=data)
    assert torch.equal(bare.inputs, data.train.inputs[:7])


def test_joined_splits_keep_their_order_labels_and_sources(data):
    labelled, pool = data.train.take(slice(0, 20)), unlabelled(data.train.take(slice(20, 50)))
    both = joined(labelled, pool)
    assert torch.equal(both.inputs, data.train.inputs[:50])
    assert torch.equal(both.labels[:20], labelled.labels)
    assert torch.equal(both.labelled, torch.arange(50) < 20)
    assert torch.equal(both.counts, labelled.counts)
    assert torch.equal(both.index, data.train.index[:50])
    assert set(both.subset(25).labels[both.subset(25).labelled].tolist()) <= set(range(10))


def test_labels_count_nothing_where_there_is_none(data):
    logits = torch.randn(4, 10, dtype=torch.float64)
    labels = torch.tensor([3, UNLABELLED, 5, UNLABELLED])
    for signal in (CrossEntropy(), CrossEntropy(smoothing=0.1)):
        told = signal(Outputs(logits), None, labels)
        assert told[[1, 3]].tolist() == [0, 0]
        torch.testing.assert_close(told[[0, 2]], signal(Outputs(logits[[0, 2]]), None, labels[[0, 2]]))


def test_training_on_a_pool_uses_the_teacher_alone(data):
    teacher = wb.models.build("mlp", data, seed=1)
    told = 0.5 * CrossEntropy() + KL(4)
    options = {"steps": 6, "progress": False, "device": "cpu", "batch_size": 30}

    def student():
        return wb.models.build("mlp", data, width=8)

    pool = distill(teacher, student(), unlabelled(data.train), told, **options)
    labelled = distill(teacher, student(), data.train, KL(4), labels_weight=0, **options)
    assert same(pool, labelled)
    assert torch.isnan(pool.curves["train_accuracy"]).all()
    assert labelled.curves["train_accuracy"].isfinite().all()
    mixed = joined(data.train.take(slice(0, 50)), unlabelled(data.train.take(slice(50, 100))))
    one = distill(teacher, student(), mixed, told, seed=3, **options)
    (many,) = wb.knowledge.distill_many(teacher, [student()], mixed, told, seeds=[3], **options)
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(many.model.state_dict()[name], value, atol=1e-5, rtol=1e-4)
    assert torch.equal(many.curves["train_accuracy"].isnan(), one.curves["train_accuracy"].isnan())
    assert not same(one, labelled)


def test_what_cannot_stand_side_by_side_is_refused(data):
    with pytest.raises(DataError, match=r"data has examples of shape \(3,\); those of like have \(1, 8, 8\)"):
        unlabelled(torch.randn(5, 3), like=data)
    with pytest.raises(DataError, match="like has no classes"):
        unlabelled(wb.data.load("diabetes"))
    with pytest.raises(DataError, match="differ in normalisation"):
        joined(data.train, unlabelled(data.renormalise(mean=[0.0], std=[1.0])))
    with pytest.raises(DataError, match="row 1 has label -1, outside"):
        Split(data.train.inputs[:2], torch.tensor([UNLABELLED, -1]), data.classes, data.mean, data.std)
    with pytest.raises(DataError, match="differ in classes"):
        joined(data.train, Split(data.train.inputs[:1], torch.tensor([0]), ("a",), data.mean, data.std))


def test_a_labelled_example_stands_beside_each_of_the_pool(data):
    few, pool = data.train.take(slice(0, 7)), data.train.take(slice(7, 40))
    pairs = beside(few, unlabelled(pool), seed=3)
    assert pairs.shape == (2, *data.shape)
    assert torch.equal(pairs.inputs[:, 1], pool.inputs)
    counts = torch.bincount(torch.stack([(few.index == one).nonzero()[0, 0] for one in pairs.index]), minlength=7)
    assert int(counts.min()) >= 4
    assert int(counts.max()) <= 5
    for row in range(33):
        own = int((few.index == pairs.index[row]).nonzero())
        assert torch.equal(pairs.inputs[row, 0], few.inputs[own])
        assert pairs.labels[row] == few.labels[own]
    assert torch.equal(beside(few, pool, seed=3).labels, pairs.labels)  # labels of the pool count for nothing
    assert not torch.equal(beside(few, pool, seed=4).labels, pairs.labels)
    with pytest.raises(DataError, match="labelled has examples without a label"):
        beside(unlabelled(few), pool)
