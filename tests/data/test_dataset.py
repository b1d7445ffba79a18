"""`Split` and `Dataset`: what they hold, refuse and select."""

import numpy as np
import pytest
import torch

from workbench.data import DataError, Dataset, Split, from_arrays, load


@pytest.fixture(scope="module")
def data():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 2, 5, 4), dtype=np.uint8)
    return from_arrays(pixels[:, :1], np.arange(60) % 3, classes=["a", "b", "c"], test_fraction=0.2)


def split(rows, **changes):
    n = len(rows)
    fields = {
        "inputs": torch.zeros(n, 2),
        "labels": torch.tensor(rows),
        "classes": ("a", "b"),
        "mean": torch.zeros(2),
        "std": torch.ones(2),
    }
    return Split(**(fields | changes))


def test_training_inputs_have_mean_zero_and_deviation_one(data):
    assert data.train.inputs.mean().abs() < 1e-6
    assert (data.train.inputs.std(correction=0) - 1).abs() < 1e-6
    assert data.test.inputs.mean().abs() > 1e-4  # the test split has no part in the statistics
    assert torch.equal(data.mean, data.test.mean)


def test_images_give_back_the_pixels():
    pixels = np.random.default_rng(1).integers(0, 256, (40, 3, 6, 6), dtype=np.uint8)
    data = from_arrays(pixels, np.arange(40) % 2)
    assert np.array_equal(data.train.images().numpy(), pixels[data.train.index])
    assert np.array_equal(data.test.images().numpy(), pixels[data.test.index])


def test_images_of_a_table_are_refused():
    with pytest.raises(DataError, match="30 are no images"):
        load("breast_cancer").train.images()


def test_take_follows_indices_masks_and_slices(data):
    train = data.train
    rows = torch.tensor([5, 1, 1])
    taken = train.take(rows)
    assert torch.equal(taken.inputs, train.inputs[rows])
    assert torch.equal(taken.index, train.index[rows])
    assert torch.equal(train.take([5, 1, 1]).labels, taken.labels)
    assert len(train.take(train.labels == 2)) == int((train.labels == 2).sum())
    assert torch.equal(train.take(slice(3, 6)).inputs, train.inputs[3:6])
    assert len(train.take([])) == 0


def test_subsets_are_stratified_nested_and_leave_the_test_split_alone(data):
    small, large = data.subset(9, seed=4), data.subset(18, seed=4)
    assert small.train.counts.tolist() == [3, 3, 3]
    assert set(small.train.index.tolist()) < set(large.train.index.tolist())
    assert small.test is data.test
    assert torch.equal(small.mean, data.mean)
    assert small.train.index.tolist() == sorted(small.train.index.tolist())


def test_per_class_and_of_class(data):
    assert data.per_class(2, seed=1).train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.train.of_class("b").labels.unique().tolist() == [1]
    assert len(data.train.of_class(1)) == len(data.train.of_class("b"))
    with pytest.raises(DataError, match="none of the classes a, b, c"):
        data.train.of_class("d")
    with pytest.raises(DataError, match=r"c=3 must be in 0\.\.2"):
        data.train.of_class(3)


def test_batches_cover_every_example_once(data):
    plain = list(data.train.batches(7))
    assert torch.equal(torch.cat([x for x, _, _ in plain]), data.train.inputs)
    assert [len(x) for x, _, _ in plain][-1] == len(data.train) % 7
    shuffled = list(data.train.batches(7, torch.Generator().manual_seed(0)))
    rows = torch.cat([rows for _, _, rows in shuffled])
    assert rows.tolist() != sorted(rows.tolist())
    assert rows.sort().values.tolist() == list(range(len(data.train)))
    for x, y, r in shuffled:
        assert torch.equal(x, data.train.inputs[r])
        assert torch.equal(y, data.train.labels[r])
    assert all(len(x) == 7 for x, _, _ in data.train.batches(7, drop_last=True))


def test_a_loader_shuffles_anew_each_pass_and_repeats_with_its_seed(data):
    def passes(seed):
        loader = data.loader(10, seed)
        return [torch.cat([rows for _, _, rows in loader]).tolist() for _ in range(2)]

    first, second = passes(3)
    assert first != second
    assert passes(3) == [first, second]
    assert passes(4)[0] != first
    assert len(data.loader(10)) == len(list(data.loader(10)))


def test_to_changes_the_type_of_numbers_and_not_of_classes(data):
    double = data.to(dtype=torch.float64)
    assert double.train.inputs.dtype == torch.float64
    assert double.train.labels.dtype == torch.int64
    assert torch.equal(double.train.images(), data.train.images())
    assert load("diabetes").to(dtype=torch.float64).train.labels.dtype == torch.float64


def test_renormalise_keeps_the_pictures(data):
    other = data.renormalise(mean=[0.2], std=[0.5])
    assert torch.equal(other.test.images(), data.test.images())
    raw = data.test.images().float() / 255
    torch.testing.assert_close(other.test.inputs, (raw - 0.2) / 0.5)
    with pytest.raises(DataError, match="mean has 2 entries; the images have 1 channels"):
        data.renormalise([0, 0], [1])
    with pytest.raises(DataError, match="must be positive"):
        data.renormalise([0.0], [0.0])


def test_a_wrong_label_is_named_with_its_row():
    with pytest.raises(DataError, match=r"row 2 has label 7, outside 0\.\.1"):
        split([0, 1, 7])
    with pytest.raises(DataError, match="row 1 has label -1"):
        split([0, -1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": torch.zeros(3, 2)}, "inputs, labels and index differ in length"),
        ({"inputs": torch.zeros(2, 2, dtype=torch.int32)}, "floating point"),
        ({"labels": torch.zeros(2)}, "classes need int64"),
        ({"classes": ()}, "without classes"),
        ({"labels": torch.zeros(2, 1, dtype=torch.int64)}, r"shape \(n,\)"),
    ],
)
def test_a_split_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        split([0, 1], **changes)


def test_splits_of_different_kinds_make_no_dataset():
    with pytest.raises(DataError, match="train and test differ in shape"):
        Dataset("x", split([0, 1]), split([0, 1], inputs=torch.zeros(2, 3)))


def test_regression_targets_are_standardised_and_have_no_classes():
    data = load("diabetes")
    y = data.train.labels
    assert data.task == "regression"
    assert y.mean().abs() < 1e-5
    assert (y.std(correction=0) - 1).abs() < 1e-5
    raw = y * data.train.target_std + data.train.target_mean
    assert raw.min() >= 24.9
    assert "mean" in data.summary()
    with pytest.raises(DataError, match="per_class needs classes"):
        data.per_class(3)
    assert len(data.subset(50).train) == 50


@pytest.mark.parametrize("n", [0, 10_000])
def test_a_subset_must_fit(data, n):
    with pytest.raises(DataError, match=f"n={n} must be in 1"):
        data.subset(n)
