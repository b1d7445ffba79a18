"""The exact invariants of paper 104 in float64: similarity, weights, the loss in each source's own classes."""

import math

import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

import workbench as wb
from workbench.data import beside, joined, unlabelled
from workbench.knowledge import DistillNearest, DistillWeighted, Source, distill, fitted_zoo, parc
from workbench.knowledge.methods.distill_nearest import (
    HEADS,
    FromZoo,
    ZooTeacher,
    similarity_weights,
    with_heads,
    without_heads,
)
from workbench.models import Outputs

QUICK = {"steps": 6, "progress": False, "device": "cpu", "batch_size": 32}


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("e", [[0.42, 0.36, 0.35, 0.1], [0.9, -0.99, 0.2, 0.0]])
def test_weights_go_from_equal_to_the_nearest(e):
    e_t = torch.tensor(e).double().clamp(min=0)
    assert similarity_weights(e, 0) == [float(one > 0) / int((e_t > 0).sum()) for one in e]
    for power in (1, 2.5, 12):
        w = similarity_weights(e, power)
        torch.testing.assert_close(torch.tensor(w).double(), e_t**power / (e_t**power).sum())
        assert abs(sum(w) - 1) < 1e-12
        torch.testing.assert_close(similarity_weights([3 * one for one in e], power), w)
    nearest = [1.0, 0.0, 0.0, 0.0]
    assert similarity_weights(e, math.inf) == nearest
    torch.testing.assert_close(similarity_weights(e, 200), nearest, atol=1e-6, rtol=0)
    assert similarity_weights([0.3], 7) == similarity_weights([0.3], 0) == similarity_weights([0.3], math.inf) == [1.0]


def test_a_negative_similarity_is_cut_before_it_is_raised_to_an_even_power():
    assert similarity_weights([0.5, -0.5], 2) == [1.0, 0.0]
    with pytest.raises(ValueError, match="no source is like the target"):
        similarity_weights([-0.1, 0.0], 1)


def test_parc_by_hand():
    F, labels = normal(20, 6), torch.arange(20) % 4
    far = [1 - torch.corrcoef(values) for values in (F, nn.functional.one_hot(labels).double())]
    i, j = torch.tril_indices(20, 20, -1)
    expected = spearmanr(far[0][i, j].numpy(), far[1][i, j].numpy().round(12)).statistic
    assert abs(parc(F, labels) - expected) < 1e-9


def test_parc_is_one_for_the_labels_themselves_and_sees_neither_order_nor_names():
    labels = torch.arange(24) % 4
    assert abs(parc(nn.functional.one_hot(labels).double(), labels) - 1) < 1e-12
    F = normal(24, 6) + nn.functional.one_hot(labels, 6)
    value = parc(F, labels)
    assert -1 <= value <= 1
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    assert abs(parc(F[order], labels[order]) - value) < 1e-12
    assert abs(parc(F, torch.tensor([2, 0, 3, 1])[labels]) - value) < 1e-12
    scales, shifts = normal(24, 1, seed=2).exp(), normal(24, 1, seed=3)
    assert abs(parc(scales * F + shifts, labels) - value) < 1e-9
    low = parc(F @ normal(6, 50, seed=4), labels, dimensions=3)
    centred = F @ normal(6, 50, seed=4)
    centred = centred - centred.mean(0)
    U, S, _ = torch.linalg.svd(centred, full_matrices=False)
    assert abs(low - parc(U[:, :3] * S[:3], labels)) < 1e-9


def test_parc_refuses_what_tells_nothing():
    with pytest.raises(ValueError, match="2 labelled examples of 2 classes"):
        parc(normal(2, 3), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="all features are alike"):
        parc(torch.ones(5, 3), torch.tensor([0, 1, 0, 1, 0]))


@pytest.fixture
def problem():
    digits = wb.data.load("digits")
    tasks = wb.data.label_spaces(digits)
    zoo = [
        Source(name, wb.models.build("mlp", tasks[name], width=8, seed=k).train(), tasks[name].classes)
        for k, name in enumerate(("parity", "rest of three", "strokes"))
    ]
    return digits, zoo, digits.train.per_class(3), digits.train.take(slice(200, 290))


