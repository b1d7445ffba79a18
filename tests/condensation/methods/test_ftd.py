"""Flat experts: what must hold exactly of a sharpness-aware step, of sharpness, and of the error that accumulates."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import models
from workbench.condensation import FTD, GSAM, MTT, Experts, accumulated_error, condense
from workbench.condensation.making.synthetic import Synthetic
from workbench.condensation.trajectories.flat import FlatNetwork
from workbench.condensation.trajectories.gsam import ascent_gap, dots, norms, orthogonal, top_eigenvalue
from workbench.condensation.trajectories.unroll import Descent, cross_entropy
from workbench.training import Ensemble

SMALL = {"network": "mlp", "options": {"width": 4, "depth": 1}}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def vectors(seed):
    """Weights and two gradients of three networks, each of two tensors."""
    shapes = ((3, 4, 2), (3, 5))
    return [[draw(*shape, seed=10 * seed + 3 * k + i) for i, shape in enumerate(shapes)] for k in range(3)]


def stepped(tiny, rule, start, lr=0.1):
    """Weights of networks after one step of plain descent on all of the data under `rule`."""
    networks = [models.build("mlp", tiny, seed=s, width=4, depth=1).double() for s in start]
    Ensemble(networks).fit(
        tiny, steps=1, optimizer="sgd", lr=lr, momentum=0.0, schedule="constant", batch_size=64, rule=rule,
        progress=False, device="cpu",
    )  # fmt: skip
    return torch.stack([FlatNetwork(network).vector(network) for network in networks])


def losses(tiny):
    """Function from weights (K, P) to the losses (K,) on the training data, and fresh weights."""
    network = FlatNetwork(models.build("mlp", tiny, width=4, depth=1).double())

    def loss(weights):
        return torch.stack([cross_entropy(network(one, tiny.train.inputs), tiny.train.labels) for one in weights])

    return loss, network.fresh([3, 4]).double()


def slope(loss, weights):
    here = weights.detach().requires_grad_()
    return torch.autograd.grad(loss(here).sum(), here)[0]


def by_hand(loss, theta, rho, a, adaptive, lr=0.1):
    """One GSAM step of one network, with the card's symbols."""
    g = slope(loss, theta[None])[0]
    e = rho * theta**2 * g / (theta.abs() * g).norm() if adaptive else rho * g / g.norm()
    g_p = slope(loss, (theta + e)[None])[0]
    v = g - torch.cosine_similarity(g, g_p, dim=0) * g.norm() * g_p / g_p.norm()
    return theta - lr * (g_p - a * v)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("a", [0.0, 0.4])
def test_many_networks_step_as_each_would_by_hand(tiny, a, adaptive):
    loss, fresh = losses(tiny)
    got = stepped(tiny, GSAM(0.3, a, adaptive=adaptive), (3, 4))
    expected = torch.stack([by_hand(loss, theta, 0.3, a, adaptive) for theta in fresh])
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("adaptive", [False, True])
def test_without_a_climb_it_is_plain_descent(tiny, adaptive):
    torch.testing.assert_close(
        stepped(tiny, GSAM(0.0, 0.4, adaptive=adaptive), (3, 4)), stepped(tiny, None, (3, 4)), rtol=1e-12, atol=1e-14
    )


