"""What the studies of matching methods measure, beside the methods themselves."""

import pytest
import torch

import workbench as wb
from workbench.condensation import Random
from workbench.studies.condensation.p036_ncfm import learned_frequencies, ring_and_blob
from workbench.studies.condensation.p040_datadam import attention_distance
from workbench.studies.condensation.p059_dream import errors_of
from workbench.studies.kit import distilling

SMALL = {"width": 8, "depth": 2}


@pytest.fixture(scope="module")
def data():
    return wb.data.load("digits").per_class(40)


def test_a_ring_and_a_blob_differ_in_shape_only():
    many = ring_and_blob(0, n=20_000, frequencies=64)
    assert many["means"] < 0.05
    assert many["functions"] > 5 * many["functions, null"]


def test_learned_frequencies_are_compared_with_random_ones_of_the_same_length(data):
    before = learned_frequencies(data, 0, options=SMALL, passes=0)
    after = learned_frequencies(data, 0, options=SMALL, passes=10)
    assert before["learned"] / before["random"] == pytest.approx(1, abs=0.35)
    assert after["learned"] > 1.5 * after["random"]


def test_attention_distance_is_zero_for_the_test_images_themselves(data):
    split = data.test
    made = wb.condensation.condense(data, Random(ipc=1)).replace(
        images=split.inputs.clone(), labels=split.labels.clone(), source=None
    )
    assert attention_distance({"set": made}, data, SMALL, networks=1)["set"] < 1e-10
    few = wb.condensation.condense(data, Random(ipc=1))
    assert attention_distance({"set": few}, data, SMALL, networks=1)["set"] > 1e-3


def test_error_of_a_batch_is_variance_and_bias(data):
    found = errors_of(data, 0, 0, draws=4)
    for one in found.values():
        assert one["error"] == pytest.approx(one["variance"] + one["bias"])
    assert found["representative"]["variance"] < found["random"]["variance"]


def test_sets_are_judged_by_the_same_networks_whatever_else_is_judged(data):
    sets = distilling.distil({"a": Random(ipc=1), "b": Random(ipc=2)}, data, [0, 1])
    assert set(sets) == {("a", 1, 0), ("a", 1, 1), ("b", 2, 0), ("b", 2, 1)}
    quick = distilling.Recipe(steps=20, optimizer="adam", lr=1e-2, points=1)
    together = distilling.judge(sets, data, network="mlp", options={"width": 16}, recipe=quick)
    alone = distilling.judge({("a", 1, 1): sets["a", 1, 1]}, data, network="mlp", options={"width": 16}, recipe=quick)
    assert alone["a", 1, 1] == pytest.approx(together["a", 1, 1], abs=0.02)
    assert distilling.paired(together, "a", "a", 1).mean == 0
    table = distilling.rows(together, sets, iteration=3)
    assert table[0] == {
        "method": "a",
        "ipc": 1,
        "seed": 0,
        "accuracy": together["a", 1, 0],
        "seconds": sets["a", 1, 0].provenance.wall_time,
        "iteration": 3,
    }
    assert list(distilling.first_of_each(sets)) == ["a, 1 per class", "b, 2 per class"]
    assert torch.equal(distilling.first_of_each(sets)["a, 1 per class"].images, sets["a", 1, 0].images)