def test_each_source_teaches_in_its_own_classes():
    sizes, w, lam = (2, 3), (0.3, 0.7), 0.4
    g, logits, labels = normal(9, 5).requires_grad_(), normal(9, 4, seed=1).requires_grad_(), torch.arange(9) % 4
    f = [normal(9, k, seed=k).softmax(1) for k in sizes]
    told = torch.cat([weight * one for weight, one in zip(w, f, strict=True)], 1)
    loss = FromZoo(sizes, lam)(Outputs(logits, {HEADS: g}), Outputs(0 * logits, {HEADS: told}), labels)
    hard = nn.functional.cross_entropy(logits, labels, reduction="none")
    soft = [-(one * part.log_softmax(1)).sum(1) for one, part in zip(f, g.split(sizes, 1), strict=True)]
    torch.testing.assert_close(loss, lam * hard + (1 - lam) * (w[0] * soft[0] + w[1] * soft[1]))
    (gradient,) = torch.autograd.grad(loss.sum(), g)
    expected = [
        (1 - lam) * weight * (part.softmax(1) - one) for weight, part, one in zip(w, g.split(sizes, 1), f, strict=True)
    ]
    torch.testing.assert_close(gradient, torch.cat(expected, 1).detach())


def test_heads_see_the_example_beside_and_answers_are_weighted(problem):
    _, zoo, few, pool = problem
    pairs = beside(few, pool)
    student = with_heads("mlp", few, zoo[:2], width=8)
    seen = wb.models.observe(student, (HEADS,))(pairs.inputs)
    torch.testing.assert_close(seen.features[HEADS], student.network(pairs.inputs[:, 1])[:, 10:])
    torch.testing.assert_close(seen.logits, student.network(pairs.inputs[:, 0])[:, :10])
    torch.testing.assert_close(student(pool.inputs), student.network(pool.inputs)[:, :10])
    told = wb.models.observe(ZooTeacher(zoo[:2], [0.25, 0.75], 10), (HEADS,))(pairs.inputs).features[HEADS]
    expected = [0.25 * zoo[0].says(pool.inputs), 0.75 * zoo[1].says(pool.inputs)]
    torch.testing.assert_close(told, torch.cat(expected, 1))


def test_a_source_s_classes_may_have_any_order(problem):
    """With the rows of its head in the same order, the student's own part learns the same."""
    digits, _, few, pool = problem
    network = wb.models.build("mlp", (digits.shape, 3), width=8, seed=5)
    swapped = wb.models.build("mlp", (digits.shape, 3), width=8, seed=5)
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        swapped.head.weight.copy_(network.head.weight[order])
        swapped.head.bias.copy_(network.head.bias[order])
    gradients = []
    for source, rows in ((network, torch.arange(3)), (swapped, order)):
        zoo = [Source("s", source, ("a", "b", "c"))]
        student = with_heads("mlp", few, zoo, seed=1, width=8)
        with torch.no_grad():
            for parameter in (student.network.head.weight, student.network.head.bias):
                parameter[10:] = parameter[10:][rows].clone()
        pairs = beside(few, pool)
        seen = wb.models.observe(student, (HEADS,))(pairs.inputs)
        told = wb.models.observe(ZooTeacher(zoo, [1.0], 10), (HEADS,))(pairs.inputs)
        FromZoo((3,), 0.3)(seen, told, pairs.labels).mean().backward()
        gradients.append(student.network.hidden[0][0].weight.grad)
    torch.testing.assert_close(*gradients)


def test_sources_of_no_weight_are_not_asked_and_none_is_changed(problem):
    _, zoo, few, pool = problem

    class Refuses(nn.Linear):
        def forward(self, inputs):
            raise AssertionError("it was asked")

    pairs = beside(few, pool)
    silent = Source("silent", Refuses(3, 4), ("a", "b", "c", "d"))
    told = wb.models.observe(ZooTeacher([zoo[0], silent], [1.0, 0.0], 10), (HEADS,))(pairs.inputs)
    torch.testing.assert_close(told.features[HEADS][:, :2], zoo[0].says(pool.inputs))
    assert float(told.features[HEADS][:, 2:].abs().max()) == 0
    with pytest.raises(AssertionError, match="it was asked"):
        ZooTeacher([silent], [0.5], 10)(pairs.inputs)
    before = [[value.clone() for value in source.network.state_dict().values()] for source in zoo]
    DistillWeighted(power=1)(zoo, "mlp", few, pool, width=8, **QUICK)
    for source, values in zip(zoo, before, strict=True):
        assert source.network.training
        assert all(torch.equal(*pair) for pair in zip(values, source.network.state_dict().values(), strict=True))


