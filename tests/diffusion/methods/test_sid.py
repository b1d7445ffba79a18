"""Score identity distillation: two estimates of one Fisher divergence, and what their gradients do and do not see."""

import math

import pytest
import torch

from tests.diffusion.small_students import DOUBLE, each_schedule, gaussian, hermite, normal, small
from workbench.diffusion import GaussianMixture, RectifiedFlow, ring
from workbench.diffusion.methods.dmd import dmd_gradient
from workbench.diffusion.methods.sid import SiDTerms, sid_terms
from workbench.diffusion.sampling.predictions import write

PLAN = RectifiedFlow()


def line(means, stds, weights, schedule=PLAN):
    """A mixture in one dimension."""
    means, stds, weights = (torch.tensor(values, dtype=DOUBLE) for values in (means, stds, weights))
    return GaussianMixture(means[:, None], stds.square()[:, None], weights, schedule=schedule)


OURS = ([-0.6, 0.9], [0.5, 0.35], [0.3, 0.7])
THEIRS = ([-1.0, 0.2, 1.1], [0.4, 0.5, 0.3], [0.25, 0.45, 0.3])


def joint(model, at, points=300, reach=7.0):
    """Samples, noise and their probability on a grid, for a mixture on a line: spectrally exact sums."""
    grid = torch.linspace(-reach, reach, points, dtype=DOUBLE)
    width = grid[1] - grid[0]
    x, noise = (each.reshape(-1, 1) for each in torch.meshgrid(grid, grid, indexing="ij"))
    density = model.log_density(x, torch.zeros((), dtype=DOUBLE)).exp()
    mass = density * torch.exp(-0.5 * noise.flatten() ** 2) / math.sqrt(2 * math.pi) * width**2
    assert float(mass.sum()) == pytest.approx(1, abs=1e-10)
    return x, model.schedule.diffuse(x, noise, torch.tensor(at, dtype=DOUBLE)), noise, mass


