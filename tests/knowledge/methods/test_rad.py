"""Every exact line of paper 116's card: the game's solution against the linear program, and the draws' marginals."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

import workbench as wb
from workbench.knowledge import RAD, Asking, BudgetError, Margin, Oracle, Uniform, ask_actively
from workbench.knowledge.methods import rad
from workbench.knowledge.methods.rad import Entropy, dependent_rounding, equilibrium, gains, marginals, worst_case

seeds = st.integers(0, 2**31 - 1)


@st.composite
def games(draw):
    n = draw(st.integers(3, 11))
    g = torch.rand(n, generator=torch.Generator().manual_seed(draw(seeds)), dtype=torch.float64).clamp(min=0.01)
    return g, draw(st.integers(0, n - 2))


def best_value(g, m):
    """The game as a linear program: the top-m sum by its dual, min over λ of m λ + Σ max(0, p_i g_i − λ)."""
    n = len(g)
    cost = np.concatenate([-g.numpy(), [m], np.ones(n)])  # p, λ, u
    bound = np.hstack([np.diag(g.numpy()), -np.ones((n, 1)), -np.eye(n)])
    sums = np.concatenate([np.ones(n), [0], np.zeros(n)])[None]
    limits = [(0, None)] * n + [(None, None)] + [(0, None)] * n
    return -linprog(cost, A_ub=bound, b_ub=np.zeros(n), A_eq=sums, b_eq=[1], bounds=limits).fun


@given(games())
def test_closed_form_is_the_optimum_of_the_linear_program(game):
    g, m = game
    p = equilibrium(g, m)
    assert float(p.sum()) == pytest.approx(1, abs=1e-12)
    assert worst_case(p, g, m) == pytest.approx(best_value(g, m), abs=1e-9)
    support = p > 0
    k = int(support.sum())
    assert worst_case(p, g, m) == pytest.approx((k - m) / float((1 / g[support]).sum()), abs=1e-12)


@given(games())
def test_the_adversary_has_nothing_to_choose(game):
    g, m = game
    p = equilibrium(g, m)
    products = (p * g)[p > 0]
    torch.testing.assert_close(products, products[:1].expand_as(products))
    assert int((p > 0).sum()) >= m + 1
    assert g[p > 0].min() >= g[p == 0].max() if (p == 0).any() else True
    assert worst_case(p, g, m) >= worst_case(torch.full_like(g, 1 / len(g)), g, m) - 1e-12
    for b in range(1, len(g) + 1):
        top = torch.zeros_like(g).index_fill(0, g.topk(b).indices, 1 / b)
        assert worst_case(p, g, m) >= worst_case(top, g, m) - 1e-12


@given(games(), seeds)
def test_order_and_scale_of_gains_do_not_matter_and_support_grows_with_m(game, seed):
    g, m = game
    p, order = equilibrium(g, m), torch.randperm(len(g), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(equilibrium(g[order], m), p[order])
    torch.testing.assert_close(equilibrium(3.7 * g, m), p)
    sizes = [int((equilibrium(g, k) > 0).sum()) for k in range(len(g))]
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(g)


def test_a_perfect_teacher_is_asked_about_the_best_point_and_equal_gains_equally():
    g = torch.tensor([0.3, 0.9, 0.5], dtype=torch.float64)
    assert equilibrium(g, 0).tolist() == [0, 1, 0]
    for m in range(4):
        torch.testing.assert_close(equilibrium(torch.full((5,), 0.1), m), torch.full((5,), 0.2, dtype=torch.float64))
        even = torch.full((5,), 0.2, dtype=torch.float64)
        assert worst_case(even, torch.full((5,), 0.1), m) == pytest.approx(0.1 * (5 - m) / 5)
    torch.testing.assert_close(
        equilibrium(torch.tensor([1.0, 0.5, 0.25]), 1)[:2], torch.tensor([1 / 3, 2 / 3]).double()
    )


def test_gains_are_one_minus_the_margin_and_never_zero():
    logits = torch.tensor([[0.0, 1.0, 3.0], [5.0, 5.0, 0.0], [1000.0, 0.0, 0.0]], dtype=torch.float64)
    p = (logits / 2).softmax(1)
    expected = [1 - float(p[0, 2] - p[0, 1]), 1.0, rad.FLOOR]
    assert gains(logits, temperature=2).tolist() == pytest.approx(expected)


@given(games(), st.integers(1, 8))
def test_marginals_sum_to_b_and_are_b_p_where_that_is_below_one(game, b):
    g, m = game
    b = min(b, len(g))
    p = equilibrium(g, m)
    q = marginals(p, b, g)
    assert float(q.sum()) == pytest.approx(b)
    assert 0 <= float(q.min()) <= float(q.max()) <= 1
    if float((b * p).max()) < 1:
        torch.testing.assert_close(q, b * p)
    assert (q >= (b * p).clamp(max=1) - 1e-9).all()
    assert (q[b * p >= 1] == 1).all()


def test_a_spent_support_is_filled_with_the_next_best_so_that_m_zero_is_margin_sampling():
    g = torch.tensor([0.2, 0.9, 0.5, 0.7], dtype=torch.float64)
    assert marginals(equilibrium(g, 0), 3, g).tolist() == [0, 1, 1, 1]
    logits = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    chosen = RAD(0.0)(logits, 7, torch.Generator())
    assert set(chosen.tolist()) == set(Margin()(logits, 7, torch.Generator()).tolist())
    with pytest.raises(ValueError, match=r"b is 5; it must be in 1\.\.4"):
        marginals(equilibrium(g, 0), 5, g)


def test_rounding_draws_b_distinct_rows_with_the_marginals():
    q = torch.tensor([0.15, 1.0, 0.35, 0.8, 0.0, 0.6, 0.1], dtype=torch.float64)
    generator, draws = torch.Generator().manual_seed(0), 10_000
    counts = torch.zeros(7, dtype=torch.float64)
    for _ in range(draws):
        rows = dependent_rounding(q, generator)
        assert len(rows.unique()) == 3
        counts[rows] += 1
    error = (q * (1 - q) / draws).sqrt()
    assert ((counts / draws - q).abs() <= 4 * error + 1e-12).all()
    assert dependent_rounding(torch.tensor([0.0, 1.0, 1.0]), generator).tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"sums to 0\.5"):
        dependent_rounding(torch.tensor([0.2, 0.3]), generator)


def test_m_counts_points_of_the_pool():
    logits = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(RAD(0.11).probabilities(logits), equilibrium(gains(logits), math.ceil(4.4)))
    torch.testing.assert_close(RAD(0.1).probabilities(logits), equilibrium(gains(logits), 4))
    assert RAD(1.0).probabilities(logits).min() > 0
    top = Entropy()(logits, 5, torch.Generator())
    entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1)
    assert set(top.tolist()) == set(entropy.topk(5).indices.tolist())


@pytest.fixture
def data():
    return wb.data.load("digits")


def runs(data, strategies, budget=None):
    network = wb.models.build("mlp", data, width=16, seed=5)
    make = lambda: wb.models.build("mlp", data, width=8, seed=1)  # noqa: E731
    pool = wb.data.unlabelled(data.train.subset(200, seed=1))
    oracles = [Oracle(network, "probabilities", budget) for _ in strategies]
    return oracles, [
        Asking(oracle, make, data.train.subset(20), pool, strategy, seed=3)
        for oracle, strategy in zip(oracles, strategies, strict=True)
    ]


def test_every_round_asks_about_new_points_and_trains_from_scratch_on_what_was_said(data):
    oracles, all_runs = runs(data, [RAD(0.2), Margin(), Uniform()], budget=30)
    told = ask_actively(all_runs, data.test, rounds=3, batch=10, steps=4, progress=False, device="cpu")
    for oracle, asked in zip(oracles, told, strict=True):
        assert len(asked.rows.unique()) == 30
        assert (oracle.asked, len(asked.students)) == (30, 4)
        torch.testing.assert_close(asked.answers, oracle.ask(all_runs[0].pool.inputs[asked.rows]))
        assert asked.student.settings["examples"] == 50
    first = [asked.students[0].state["head.weight"] for asked in told]
    assert all(torch.equal(first[0], other) for other in first)
    alone = ask_actively(all_runs[1:2], data.test, rounds=3, batch=10, steps=4, progress=False, device="cpu")
    assert torch.equal(alone[0].rows, told[1].rows)
    scores = wb.training.evaluating.logits_of(told[1].students[0].model, all_runs[1].pool.inputs)
    assert set(told[1].rows[:10].tolist()) == set(gains(scores).topk(10).indices.tolist())
    with pytest.raises(BudgetError):
        ask_actively(runs(data, [Uniform()], budget=5)[1], data.test, rounds=1, batch=10, steps=2, progress=False)


def test_students_follow_labels_where_they_have_them_and_the_teacher_elsewhere(data):
    _, (run,) = runs(data, [Uniform()])
    chosen = torch.tensor([5, 9, 40])
    split, guide = rad._told(run, chosen)
    assert len(split) == 23
    targets = guide(split.inputs, torch.arange(23)).logits.softmax(1)
    torch.testing.assert_close(targets[:20].argmax(1), run.labelled.labels)
    torch.testing.assert_close(targets[:20].amax(1), torch.ones(20))
    torch.testing.assert_close(targets[20:], run.oracle.ask(run.pool.inputs[chosen]))
    assert torch.equal(split.inputs[20:], run.pool.inputs[chosen])


def test_the_teachers_error_is_that_on_labelled_examples(data):
    oracle = Oracle(wb.models.build("mlp", data, width=16, seed=5), "top-1")
    wrong = oracle.ask(data.test.inputs[:50]).argmax(1) != data.test.labels[:50]
    assert rad.error_of(oracle, data.test.take(torch.arange(50))) == pytest.approx(float(wrong.double().mean()))
    assert oracle.asked == 50


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: equilibrium(torch.tensor([0.5, 0.0]), 0), "g has the gain 0; gains must be positive"),
        (lambda: equilibrium(torch.ones(4), 4), r"m is 4; it must be a number of wrong answers in 0\.\.3"),
        (lambda: equilibrium(torch.ones(4), 0.5), r"m is 0\.5"),
        (lambda: RAD(1.5), r"error is 1\.5"),
        (lambda: RAD(0.1, temperature=0), "temperature is 0"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
