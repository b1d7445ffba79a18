"""The exact invariants of paper 098 (SSLD) in float64: the divergence, its gradient, and that no label is read."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.spatial.distance import jensenshannon

import workbench as wb
from workbench.data import Dataset, joined, unlabelled
from workbench.knowledge import JS, KL, SSLD, distill
from workbench.knowledge.methods.ssld import near_duplicates, surest
from workbench.models import Outputs

QUICK = {"progress": False, "device": "cpu"}


def logits(n=40, classes=6, scale=3.0, seed=0):
    return scale * torch.randn(n, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def js(s, t):
    return JS()(Outputs(s), Outputs(t), torch.zeros(len(s), dtype=torch.int64))


def gradient(loss, s, t):
    s = s.clone().requires_grad_()
    return torch.autograd.grad(loss(s, t).sum(), s)[0]


def entropy(p):
    return -torch.special.xlogy(p, p).sum(1)


def test_it_is_scipy_s_symmetric_and_bounded():
    s, t = logits(), logits(seed=1)
    p, q = t.softmax(1), s.softmax(1)
    expected = torch.tensor([jensenshannon(*pair) ** 2 for pair in zip(p.numpy(), q.numpy(), strict=True)])
    torch.testing.assert_close(js(s, t), expected)
    torch.testing.assert_close(js(s, t), js(t, s))
    m = (p + q) / 2
    torch.testing.assert_close(js(s, t), entropy(m) - entropy(p) / 2 - entropy(q) / 2)
    assert (js(s, t) < math.log(2)).all()
    assert (js(s, s + 3) < 1e-15).all()


def test_its_root_is_a_metric():
    a, b, c = (logits(200, seed=seed) for seed in range(3))
    assert (js(a, b).sqrt() + js(b, c).sqrt() >= js(a, c).sqrt() - 1e-12).all()


def test_one_hot_teachers_are_no_trouble():
    t = torch.tensor([[0.0, -torch.inf, -torch.inf]], dtype=torch.float64)
    s = torch.tensor([[-800.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(js(s, t), torch.tensor([math.log(2)]).double())
    assert gradient(js, s, t).isfinite().all()


def test_closed_form_gradient_is_bounded():
    s, t = logits(scale=6), logits(scale=6, seed=1)
    p, q = t.softmax(1), s.softmax(1)
    g = 0.5 * (q / ((p + q) / 2)).log()
    expected = q * (g - (q * g).sum(1, keepdim=True))
    torch.testing.assert_close(gradient(js, s, t), expected)
    assert gradient(js, s, t).abs().max() <= 1


def test_near_agreement_it_is_a_quarter_of_kl():
    t = logits(scale=1)
    s = t + 1e-4 * logits(seed=1, scale=1)
    kl = KL(1)(Outputs(s), Outputs(t), None)
    torch.testing.assert_close(js(s, t) / kl, torch.full((40,), 0.25).double(), atol=1e-3, rtol=0)


@pytest.fixture(scope="module")
def data():
    return wb.data.load("digits").subset(120)


def network(data, seed, width=8):
    return wb.models.build("mlp", data, seed=seed, width=width)


def state(record):
    return record.model.state_dict()


def test_labels_are_not_read(data):
    teacher = network(data, 1)
    pool = wb.data.load("digits").train.take(slice(500, 560))
    recipe = SSLD(steps=6, steps_two=3)
    shuffled = replace(data, train=replace(data.train, labels=data.train.labels.roll(7)))
    one, other = (
        recipe(teacher, network(data, 2), each, each_pool, **QUICK)
        for each, each_pool in ((data, pool), (shuffled, replace(pool, labels=pool.labels.roll(3))))
    )
    assert all(torch.equal(value, state(other)[name]) for name, value in state(one).items())
    one, other = (distill(teacher, network(data, 2), each, JS(), steps=4, **QUICK) for each in (data, shuffled))
    assert all(torch.equal(value, state(other)[name]) for name, value in state(one).items())


def test_the_two_stages_are_what_they_are_called(data):
    teacher, pool = network(data, 1), wb.data.load("digits").train.take(slice(500, 560))
    recipe = SSLD(steps=6, lr=3e-3, steps_two=3, lr_two=5e-4, per_class=4)
    found = recipe(teacher, network(data, 2), data, pool, seed=5, **QUICK)
    by_hand = network(data, 2)
    chosen = recipe.chosen(teacher, unlabelled(pool, like=data), data.test)
    assert 0 < len(chosen) < len(pool)
    both = replace(data, train=joined(data.train, chosen))
    one = distill(teacher, by_hand, both, JS(), labels_weight=0, steps=6, lr=3e-3, seed=5, **QUICK)
    first = {name: value.clone() for name, value in state(one).items()}
    two = distill(teacher, by_hand, data, JS(), labels_weight=0, steps=3, lr=5e-4, seed=5, **QUICK)
    assert all(torch.equal(value, state(found)[name]) for name, value in state(two).items())
    alone = replace(recipe, steps_two=0)(teacher, network(data, 2), data, pool, seed=5, **QUICK)
    assert all(torch.equal(value, state(alone)[name]) for name, value in first.items())


def test_a_copy_of_the_teacher_has_nothing_to_learn(data):
    teacher, copy = network(data, 1), network(data, 1)
    record = distill(teacher, copy, unlabelled(data), JS(), steps=1, **QUICK)
    assert float(record.curves["train_loss"].max()) < 1e-7
    assert js(logits(), logits()).abs().max() < 1e-15


def test_the_surest_of_each_class_are_kept():
    scores = logits(200, 4)
    rows = surest(scores, 7)
    p, predicted = scores.softmax(1).max(1)
    for c in range(4):
        mine = (predicted == c).nonzero()[:, 0]
        kept = rows[predicted[rows] == c]
        assert len(kept) == min(7, len(mine))
        left = mine[~torch.isin(mine, kept)]
        assert not len(left) or p[kept].min() >= p[left].max()
    assert torch.equal(surest(scores, 500), torch.arange(200))
    assert torch.equal(rows, rows.unique())


def test_planted_duplicates_are_left_out(data):
    generator = torch.Generator().manual_seed(0)
    pool = wb.data.load("digits").train.take(slice(300, 420))
    planted = data.test.inputs[[4, 9, 30]]
    noisy = planted * 1.3 + 0.2 + 0.01 * torch.randn(planted.shape, generator=generator)
    both = joined(unlabelled(pool, like=data), unlabelled(noisy, like=data))
    alike = near_duplicates(both.inputs, data.test.inputs, 0.99)
    assert alike[120:].all()
    assert not near_duplicates(-planted, planted, 0.99).any()
    chosen = SSLD(alike=0.99).chosen(network(data, 1), both, data.test)
    assert len(chosen) == 123 - int(alike.sum())
    for one in noisy:
        assert not (chosen.inputs == one).flatten(1).all(1).any()
    assert len(SSLD(alike=1.0).chosen(network(data, 1), both, data.test)) == 123
    blank = torch.stack([torch.full((1, 8, 8), 2.0), torch.rand(1, 8, 8, generator=generator)])
    assert near_duplicates(blank, torch.zeros(1, 1, 8, 8)).tolist() == [True, False]
    assert near_duplicates(blank, blank[:0]).tolist() == [False, False]


def test_it_runs_on_a_table():
    wine = wb.data.load("wine")
    few = Dataset("few", wine.train.subset(30), wine.test)
    record = SSLD(steps=5, steps_two=2)(network(wine, 1), network(wine, 2), few, wine.train, **QUICK)
    assert 0 <= record.accuracy <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"per_class": 0}, "per_class is 0"),
        ({"steps": -1}, "steps is -1"),
        ({"steps_two": 1.5}, r"steps_two is 1\.5"),
        ({"alike": 2}, "alike is 2"),
        ({"lr": 0}, "lr is 0"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SSLD(**arguments)
