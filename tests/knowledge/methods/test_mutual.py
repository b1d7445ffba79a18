"""Mutual learning: nothing to say among equals, no gradient to the teaching side, records of each network."""

import pytest
import torch

import workbench as wb
from workbench.knowledge import CrossEntropy, Mutual, Peers, distill_many, train_together
from workbench.models import Outputs, observe

QUICK = {"steps": 12, "lr": 1e-2, "progress": False, "device": "cpu"}


@pytest.fixture(scope="module")
def data():
    return wb.data.load("digits").subset(120)


def mlp(data, seed=0, width=8):
    return wb.models.build("mlp", data, width=[width], seed=seed)


def draw(seed):
    return torch.randn(4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def among(*logits):
    return Outputs(logits[0], {f"networks.{k}": z for k, z in enumerate(logits)})


LABELS = torch.tensor([0, 1, 2, 3])


def test_equal_networks_leave_their_cross_entropies():
    z = draw(0)
    hard = CrossEntropy()(Outputs(z), None, LABELS)
    torch.testing.assert_close(Mutual()(among(z, z, z), None, LABELS), 3 * hard)
    assert (Mutual(weight=0)(among(z, draw(1)), None, LABELS) > 0).all()


@pytest.mark.parametrize("T", [1.0, 3.0])
def test_each_learns_from_the_other_as_from_a_fixed_teacher(T):
    a, b = (draw(seed).requires_grad_() for seed in range(2))
    Mutual(temperature=T)(among(a, b), None, LABELS).sum().backward()
    for own, other in ((a, b), (b, a)):
        with torch.no_grad():
            hard = own.softmax(1) - torch.nn.functional.one_hot(LABELS, 5)
            soft = T * ((own / T).softmax(1) - (other / T).softmax(1))
        torch.testing.assert_close(own.grad, hard + soft)


def test_without_the_divergence_each_trains_as_if_alone(data):
    pair, alone = [mlp(data, 1), mlp(data, 2)], [mlp(data, 1), mlp(data, 2)]
    train_together(pair, data, Mutual(weight=0), **QUICK)
    for network, twin in zip(pair, alone, strict=True):
        wb.training.fit(twin, data, **QUICK)
        for a, b in zip(network.state_dict().values(), twin.state_dict().values(), strict=True):
            assert torch.equal(a, b)


def test_each_network_gets_a_record_of_its_own(data):
    records = train_together([mlp(data, 1), mlp(data, 2, 16)], data, snapshots=1, **QUICK)
    assert [record.name for record in records] == ["peer 0", "peer 1"]
    for record in records:
        scores = wb.training.evaluate(record.model, data.test)
        assert record.accuracy == pytest.approx(scores["accuracy"])
        assert record.calibration.ece == pytest.approx(scores["ece"], abs=1e-6)
        assert record.per_class_accuracy.shape == (record.epochs, 10)
        assert record.snapshot_epochs[0] == 0
        again = record.model_at(record.snapshot_epochs[-1])
        assert all(torch.equal(record.state[name], value) for name, value in again.state_dict().items())
    assert records[0].state["hidden.0.0.weight"].shape != records[1].state["hidden.0.0.weight"].shape


def test_many_pairs_at_once(data):
    pairs = [Peers([mlp(data, seed), mlp(data, seed + 50)]) for seed in range(2)]
    together = distill_many(None, pairs, data, Mutual(), seeds=[0, 1], **QUICK)
    alone = [mlp(data, 0), mlp(data, 50)]
    train_together(alone, data, **QUICK)
    for k in range(2):
        for name, value in alone[k].state_dict().items():
            torch.testing.assert_close(together[0].state[f"networks.{k}.{name}"], value, atol=1e-5, rtol=1e-4)


def test_peers_show_all_logits(data):
    peers = Peers([mlp(data, 1), mlp(data, 2)])
    seen = observe(peers, "networks.*")(data.test.inputs[:3])
    assert torch.equal(seen.logits, seen.features["networks.0"])
    assert not torch.equal(seen.features["networks.0"], seen.features["networks.1"])
    assert peers.first() is peers.networks[0]
    with pytest.raises(ValueError, match="at least two"):
        Peers([mlp(data)])
