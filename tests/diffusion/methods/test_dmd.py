"""Distribution matching: its gradient is that of a KL divergence, its fake learns what was made, its chain samples."""

import pytest
import torch
from torch import nn

from tests.diffusion.small_students import DOUBLE, each_schedule, gaussian, hermite, normal, small
from workbench.diffusion import VE, NetworkDenoiser, Prediction, RectifiedFlow, Trig, VPLinear, ring, sample
from workbench.diffusion.making.chain import follow, leave
from workbench.diffusion.methods.dmd import dmd_gradient, fake_loss, surrogate
from workbench.diffusion.sampling.predictions import write


def test_the_surrogate_has_the_gradient_it_is_made_for():
    x, g = normal(5, 3).requires_grad_(), normal(5, 3, seed=1)
    (found,) = torch.autograd.grad(surrogate(x, g), x)
    torch.testing.assert_close(found, g / 15, atol=1e-12, rtol=0)


@each_schedule
def test_the_difference_of_targets_is_that_of_scores(plan):
    teacher, fake = ring(dtype=DOUBLE, schedule=plan), ring(5, radius=0.7, std=0.2, dtype=DOUBLE, schedule=plan)
    t = torch.linspace(0.1, 0.9, 6, dtype=DOUBLE)
    state = normal(6, 2)
    scores = [write(model(state, t), "score", t, plan) for model in (teacher, fake)]
    expected = (plan.sigma(t).square() / plan.alpha(t))[:, None] * (scores[1] - scores[0])
    torch.testing.assert_close(dmd_gradient(state, t, teacher, fake, scale="none"), expected, atol=1e-11, rtol=1e-9)


def test_a_fake_that_agrees_with_the_teacher_gives_no_gradient():
    teacher = ring(dtype=DOUBLE)
    found = dmd_gradient(normal(6, 2), torch.tensor(0.4), teacher, teacher)
    assert bool((found == 0).all())


def test_the_gradient_is_scaled_by_the_papers_distance():
    teacher, fake = ring(dtype=DOUBLE), ring(3, dtype=DOUBLE)
    samples, t = normal(6, 2), torch.full((6,), 0.5, dtype=DOUBLE)
    state = RectifiedFlow().diffuse(samples, normal(6, 2, seed=1), t)
    plain = dmd_gradient(state, t, teacher, fake, scale="none")
    real = teacher(state, t).x0
    for scale, distance in (("state", state - real), ("sample", samples - real)):
        found = dmd_gradient(state, t, teacher, fake, scale=scale, samples=samples)
        torch.testing.assert_close(found * distance.abs().mean(1, keepdim=True), plain)
    with pytest.raises(ValueError, match="pass the samples"):
        dmd_gradient(state, t, teacher, fake, scale="sample")
    with pytest.raises(ValueError, match="'state', 'sample' or 'none'"):
        dmd_gradient(state, t, teacher, fake, scale="mean")


def test_where_the_scale_is_zero_nothing_moves():
    class At:
        schedule, shape = RectifiedFlow(), (2,)

        def __call__(self, x, t, condition=None):
            return Prediction(x, x)

    assert bool((dmd_gradient(normal(3, 2), torch.tensor(0.5), At(), At()) == 0).all())