def test_without_a_it_is_sam(tiny):
    """θ − η ∇L(θ + e)."""
    loss, fresh = losses(tiny)
    g = slope(loss, fresh)
    climbed = fresh + 0.2 * g / g.norm(dim=1, keepdim=True)
    torch.testing.assert_close(
        stepped(tiny, GSAM(0.2, 0.0, adaptive=False), (3, 4)), fresh - 0.1 * slope(loss, climbed)
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_v_is_orthogonal_and_splits_the_square_of_the_gradient(seed):
    _, g, g_p = vectors(seed)
    v = orthogonal(g, g_p)
    cosine = dots(g, g_p) / (norms(g) * norms(g_p))
    torch.testing.assert_close(dots(v, g_p), torch.zeros(3).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(norms(v) ** 2 + cosine**2 * norms(g) ** 2, norms(g) ** 2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), rho=st.floats(1e-3, 2.0))
def test_the_climb_has_length_rho(seed, rho):
    weights, g, _ = vectors(seed)
    expected = torch.full((3,), rho, dtype=torch.float64)
    torch.testing.assert_close(norms(GSAM(rho, adaptive=False).ascent(weights, g)), expected)
    climb = GSAM(rho, adaptive=True).ascent(weights, g)
    torch.testing.assert_close(norms([e / w.abs() for e, w in zip(climb, weights, strict=True)]), expected)


def test_on_a_quadratic_the_gradient_after_the_climb_is_known():
    """L = θᵀAθ / 2: g_p = Aθ + ρ A²θ / ‖Aθ‖."""
    root, theta = draw(5, 5), draw(1, 5, seed=1)
    A = root @ root.T
    parameter = torch.nn.Parameter(theta.clone())

    def again():
        parameter.grad = torch.autograd.grad((parameter @ A @ parameter.T).sum() / 2, parameter)[0]

    again()
    GSAM(0.3, 0.0, adaptive=False)([parameter], again)
    there = theta @ A
    torch.testing.assert_close(parameter.grad, there + 0.3 * there @ A / there.norm())
    assert torch.equal(parameter.detach(), theta)  # the weights are what they were


@pytest.mark.parametrize("adaptive", [False, True])
def test_rise_under_the_climb_is_to_first_order_rho_times_the_slope(tiny, adaptive):
    loss, fresh = losses(tiny)
    g = slope(loss, fresh)
    first = (fresh.abs() * g if adaptive else g).norm(dim=1)
    errors = []
    for rho in (1e-3, 1e-4):
        gap = ascent_gap(loss, fresh, rho, adaptive=adaptive)
        errors.append(((gap - rho * first).abs() / rho).max().item())
    assert errors[0] < 0.05 * first.max()
    assert errors[1] < 0.2 * errors[0]  # O(ρ²): a tenth of ρ leaves a tenth of the relative error


def test_top_eigenvalue_is_that_of_the_hessian():
    mixing, weights = draw(6, 4), draw(2, 6, seed=2)

    def loss(w):
        return (w.tanh() @ mixing).square().sum(1)

    expected = [torch.linalg.eigvalsh(torch.func.hessian(lambda w: loss(w[None])[0])(one)) for one in weights]
    found = top_eigenvalue(loss, weights, iterations=300)
    torch.testing.assert_close(found, torch.stack([e[e.abs().argmax()] for e in expected]), rtol=1e-5, atol=0)


def test_recorded_errors_add_up_to_the_last(tiny):
    loss, fresh = losses(tiny)
    expert = torch.stack([fresh[0] + 0.1 * t * draw(fresh.shape[1], seed=t) for t in range(7)])
    descent = Descent(lambda w, n: loss(w[None])[0], lambda n: torch.tensor(0.5), 3)
    followed = accumulated_error(lambda w: descent.path(w)[-1], expert, span=2, begin=expert[0] + 0.01)
    parts = followed.initialisation.sum(0) + followed.matching.sum(0)
    torch.testing.assert_close(followed.error[0] + parts, followed.error[-1], rtol=1e-10, atol=1e-13)
    assert len(followed.error) == 4
    frame = followed.to_frame()
    assert frame["accumulated"].tolist() == followed.error[1:].norm(dim=1).tolist()
    on_path = accumulated_error(lambda w: descent.path(w)[-1], expert, span=2)
    assert not on_path.initialisation[0].any()  # it starts where the expert does


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_average_of_images(decay):
    """Decay 0 is the present images; the average of a constant is the constant."""
    synthetic = Synthetic(draw(2, 1, 3, 3), torch.tensor([0, 1]), 2, decay=decay)
    first = synthetic.pixels.detach().clone()
    for _ in range(3):
        synthetic.settle()
    torch.testing.assert_close(synthetic.kept, first, rtol=1e-15, atol=0)
    with torch.no_grad():
        synthetic.pixels.add_(1.0)
    synthetic.settle()
    torch.testing.assert_close(synthetic.kept, first + (1.0 - decay))


def test_it_is_mtt_on_its_experts_with_averaged_images(tiny):
    flat = Experts(count=2, epochs=3, lr=0.1, rule=GSAM(0.1, adaptive=False), **SMALL)
    options = {"ipc": 1, "steps": 3, "span": 1, "latest": 2, "lr_images": 1.0, "experts": flat, "iterations": 3}
    made = condense(tiny, FTD(decay=0.5, **options), progress=False)
    same = condense(tiny, MTT(decay=0.5, **options), progress=False)
    assert torch.equal(made.images, same.images)
    assert made.method == "FTD"
    bare = condense(tiny, MTT(**options), progress=False)
    torch.testing.assert_close(made.loss, bare.loss)
    assert not torch.equal(made.images, bare.images)


def test_flat_experts_are_recorded_as_such_and_differ(tiny):
    plain = Experts(count=1, epochs=1, lr=0.1, **SMALL).train(tiny, progress=False)
    flat = Experts(count=1, epochs=1, lr=0.1, rule=GSAM(0.2), **SMALL).train(tiny, progress=False)
    assert torch.equal(plain.at(0, 0), flat.at(0, 0))
    assert not torch.equal(plain.at(0, 1), flat.at(0, 1))
    assert flat.settings["rule"] == "GSAM(rho=0.2, a=0.4, adaptive=True)"
    with pytest.raises(ValueError, match="rho is -1"):
        GSAM(-1)