def test_labels_alone_are_supervised_training(problem):
    """λ = 1: whatever the zoo says, to the same bits; and what a network without heads learns of the same batches."""
    _, zoo, few, pool = problem
    one = DistillWeighted(power=0, lam=1.0)(zoo, "mlp", few, pool, width=8, **QUICK)
    other = DistillNearest(lam=1.0)(zoo, "mlp", few, pool, width=8, **QUICK)
    assert all(torch.equal(value, other.state[name]) for name, value in one.state.items())
    student = without_heads(with_heads("mlp", few, zoo, width=8), wb.models.build("mlp", few, width=8)).train()
    pairs = beside(few, joined(unlabelled(few), unlabelled(pool)))
    plain = wb.data.Split(pairs.inputs[:, 0], pairs.labels, few.classes, few.mean, few.std)
    expected = wb.training.fit(student, plain, **QUICK)
    for name, value in expected.state.items():
        torch.testing.assert_close(one.state[name], value)


def test_one_source_makes_all_rules_one(problem):
    _, zoo, few, pool = problem
    states = [
        rule(zoo[:1], "mlp", few, pool, width=8, **QUICK).state
        for rule in (DistillWeighted(power=0), DistillWeighted(power=3), DistillNearest(lam=0.8))
    ]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name])
        assert torch.equal(value, states[2][name])


def test_the_whole_by_hand(problem):
    digits, zoo, few, pool = problem
    rule = DistillWeighted(power=2, lam=0.5)
    e = [parc(source.features(few.inputs), few.labels) for source in zoo]
    assert rule.similarities(zoo, few) == e
    student = with_heads("mlp", few, zoo, seed=4, width=8)
    pairs = beside(few, joined(unlabelled(few), unlabelled(pool)), seed=4)
    teacher = ZooTeacher(zoo, similarity_weights(e, 2), 10)
    by_hand = distill(teacher, student, pairs, FromZoo((2, 3, 3), 0.5), seed=4, **QUICK)
    found = rule(zoo, "mlp", few, pool, width=8, seed=4, **QUICK)
    x = digits.test.inputs[:20]
    torch.testing.assert_close(found.model(x), by_hand.model(x))
    plain = wb.models.build("mlp", few, width=8)
    assert sum(p.numel() for p in found.model.parameters()) == sum(p.numel() for p in plain.parameters())


def test_features_are_what_the_last_layer_reads_and_answers_its_softmax(problem):
    _, zoo, few, _ = problem
    network = zoo[1].network.eval()
    x = few.inputs
    hidden = wb.models.observe(network, network.penultimate)(x)
    torch.testing.assert_close(zoo[1].features(x), hidden.features[network.penultimate].detach())
    torch.testing.assert_close(zoo[1].says(x), hidden.logits.softmax(1).detach())
    with pytest.raises(ValueError, match="scores 3 classes and names 2"):
        Source("wrong", network, ("a", "b")).says(x)
    with pytest.raises(ValueError, match="has no linear layer"):
        Source("flat", nn.Flatten(), ("a",)).says(x)


def test_a_zoo_is_fitted_task_by_task():
    digits = wb.data.load("digits").subset(80)
    tasks = wb.data.label_spaces(digits)
    zoo = fitted_zoo(tasks, "mlp", width=[6], epochs=1, device="cpu")
    assert [(source.name, source.classes) for source in zoo] == [(name, task.classes) for name, task in tasks.items()]
    with pytest.raises(ValueError, match="zoo is empty"):
        DistillNearest()([], "mlp", digits.train, digits.train)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"power": -1}, "power is -1"), ({"lam": 1.5}, r"lam is 1\.5"), ({"dimensions": 0}, "dimensions is 0")],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DistillWeighted(**arguments)
