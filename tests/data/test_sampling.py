"""Seeded choices of rows."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from workbench.data.sampling import DataError, rows_per_class, split_rows, stratified_order

labels_of = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(torch.tensor)
seeds = st.integers(0, 5)


@given(labels_of, seeds)
def test_the_order_is_a_permutation_that_depends_on_the_seed_alone(labels, seed):
    before = torch.get_rng_state()
    order = stratified_order(labels, seed)
    assert order.sort().values.tolist() == list(range(len(labels)))
    assert torch.equal(order, stratified_order(labels, seed))
    assert torch.equal(before, torch.get_rng_state())


@given(labels_of, seeds, st.data())
def test_no_class_is_more_than_one_row_above_its_share_of_a_prefix(labels, seed, data):
    n = data.draw(st.integers(1, len(labels)))
    taken = torch.bincount(labels[stratified_order(labels, seed)[:n]], minlength=5)
    share = torch.bincount(labels, minlength=5) * n / len(labels)
    assert bool((taken < share + 1).all())


@given(labels_of, seeds)
def test_the_first_rows_show_every_class(labels, seed):
    present = labels.unique()
    assert torch.equal(labels[stratified_order(labels, seed)[: len(present)]].sort().values, present)


def test_balanced_classes_stay_balanced_at_every_size():
    labels = torch.arange(200) % 10
    order = stratified_order(labels, 3)
    for n in range(1, 200):
        counts = torch.bincount(labels[order[:n]], minlength=10)
        assert int(counts.max() - counts.min()) <= 1


def test_different_seeds_give_different_orders():
    labels = torch.arange(60) % 3
    assert not torch.equal(stratified_order(labels, 0), stratified_order(labels, 1))


@given(st.lists(st.integers(2, 30), min_size=2, max_size=5), st.floats(0.1, 0.9), seeds)
def test_a_split_is_a_partition_with_every_class_on_both_sides(sizes, fraction, seed):
    labels = torch.cat([torch.full((size,), c) for c, size in enumerate(sizes)])
    n = len(labels)
    held_out = round(n * fraction)
    assume(0 < held_out < n)
    train, test = split_rows(labels, n, fraction, seed)
    assert sorted(train.tolist() + test.tolist()) == list(range(n))
    assert labels[train].unique().tolist() == labels[test].unique().tolist() == list(range(len(sizes)))
    if len(sizes) <= held_out <= n - len(sizes):
        assert len(test) == held_out


@given(st.lists(st.integers(20, 60), min_size=2, max_size=5), seeds)
def test_a_split_is_proportional_to_within_a_row(sizes, seed):
    labels = torch.cat([torch.full((size,), c) for c, size in enumerate(sizes)])
    _, test = split_rows(labels, len(labels), 0.25, seed)
    counts = torch.bincount(labels[test], minlength=len(sizes))
    assert bool(((counts - torch.tensor(sizes) * 0.25).abs() <= 1.01).all())


def test_a_split_without_classes_is_a_partition():
    train, test = split_rows(None, 10, 0.3, 0)
    assert len(test) == 3
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(10))


def test_a_lonely_class_is_named():
    with pytest.raises(DataError, match="class 'cat' has one example"):
        split_rows(torch.tensor([0, 0, 0, 1]), 4, 0.5, 0, ["dog", "cat"])


@pytest.mark.parametrize(
    ("fraction", "message"),
    [(0.0, "between 0 and 1"), (1.5, "between"), (0.01, "no test rows"), (0.99, "no training rows")],
)
def test_a_fraction_that_leaves_a_side_empty_is_refused(fraction, message):
    with pytest.raises(DataError, match=message):
        split_rows(torch.tensor([0, 1] * 5), 10, fraction, 0)


def test_rows_per_class_are_grouped_and_nested():
    labels = torch.arange(30) % 3
    two, four = (rows_per_class(labels, "abc", k, seed=1) for k in (2, 4))
    assert labels[two].tolist() == [0, 0, 1, 1, 2, 2]
    assert set(two.tolist()) <= set(four.tolist())
    with pytest.raises(DataError, match="class 'a' has 10"):
        rows_per_class(labels, "abc", 11, seed=1)
