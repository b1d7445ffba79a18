"""Schedules and predictions: rates are derivatives, times are inverses, and every name says the same thing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench.diffusion import VE, Prediction, RectifiedFlow, Trig, VPCosine, VPLinear
from workbench.diffusion.sampling.predictions import KINDS, read, write
from workbench.diffusion.sampling.schedules import schedule

SCHEDULES = [RectifiedFlow(), Trig(), VPLinear(), VPCosine(), VE()]
each_schedule = pytest.mark.parametrize("plan", SCHEDULES, ids=lambda plan: type(plan).__name__)


def times(n=40):
    return torch.linspace(0.01, 0.98, n, dtype=torch.float64)


@each_schedule
def test_rates_are_the_derivatives(plan):
    t, h = times(), 1e-6
    for value, rate in ((plan.alpha, plan.alpha_rate), (plan.sigma, plan.sigma_rate)):
        torch.testing.assert_close((value(t + h) - value(t - h)) / (2 * h), rate(t), atol=1e-7, rtol=1e-7)


@each_schedule
def test_time_is_the_inverse_of_log_snr_which_falls(plan):
    t = times()
    torch.testing.assert_close(plan.time(plan.log_snr(t)), t, atol=1e-13, rtol=1e-12)
    assert bool((plan.log_snr(t).diff() < 0).all())


@each_schedule
def test_variance_is_preserved_where_it_is_said_to_be(plan):
    total = plan.alpha(times()).square() + plan.sigma(times()).square()
    assert bool(torch.allclose(total, torch.ones_like(total), atol=1e-12)) == plan.preserving


@each_schedule
def test_a_transition_after_a_diffusion_is_the_longer_diffusion(plan):
    s, t = torch.tensor(0.3, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    scale, spread = plan.transition(s, t)
    torch.testing.assert_close(scale * plan.alpha(s), plan.alpha(t))
    torch.testing.assert_close((scale * plan.sigma(s)).square() + spread.square(), plan.sigma(t).square())


@each_schedule
@pytest.mark.parametrize("spacing", ["time", "log_snr", "karras"])
def test_a_grid_falls_from_the_latest_time_to_zero(plan, spacing):
    grid = plan.grid(12, spacing)
    assert grid.shape == (13,)
    assert bool((grid.diff() < 0).all())
    assert (float(grid[-1]), float(grid[0])) == (0.0, pytest.approx(plan.latest))


@each_schedule
def test_a_schedule_comes_back_from_its_spec(plan):
    assert schedule(plan.spec) == plan


def test_bad_grids_and_names_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        RectifiedFlow().grid(0)
    with pytest.raises(ValueError, match="'time', 'log_snr' or 'karras'"):
        RectifiedFlow().grid(5, "even")
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        RectifiedFlow().grid(5, latest=1.5)
    with pytest.raises(ValueError, match="RectifiedFlow"):
        schedule({"name": "linear"})


@each_schedule
@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10_000), at=st.floats(0.05, 0.95))
def test_reading_undoes_writing(plan, kind, seed, at):
    if kind == "v" and not plan.preserving:
        pytest.skip("this schedule has no v")
    generator = torch.Generator().manual_seed(seed)
    x0, noise = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    t = torch.full((3,), at, dtype=torch.float64)
    x = plan.diffuse(x0, noise, t)
    found = read(write(Prediction(x0, noise), kind, t, plan), kind, x, t, plan)
    torch.testing.assert_close(found.x0, x0, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(found.noise, noise, atol=1e-9, rtol=1e-9)


def test_v_needs_a_preserved_variance_and_kinds_are_known():
    x, t = torch.zeros(1, 2), torch.tensor(0.5)
    with pytest.raises(ValueError, match="use 'velocity'"):
        read(x, "v", x, t, RectifiedFlow())
    with pytest.raises(ValueError, match="x0, noise, score"):
        write(Prediction(x, x), "epsilon", t, RectifiedFlow())
