"""The analysis of networks as people have them: recurrent, called twice, fed with tokens, in any units."""

import logging

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.models import LayerOutputError


@pytest.fixture(scope="module")
def data():
    return wb.data.load("digits").subset(60)


class Recurrent(nn.Module):
    def __init__(self, batch_first=True):
        super().__init__()
        self.rnn = nn.LSTM(8, 6, batch_first=batch_first)
        self.head = nn.Linear(6, 10)

    def forward(self, x):
        rows = x.reshape(-1, 8, 8)
        found, _ = self.rnn(rows if self.rnn.batch_first else rows.transpose(0, 1))
        return self.head(found[:, -1] if self.rnn.batch_first else found[-1])


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.r, self.head = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.r(self.r(x.flatten(1)).relu()))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.inner, self.head = nn.Embedding(50, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, ids):
        return self.head(self.inner(self.words(ids)).relu().mean(1))


def cka(a, b, data, **options):
    return wb.analysis.cka(a, b, data, progress=False, **options)


def test_of_a_recurrent_layer_the_first_thing_it_returns_is_compared(data):
    network = Recurrent()
    found = cka(network, network, data.test)
    assert found.layers_a == ("rnn:0", "head")
    assert found.values.diagonal().tolist() == pytest.approx([1, 1])
    by_hand = network.rnn(data.test.inputs.reshape(-1, 8, 8))[0].detach()
    again = cka(network, network, data.test, layers_a="rnn:0", layers_b="head")
    alone = wb.kernels.hsic.gram(by_hand)
    assert torch.isfinite(alone).all()
    assert again.values[0, 0] == pytest.approx(float(found.values[0, 1]))


def test_what_has_no_row_per_example_is_left_out_and_named(data, caplog):
    network = Recurrent(batch_first=False)
    with caplog.at_level(logging.WARNING, "workbench.analysis"):
        found = cka(network, network, data.test)
    assert found.layers_a == ("head",)
    assert "without rnn" in caplog.text
    with pytest.raises(LayerOutputError, match="first axis must be the examples"):
        cka(network, network, data.test, layers_a="rnn:0")


def test_a_layer_that_runs_twice_is_asked_for_by_run(data):
    network = Twice()
    found = cka(network, network, data.test, layers_a=["r#1", "r#2"], layers_b=["r#1", "r#2", "r"])
    assert found.layers_b == ("r#1", "r#2", "r")
    assert found.values[0, 0] == pytest.approx(1)
    assert found.values[1, 1] == pytest.approx(1)
    assert float(found.values[0, 1]) < 0.99
    assert torch.equal(found.values[:, 1], found.values[:, 2])  # without a run: the last
    with pytest.raises(LayerOutputError, match=r"'r#3' .* runs 2 times"):
        cka(network, network, data.test, layers_a="r#3")
    with pytest.raises(LayerOutputError, match="has no part 'logits'"):
        cka(network, network, data.test, layers_a="head:logits")


def test_other_measures_take_the_same_addresses(data):
    network = Recurrent()
    found = wb.analysis.similarity(
        network, network, data.test, measure="procrustes", layers_a="rnn:0", layers_b="rnn:0", progress=False
    )
    assert float(found.values[0, 0]) == pytest.approx(1, abs=1e-4)


def test_token_ids_go_in_as_they_are():
    ids = torch.randint(0, 50, (40, 7), generator=torch.Generator().manual_seed(0))
    network = Tokens()
    found = cka(network, network, ids)
    assert found.values.diagonal().tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("argument", ["layers_a", "layers_b"])
def test_no_layer_at_all_is_refused(data, argument):
    with pytest.raises(ValueError, match=f"{argument} is empty: name a layer"):
        cka(Twice(), Twice(), data.test, **{argument: []})


class Scaled(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.inner, self.head = nn.Linear(64, 16, bias=False), nn.Linear(16, 10)
        with torch.no_grad():
            self.inner.weight.copy_(factor * torch.randn(16, 64, generator=torch.Generator().manual_seed(1)))

    def forward(self, x):
        return self.head(self.inner(x.flatten(1)))


@pytest.mark.parametrize("factor", [1e20, 1e30, 1e-15, 1e-25, 1e-32])
def test_finite_features_of_any_size_are_compared(data, factor):
    inner = {"layers_a": "inner", "layers_b": "inner"}
    other = Twice()
    plain = cka(Scaled(1.0), other, data.test, layers_a="inner", layers_b="head", interval=True)
    found = cka(Scaled(factor), other, data.test, layers_a="inner", layers_b="head", interval=True)
    assert float(found.values[0, 0]) == pytest.approx(float(plain.values[0, 0]), rel=1e-4)
    torch.testing.assert_close(found.intervals, plain.intervals, rtol=1e-3, atol=1e-3)
    assert float(cka(Scaled(factor), Scaled(1.0), data.test, **inner).values[0, 0]) == pytest.approx(1, rel=1e-4)
    assert not found.masked


@pytest.mark.parametrize(("value", "word"), [(torch.inf, "infinite"), (torch.nan, "NaN")])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_what_is_not_finite_is_called_what_it_is(data, value, word, kernel):
    network = nn.Sequential(nn.Flatten(), Bad(value), nn.Linear(64, 10))
    found = cka(network, Twice(), data.test, layers_a="1", layers_b="head", kernel=kernel)
    assert bool(found.values.isnan().all())
    assert word in str(found.masked)


class Bad(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return torch.where(torch.arange(len(x))[:, None] == 3, self.value, x)
