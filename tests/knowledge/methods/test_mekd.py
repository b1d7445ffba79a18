"""Every exact line of paper 082's card, in float64: what MEKD compares, whom it asks, and what it never reads."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance
from torch import nn
from torch.nn import functional

import workbench as wb
from workbench.knowledge import MEKD, Oracle, distill, emulate, questions
from workbench.knowledge.methods import mekd
from workbench.models import Outputs

LABELS = torch.zeros(6, dtype=torch.int64)
seeds = st.integers(0, 2**31 - 1)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(seed, classes=4, n=7):
    G = nn.Linear(classes, n, bias=False).double().requires_grad_(False)
    G.weight.copy_(normal(seed, n, classes))
    return G


def loss(signal, student, teacher):
    return signal(Outputs(student), Outputs(teacher), LABELS[: len(student)])


@given(seeds, st.floats(0.5, 4), st.floats(0, 3))
def test_equal_answers_cost_nothing_whatever_the_generator(seed, tau, beta):
    z = normal(seed, 6, 4)
    signal = MEKD(linear(seed), temperature=tau, beta=beta)
    torch.testing.assert_close(loss(signal, z, z + 3.0), torch.zeros(6, dtype=torch.float64), atol=1e-12, rtol=0)
    assert (loss(signal, z, normal(seed + 1, 6, 4)) > 0).all()


@given(seeds, st.floats(0.5, 4), st.floats(0, 3))
def test_with_the_identity_it_is_l1_between_tempered_answers_and_kl_at_temperature_one(seed, tau, beta):
    s, t = normal(seed, 6, 4), normal(seed + 1, 6, 4)
    p, q = t.softmax(1), s.softmax(1)
    expected = ((s / tau).softmax(1) - (t / tau).softmax(1)).abs().sum(1) / 4 + beta * (p * (p / q).log()).sum(1)
    torch.testing.assert_close(loss(MEKD(nn.Identity(), temperature=tau, beta=beta), s, t), expected)


@given(seeds)
def test_a_linear_generator_gives_its_own_direction(seed):
    G, s, t = linear(seed), normal(seed, 6, 4), normal(seed + 1, 6, 4)
    A, delta = G.weight, s.softmax(1) - t.softmax(1)
    torch.testing.assert_close(loss(MEKD(G, beta=0), s, t), (delta @ A.T).abs().sum(1) / 7)
    y = s.softmax(1).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(MEKD(G, beta=0), y.log(), t).sum(), y)
    by_hand = (delta @ A.T).sign() @ A / 7  # Aᵀ sign(AΔ) / n, on the simplex: up to what the softmax takes away
    tangent = by_hand - (by_hand * y).sum(1, keepdim=True)
    torch.testing.assert_close(gradient - gradient.mean(1, keepdim=True), tangent - tangent.mean(1, keepdim=True))
    along = functional.cosine_similarity(by_hand, delta.sign())
    assert (along < 0.999).any()


def test_only_the_student_gets_a_gradient():
    G, s, t = nn.Linear(4, 7).double(), normal(0, 6, 4).requires_grad_(), normal(1, 6, 4).requires_grad_()
    loss(MEKD(G.requires_grad_(False)), s, t).sum().backward()
    assert s.grad.abs().sum() > 0
    assert t.grad is None
    data = wb.data.load("digits").subset(40)
    G = emulate(Oracle(wb.models.build("mlp", data, width=8)), data, queries=20, steps=3, device="cpu")
    before = {name: value.clone() for name, value in G.state_dict().items()}
    student = wb.models.build("mlp", data, width=8, seed=1)
    distill(wb.models.build("mlp", data, seed=2), student, data, MEKD(G), steps=3, progress=False, device="cpu")
    assert all(torch.equal(value, before[name]) for name, value in G.state_dict().items())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in G.parameters())


@given(seeds)
def test_images_move_no_further_than_the_layers_allow(seed):
    torch.manual_seed(0)
    G = mekd.Emulator(4, torch.zeros(1, 3, 3).double(), torch.full((1, 3, 3), 2.0).double(), width=8).double()
    a, b = normal(seed, 6, 4).softmax(1), normal(seed + 1, 6, 4).softmax(1)
    moved = (G(a) - G(b)).abs().flatten(1).sum(1)
    assert (moved <= G.lipschitz() * (a - b).abs().sum(1) + 1e-12).all()
    halved = mekd.Emulator(4, torch.zeros(1, 3, 3).double(), torch.ones(1, 3, 3).double(), width=8).double()
    halved.layers = G.layers
    assert halved.lipschitz() == pytest.approx(G.lipschitz() / 2)


def test_the_bound_is_reached_by_a_chain_of_ones_at_the_sigmoids_middle():
    G = mekd.Emulator(1, torch.zeros(1).double(), torch.full((1,), 2.0).double(), width=2).double()
    for parameter in G.parameters():
        nn.init.zeros_(parameter)
    for layer in G.layers[::2]:
        layer.weight.data[0, 0] = 3.0
    step = torch.tensor([[1e-5]], dtype=torch.float64)
    assert float((G(step) - G(0 * step)).abs() / step) == pytest.approx(G.lipschitz(), rel=1e-4)


@given(seeds)
def test_wasserstein_on_a_line_is_scipys(seed):
    a, b = normal(seed, 30, 3), normal(seed + 1, 30, 3)
    expected = [wasserstein_distance(a[:, c].numpy(), b[:, c].numpy()) for c in range(3)]
    torch.testing.assert_close(mekd.wasserstein_1d(a, b), torch.tensor(expected, dtype=torch.float64))
    assert mekd.wasserstein_1d(a, a.flip(0)).max() == 0
    with pytest.raises(ValueError, match="must be equal"):
        mekd.wasserstein_1d(a, b[:5])


def test_losses_of_both_sides_by_hand():
    G, judge = linear(0, 4, 5), mekd.Discriminator(4, 5, 8).double()
    real, z, x, y = normal(1, 6, 5), normal(2, 6, 4).softmax(1), normal(3, 6, 5), normal(4, 6, 4).softmax(1)
    D, made = lambda x: judge(x)[0], G(z)
    expected = -(D(real).sigmoid().log().mean() + (1 - D(made).sigmoid()).log().mean())
    expected = expected - (y * judge(x)[1].log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(mekd.losses_of_discriminator(judge, real, made, x, y), expected)
    told = mekd.losses_of_generator(G, judge, z, x, y, alpha=0.3, inverse=5.0)
    informed = -(z * judge(made)[1].log_softmax(1)).sum(1).mean()
    expected = -D(made).sigmoid().log().mean() + 0.3 * informed + 5 * (G(y) - x).abs().sum() / x.numel()
    torch.testing.assert_close(told, expected)
    moving = nn.Linear(4, 5).double()
    mekd.losses_of_discriminator(judge, real, moving(z), x, y).backward()
    assert moving.weight.grad is None


@pytest.fixture
def data():
    return wb.data.load("digits").subset(80)


@pytest.mark.parametrize("private", [True, False])
def test_the_teacher_is_asked_as_often_as_is_said_and_in_private_never_about_a_local_input(data, private):
    oracle = Oracle(wb.models.build("mlp", data, width=8), "probabilities", budget=73 + 30)
    G = emulate(oracle, data, queries=73, private=private, steps=20, device="cpu", seed=3)
    assert oracle.asked == 73
    assert int(oracle.was_asked(data.train.inputs).sum()) == (0 if private else 73)
    asked = questions(G, oracle, data, queries=30, seed=1)
    assert (oracle.left, len(asked)) == (0, 30)
    torch.testing.assert_close(asked.labels, oracle.ask(asked.inputs).argmax(1))
    with pytest.raises(ValueError, match="queries is 5, but the oracle has 0 left"):
        emulate(oracle, data, queries=5)


def test_with_hard_answers_the_scores_are_never_read(data):
    class Sharper(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, x):
            return 7 * self.network(x) + 1

    network = wb.models.build("mlp", data, width=8)
    made = [
        emulate(Oracle(one, "top-1"), data, queries=50, steps=8, device="cpu", seed=1)
        for one in (network, Sharper(network))
    ]
    assert all(torch.equal(a, b) for a, b in zip(*(G.state_dict().values() for G in made), strict=True))
    soft = emulate(Oracle(network, "probabilities"), data, queries=50, steps=8, device="cpu", seed=1)
    assert not torch.equal(soft.layers[0].weight, made[0].layers[0].weight)


def test_portions_are_all_the_questions_within_the_steps():
    for queries, steps in ((73, 20), (3, 100), (40, 2), (1, 1)):
        portions = mekd._portions(queries, steps)
        assert sum(portions.values()) == queries
        assert 0 in portions
        assert max(portions) < steps


def test_the_prior_is_a_simplex_around_the_class_asked_for():
    z, c = mekd.draw_answers(500, 4, torch.Generator().manual_seed(0), sharpness=5, spread=0)
    torch.testing.assert_close(
        z.gather(1, c[:, None])[:, 0], torch.full((500,), 1 / (1 + 3 * torch.tensor(-5.0).exp()))
    )
    assert c.bincount().min() > 90
    assert mekd.draw_answers(500, 4, torch.Generator().manual_seed(0), sharpness=5, spread=3)[0].std(0).min() > 0.2


def test_a_table_is_emulated_too():
    data = wb.data.load("wine")
    oracle = Oracle(wb.models.build("mlp", data, width=8), budget=100)
    G = emulate(oracle, data, queries=50, steps=5, device="cpu")
    made = G(torch.eye(3))
    assert made.shape == (3, 13)
    assert (made >= data.train.inputs.amin(0) - 1e-6).all()
    assert (made <= data.train.inputs.amax(0) + 1e-6).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"generator": 3}, "generator is 3"), ({"temperature": 0}, "temperature is 0"), ({"beta": -1}, "beta is -1")],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MEKD(**{"generator": nn.Identity()} | arguments)
