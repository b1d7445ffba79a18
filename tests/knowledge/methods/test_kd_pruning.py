"""The exact invariants of paper 080 in float64: shares of the loss, every score by hand, and the linear case."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.knowledge import KL, CrossEntropy, KDPruning, distill
from workbench.knowledge.methods.kd_pruning import (
    LinearCase,
    at_random,
    el2n,
    forgetting,
    grand,
    herding,
    moderate,
    pruned,
)
from workbench.models import Outputs


@pytest.fixture(scope="module")
def data():
    return wb.data.load("digits").subset(150)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_labels_and_teacher_have_their_shares(alpha):
    s, t, labels = Outputs(normal(20, 5)), Outputs(normal(20, 5, seed=1)), torch.arange(20) % 5
    p = (t.logits / 3).softmax(1)
    soft = 9 * (p * (p.log() - (s.logits / 3).log_softmax(1))).sum(1)
    hard = -s.logits.log_softmax(1)[torch.arange(20), labels]
    torch.testing.assert_close(KDPruning(alpha, 3.0)(s, t, labels), (1 - alpha) * hard + alpha * soft)


def test_with_the_teacher_alone_labels_are_not_read_and_without_it_none_is_needed(data):
    teacher = wb.models.build("mlp", data, seed=1)

    def trained(labels, alpha, guide):
        split = replace(data.train, labels=labels)
        student = wb.models.build("mlp", data, width=8)
        return distill(guide, student, split, KDPruning(alpha), steps=4, progress=False, device="cpu").state

    one, other = (trained(labels, 1.0, teacher) for labels in (data.train.labels, data.train.labels.roll(5)))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    one, other = (trained(data.train.labels, 0.0, guide) for guide in (teacher, None))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    with pytest.raises(ValueError, match="teacher is None"):
        trained(data.train.labels, 0.5, None)


def scores(data):
    network = wb.models.build("mlp", data, seed=3, width=6)
    x, y = data.train.inputs, data.train.labels
    features = x.flatten(1)
    right = torch.stack([(x.flatten(1).sum(1) * k).long() % 10 == y for k in range(6)])
    return {
        "random": at_random(data.train),
        "el2n": el2n(network(x).detach()[None], y),
        "grand": grand([network], data.train),
        "forgetting": forgetting(right),
        "herding": herding(features),
        "moderate": moderate(features, y),
    }


def test_every_score_keeps_as_many_distinct_examples_and_all_of_them_at_one(data):
    found = scores(data)
    kept = {name: pruned(data.train, each, 0.13).index for name, each in found.items()}
    for each in kept.values():
        assert len(each.unique()) == len(each) == 19 == math.floor(0.13 * 150)
    assert len({tuple(each.tolist()) for each in kept.values()}) == len(kept)
    for each in found.values():
        whole = pruned(data.train, each, 1.0)
        assert torch.equal(whole.inputs, data.train.inputs)
        assert torch.equal(whole.labels, data.train.labels)
    assert len(pruned(data.train, found["el2n"], 0.7 * 10 / 7)) == 150  # whatever the rounding of f


def test_the_highest_scores_are_kept(data):
    each = normal(150)
    left = pruned(data.train, each, 0.2)
    expected = each.topk(30).indices.sort().values
    assert torch.equal(left.index, data.train.index[expected])


def test_random_pruning_keeps_the_classes_shares():
    digits = wb.data.load("digits").train
    for seed in range(3):
        kept = pruned(digits, at_random(digits, seed), 0.25).counts
        assert ((kept - 0.25 * digits.counts).abs() <= 1).all()
        assert torch.equal(pruned(digits, at_random(digits, seed), 0.1).index, digits.subset(120, seed).index)
    assert not torch.equal(at_random(digits, 0), at_random(digits, 1))


def test_el2n_is_the_length_of_the_error():
    logits, labels = normal(3, 8, 4), torch.arange(8) % 4
    p = logits.softmax(2)
    p[:, torch.arange(8), labels] -= 1
    torch.testing.assert_close(el2n(logits, labels), p.square().sum(2).sqrt().mean(0))
    wrong = torch.full((1, 1, 4), -1e6, dtype=torch.float64)
    wrong[0, 0, 2] = 1e6
    torch.testing.assert_close(el2n(wrong, torch.tensor([1])), torch.tensor([2.0]).double().sqrt())
    assert float(el2n(wrong, torch.tensor([2]))) == 0


def test_grand_is_the_norm_of_each_example_s_own_gradient():
    networks = [nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2)).double() for _ in range(2)]
    split = wb.data.Split(normal(5, 3), torch.tensor([0, 1, 1, 0, 1]), ("a", "b"), torch.zeros(3), torch.ones(3))
    found = grand(networks, split, batch_size=2)
    assert all(network.training for network in networks)
    expected = torch.zeros(5, dtype=torch.float64)
    for network in networks:
        network.eval()
        for k in range(5):
            loss = nn.functional.cross_entropy(network(split.inputs[k : k + 1]), split.labels[k : k + 1])
            gradient = torch.autograd.grad(loss, list(network.parameters()))
            expected[k] += torch.cat([g.flatten() for g in gradient]).norm() / 2
    torch.testing.assert_close(found, expected)


def test_forgetting_counts_what_was_right_and_then_wrong():
    right = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 1], [1, 1, 0, 1], [0, 1, 0, 0], [0, 1, 0, 1]]).bool()
    assert forgetting(right).tolist() == [2, 0, 5, 1]  # the third was never right


def test_herding_follows_the_mean():
    features = normal(12, 3)
    order = herding(features).argsort(descending=True)
    chosen: list[int] = []
    for row in order.tolist()[:6]:
        left = [k for k in range(12) if k not in chosen]
        gaps = {k: float((features[[*chosen, k]].mean(0) - features.mean(0)).norm()) for k in left}
        assert row == min(gaps, key=gaps.get)
        chosen.append(row)


def test_moderate_prefers_the_median_distance():
    features = torch.cat([torch.tensor([[-8.0], [-3], [0], [3], [8]]), torch.tensor([[100.0], [101], [102]])]).double()
    labels = torch.tensor([0] * 5 + [1] * 3)
    assert moderate(features, labels).tolist() == [-5, 0, -3, 0, -5, 0, -1, 0]


def case(seed=0, alpha_rows=range(12), beta_rows=range(4, 9), ridge=0.3):
    X = normal(4, 14, seed=seed)
    return LinearCase(X, alpha_rows, beta_rows, ridge), X, normal(4, seed=seed + 50)


def test_without_a_teacher_it_is_ridge_on_what_is_left():
    linear, X, _ = case()
    y = normal(14, seed=9)
    X_B, y_B = X[:, 4:9], y[4:9]
    expected = torch.linalg.solve(X_B @ X_B.T + 0.3 * torch.eye(4).double(), X_B @ y_B)
    torch.testing.assert_close(linear.operator(0.0) @ y, expected)
    whole, X, _ = case(alpha_rows=range(14), beta_rows=range(14))
    torch.testing.assert_close(
        whole.operator(0.0) @ y, torch.linalg.solve(X @ X.T + 0.3 * torch.eye(4).double(), X @ y)
    )


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0, 1.7])
def test_the_student_is_what_two_regressions_make_it(alpha):
    linear, X, _ = case()
    y, eye = normal(14, seed=9), 0.3 * torch.eye(4).double()
    X_A, X_B = X[:, :12], X[:, 4:9]
    teacher = torch.linalg.solve(X_A @ X_A.T + eye, X_A @ y[:12])
    target = (1 - alpha) * y[4:9] + alpha * X_B.T @ teacher
    expected = torch.linalg.solve(X_B @ X_B.T + eye, X_B @ target)
    torch.testing.assert_close(linear.operator(alpha) @ y, expected)


def test_a_student_of_itself_is_kernel_ridge_in_two_steps():
    """Paper 001's dual form: K (K + λ)⁻¹ K (K + λ)⁻¹ y."""
    linear, X, _ = case(alpha_rows=range(14), beta_rows=range(14))
    y, K = normal(14, seed=9), X.T @ X
    once = K @ torch.linalg.inv(K + 0.3 * torch.eye(14).double())
    torch.testing.assert_close(X.T @ linear.operator(1.0) @ y, once @ once @ y)


