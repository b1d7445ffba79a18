"""BOOT's identities: the signal's equation is the teacher's, and bootstrapping adds no error of its own (paper 031)."""

import itertools
import math

import pytest
import torch

from workbench import models
from workbench.diffusion import (
    BOOT,
    Direct,
    GaussianMixture,
    NetworkDenoiser,
    RectifiedFlow,
    SignalDenoiser,
    Trig,
    VPCosine,
    VPLinear,
    denoiser,
    distill,
    regress,
    ring,
    sample,
)
from workbench.diffusion.methods.boot import signal_step
from workbench.diffusion.sampling.predictions import Prediction, jump
from workbench.diffusion.sampling.schedules import along

DOUBLE = torch.float64
SCHEDULES = [RectifiedFlow(), Trig(), VPLinear(), VPCosine()]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def at(value, n=16):
    return torch.full((n,), value, dtype=DOUBLE)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_step_of_the_signal_is_a_step_of_the_state(schedule):
    """α_s y_s + σ_s ε = DDIM(x_t; t → s) for any x̂₀."""
    noise, y, x0 = normal(16, 2), normal(16, 2, seed=1), normal(16, 2, seed=2)
    for t, s in ((0.9, 0.4), (0.5, 0.48), (0.2, 0.01)):
        x = schedule.diffuse(y, noise, at(t))
        told = Prediction(x0, (x - along(schedule.alpha(at(t)), x) * x0) / along(schedule.sigma(at(t)), x))
        moved = signal_step(y, x0, at(t), at(s), schedule)
        torch.testing.assert_close(
            schedule.diffuse(moved, noise, at(s)), jump(told, at(s), schedule), atol=1e-12, rtol=1e-12
        )


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_eulers_step_is_the_other_one_as_strides_shrink(schedule):
    y, x0 = normal(16, 2), normal(16, 2, seed=1)
    gaps = []
    for stride in (0.04, 0.02, 0.01, 0.005):
        both = [signal_step(y, x0, at(0.5), at(0.5 - stride), schedule, rule=rule) for rule in ("ddim", "euler")]
        gaps.append(float((both[0] - both[1]).norm()))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(gaps)]
    assert orders[-1] == pytest.approx(2, abs=0.1)


def test_the_signals_equation_ends_where_the_teachers_does():
    """ẏ = −ρ (x̂₀ − y) by Euler's rule tends to the solution of the state's own equation, at first order."""
    teacher, noise = ring(dtype=DOUBLE), normal(64, 2)
    reference = sample(teacher, noise, sampler="heun", steps=600)
    errors = []
    for steps in (250, 500):
        y = torch.zeros_like(noise)
        for t, s in itertools.pairwise(RectifiedFlow().grid(steps)):
            x0 = teacher(teacher.schedule.diffuse(y, noise, t), t).x0
            y = signal_step(y, x0, t.expand(64), s.expand(64), teacher.schedule, rule="euler")
        errors.append(float((y - reference).square().sum(1).mean().sqrt()))
    assert errors[-1] < 4e-3
    assert all(a / b == pytest.approx(2, abs=0.35) for a, b in itertools.pairwise(errors))


