"""iPNDM and DEIS: their coefficients against quadrature in time, what they solve exactly, and their orders."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from workbench.diffusion import (
    DEIS,
    IPNDM,
    VE,
    Prediction,
    RectifiedFlow,
    SamplingError,
    VPCosine,
    VPLinear,
    mixture,
    ring,
    sample,
)
from workbench.diffusion.sampling.multistep import coefficients

DOUBLE = torch.float64
SCHEDULES = [VPLinear(), VPCosine(), RectifiedFlow(), VE()]


def normal(n, d=2):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)


def ratio(schedule, t):
    return schedule.sigma(t) / schedule.alpha(t)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 4), end=st.booleans())
def test_coefficients_are_integrals_over_time(schedule, seed, count, end):
    """∫ ℓ_j(τ) (dρ/dτ) dτ by adaptive quadrature over τ; the package integrates over another variable."""
    drawn = torch.rand(count + 1, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
    grid = (0.03 + 0.9 * (drawn.cumsum(0) / drawn.sum())).tolist()
    s, times = (0.0 if end else grid[0]), grid[1:]

    def slope(tau):
        t = torch.tensor(tau, dtype=DOUBLE)
        a, b = schedule.alpha(t), schedule.sigma(t)
        return float((schedule.sigma_rate(t) * a - b * schedule.alpha_rate(t)) / a.square())

    expected = []
    for j in range(count):

        def integrand(root, j=j):  # τ = root²: the rate of σ has a root's pole at 0
            tau, product = root**2, 1.0
            for k in range(count):
                if k != j:
                    product *= (tau - times[k]) / (times[j] - times[k])
            return product * slope(tau) * 2 * root

        expected.append(quad(integrand, math.sqrt(times[0]), math.sqrt(s), epsabs=1e-12, epsrel=1e-11, limit=200)[0])
    found = coefficients(schedule, torch.tensor(times, dtype=DOUBLE), torch.tensor(s, dtype=DOUBLE))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=DOUBLE), rtol=1e-8, atol=1e-8)


class Clock:
    """A model whose ε̂ is a cubic of the time and of nothing else."""

    shape = (2,)

    def __init__(self, schedule):
        self.schedule = schedule

    def __call__(self, x, t, condition=None):
        noise = torch.full_like(x, float(1 - 2 * t + 3 * t**2 - 4 * t**3))
        a, b = self.schedule.alpha(t), self.schedule.sigma(t)
        return Prediction((x - b * noise) / a, noise)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_deis_is_exact_where_the_output_is_a_cubic_of_time(schedule):
    times = torch.tensor([0.9, 0.8, 0.65, 0.6, 0.3, 0.1], dtype=DOUBLE)
    states = {}
    end = sample(
        Clock(schedule), normal(3), sampler=DEIS(), steps=times, record=lambda i, t, x, x0, e: states.update({i: x})
    )

    def slope(tau):
        t = torch.tensor(tau, dtype=DOUBLE)
        a, b = schedule.alpha(t), schedule.sigma(t)
        rate = float((schedule.sigma_rate(t) * a - b * schedule.alpha_rate(t)) / a.square())
        return rate * (1 - 2 * tau + 3 * tau**2 - 4 * tau**3)

    change = quad(slope, float(times[3]), float(times[5]), epsabs=1e-12)[0]  # from the step that knows four outputs
    expected = schedule.alpha(times[5]) * (states[3] / schedule.alpha(times[3]) + change)
    torch.testing.assert_close(end, expected, rtol=1e-9, atol=1e-9)


def gaussian_error(rule, times, schedule, start):
    """How far the rule ends from the solution of the ODE of one normal distribution, given the exact first states."""
    model = mixture(torch.tensor([[0.5, -1.0]], dtype=DOUBLE), 0.4, schedule=schedule)

    def width(t):
        return (schedule.alpha(t).square() * 0.16 + schedule.sigma(t).square()).sqrt()

    begun = schedule.sigma(times[0]) * start - schedule.alpha(times[0]) * model.means
    exact = schedule.alpha(times[-1]) * model.means + width(times[-1]) / width(times[0]) * begun
    return float((sample(model, start, sampler=rule, steps=times) - exact).norm())


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("schedule", [VPLinear(), RectifiedFlow()], ids=repr)
def test_deis_reaches_its_order_on_uneven_steps(schedule, order):
    errors = []
    for steps in (128, 256, 512):
        grid = 0.8 - 0.6 * torch.linspace(0, 1, steps + 1, dtype=DOUBLE) ** 1.3
        errors.append(gaussian_error(DEIS(order), grid, schedule, normal(20)))
    assert math.log2(errors[1] / errors[2]) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("order", [3, 4])
@pytest.mark.parametrize("make", [DEIS, IPNDM])
def test_higher_orders_show_once_the_start_is_fine_enough(make, order):
    """The first steps are of lower order: they are made so short that they do not count. Even steps in σ/α."""
    schedule, errors = VPLinear(), []
    for steps in (32, 64, 128):
        h = 1.6 / steps
        start = [2.0 - h * (k / 4) ** 6 for k in range(1, 4)] if make is DEIS else []
        bar = [2.0, *start, *(2.0 - h * k for k in range(1, steps + 1))]
        times = schedule.time(-torch.tensor(bar, dtype=DOUBLE).log())
        errors.append(gaussian_error(make(order), times, schedule, normal(20)))
    found = math.log2(errors[1] / errors[2])
    # iPNDM's start keeps its steps as long as the others: local errors of the first step, h², and of the second, h³
    assert found > (order - 0.35 if make is DEIS else 1.7)


def test_ipndm_is_adams_bashforth_written_out():
    """x/α moves by ρ_s − ρ_t times (55 e₀ − 59 e₁ + 37 e₂ − 9 e₃) / 24, begun by the shorter formulas."""
    schedule, model, noise = VPLinear(), ring(schedule=VPLinear(), dtype=DOUBLE), normal(10)
    times = torch.tensor([0.95, 0.8, 0.6, 0.5, 0.3, 0.2, 0.0], dtype=DOUBLE)
    y, said = schedule.sigma(times[0]) * noise / schedule.alpha(times[0]), []
    for t, s in itertools.pairwise(times):
        said.insert(0, model(schedule.alpha(t) * y, t).noise)
        if len(said) == 1:
            mean = said[0]
        elif len(said) == 2:
            mean = (3 * said[0] - said[1]) / 2
        elif len(said) == 3:
            mean = (23 * said[0] - 16 * said[1] + 5 * said[2]) / 12
        else:
            mean = (55 * said[0] - 59 * said[1] + 37 * said[2] - 9 * said[3]) / 24
        y = y + (ratio(schedule, s) - ratio(schedule, t)) * mean
    torch.testing.assert_close(sample(model, noise, sampler="ipndm", steps=times), y, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("make", [DEIS, IPNDM])
def test_order_one_is_ddim_and_others_are_refused(make):
    model, noise = ring(), normal(8).float()
    assert torch.equal(sample(model, noise, sampler=make(order=1), steps=6), sample(model, noise, steps=6))
    for order in (0, 5, True, 2.5):
        with pytest.raises(SamplingError, match=r"order is .*; it can be 1, 2, 3 or 4"):
            make(order=order)


@pytest.mark.parametrize("name", ["ipndm", "deis"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_from_pure_noise_to_none_a_hundred_steps_end_nearer_than_ddims(name, schedule):
    model = ring(schedule=schedule)
    noise = normal(100).float()
    exact = sample(model, noise, sampler="heun", steps=300)
    far = {rule: float((sample(model, noise, sampler=rule, steps=100) - exact).norm()) for rule in (name, "ddim")}
    assert far[name] < far["ddim"]
