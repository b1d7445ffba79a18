"""The bundled digits, alone and in pairs."""

import pytest
import torch
from sklearn.datasets import load_digits

from workbench.data import DataError, load


def test_digits_are_all_of_scikit_learns_split_once():
    data = load("digits")
    bunch = load_digits()
    assert (len(data.train), len(data.test), data.shape, data.classes) == (1200, 597, (1, 8, 8), tuple("0123456789"))
    assert sorted([*data.train.index.tolist(), *data.test.index.tolist()]) == list(range(1797))
    assert data.train.labels.tolist() == bunch.target[data.train.index].tolist()
    expected = torch.from_numpy(bunch.images[data.test.index]) / 16 * 255
    assert (data.test.images()[:, 0] - expected).abs().max() <= 0.5
    shares = data.test.counts / (data.test.counts + data.train.counts)
    assert (shares - 597 / 1797).abs().max() < 0.01


def test_the_seed_decides_the_split():
    assert torch.equal(load("digits", seed=1).train.inputs, load("digits", seed=1).train.inputs)
    assert not torch.equal(load("digits", seed=1).train.index, load("digits", seed=2).train.index)


def test_pairs_show_the_two_digits_of_their_class_and_no_digit_crosses():
    digits, pairs = load("digits", seed=3), load("digit-pairs", seed=3, n_train=500, n_test=200)
    assert pairs.shape == (1, 8, 16)
    assert len(pairs.classes) == 100
    labels = torch.cat([digits.train.labels, digits.test.labels])[
        torch.cat([digits.train.index, digits.test.index]).argsort()
    ]
    images = torch.cat([digits.train.images(), digits.test.images()])[
        torch.cat([digits.train.index, digits.test.index]).argsort()
    ]
    halves = {}
    for name, pair, single in (("train", pairs.train, digits.train), ("test", pairs.test, digits.test)):
        left, right = pair.index // 1797, pair.index % 1797
        halves[name] = set(left.tolist()) | set(right.tolist())
        assert halves[name] <= set(single.index.tolist())
        assert torch.equal(labels[left] * 10 + labels[right], pair.labels)
        assert torch.equal(pair.images(), torch.cat([images[left], images[right]], -1))
        assert int(pair.counts.max() - pair.counts.min()) <= 1
    assert not halves["train"] & halves["test"]


def test_pairs_of_chosen_digits():
    data = load("digit-pairs", tens=range(1, 5), ones=range(6), n_train=48, n_test=24)
    assert len(data.classes) == 24
    assert data.classes[:7] == ("10", "11", "12", "13", "14", "15", "20")
    assert data.train.counts.tolist() == [2] * 24


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_test": 50}, "n_test=50 must be at least 100"),
        ({"tens": [10]}, r"tens=\(10,\) must be different digits"),
        ({"ones": [1, 1]}, "ones="),
        ({"ones": []}, "ones="),
    ],
)
def test_impossible_pairs_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        load("digit-pairs", **options)
