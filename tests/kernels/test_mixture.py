"""Closed-form teachers: the definition, Tweedie's identity, limits, derivatives."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.kernels import mixture as module
from workbench.kernels.mixture import by_definition, mixture_score


@pytest.fixture(scope="module", autouse=True, params=[1 << 20, 8])
def block(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(module.BLOCK, "cpu", request.param)
        yield


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def levels(n, m, seed=0):
    u = normal(3, max(n, m), seed=seed).sigmoid()
    return {"alpha": u[0, :n], "sigma": u[1, :n] + 0.05, "spread": u[2, :m]}


@settings(max_examples=12)
@given(st.integers(1, 6), st.integers(1, 7), st.integers(1, 4))
def test_values_and_gradients_are_those_of_the_definition(n, m, d):
    x, means, told = normal(n, d, seed=n).requires_grad_(), normal(m, d, seed=m), levels(n, m)
    w = normal(m, seed=5).exp()
    mine = mixture_score(x, means, weights=w, **told)
    exact = by_definition(x, means, told["alpha"], told["sigma"], told["spread"] ** 2, (w / w.sum()).log())
    torch.testing.assert_close((mine.log_density, mine.x0), exact)
    up = normal(n, seed=1), normal(n, d, seed=2)
    torch.testing.assert_close(
        torch.autograd.grad((mine.log_density, mine.x0), x, up, retain_graph=True),
        torch.autograd.grad(exact, x, up, retain_graph=True),
    )
    # Tweedie: what the posterior mean says is the slope of the log-density.
    torch.testing.assert_close(torch.autograd.grad(mine.log_density.sum(), x)[0], mine.score.detach())


def test_first_and_second_derivatives_in_everything():
    x, means, told = normal(2, 2).requires_grad_(), normal(3, 2, seed=1), levels(2, 3)
    assert torch.autograd.gradcheck(lambda x: mixture_score(x, means, **told), x)
    assert torch.autograd.gradgradcheck(lambda x: mixture_score(x, means, **told).x0, x)
    learned = means.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda mu: mixture_score(x.detach(), mu, **told), learned)


def test_densities_integrate_to_one_and_single_components_are_gaussian():
    grid = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None]
    told = mixture_score(grid, normal(5, 1), alpha=0.8, sigma=0.3, spread=0.2)
    assert float(told.log_density.exp().sum() * (grid[1] - grid[0])) == pytest.approx(1, abs=1e-6)
    x, mu, alpha, sigma, s = normal(4, 3), normal(1, 3, seed=1), 0.7, 0.4, 0.5
    v = alpha**2 * s**2 + sigma**2
    one = mixture_score(x, mu, alpha=alpha, sigma=sigma, spread=s)
    torch.testing.assert_close(one.score, (alpha * mu - x) / v)
    torch.testing.assert_close(
        one.log_density, torch.distributions.MultivariateNormal(alpha * mu[0], v * torch.eye(3).double()).log_prob(x)
    )


def test_little_noise_finds_the_nearest_point_and_much_noise_the_mean():
    data, x = normal(50, 6), normal(8, 6, seed=1)
    near = mixture_score(x, data, sigma=1e-3)
    torch.testing.assert_close(near.x0, data[torch.cdist(x, data).argmin(1)])
    far = mixture_score(x, data, alpha=0.0, sigma=1.0)
    torch.testing.assert_close(far.x0, data.mean(0).expand(8, -1))
    single = mixture_score(x.float(), data.float(), sigma=1e-2)
    double = mixture_score(x.float().double(), data.float().double(), sigma=1e-2)
    torch.testing.assert_close(single.x0.double(), double.x0, rtol=1e-4, atol=1e-4)


def test_nan_stays_in_its_row_and_nothing_gives_nothing():
    x = normal(3, 2)
    x[1, 0] = math.nan
    told = mixture_score(x, normal(4, 2), sigma=0.5)
    assert told.log_density.isnan().tolist() == told.x0.isnan().all(1).tolist() == [False, True, False]
    assert mixture_score(normal(0, 2), normal(4, 2), sigma=0.5).x0.shape == (0, 2)


def test_bad_arguments_are_named():
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="without noise"):
        mixture_score(x, x, sigma=0.0)
    with pytest.raises(ValueError, match=r"alpha has shape \(2,\)"):
        mixture_score(x, x, alpha=torch.ones(2), sigma=1.0)
    with pytest.raises(ValueError, match=r"means \(3, 4\)"):
        mixture_score(x, torch.zeros(3, 4), sigma=1.0)
    with pytest.raises(ValueError, match="one per component"):
        mixture_score(x, x, sigma=1.0, weights=torch.ones(2))
