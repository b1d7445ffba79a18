"""What a torch user has becomes a split or a data set; what cannot work is refused by name."""

import numpy as np
import pytest
import torch
from torch.utils import data as torch_data

import workbench as wb
from workbench.data import DataError, Dataset, Split, as_dataset, as_split

X, Y = torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 4


class Items(torch_data.Dataset):
    """A map-style data set that is no tensor."""

    def __len__(self):
        return 12

    def __getitem__(self, row):
        return X[row], int(Y[row])


class Named(Items):
    def __getitem__(self, row):
        return {"image": X[row], "label": int(Y[row])}


class Stream(torch_data.IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


def as_loader():
    split = Split(X, Y, tuple("0123"), torch.zeros(3), torch.ones(3))
    return Dataset("d", split, split).loader(5)


SAME = {
    "tensors": lambda: (X, Y),
    "a list of tensors": lambda: [X, Y],
    "int32 labels": lambda: (X, Y.int()),
    "a column of labels": lambda: (X, Y[:, None]),
    "numpy": lambda: (X.numpy(), Y.numpy()),
    "big-endian": lambda: (X.numpy().astype(">f4"), Y.numpy().astype(">i2")),
    "lists": lambda: (X.tolist(), Y.tolist()),
    "a dict": lambda: {"x": X, "y": Y},
    "a dict of usual names": lambda: {"pixel_values": X, "labels": Y},
    "a tensor data set": lambda: torch_data.TensorDataset(X, Y),
    "a data set": Items,
    "a data set of dicts": Named,
    "a list of examples": lambda: list(zip(X, Y.tolist(), strict=True)),
    "a loader": lambda: torch_data.DataLoader(Items(), batch_size=5),
    "a shuffling loader": lambda: torch_data.DataLoader(Named(), batch_size=5, shuffle=True, drop_last=True),
    "a loader of tensors": lambda: torch_data.DataLoader(torch_data.TensorDataset(X, Y), batch_size=5, shuffle=True),
    "a loader without batches": lambda: torch_data.DataLoader(Items(), batch_size=None),
    "a subset of all": lambda: torch_data.Subset(Items(), range(12)),
    "our loader": as_loader,
}


@pytest.mark.parametrize("how", SAME)
def test_one_split_whatever_it_comes_as(how):
    before = torch.get_rng_state()
    split = as_dataset(SAME[how]())
    assert torch.equal(before, torch.get_rng_state())
    assert torch.allclose(split.inputs.float(), X)
    assert split.labels.tolist() == Y.tolist()
    assert split.classes == ("0", "1", "2", "3")


def test_a_loader_over_a_part_gives_that_part():
    loader = torch_data.DataLoader(Items(), sampler=torch_data.SubsetRandomSampler([7, 2, 3]))
    assert as_dataset(loader).labels.tolist() == [2, 3, 3]


def test_train_and_test_parts():
    for given in (
        ((X, Y), (X[:5], [*Y[:3].tolist(), 0, 1])),
        {"train": Items(), "validation": {"x": X[:5], "y": Y[:5]}},
    ):
        data = as_dataset(given)
        assert isinstance(data, Dataset)
        assert (len(data.train), len(data.test), len(data.classes)) == (12, 5, 4)
    data = as_dataset(((X[:3], Y[:3]), (X, Y)))
    assert data.train.classes == data.test.classes == ("0", "1", "2", "3")


def test_what_is_ours_stays_what_it_is():
    digits = wb.data.load("digits").subset(40)
    assert as_dataset(digits) is digits
    assert as_dataset(digits.train) is digits.train


def test_regression_and_token_ids():
    split = as_dataset((X, X[:, :1]))
    assert (split.task, split.labels.shape) == ("regression", (12,))
    tokens = as_dataset({"input_ids": torch.ones(12, 7).int(), "attention_mask": torch.ones(12, 7), "labels": Y})
    assert tokens.inputs.dtype == torch.int64
    assert tokens.to(dtype=torch.float64).inputs.dtype == torch.int64
    with pytest.raises(DataError, match=r"inputs are torch\.int32"):
        Split(torch.ones(12, 7).int(), Y, tuple("0123"), torch.zeros(()), torch.ones(()))


def test_inputs_without_labels():
    assert len(as_split(X, labelled=False)) == 12
    assert as_split((X, Y), labelled=False).classes == ("0", "1", "2", "3")
    with pytest.raises(DataError, match="data has inputs but no labels"):
        as_dataset(X)


REFUSED = {
    "data is 'digits', a name: pass wb.data.load": "digits",
    "data is None": None,
    "data is a int": 3,
    "data is a list; it can be": [1, 2, 3],
    "a Stream, a stream without a length": Stream(),
    "a DataLoader over a stream": torch_data.DataLoader(Stream()),
    "which decides what a step sees": torch_data.DataLoader(
        Items(), sampler=torch_data.WeightedRandomSampler(torch.ones(12), 12)
    ),
    "data has 12 inputs but 11 labels": (X, Y[:-1]),
    "pass y.argmax": (X, torch.nn.functional.one_hot(Y).float()),
    r"labels have shape \(12, 2\): one per example": (X, torch.stack([Y, Y], 1)),
    "row 3 has label -1; classes are numbered from 0": (X, torch.tensor([0, 1, 2, -1, *range(8)])),
    "row 11 has label 1000000000: number the classes": (X, torch.tensor([*range(11), 10**9])),
    "row 2 of the inputs holds a number that is not finite": (X.index_fill(0, torch.tensor(2), float("nan")), Y),
    "row 1 has a target that is not finite": (X, torch.tensor([0.0, float("inf"), *[0.0] * 10])),
    r"inputs are torch.uint8: pass x.float\(\) / 255": (torch.zeros(12, 1, 4, 4, dtype=torch.uint8), Y),
    "data is empty": (X[:0], Y[:0]),
    "is empty: there are no examples": [],
    r"inputs have shape \(12,\)": (X[:, 0], Y),
    "data has the keys 'pictures', 'labels'; one of inputs": {"pictures": X, "labels": Y},
    "has 'attention_mask' besides 'input_ids'": {
        "input_ids": X,
        "attention_mask": torch.tril(torch.ones(12, 3)),
        "y": Y,
    },
    "has 'weights' besides 'x'": {"x": X, "y": Y, "weights": Y},
    "an example of data has 3 parts": torch_data.TensorDataset(X, Y, Y),
    "lists of different lengths": ([[1.0, 2.0], [3.0]], [0, 1]),
    "numbers are needed": (np.array([["a"], ["b"]]), [0, 1]),
    r"data\[0\] holds a object, which makes no tensor: add a transform": [(object(), 0), (object(), 1), (object(), 1)],
    r"data\[2\] has shape \(4,\), those before it \(3,\)": [(X[0], 0), (X[1], 1), (torch.zeros(4), 1)],
}


@pytest.mark.parametrize("says", REFUSED)
def test_what_cannot_work_is_named(says):
    with pytest.raises((TypeError, DataError), match=says):
        as_dataset(REFUSED[says])


def test_a_table_is_sent_to_its_reader():
    with pytest.raises(TypeError, match=r"data is a table: read it with wb\.data\.table"):
        as_dataset(pytest.importorskip("pandas").DataFrame({"a": [1.0], "y": [0]}))


def test_a_dataset_is_two_splits():
    with pytest.raises(TypeError, match=r"split is a Dataset: pass one of its splits, split\.train or split\.test"):
        as_split(wb.data.load("digits"), "split")


def test_a_data_set_that_memory_cannot_hold_is_refused_at_its_first_example():
    class Large(Items):
        read = 0

        def __len__(self):
            return 10**9

        def __getitem__(self, row):
            self.read += 1
            return X[0], 0

    large = Large()
    with pytest.raises(DataError, match="1,000,000,000 examples of 12 bytes, 11 GiB in all"):
        as_dataset(large)
    assert large.read == 1
