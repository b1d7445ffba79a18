"""Pools draw what seed, purpose and position say, and interpolation runs from one end to the other."""

import pytest
import torch
from torch import nn

from workbench.condensation import Fresh, Interpolated, NetworkPool, Run, Trained, pretrain
from workbench.condensation.making.networks import embedding, in_parts, initial_state, interpolate
from workbench.models import build, observe


@pytest.fixture(scope="module")
def records(tiny):
    return pretrain(tiny.train, "convnet", networks=3, epochs=2, seed=5, options={"width": 4, "depth": 1})


@pytest.fixture
def run(tiny):
    return Run(tiny.train, seed=0, device=torch.device("cpu"))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("kind", [Fresh, Trained, Interpolated])
def test_a_draw_is_set_by_seed_purpose_and_position(kind, run, records):
    pool = Fresh("convnet", {"width": 4, "depth": 1}) if kind is Fresh else kind(records)
    assert isinstance(pool, NetworkPool)
    seen = [pool.draw(run, at=at) for at in range(12)]
    assert same(seen[3], pool.draw(run, at=3))
    assert not all(same(seen[0], other) for other in seen[1:])
    run.iteration = 3
    assert same(seen[3], pool.draw(run))
    assert seen[0].training
    assert not any(p.requires_grad for p in seen[0].parameters())
    assert next(seen[0].parameters()).dtype == torch.float64


def test_pretrained_networks_keep_the_weights_they_began_with(tiny, records):
    for seed, record in enumerate(records, 5):
        began = build("convnet", tiny, seed=seed, width=4, depth=1).state_dict()
        for name, value in initial_state(record).items():
            torch.testing.assert_close(value, began[name].to(value))


def test_trained_takes_every_network_and_the_one_it_says(run, records):
    pool = Trained(records)
    taken = {next(k for k, r in enumerate(records) if r is pool.pick(run, at=at)) for at in range(30)}
    assert taken == {0, 1, 2}
    for at in range(5):
        drawn = pool.draw(run, at=at).state_dict()
        for name, value in pool.pick(run, at=at).state.items():
            torch.testing.assert_close(drawn[name], value.to(drawn[name]))


def test_interpolation_ends_at_both_ends_and_is_a_line_between(run, records):
    initial, trained = initial_state(records[0]), records[0].state
    for weight, end in ((0.0, trained), (1.0, initial)):
        for name, value in interpolate(initial, trained, weight).items():
            torch.testing.assert_close(value, end[name], rtol=0, atol=0)
    pool = Interpolated(records)
    weights = []
    for at in range(40):
        record, drawn = pool.pick(run, at=at), pool.draw(run, at=at).state_dict()
        a, b, x = (state["head.weight"].double() for state in (initial_state(record), record.state, drawn))
        weight = ((x - b) * (a - b)).sum() / (a - b).square().sum()
        torch.testing.assert_close(x, weight * a + (1 - weight) * b, rtol=1e-5, atol=1e-6)
        weights.append(float(weight))
    assert 0 <= min(weights) < 0.15
    assert 0.85 < max(weights) <= 1


def test_refusals(records):
    with pytest.raises(ValueError, match="at least one trained network"):
        Trained([])
    with pytest.raises(ValueError, match="no snapshot from before training"):
        Interpolated([records[0].replace(snapshot_epochs=(), snapshots={})])
    with pytest.raises(ValueError, match="penultimate"):
        embedding(nn.Linear(2, 2))


def test_embedding_is_what_the_last_layer_sees(tiny):
    network = build("convnet", tiny, width=4, depth=1).double()
    x = tiny.train.inputs[:3]
    features = embedding(network)(x)
    torch.testing.assert_close(features, observe(network, "flatten")(x).features["flatten"])
    torch.testing.assert_close(network.head(features), network(x))


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_embedding_in_parts_is_the_same_and_batch_norm_sees_the_whole_batch(norm):
    network = build("convnet", ((1, 64, 64), 3), width=2, depth=1, norm=norm).double()
    x = torch.randn(11, 1, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert len(in_parts(network, x)) == (2 if norm == "instance" else 1)
    torch.testing.assert_close(embedding(network)(x), observe(network, "flatten")(x).features["flatten"])
