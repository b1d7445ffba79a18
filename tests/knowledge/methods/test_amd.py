"""Every exact line of paper 102's card, in float64: nested candidates, their joint gradient, and the choice."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

import workbench as wb
from workbench.knowledge import AMD, auto_multistep
from workbench.knowledge.methods import amd
from workbench.knowledge.methods.amd import Nested, choose, npsd
from workbench.models import Outputs

seeds = st.integers(0, 2**31 - 1)


@pytest.fixture(scope="module")
def data():
    return wb.data.load("digits").subset(120).to(dtype=torch.float64)


@pytest.fixture(scope="module")
def teacher(data):
    return wb.models.build("mlp", data, width=[12, 9], activation="gelu", seed=1).double()


@pytest.fixture
def nested(teacher, data):
    return Nested(teacher, data.train)


def test_importance_is_the_gradient_of_a_mask(teacher, data):
    x, y = data.train.inputs[:20], data.train.labels[:20]
    found = amd.mask_gradients(teacher, x, y)
    loss = functional.cross_entropy(teacher(x), y, reduction="sum")
    weights = [teacher.hidden[1][0].weight, teacher.head.weight]
    for each, weight, gradient in zip(found, weights, torch.autograd.grad(loss, weights), strict=True):
        torch.testing.assert_close(each.sum(0), (weight * gradient).sum(0))
    alone = amd.mask_gradients(teacher, x[3:4], y[3:4])
    torch.testing.assert_close(found[0][3], alone[0][0])
    split = data.train.take(torch.arange(20))
    torch.testing.assert_close(amd.importances(teacher, split)[1], found[1].abs().mean(0))
    assert not any(parameter.grad is not None for parameter in teacher.parameters())


def test_the_whole_is_the_teacher_and_scales_are_parameters(teacher, data, nested):
    x = data.test.inputs[:30]
    torch.testing.assert_close(nested(x)[0], teacher(x))
    count = sum(parameter.numel() for parameter in teacher.parameters())
    assert nested.parameters_at(nested.sizes) == count
    assert nested.widths_at(1.0) == (12, 9)
    for scale in amd.GRID:
        widths = nested.widths_at(scale)
        sliced = nested.sliced(widths)
        own = sum(parameter.numel() for parameter in sliced.parameters())
        assert own == nested.parameters_at(widths)
        assert own <= scale * count or widths == (1, 1)
        torch.testing.assert_close(sliced(x), nested(x, widths)[0])
        masked = nested(x, widths)[1]
        torch.testing.assert_close(masked.shape[1], widths[-1])


def test_candidates_are_nested_and_keep_what_matters_most(teacher, data, nested):
    widths = [nested.widths_at(scale) for scale in amd.GRID]
    for small, large in pairwise(widths):
        assert all(a <= b for a, b in zip(small, large, strict=True))
    assert len(set(widths)) > 5
    importance = amd.importances(teacher, data.train)[0]
    first = nested.weights[0][0]
    torch.testing.assert_close(first, teacher.hidden[0][0].weight[importance.argmax()])


def test_the_joint_gradient_is_the_candidates_sum_and_zero_where_none_reaches(data, nested):
    x, y = data.train.inputs[:16], data.train.labels[:16]
    z_T, phi_T = (each.detach() + 0.1 for each in nested(x))
    settings, some = AMD(), [(3, 2), (5, 4)]
    parameters = [*nested.weights, *nested.biases, nested.A]

    def gradients(candidates):
        loss = sum(nested.losses(x, y, z_T, phi_T, widths, settings) for widths in candidates)
        return torch.autograd.grad(loss, parameters, allow_unused=True)

    for together, *apart in zip(gradients(some), *(gradients([each]) for each in some), strict=True):
        torch.testing.assert_close(together, sum(apart))
    weight = gradients(some)[0]
    assert (weight[5:] == 0).all()
    assert (weight[:5].abs().sum(1) > 0).all()


@given(seeds, st.floats(0, 2), st.floats(0, 2), st.floats(1, 5))
def test_one_candidate_is_ordinary_distillation(seed, lambda_1, lambda_2, T):
    data = wb.data.load("digits").subset(20).to(dtype=torch.float64)
    teacher = wb.models.build("mlp", data, width=[7, 5], seed=seed % 1000).double()
    nested, x, y = Nested(teacher, data.train), data.train.inputs, data.train.labels
    z_T, phi_T = nested(x)
    z, phi = nested(x, (4, 3))
    p, q = (z_T / T).softmax(1), (z / T).softmax(1)
    kl = (p * (p / q).log()).sum(1).mean()
    padded = torch.cat([phi, torch.zeros(20, 2, dtype=torch.float64)], 1)
    expected = functional.cross_entropy(z, y) + lambda_1 * T**2 * kl + lambda_2 * (phi_T - padded).square().mean()
    settings = AMD(lambda_1=lambda_1, lambda_2=lambda_2, temperature=T)
    torch.testing.assert_close(nested.losses(x, y, z_T, phi_T, (4, 3), settings), expected)
    torch.testing.assert_close(
        nested.losses(x, y, z_T, phi_T, nested.sizes, settings), functional.cross_entropy(z_T, y)
    )
    signal = settings.signal("s", "t")
    assert signal.student_layers == ("s",)
    assert signal.complete
    without = AMD(lambda_1=lambda_1, lambda_2=0.0, temperature=T).signal("s", "t").terms[:2]
    told = sum(term.weight * term.signal(Outputs(z), Outputs(z_T), y) for term in without)
    torch.testing.assert_close(told.mean(), expected - lambda_2 * (phi_T - padded).square().mean())


GRID = torch.arange(1, 10, dtype=torch.float64) / 10


@given(seeds, st.floats(-3, 3), st.floats(0.1, 5))
def test_npsd_ignores_a_shift_of_all_performances_and_scales_with_them(seed, shift, c):
    P = torch.rand(9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(npsd(P + shift, GRID, 0.9 + shift), npsd(P, GRID, 0.9))
    torch.testing.assert_close(npsd(c * P, GRID, c * 0.9), c * npsd(P, GRID, 0.9))
    assert choose(c * P, GRID, c * 0.9, price=0.0) == choose(P, GRID, 0.9, price=0.0)


def test_straight_concave_and_convex_curves():
    line = 0.2 + 0.7 * GRID
    torch.testing.assert_close(npsd(line, GRID, 0.9), torch.full((9,), -0.7, dtype=torch.float64))
    assert choose(GRID.sqrt(), GRID, 1.0, price=0.0) == 8
    assert choose(GRID**2, GRID, 1.0, price=0.0) == 1  # the smallest that is no student


def test_a_price_moves_the_choice_inside_as_a_search_says():
    P, P_t = 1 - (-6 * GRID).exp(), 1 - float(torch.tensor(-6.0).exp())
    inside = set()
    for price in torch.linspace(0, 3, 31).tolist():
        score = [-(P_t - float(p)) / (1 - float(s)) - price * float(s) for p, s in zip(P, GRID, strict=True)]
        best = max(range(1, 9), key=score.__getitem__)
        assert choose(P, GRID, P_t, price=price) == best
        inside.add(best)
    assert len(inside) > 1
    assert inside & set(range(2, 8))
    own = 0.5 * (P_t - float(P[0])) / 0.9
    assert choose(P, GRID, P_t) == choose(P, GRID, P_t, price=own)


def test_the_chain_runs_and_says_what_it_chose():
    data = wb.data.load("digits").subset(200)
    teacher = wb.models.build("mlp", data, width=[24, 16], seed=1)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    quick = {"steps": 4, "progress": False, "evaluate_every": 0}
    found = auto_multistep(teacher, data, data.test, AMD(steps=4), seed=2, device="cpu", **quick)
    assert found.performance.shape == found.scales.shape == found.npsd.shape == (9,)
    assert found.chosen == choose(found.performance, found.scales, found.teacher_performance)
    hidden = tuple(layer[0].out_features for layer in found.assistant.model.hidden)
    assert hidden == found.widths[found.chosen]
    assert found.student.model.hidden[0][0].out_features == found.widths[0][0]
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    again = auto_multistep(teacher, data, data.test, AMD(steps=4), seed=2, device="cpu", **quick)
    assert torch.equal(again.student.state["head.weight"], found.student.state["head.weight"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AMD(scales=(0.5,)), "scales is"),
        (lambda: AMD(scales=(0.5, 0.2)), "must ascend"),
        (lambda: AMD(scales=(0.5, 1.0)), r"scales ends at 1\.0"),
        (lambda: AMD(lambda_1=-1), "lambda_1 is -1"),
        (lambda: npsd(torch.tensor([0.5]), torch.tensor([1.0]), 0.9), "must be smaller than the teacher, 1"),
        (lambda: Nested(torch.nn.Linear(2, 2), wb.data.load("digits").train), "teacher is a Linear"),
    ],
)
def test_bad_settings_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
