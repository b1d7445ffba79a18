"""The exact flow: the closed form of a Gaussian, monotone transport in one dimension, the same on every schedule."""

import dataclasses
import itertools
import math

import pytest
import torch

from workbench.diffusion import (
    VE,
    FlowMap,
    GaussianMixture,
    RectifiedFlow,
    Trig,
    VPCosine,
    VPLinear,
    curvature,
    flow,
    mixture,
    ring,
    sample,
    step_errors,
    target_trajectories,
    trajectory,
)
from workbench.diffusion.sampling.predictions import write
from workbench.diffusion.sampling.sampling import DDIM, Step

DOUBLE = torch.float64
SCHEDULES = [RectifiedFlow(), Trig(), VPLinear(), VPCosine(), VE(8.0)]
each_schedule = pytest.mark.parametrize("plan", SCHEDULES, ids=lambda plan: type(plan).__name__)


def normal(n, d=2, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


@each_schedule
def test_a_gaussians_flow_is_its_closed_form(plan):
    teacher = mixture(torch.tensor([[0.5, -1.0]], dtype=DOUBLE), 0.4, schedule=plan)

    def width(t):
        return (plan.alpha(t).square() * 0.16 + plan.sigma(t).square()).sqrt()

    for ends in ((0.9, 0.3), (0.9, 0.0), (0.2, 0.7)):
        t, s = (torch.tensor(end, dtype=DOUBLE) for end in ends)
        x, m = plan.sigma(t) * normal(6), teacher.means[0]
        exact = plan.alpha(s) * m + width(s) / width(t) * (x - plan.alpha(t) * m)
        torch.testing.assert_close(flow(teacher, x, t, s), exact, atol=1e-6, rtol=1e-6)


def test_in_one_dimension_quantiles_are_kept():
    """Φ = F₀⁻¹ ∘ F_t, exactly, for any density on a line."""
    teacher = mixture(torch.tensor([[-1.0], [0.2], [1.3]], dtype=DOUBLE), torch.tensor([0.1, 0.3, 0.2], dtype=DOUBLE))
    t = torch.tensor(0.8, dtype=DOUBLE)

    def cdf(x, t):
        alpha, sigma = 1 - t, t
        spread = (alpha**2 * teacher.variances[:, 0] + sigma**2).sqrt()
        return (teacher.weights * torch.special.ndtr((x - alpha * teacher.means[:, 0]) / spread)).sum(1)

    x = torch.linspace(-1.2, 1.2, 9, dtype=DOUBLE)[:, None]
    torch.testing.assert_close(cdf(flow(teacher, x, t), 0.0), cdf(x, t), atol=1e-7, rtol=0)


@each_schedule
def test_schedules_lead_to_the_same_place(plan):
    direct, x = ring(dtype=DOUBLE), 0.7 * normal(5)
    t = torch.tensor(0.7, dtype=DOUBLE)
    there, scale = RectifiedFlow().match(t, plan)
    other = dataclasses.replace(direct, schedule=plan)
    torch.testing.assert_close(flow(other, scale * x, there), flow(direct, x, t), atol=1e-6, rtol=1e-6)


def test_parts_of_a_flow_compose_and_it_runs_back():
    teacher, x = ring(dtype=DOUBLE), normal(5)
    path = trajectory(teacher, x, torch.tensor([0.9, 0.5, 0.2]))
    torch.testing.assert_close(flow(teacher, path[1], 0.5, 0.2), path[2], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(flow(teacher, path[2], 0.2, 0.9), x, atol=1e-5, rtol=1e-5)
    assert torch.equal(flow(teacher, x, 0.5, 0.5), x)


@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("euler", 1), ("heun", 2), ("dpm-solver++", 2)])
def test_samplers_reach_a_nonlinear_flow_at_their_order(sampler, order):
    teacher, x = ring(std=0.3, dtype=DOUBLE), normal(30)
    first, last = 0.8, 0.2
    exact = flow(teacher, first * x, first, last, rtol=1e-11, atol=1e-11)
    errors = []
    for steps in (128, 256, 512):
        times = torch.linspace(first, last, steps + 1, dtype=DOUBLE)
        errors.append(float((sample(teacher, x, sampler=sampler, steps=times) - exact).norm()))
    measured = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert measured[-1] == pytest.approx(order, abs=0.15)


def test_ancestral_steps_reach_the_variance_at_first_order():
    """A Gaussian's ancestral steps are affine, x ← A x + C ξ: the variance of the sample is computed, not sampled."""
    teacher, rule = mixture(torch.zeros(1, 1, dtype=DOUBLE), 0.5), DDIM(churn=1.0)

    def variance(steps):
        times = 0.999 * torch.linspace(1, 0, steps + 1, dtype=DOUBLE)
        found = float(times[0]) ** 2
        for number, (t, s) in enumerate(itertools.pairwise(times)):
            values = []
            for x, noise in ((1.0, 0.0), (0.0, 1.0)):
                at = torch.full((1, 1), x, dtype=DOUBLE)
                step = Step(
                    number, t, s, at, teacher(at, t), None, teacher, teacher.schedule,
                    lambda noise=noise: torch.full((1, 1), noise, dtype=DOUBLE),
                )  # fmt: skip
                values.append(float(rule(step)))
            found = values[0] ** 2 * found + values[1] ** 2
        return found

    errors = [abs(variance(steps) - 0.25) for steps in (200, 400, 800)]
    assert math.log2(errors[1] / errors[2]) == pytest.approx(1, abs=0.15)


