"""Agreement of predictions, and the Hessian's trace against what is known of it."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from workbench import models
from workbench.analysis import agreement_at_matched_accuracy, agreement_matrix, hessian_trace, trace_of
from workbench.data import Split


def predictions(seed, members, n=40, classes=4):
    return torch.randint(classes, (members, n), generator=torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 1000), classes=st.integers(1, 5))
def test_agreement_is_symmetric_and_bounded_by_accuracy(seed, classes):
    each = predictions(seed, 5, classes=classes)
    labels = predictions(seed + 1, 1, classes=classes)[0]
    same = agreement_matrix(each)
    assert torch.equal(same, same.T)
    assert torch.equal(same.diagonal(), torch.ones(5, dtype=torch.float64))
    accuracy = (each == labels).double().mean(1)
    assert (same >= (accuracy[:, None] + accuracy - 1).clamp_min(0) - 1e-12).all()


def test_matched_agreement_is_the_plain_definition():
    each, family, labels = predictions(0, 4), predictions(1, 30), predictions(2, 1)[0]
    within = 0.05
    found = agreement_at_matched_accuracy(each, family, labels, within=within)
    for i, one in enumerate(each):
        accuracy = (one == labels).double().mean()
        members = [f for f in family if abs((f == labels).double().mean() - accuracy) <= within + 1e-9]
        assert int(found.matches[i]) == len(members) > 0
        wanted = torch.stack([(f == one).double().mean() for f in members]).mean()
        wrong = one != labels
        torch.testing.assert_close(found.agreement[i], wanted)
        torch.testing.assert_close(
            found.when_wrong[i], torch.stack([(f == one)[wrong].double().mean() for f in members]).mean()
        )
    alone = agreement_at_matched_accuracy(labels[None], family, labels, within=0.0)
    assert bool(alone.agreement.isnan().all())
    assert alone.matches.tolist() == [0]
    with pytest.raises(ValueError, match="must be"):
        agreement_at_matched_accuracy(each, family[:, :3], labels)


def test_hutchinson_is_unbiased():
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(5, 5, generator=generator, dtype=torch.float64)

    def f(x):
        return torch.sin(A @ x).sum() + (x @ A @ x) ** 2

    at = torch.randn(5, generator=generator, dtype=torch.float64)
    H = torch.func.hessian(f)(at)
    exact, error = trace_of(f, at, probes=None)
    assert error == 0.0
    assert exact == pytest.approx(float(H.trace()))
    # The mean of vᵀHv over all 2⁵ sign vectors is the trace, to rounding.
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=5)), dtype=torch.float64)
    assert float(((signs @ H) * signs).sum(1).mean()) == pytest.approx(exact)
    # … and the estimator takes that form: each of its values is vᵀHv of a sign vector.
    values = {round(float(v), 9) for v in ((signs @ H) * signs).sum(1)}
    assert all(round(trace_of(f, at, probes=1, seed=seed)[0], 9) in values for seed in range(10))
    many, error = trace_of(f, at, probes=4000)
    assert abs(many - exact) < 4 * error


def test_softmax_regression_has_a_closed_form():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 1, 2, 3, generator=generator, dtype=torch.float64)
    zero = torch.zeros(1, 1, 1, dtype=torch.float64)
    split = Split(x, torch.arange(7) % 4, tuple("abcd"), zero, zero + 1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 4, bias=False)).double()
    p = network(x).softmax(1).detach()
    wanted = (x.flatten(1).square().sum(1) * (1 - p.square().sum(1))).mean()
    assert hessian_trace(network, split, probes=None)[0] == pytest.approx(float(wanted))
    soft = torch.full((7, 4), 0.25, dtype=torch.float64)  # the Hessian does not depend on the labels
    assert hessian_trace(network, split, soft=soft, probes=None)[0] == pytest.approx(float(wanted))


def test_trace_at_other_weights_and_without_side_effects():
    network = models.build("convnet", ((1, 8, 8), 3), width=4, depth=1, norm="batch", seed=0).double()
    other = models.build("convnet", ((1, 8, 8), 3), width=4, depth=1, norm="batch", seed=1).double()
    x = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    zero = torch.zeros(1, 1, 1, dtype=torch.float64)
    split = Split(x, torch.arange(5) % 3, tuple("abc"), zero, zero + 1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    there = hessian_trace(network, split, probes=3, state=other.state_dict())
    assert there == pytest.approx(hessian_trace(other, split, probes=3))
    assert there[0] != pytest.approx(hessian_trace(network, split, probes=3)[0])
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    with pytest.raises(ValueError, match="at least 1"):
        hessian_trace(network, split, probes=0)