@each_schedule
@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
def test_with_the_exact_score_both_are_the_fisher_divergence_of_gaussians(plan, at):
    t = torch.tensor(at, dtype=DOUBLE)
    alpha, sigma = plan.alpha(t), plan.sigma(t)
    mean, std, target, width = 0.7, 0.4, 0.2, 0.9
    student, teacher = gaussian(mean, std, plan), gaussian(target, width, plan)

    ours, theirs = (alpha * std) ** 2 + sigma**2, (alpha * width) ** 2 + sigma**2
    # Scores −(x − α m)/c of two Gaussians: their difference is slope · (x − α μ) + shift, x ~ N(α μ, ours).
    slope, shift = 1 / ours - 1 / theirs, alpha * (target - mean) / theirs
    fisher = (sigma**2 / alpha) ** 2 * (slope**2 * ours + shift**2)

    nodes, weights = hermite(6)
    z, noise = (each.reshape(-1, 1) for each in torch.meshgrid(nodes, nodes, indexing="ij"))
    mass = torch.outer(weights, weights).flatten()
    samples = mean + std * z
    terms = sid_terms(samples, plan.diffuse(samples, noise, t), t, teacher, student)
    torch.testing.assert_close((mass * terms.squared).sum(), fisher, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close((mass * terms.projected).sum(), fisher, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("at", [0.3, 0.6])
def test_with_the_exact_score_both_are_the_fisher_divergence_of_mixtures(at):
    student, teacher, t = line(*OURS), line(*THEIRS), torch.tensor(at, dtype=DOUBLE)
    samples, state, _, mass = joint(student, at)
    terms = sid_terms(samples, state, t, teacher, student)

    x = torch.linspace(-8, 8, 4001, dtype=DOUBLE)[:, None]
    apart = write(student(x, t), "score", t, PLAN) - write(teacher(x, t), "score", t, PLAN)
    density = student.log_density(x, t).exp()
    fisher = (PLAN.sigma(t) ** 2 / PLAN.alpha(t)) ** 2 * torch.trapezoid(density * apart.flatten() ** 2, x.flatten())
    torch.testing.assert_close((mass * terms.squared).sum(), fisher, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close((mass * terms.projected).sum(), fisher, atol=1e-8, rtol=1e-8)
    for alpha in (0.0, 1.0, 1.2):
        value = (mass * (terms.projected - alpha * terms.squared)).sum()
        torch.testing.assert_close(value, (1 - alpha) * fisher, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("h", [torch.ones_like, lambda x: x, torch.sin], ids=["1", "x", "sin"])
def test_the_score_can_be_projected(h):
    """E h(x_t) S(x_t) over the marginal is E h(x_t) ∇ log q(x_t | x): by quadrature and by drawing."""
    student, t = line(*OURS), torch.tensor(0.4, dtype=DOUBLE)
    _, state, noise, mass = joint(student, 0.4)
    score = write(student(state, t), "score", t, PLAN)
    marginal, conditional = ((mass[:, None] * h(state) * value).sum() for value in (score, -noise / PLAN.sigma(t)))
    assert abs(float(marginal - conditional)) < 1e-8

    clean, _ = student.sample(40_000, torch.Generator().manual_seed(0))
    noise = normal(40_000, 1)
    state = PLAN.diffuse(clean, noise, t)
    difference = h(state) * (write(student(state, t), "score", t, PLAN) + noise / PLAN.sigma(t))
    assert abs(float(difference.mean())) < 3 * float(difference.std()) / 200


@each_schedule
@pytest.mark.parametrize("guess", [0.3, 0.7])
def test_of_a_shifted_gaussian_one_estimate_sees_half_and_the_other_nothing(plan, guess):
    """Teacher N(0, 1), generator N(θ, 1), fake of mean ψ: c = σ² / (α² + σ²), L⁽¹⁾ = ψ² c², L⁽²⁾ = θ ψ c²."""
    t = torch.tensor(0.4, dtype=DOUBLE)
    c = plan.sigma(t) ** 2 / (plan.alpha(t) ** 2 + plan.sigma(t) ** 2)
    theta = torch.tensor(0.7, dtype=DOUBLE, requires_grad=True)
    nodes, weights = hermite(6)
    z, noise = (each.reshape(-1, 1) for each in torch.meshgrid(nodes, nodes, indexing="ij"))
    mass = torch.outer(weights, weights).flatten()
    samples = theta + z
    terms = sid_terms(samples, plan.diffuse(samples, noise, t), t, gaussian(0.0, 1.0, plan), gaussian(guess, 1.0, plan))
    squared, projected = (mass * terms.squared).sum(), (mass * terms.projected).sum()
    torch.testing.assert_close(squared, guess**2 * c**2)
    torch.testing.assert_close(projected, theta.detach() * guess * c**2)
    (of_squared,) = torch.autograd.grad(squared, theta, retain_graph=True)
    (of_projected,) = torch.autograd.grad(projected, theta)
    assert abs(float(of_squared)) < 1e-12
    torch.testing.assert_close(of_projected, guess * c**2)
    if guess == 0.7:
        fisher = torch.autograd.functional.jacobian(lambda value: (value * c) ** 2, theta.detach())
        torch.testing.assert_close(of_projected, fisher / 2)


def test_nothing_moves_where_fake_and_teacher_agree():
    teacher, t = ring(dtype=torch.float64), torch.linspace(0.2, 0.8, 6, dtype=DOUBLE)
    samples = normal(6, 2).requires_grad_()
    terms = sid_terms(samples, PLAN.diffuse(samples, normal(6, 2, seed=1), t), t, teacher, teacher)
    for alpha in (0.0, 1.2):
        (gradient,) = torch.autograd.grad(terms.loss(alpha), samples, retain_graph=True)
        assert bool((gradient == 0).all())


def test_without_the_jacobians_it_is_distribution_matching():
    teacher, fake, t = ring(dtype=DOUBLE), small(kind="x0"), torch.full((6,), 0.4, dtype=DOUBLE)
    samples = normal(6, 2).requires_grad_()
    state = PLAN.diffuse(samples, normal(6, 2, seed=1), t)
    terms = sid_terms(samples, state.detach(), t, teacher, fake)
    (found,) = torch.autograd.grad(terms.loss(1.2), samples)
    torch.testing.assert_close(found, dmd_gradient(state, t, teacher, fake, scale="none") / terms.size[:, None] / 6)
    whole = sid_terms(samples, state, t, teacher, fake)
    (with_them,) = torch.autograd.grad(whole.loss(1.2), samples)
    assert float((with_them - found).abs().max()) > 1e-3


def test_frozen_networks_still_pass_gradients_to_their_inputs():
    fake, t = small().requires_grad_(False), torch.tensor(0.4, dtype=DOUBLE)
    samples = normal(6, 2).requires_grad_()
    state = PLAN.diffuse(samples, normal(6, 2, seed=1), t)
    state.retain_grad()
    sid_terms(samples, state, t, ring(dtype=DOUBLE), fake).loss().backward()
    assert float(state.grad.abs().max()) > 0
    assert all(parameter.grad is None for parameter in fake.parameters())


def test_the_loss_is_divided_by_the_distance_which_has_no_gradient():
    samples = torch.tensor([[0.5, 0.1], [0.2, 0.4]], dtype=DOUBLE, requires_grad=True)
    t = torch.tensor(0.4, dtype=DOUBLE)
    teacher, fake = ring(dtype=DOUBLE), ring(3, dtype=DOUBLE)
    state = PLAN.diffuse(samples, normal(2, 2), t)
    terms = sid_terms(samples, state, t, teacher, fake)
    assert not terms.size.requires_grad
    torch.testing.assert_close(terms.size, (samples - teacher(state, t).x0).abs().mean(1).detach())
    near = sid_terms(teacher(state, t).x0, state, t, teacher, fake)
    assert bool((near.size == 1e-5).all())


def test_an_example_that_went_wrong_is_left_out():
    terms = SiDTerms(torch.tensor([1.0, math.nan]), torch.tensor([0.5, 0.5]), torch.ones(2))
    assert float(terms.loss(1.0)) == 0.5
