"""Exact mixtures say what their density says: score, mean, classes, schedules, and the law of total variance."""

import dataclasses

import pytest
import torch

from workbench.diffusion import (
    VE,
    GaussianMixture,
    Guided,
    RectifiedFlow,
    Rescheduled,
    Trig,
    VPCosine,
    VPLinear,
    grid,
    moons,
    ring,
)
from workbench.diffusion.sampling.predictions import write

DOUBLE = torch.float64


def points(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def uneven(schedule):
    """Three components in three dimensions, each with variances and axes of its own."""
    axes = torch.linalg.qr(points(9, 3, seed=1).view(3, 3, 3)).Q
    variances = points(3, 3, seed=2).exp() * 0.1
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=DOUBLE)
    return GaussianMixture(points(3, 3, seed=3), variances, weights, axes, torch.tensor([0, 1, 1]), schedule)


@pytest.mark.parametrize("schedule", [RectifiedFlow(), Trig(), VPLinear(), VPCosine(), VE(3.0)])
@pytest.mark.parametrize("condition", [None, 1])
def test_the_score_is_the_gradient_of_the_log_density(schedule, condition):
    teacher = uneven(schedule)
    wanted = None if condition is None else torch.full((6,), condition)
    for at in (0.1, 0.5, 0.9):
        x, t = points(6, 3).requires_grad_(), torch.tensor(at, dtype=DOUBLE)
        (gradient,) = torch.autograd.grad(teacher.log_density(x, t, wanted).sum(), x)
        told = teacher(x.detach(), t, wanted)
        torch.testing.assert_close(write(told, "score", t, schedule), gradient, atol=1e-10, rtol=1e-10)
        state = schedule.alpha(t) * told.x0 + schedule.sigma(t) * told.noise
        torch.testing.assert_close(state, x.detach(), atol=1e-12, rtol=1e-12)


def test_a_component_is_a_normal_density():
    teacher = uneven(RectifiedFlow()).only(torch.tensor([1]))
    covariance = teacher.axes[0] @ torch.diag(teacher.variances[0]) @ teacher.axes[0].mT
    normal = torch.distributions.MultivariateNormal(
        0.6 * teacher.means[0], 0.36 * covariance + 0.16 * torch.eye(3, dtype=DOUBLE)
    )
    x = points(5, 3)
    torch.testing.assert_close(teacher.log_density(x, torch.tensor(0.4, dtype=DOUBLE)), normal.log_prob(x))


def test_samples_have_the_moments():
    teacher = uneven(RectifiedFlow())
    x, component = teacher.sample(200_000, torch.Generator().manual_seed(0))
    assert bool(((x.mean(0) - teacher.mean).abs() < 0.02).all())
    assert float(x.var(0).sum()) == pytest.approx(teacher.total_variance, rel=0.02)
    assert float((component == 1).double().mean()) == pytest.approx(0.5, abs=0.01)


def test_another_schedule_says_the_same():
    direct = dataclasses.replace(uneven(RectifiedFlow()), schedule=VPLinear())
    taken = Rescheduled(uneven(RectifiedFlow()), VPLinear())
    t = torch.tensor(0.4, dtype=DOUBLE)
    for a, b in zip(direct(points(4, 3), t), taken(points(4, 3), t), strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)


def test_one_time_per_example_is_that_time_for_each():
    teacher, x = uneven(RectifiedFlow()), points(4, 3)
    each = torch.tensor([0.1, 0.4, 0.7, 0.95], dtype=DOUBLE)
    together = teacher(x, each)
    for row, t in enumerate(each):
        torch.testing.assert_close(together.x0[row : row + 1], teacher(x[row : row + 1], t).x0)


def test_targets_obey_the_law_of_total_variance_and_stay_centred():
    """Var(x̂₀) + E Var(x₀ | x_t) = Var(x₀), and E x̂₀ = E x₀, on states drawn from the true marginals (paper 096)."""
    teacher = ring(dtype=DOUBLE)
    generator = torch.Generator().manual_seed(0)
    x0, _ = teacher.sample(100_000, generator)
    noise = torch.randn(x0.shape, generator=generator, dtype=DOUBLE)
    spreads = []
    for at in (0.2, 0.5, 0.8, 0.999):
        t = torch.tensor(at, dtype=DOUBLE)
        target = teacher(teacher.schedule.diffuse(x0, noise, t), t).x0
        spread, missed = target.var(0).sum(), (x0 - target).square().sum(1).mean()
        assert float(spread + missed) == pytest.approx(teacher.total_variance, rel=0.01)
        assert bool((target.mean(0).abs() < 0.02).all())
        spreads.append(float(spread))
    assert spreads == sorted(spreads, reverse=True)
    assert [round(value, 2) for value in spreads] == pytest.approx([0.95, 0.35, 0.03, 0.0], abs=0.02)


def test_guidance_is_linear_and_needs_classes():
    teacher = ring(classes=2, dtype=DOUBLE)
    x, t, wanted = points(5, 2), torch.tensor(0.3, dtype=DOUBLE), torch.tensor([0, 1, 0, 1, -1])
    told, free = teacher(x, t, wanted).x0, teacher(x, t).x0
    torch.testing.assert_close(Guided(teacher, 3.0)(x, t, wanted).x0, free + 3 * (told - free))
    torch.testing.assert_close(Guided(teacher, 1.0)(x, t, wanted).x0, told)
    torch.testing.assert_close(told[4], free[4])
    with pytest.raises(ValueError, match="no classes"):
        Guided(ring(), 3.0)
    with pytest.raises(ValueError, match="has no classes: pass labels"):
        ring()(torch.zeros(1, 2), torch.tensor(0.5), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        teacher(x[:1], t, torch.tensor([5]))


def test_the_standard_mixtures():
    assert ring().means.shape == (8, 2)
    assert ring(dimensions=64).shape == (64,)
    assert len(grid().means) == 25
    assert moons().classes == 2
    assert ring().total_variance == pytest.approx(1 + 2 * 0.08**2, rel=1e-5)


def test_mixtures_that_are_none_are_refused():
    means = torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"need \(2, 2\)"):
        GaussianMixture(means, torch.ones(2, 3), torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match=r"a sum of 1"):
        GaussianMixture(means, torch.ones(2, 2), torch.tensor([0.5, 0.4]))
    with pytest.raises(ValueError, match="one class per component"):
        GaussianMixture(means, torch.ones(2, 2), torch.tensor([0.5, 0.5]), labels=torch.tensor([0]))
