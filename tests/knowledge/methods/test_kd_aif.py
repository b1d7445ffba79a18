"""KD-AIF (paper 062) in float64: the loss, the weights and their sign, and the rounds."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.analysis.influence import Inverse, influences
from workbench.knowledge import KDAIF, KL, distill, influence_weights
from workbench.knowledge.methods.kd_aif import soft_loss
from workbench.models import Outputs
from workbench.training.evaluating import logits_of


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_loss_is_kl_at_a_temperature_without_its_square():
    s, t = normal(9, 5), 3 * normal(9, 5, seed=1)
    torch.testing.assert_close(soft_loss(s, t, 7.0), KL(7)(Outputs(s), Outputs(t), None) / 49)
    hard = torch.tensor([[0.0, -torch.inf, -torch.inf, -torch.inf, -torch.inf]]).double()
    torch.testing.assert_close(soft_loss(s[:1], hard, 1.0), -s[:1].log_softmax(1)[:, 0])


@pytest.mark.parametrize("form", ["exp", "sigmoid"])
def test_what_helps_weighs_more(form):
    harm = normal(40)
    w = influence_weights(harm, form)
    torch.testing.assert_close(w.mean(), torch.tensor(1.0).double())
    assert (w > 0).all()
    order = harm.argsort()  # most helpful, most negative, first
    assert (w[order].diff() < 0).all()
    assert torch.equal(influence_weights(torch.full((5,), 0.3), form), torch.ones(5))


def test_the_exponential_form_does_not_see_scale_and_shift():
    harm = normal(40)
    w = influence_weights(harm, "exp")
    torch.testing.assert_close(influence_weights(5 * harm + 3, "exp"), w)
    torch.testing.assert_close(w.max() / w.min(), torch.tensor(2.0).double().exp())


def test_the_sigmoid_form_by_hand():
    harm = torch.tensor([-2.0, 1.0, 0.5, 4.0, -1.0]).double()
    w = 2 / (1 + (harm / (1.4826 * 1.0)).exp())
    torch.testing.assert_close(influence_weights(harm, "sigmoid"), w / w.mean())
    torch.testing.assert_close(influence_weights(7 * harm, "sigmoid"), w / w.mean())


def test_a_weighted_step_helps_no_less_than_a_plain_one():
    """Chebyshev: with H = 1, weights of mean one that rise with a = −harm never lower the mean of w a."""
    for seed in range(20):
        harm = normal(30, seed=seed)
        for form in ("exp", "sigmoid"):
            assert (influence_weights(harm, form) * -harm).mean() >= (-harm).mean() - 1e-12


@pytest.fixture(scope="module")
def problem():
    digits = wb.data.load("digits")
    train, trusted = digits.train.take(slice(0, 120)), digits.train.take(slice(120, 180))
    return wb.models.build("mlp", digits, seed=1), train, trusted


def student(width=8, seed=2):
    return wb.models.build("mlp", ((1, 8, 8), 10), width=width, depth=1, seed=seed)


QUICK = {"steps": 5, "progress": False, "device": "cpu"}


def test_each_round_begins_anew_with_the_weights_of_the_last(problem):
    teacher, train, trusted = problem
    method = KDAIF(rounds=2, inverse=Inverse(solver="cg", curvature="gauss-newton", damping=0.1))
    found = method(teacher, student(), train, trusted, seed=4, **QUICK)
    assert [len(part) for part in (found.records, found.weights, found.influences)] == [3, 3, 2]
    assert torch.equal(found.weights[0], torch.ones(120))
    for k in (1, 2):
        assert torch.equal(found.weights[k], influence_weights(found.influences[k - 1]))
    for w, record in zip(found.weights, found.records, strict=True):
        told = wb.knowledge.Weighted(KL(7) / 49, w)
        by_hand = distill(teacher, student(), train, told, labels_weight=0, seed=4, **QUICK)
        assert all(torch.equal(value, record.state[name]) for name, value in by_hand.state.items())
    before = student()
    before.load_state_dict(found.records[0].state)
    harm = method.influences(teacher, before, train, trusted, torch.ones(120))
    torch.testing.assert_close(harm, found.influences[0])
    before.load_state_dict(found.records[1].state)
    second = method.influences(teacher, before, train, trusted, found.weights[1])
    torch.testing.assert_close(second, found.influences[1])
    plain_curvature = method.influences(teacher, before, train, trusted)
    assert (plain_curvature - second).abs().max() > 1e-3 * second.abs().max()
    before.load_state_dict(found.records[0].state)
    by_hand = influences(
        before,
        lambda s, t: soft_loss(s, t, 7.0),
        (train.inputs, logits_of(teacher, train.inputs)),
        (trusted.inputs, trusted.labels),
        inverse=method.inverse,
    )
    torch.testing.assert_close(harm, by_hand)
    plain = replace(method, rounds=0)(teacher, student(), train, trusted, seed=4, **QUICK)
    assert all(torch.equal(value, plain.records[0].state[name]) for name, value in found.records[0].state.items())


def test_wrong_labels_are_found_harmful(problem):
    """A teacher that lies about some examples: their influence is larger (worse) than that of the others."""
    _, train, trusted = problem

    class Liar(nn.Module):
        def forward(self, inputs):
            place = (train.inputs.flatten(1) == inputs.flatten(1)[:, None]).all(2).float().argmax(1)
            labels = (train.labels[place] + (place < 40)) % 10
            return 20.0 * nn.functional.one_hot(labels, 10)

    method = KDAIF(temperature=1.0, rounds=1, inverse=Inverse(solver="cg", curvature="gauss-newton", damping=0.1))
    found = method(Liar(), student(16), train, trusted, **QUICK | {"steps": 60, "lr": 1e-2})
    harm, w = found.influences[0], found.weights[1]
    higher = (harm[:40, None] > harm[None, 40:]).double().mean()  # the area under the curve
    assert higher > 0.75
    assert w[:40].mean() < w[40:].mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0}, "temperature is 0"),
        ({"rounds": -1}, "rounds is -1"),
        ({"form": "softmax"}, "form is 'softmax'; it can be exp or sigmoid"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        KDAIF(**arguments)