@each_schedule
@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_for_gaussians_it_is_the_gradient_of_the_kl_divergence(plan, at):
    """Student x = μ + s z; expectation over z and ε by quadrature, exact for these polynomials."""
    t = torch.tensor(at, dtype=DOUBLE)
    alpha, sigma = plan.alpha(t), plan.sigma(t)
    mean, std = (torch.tensor(value, dtype=DOUBLE, requires_grad=True) for value in (0.7, 0.4))
    target, width = 0.2, 0.9

    ours, theirs = (alpha * std).square() + sigma.square(), (alpha * width) ** 2 + sigma.square()
    divergence = 0.5 * (theirs.log() - ours.log() + (ours + (alpha * (mean - target)).square()) / theirs - 1)
    expected = torch.autograd.grad(divergence, (mean, std))

    nodes, weights = hermite(6)
    z, noise = (each.reshape(-1, 1) for each in torch.meshgrid(nodes, nodes, indexing="ij"))
    mass = torch.outer(weights, weights).reshape(-1, 1)
    samples = mean + std * z
    state = plan.diffuse(samples.detach(), noise, t)
    fake = gaussian(mean.detach(), std.detach(), plan)
    g = (alpha / sigma).square() * dmd_gradient(state, t, gaussian(target, width, plan), fake, scale="none")
    found = torch.autograd.grad((mass * g * samples).sum(), (mean, std))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize(
    ("plan", "kind"), [(RectifiedFlow(), "velocity"), (VPLinear(), "noise"), (Trig(), "v"), (VE(5.0), "x0")]
)
def test_the_fake_is_best_where_it_says_what_the_samples_say(plan, kind):
    """An affine fake set to the exact denoiser of a Gaussian's samples has no gradient left, by quadrature."""

    class Affine(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope, self.offset = (nn.Parameter(torch.zeros(1, dtype=DOUBLE)) for _ in range(2))

        def forward(self, x, t):
            return self.slope * x + self.offset

    t, mean, std = torch.tensor(0.4, dtype=DOUBLE), 0.3, 0.6
    fake = NetworkDenoiser(Affine(), plan, (1,), kind)
    at = torch.tensor([[0.0], [1.0]], dtype=DOUBLE)
    said = write(gaussian(mean, std, plan)(at, t), kind, t, plan).flatten()
    fake.network.offset.data, fake.network.slope.data = said[:1], said[1:] - said[:1]

    nodes, weights = hermite(8)
    z, noise = (each.reshape(-1, 1) for each in torch.meshgrid(nodes, nodes, indexing="ij"))
    mass = torch.outer(weights, weights).flatten()
    each = torch.stack([fake_loss(fake, mean + std * z[i : i + 1], t, noise[i : i + 1]) for i in range(len(z))])
    for gradient in torch.autograd.grad((mass * each).sum(), fake.parameters(), retain_graph=True):
        assert abs(float(gradient)) < 1e-10
    fake.network.offset.data += 0.1
    each = torch.stack([fake_loss(fake, mean + std * z[i : i + 1], t, noise[i : i + 1]) for i in range(len(z))])
    assert abs(float(torch.autograd.grad((mass * each).sum(), fake.network.offset)[0])) > 0.1


def test_the_fake_loss_is_the_velocitys_and_leaves_the_samples_alone():
    fake, samples, noise = small(), normal(6, 2).requires_grad_(), normal(6, 2, seed=1)
    t = torch.linspace(0.1, 0.9, 6, dtype=DOUBLE)
    loss = fake_loss(fake, samples, t, noise)
    state = (1 - t)[:, None] * samples + t[:, None] * noise
    torch.testing.assert_close(loss, (fake.network(state, t) - (noise - samples)).square().mean())
    loss.backward()
    assert samples.grad is None


@each_schedule
def test_following_is_sampling(plan):
    student, times, noise = small(schedule=plan), plan.grid(4), normal(5, 2)
    made, first = follow(student, noise, times)
    torch.testing.assert_close(made.detach(), sample(student, noise, steps=times), atol=1e-12, rtol=1e-12)
    start = plan.sigma(times[0]) * noise
    torch.testing.assert_close(first.x0, student(start, times[0]).x0)


def test_leaving_is_consistency_sampling_stopped_early():
    student, times, noise = small(), RectifiedFlow().grid(4), normal(5, 2)
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    believed = []
    sample(
        student, noise, sampler="consistency", steps=times, generator=generators[0],
        record=lambda number, t, x, x0, noise: believed.append(x0),
    )  # fmt: skip
    for number in range(4):
        draws = torch.Generator().manual_seed(3)
        made = leave(student, noise, times, number, lambda g=draws: torch.randn(5, 2, generator=g, dtype=DOUBLE))
        torch.testing.assert_close(made.detach(), believed[number], atol=1e-12, rtol=1e-12)


def test_leaving_keeps_the_gradient_of_one_step_only():
    student, times, noise = small(), RectifiedFlow().grid(3), normal(5, 2)
    made = leave(student, noise, times, 2, lambda: normal(5, 2, seed=4))
    gradients = torch.autograd.grad(made.sum(), student.parameters())
    x = RectifiedFlow().sigma(times[0]) * noise
    with torch.no_grad():
        for k in range(2):
            x = RectifiedFlow().diffuse(student(x, times[k]).x0, normal(5, 2, seed=4), times[k + 1])
    alone = torch.autograd.grad(student(x, times[2]).x0.sum(), student.parameters())
    for a, b in zip(gradients, alone, strict=True):
        torch.testing.assert_close(a, b)