def test_the_risk_is_that_of_repeated_noise():
    linear, X, theta = case()
    eta = 0.7 * normal(14, 40_000, seed=3)
    L = linear.operator(0.6)
    errors = (L @ (X.T @ theta[:, None] + eta) - theta[:, None]).square().sum(0)
    assert abs(float(errors.mean()) - linear.risk(0.6, theta, 0.7)) < 4 * float(errors.std()) / 200


def test_the_best_share_is_the_grid_s_minimum():
    for seed in range(5):
        linear, _, theta = case(seed)
        best = linear.best(theta, 0.7)
        grid = [best + 0.01 * k for k in range(-30, 31)]
        risks = [linear.risk(alpha, theta, 0.7) for alpha in grid]
        assert risks.index(min(risks)) == 30


def test_a_teacher_of_more_data_is_better_and_shrinking_twice_loses():
    """The card's table: 200 designs of d = 5, N = 40, 8 points for the student, σ = 0.7."""
    generator = torch.Generator().manual_seed(0)
    designs = [
        (torch.randn(5, 40, generator=generator, dtype=torch.float64), torch.randn(5, generator=generator).double())
        for _ in range(200)
    ]
    for ridge, helps in ((0.1, True), (1.0, True), (10.0, False)):
        alone, *told = [
            sum(LinearCase(X, range(rows), range(8), ridge).risk(alpha, theta, 0.7) for X, theta in designs) / 200
            for alpha, rows in ((0.0, 8), (1.0, 8), (1.0, 20), (1.0, 40))
        ]
        assert told[0] > told[1] > told[2]
        assert (told[2] < alone) == helps


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda data: KDPruning(alpha=1.2), r"alpha is 1\.2"),
        (lambda data: KDPruning(temperature=0), "temperature is 0"),
        (lambda data: pruned(data.train, torch.ones(150), 0.001), "must leave at least one example"),
        (lambda data: pruned(data.train, torch.ones(3), 0.5), "150 examples with 3 scores"),
        (lambda data: pruned(data.train, torch.ones(150), 1.5), r"fraction is 1\.5"),
        (lambda data: LinearCase(torch.eye(2), [0], [0], 0.0), r"ridge is 0\.0"),
    ],
)
def test_bad_arguments_are_named(data, call, message):
    with pytest.raises(ValueError, match=message):
        call(data)


def test_it_is_the_sum_of_its_signals(data):
    teacher = wb.models.build("mlp", data, seed=1)
    states = [
        distill(teacher, wb.models.build("mlp", data, width=8), data, told, steps=3, progress=False, device="cpu").state
        for told in (KDPruning(0.3), 0.7 * CrossEntropy() + 0.3 * KL(4))
    ]
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name])