def closed_form(noise, t, mean, variance, schedule):
    """y_t of a normal teacher N(m, v) where α = 0 at the start: m + (c − σ) / α ε, c² = α² v + σ²."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    spread = (alpha.square() * variance + sigma.square()).sqrt()
    return mean + along((spread - sigma) / alpha, noise) * noise


@pytest.mark.parametrize("schedule", [RectifiedFlow(), Trig(), VPCosine()])
def test_the_closed_form_is_a_fixed_point_and_satisfies_the_boundary(schedule):
    mean, variance = torch.tensor([0.7, -0.4], dtype=DOUBLE), 0.09
    teacher = GaussianMixture(mean[None], torch.full((1, 2), variance, dtype=DOUBLE), torch.ones(1, dtype=DOUBLE),
                              schedule=schedule)  # fmt: skip
    noise = normal(64, 2)
    residuals = []
    for stride in (0.02, 0.01, 0.005):
        t, s = at(0.6, 64), at(0.6 - stride, 64)
        y = closed_form(noise, t, mean, variance, schedule)
        x0 = teacher(schedule.diffuse(y, noise, t), t).x0
        residuals.append(
            float((signal_step(y, x0, t, s, schedule) - closed_form(noise, s, mean, variance, schedule)).norm())
        )
    orders = [math.log2(a / b) for a, b in itertools.pairwise(residuals)]
    assert orders[-1] == pytest.approx(2, abs=0.1)  # so that the loss, its square over δ², goes to zero with δ²
    top = at(1 - 1e-9, 64)
    first = teacher(along(schedule.sigma(top), noise) * noise, top).x0
    torch.testing.assert_close(closed_form(noise, top, mean, variance, schedule), first, atol=1e-6, rtol=0)
    torch.testing.assert_close(first, mean.expand_as(first), atol=1e-6, rtol=0)


def test_two_schedules_have_one_signal():
    noise, mean = normal(16, 2), torch.zeros(2, dtype=DOUBLE)
    flow, cosine = RectifiedFlow(), Trig()
    t = at(0.3)
    there, _ = flow.match(t, cosine)
    torch.testing.assert_close(closed_form(noise, t, mean, 0.04, flow), closed_form(noise, there, mean, 0.04, cosine))
    other = GaussianMixture(ring().means.double(), ring().variances.double(), ring().weights.double(), schedule=cosine)
    y = normal(16, 2, seed=3) * 0.3
    told = [
        model(model.schedule.diffuse(y, noise, time), time).x0
        for model, time in ((ring(dtype=DOUBLE), t), (other, there))
    ]
    torch.testing.assert_close(*told, atol=1e-6, rtol=1e-6)


def test_a_single_point_leaves_nothing_to_learn():
    point = torch.tensor([0.8, -0.5], dtype=DOUBLE)
    teacher = GaussianMixture(point[None], torch.zeros(1, 2, dtype=DOUBLE), torch.ones(1, dtype=DOUBLE))
    noise, y = normal(16, 2), point.expand(16, 2)
    x0 = teacher(teacher.schedule.diffuse(y, noise, at(0.5)), at(0.5)).x0
    torch.testing.assert_close(signal_step(y, x0, at(0.5), at(0.4), teacher.schedule), y, atol=1e-12, rtol=0)


def test_a_table_swept_from_the_top_is_the_teachers_own_run():
    """One value per noise and time, each set to the target from the one above: bootstrapping itself has no error."""
    teacher, noise = ring(dtype=DOUBLE), normal(32, 2)
    schedule, times = teacher.schedule, RectifiedFlow().grid(25)
    x, table = along(schedule.sigma(times[0]), noise) * noise, {}
    table[0] = torch.zeros_like(noise)  # the signal of x = σ ε; the boundary would put x̂₀ there, which no step sees
    for i, (t, s) in enumerate(itertools.pairwise(times)):
        x0 = teacher(schedule.diffuse(table[i], noise, t), t).x0
        table[i + 1] = signal_step(table[i], x0, t.expand(32), s.expand(32), schedule)
        x = jump(teacher(x, t), s, schedule)
        torch.testing.assert_close(schedule.diffuse(table[i + 1], noise, s), x, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(table[25], sample(teacher, noise, steps=25), atol=1e-10, rtol=1e-10)


def test_the_student_is_asked_about_the_noise_and_believes_the_end():
    network = models.build("denoiser-mlp", ((2,), 0), width=8)
    made = SignalDenoiser(network, RectifiedFlow(), (2,), "signal")
    noise = normal(5, 2).float()
    end = made.signal(noise, torch.tensor(1e-3))
    for t in (0.999, 0.5):
        told = made(t * noise, torch.tensor(t))
        torch.testing.assert_close(told.x0, end)
        torch.testing.assert_close(told.noise, noise)
    torch.testing.assert_close(sample(made, noise, steps=1), end.detach())
    state = made.state(noise, torch.tensor(0.4))
    torch.testing.assert_close(state, 0.6 * made.signal(noise, torch.tensor(0.4)) + 0.4 * noise)


def test_a_network_of_velocities_begins_with_what_it_says_of_pure_noise():
    network = models.build("denoiser-mlp", ((2,), 0), width=8)
    start = NetworkDenoiser(network, RectifiedFlow(), (2,), "velocity")
    made, noise, top = SignalDenoiser.of(start), normal(5, 2).float(), torch.tensor(1.0)
    torch.testing.assert_close(made.signal(noise, top), start(noise, top).x0)
    assert made.kind == "signal velocity"


def test_training_brings_the_student_nearer_to_the_teachers_ends_than_its_first_guess():
    teacher = ring(2)
    start = regress(teacher, kind="x0", batch=128, steps=100, progress=False)
    noise = torch.randn(500, 2, generator=torch.Generator().manual_seed(7))
    ends = sample(teacher, noise, steps=100)
    guess = (sample(teacher, noise, steps=1) - ends).square().sum(1).mean().sqrt()
    for method in (BOOT(batch=128, steps=250, lr=3e-3), Direct(batch=128, steps=250, pool=1000, lr=3e-3)):
        made = distill(teacher, method, network=start, progress=False)
        error = (sample(denoiser(made), noise, steps=made.times) - ends).square().sum(1).mean().sqrt()
        assert float(error) < 0.5 * float(guess), method.short
        assert made.steps == 1