def test_a_flow_map_believes_the_end_from_everywhere():
    """Commitment 1 at every step of the teacher's own trajectory; the teacher starts from the mean, at one half."""
    teacher, noise = ring(dtype=DOUBLE), normal(60)
    path = target_trajectories(teacher, noise, sampler="heun", steps=300)
    perfect = FlowMap(teacher, steps=200)
    for t, x in list(zip(path.times, path.states, strict=True))[::60]:
        assert float((perfect(x, t).x0 - path.samples).square().sum(1).mean().sqrt()) < 0.02
    jumped = target_trajectories(perfect, noise, steps=torch.tensor([0.99, 0.5, 0.25, 0.1, 0.0]))
    assert bool((jumped.commitment > 0.99).all())
    assert float(path.commitment[0]) == pytest.approx(0.5, abs=0.05)
    each = perfect(path.states[100], path.times[100].expand(60)).x0
    torch.testing.assert_close(each, perfect(path.states[100], path.times[100]).x0)


def test_a_flow_map_is_the_flow_on_every_schedule():
    for plan in SCHEDULES:
        teacher = ring(std=0.3, schedule=plan, dtype=DOUBLE)
        t = plan.time(torch.tensor(-0.5, dtype=DOUBLE))
        x = plan.sigma(t) * normal(5)
        told = FlowMap(teacher, steps=400)(x, t)
        torch.testing.assert_close(told.x0, flow(teacher, x, t), atol=2e-3, rtol=2e-3)
        torch.testing.assert_close(plan.alpha(t) * told.x0 + plan.sigma(t) * told.noise, x)


def test_errors_of_steps_and_of_the_whole():
    teacher, noise = ring(std=0.3, dtype=DOUBLE), normal(10)
    coarse, fine = (target_trajectories(teacher, noise, steps=steps) for steps in (10, 40))
    of_coarse, of_fine = (step_errors(run, teacher) for run in (coarse, fine))
    assert of_coarse["step"].shape == (10,)
    assert float(of_coarse["step"][0]) == pytest.approx(float(of_coarse["whole"][0]), rel=1e-4)
    assert 8 < float(of_coarse["step"].mean() / of_fine["step"].mean()) < 24  # a quarter of the width: a sixteenth
    assert 3 < float(of_coarse["whole"][-1] / of_fine["whole"][-1]) < 6
    exact = torch.stack([flow(teacher, coarse.states[0], coarse.times[0], t) for t in coarse.times[1:]])
    gap = (coarse.states[1:] - exact).square().sum(2).mean(1).sqrt()
    torch.testing.assert_close(of_coarse["whole"][:-1], gap, atol=1e-5, rtol=1e-3)
    with pytest.raises(ValueError, match="stride"):
        step_errors(target_trajectories(teacher, noise, steps=10, stride=2), teacher)
    with pytest.raises(ValueError, match="Rescheduled"):
        step_errors(coarse, ring(schedule=Trig(), dtype=DOUBLE))


def test_a_straight_path_has_no_curvature_whatever_the_schedule():
    point = torch.tensor([[0.5, -1.0]], dtype=DOUBLE)
    for plan in SCHEDULES:
        run = target_trajectories(mixture(point, 0.0, schedule=plan), normal(4), steps=12)
        assert float(curvature(run).max()) < 1e-6
    bent = curvature(target_trajectories(ring(dtype=DOUBLE), normal(50), steps=40))
    assert float(bent.max()) > 1
    t, h = torch.tensor(0.4, dtype=DOUBLE), 1e-4
    teacher = GaussianMixture(point, torch.full((1, 2), 0.09, dtype=DOUBLE), torch.ones(1, dtype=DOUBLE))
    run = target_trajectories(teacher, normal(20), sampler="heun", steps=2_000)
    at = int((run.times - t).abs().argmin())
    ways = [
        write(teacher(flow(teacher, run.states[at], run.times[at], run.times[at] + d), run.times[at] + d), "velocity",
              run.times[at] + d, teacher.schedule)
        for d in (-h, h)
    ]  # fmt: skip
    expected = ((ways[1] - ways[0]) / (2 * h)).norm(dim=1).mean()
    assert float(curvature(run)[at]) == pytest.approx(float(expected), rel=1e-2)
    assert curvature(target_trajectories(teacher, normal(3), steps=1)).tolist() == [0.0]


def test_bad_times_are_refused():
    teacher, x = ring(dtype=DOUBLE), normal(2)
    with pytest.raises(ValueError, match="falling or rising"):
        trajectory(teacher, x, torch.tensor([0.5, 0.7, 0.2]))
    with pytest.raises(ValueError, match="begin at 0"):
        trajectory(teacher, x, torch.tensor([0.0, 0.5]))
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        trajectory(teacher, x, torch.tensor([1.5, 0.5]))
    with pytest.raises(ValueError, match="steps is 0"):
        FlowMap(teacher, steps=0)
