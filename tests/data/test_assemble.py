"""Your own arrays as a `Dataset`."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench.data import DataError, from_arrays


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(8, 20), st.just(1), st.integers(1, 5), st.integers(1, 5))),
    st.integers(0, 3),
)
def test_normalising_can_be_undone_whatever_the_pixels(pixels, seed):
    data = from_arrays(pixels, np.arange(len(pixels)) % 2, seed=seed)
    assert torch.isfinite(data.train.inputs).all()
    assert np.array_equal(data.train.images().numpy(), pixels[data.train.index])


def test_a_given_test_split_is_taken_as_it_is():
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1] * 3)
    data = from_arrays(x, y, test=(x[:2] + 1, y[:2]), name="mine")
    assert (data.name, len(data.train), len(data.test), data.classes) == ("mine", 6, 2, ("0", "1"))
    torch.testing.assert_close(data.test.inputs - data.train.inputs[:2], (1 / data.std).expand(2, 3))


def test_a_constant_feature_becomes_zero():
    x = torch.randn(8, 2)
    x[:, 1] = 5
    assert from_arrays(x, torch.arange(8) % 2).train.inputs[:, 1].abs().max() == 0


def test_same_seed_same_bits_and_the_global_state_is_untouched():
    x, y = torch.randn(20, 3), torch.arange(20) % 2
    before = torch.get_rng_state()
    a, b, c = from_arrays(x, y, seed=1), from_arrays(x, y, seed=1), from_arrays(x, y, seed=2)
    assert torch.equal(a.train.inputs, b.train.inputs)
    assert a.train.index.tolist() != c.train.index.tolist()
    assert torch.equal(before, torch.get_rng_state())


good_x, good_y = np.random.default_rng(0).normal(size=(8, 3)), np.arange(8) % 2
nan_x = good_x.copy()
nan_x[5, 2] = np.nan


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (nan_x, good_y, {}, r"row 5 has the input nan at position \(2,\)"),
        (good_x, good_y[:-1], {}, "8 inputs but 7 labels"),
        (good_x, good_y * 0, {}, "one class, '0'"),
        (good_x, good_y * 1.0 * 0 + 3, {}, "target is 3 in every training row"),
        (good_x, np.where(good_y == 1, np.inf, 0.5), {"seed": 1}, "has the target inf"),
        (good_x, good_y + 1, {"classes": ["a", "b"]}, r"row 1 has label 2; the 2 classes"),
        (good_x, good_y - 1, {}, "row 0 has label -1"),
        (good_x, good_y * 1.0, {"classes": ["a"]}, "which have no classes"),
        (good_x[0], good_y, {}, r"inputs have shape \(3,\)"),
        (good_x[:0], good_y[:0], {}, "inputs are empty"),
        (good_x.astype(str), good_y, {}, "inputs are of type <U"),
        (good_x, good_y.astype(str), {}, "labels are of type <U"),
        (good_x, good_y[:, None], {}, r"labels have shape \(8, 1\)"),
    ],
)
def test_unusable_arrays_are_refused_with_the_reason(x, y, options, message):
    with pytest.raises(DataError, match=message):
        from_arrays(x, y, **options)
