"""The probe is ridge regression on the mean frame; drift is 0 where nothing moved and has no unit."""

import pytest
import torch

import workbench as wb
from workbench.analysis.probes import ridge_probe
from workbench.perception import drift, probe
from workbench.perception.judging.probe import heard_by

FRONT = {"width": 16, "kernels": [20, 8], "strides": [10, 8]}


@pytest.fixture(scope="module")
def data():
    return wb.data.load("words", n_train=60, n_test=20, words=4, seconds=0.3)


@pytest.fixture
def encoder(data):
    return wb.models.build("speech", data, depth=1, **FRONT).double()


def test_the_head_is_the_ridge_classifier(encoder, data):
    before = {name: value.clone() for name, value in encoder.state_dict().items() if "head" not in name}
    train, test = data.train.to(dtype=torch.float64), data.test.to(dtype=torch.float64)
    assert probe(encoder, train) is encoder
    features = [heard_by(encoder, split.inputs).features["pool"] for split in (train, test)]
    _, scores, _ = ridge_probe(features[0], train.labels, features[1], 4)
    torch.testing.assert_close(heard_by(encoder, test.inputs).logits, scores)
    assert all(torch.equal(encoder.state_dict()[name], value) for name, value in before.items())


def test_drift(encoder, data):
    x = data.test.inputs.double()
    frames = heard_by(encoder, x).features["frames"]
    assert (drift(encoder, x, x)[frames] == 0).all()
    assert drift(encoder, x, x)[~frames].isnan().all()
    swapped = x.roll(1, 0)
    swapped[:, 700:] = x[:, 700:]
    z, moved = (heard_by(encoder, waves).features["context"] for waves in (x, swapped))
    spread = (z[frames] - z[frames].mean(0)).square().sum(1).mean().sqrt()
    torch.testing.assert_close(drift(encoder, x, swapped)[frames], ((moved - z).norm(dim=-1) / spread)[frames])
