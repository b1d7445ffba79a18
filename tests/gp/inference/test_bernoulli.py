"""The continuous Bernoulli: derivatives, moments against torch, and the likelihood inside gpytorch."""

import itertools
import math

import gpytorch
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from torch.distributions import ContinuousBernoulli

from workbench.gp import ContinuousBernoulliLikelihood, LogisticLikelihood
from workbench.gp.inference import bernoulli

LATENT = torch.tensor([-60.0, -9, -1.3, -0.41, -0.39, -0.05, -1e-9, 0, 1e-4, 0.2, 0.4, 0.7, 3, 25, 500]).double()


def test_values_at_zero():
    zero = torch.zeros(1).double()
    assert bernoulli.log_partition(zero).item() == 0
    assert bernoulli.mean(zero).item() == 0.5
    assert bernoulli.variance(zero).item() == pytest.approx(1 / 12, abs=1e-15)
    assert bernoulli.third(zero).item() == 0


@pytest.mark.parametrize("family", [bernoulli.LOGISTIC, bernoulli.CONTINUOUS])
def test_each_derivative_is_the_derivative_of_the_one_before(family):
    f = LATENT.clone().requires_grad_()
    for value, slope in itertools.pairwise(family):
        (derivative,) = torch.autograd.grad(value(f).sum(), f)
        assert torch.allclose(derivative, slope(f), atol=3e-10), (derivative - slope(f)).abs()


@given(st.floats(-30, 30))
def test_mean_and_variance_are_numerical_derivatives(f):
    h = 1e-4
    points = torch.tensor([f - h, f, f + h], dtype=torch.float64)
    a, m = bernoulli.log_partition(points), bernoulli.mean(points)
    assert float(m[1]) == pytest.approx(float(a[2] - a[0]) / (2 * h), abs=1e-7)
    assert float(bernoulli.variance(points)[1]) == pytest.approx(float(m[2] - m[0]) / (2 * h), abs=1e-7)


@given(st.floats(-20, 20))
def test_series_and_closed_form_meet_the_integral(f):
    point = torch.tensor([f], dtype=torch.float64)
    integral = integrate.quad(lambda y: math.exp(y * f), 0, 1)[0]
    assert bernoulli.log_partition(point).item() == pytest.approx(math.log(integral), abs=1e-11)


def test_agrees_with_torch():
    f = torch.linspace(-6, 6, 41).double()
    theirs = ContinuousBernoulli(logits=f)
    y = torch.linspace(0.01, 0.99, 41).double()
    assert torch.allclose(y * f - bernoulli.log_partition(f), theirs.log_prob(y), atol=1e-3)  # torch's own series
    assert torch.allclose(bernoulli.mean(f), theirs.mean, atol=1e-3)
    assert torch.allclose(bernoulli.variance(f), theirs.variance, atol=1e-3)


@pytest.mark.parametrize(("likelihood", "targets"), [(ContinuousBernoulliLikelihood, 0.3), (LogisticLikelihood, 1.0)])
def test_likelihood_in_gpytorch(likelihood, targets):
    q = gpytorch.distributions.MultivariateNormal(
        torch.tensor([0.4, -2.0]).double(), torch.diag(torch.tensor([0.5, 1.5])).double()
    )
    y = torch.full((2,), targets).double()
    expected = likelihood().double().expected_log_prob(y, q)
    marginal = likelihood().double().log_marginal(y, q)
    for i in range(2):
        mean, std = q.mean[i].item(), q.variance[i].sqrt().item()

        def weighted(f, change, i=i, mean=mean, std=std):
            log = targets * f - likelihood.family.log_partition(torch.tensor([f], dtype=torch.float64)).item()
            return change(log) * math.exp(-0.5 * ((f - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))

        limits = mean - 12 * std, mean + 12 * std
        assert expected[i].item() == pytest.approx(integrate.quad(weighted, *limits, args=(float,))[0], abs=1e-6)
        density = integrate.quad(weighted, *limits, args=(math.exp,))[0]
        assert marginal[i].item() == pytest.approx(math.log(density), abs=1e-6)
    sample = likelihood()(torch.zeros(3)).sample()
    assert bool(((sample >= 0) & (sample <= 1)).all())


def test_averages_are_integrals():
    mean, variance = torch.tensor([0.0, 1.2, -3.0]).double(), torch.tensor([1.0, 0.3, 6.0]).double()
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    f = mean[:, None] + variance.sqrt()[:, None] * torch.from_numpy(nodes)
    shares = torch.from_numpy(weights / weights.sum())
    for average, function, tolerance in (
        (bernoulli.averaged_sigmoid, torch.sigmoid, 2e-4),
        (bernoulli.averaged_mean, bernoulli.mean, 1e-6),
    ):
        assert torch.allclose(average(mean, variance), (function(f) * shares).sum(1), atol=tolerance)
    assert bernoulli.averaged_sigmoid(mean, variance * 0) == pytest.approx(torch.sigmoid(mean), abs=1e-3)
