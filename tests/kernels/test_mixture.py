"""Closed-form teachers: the definition, Tweedie's identity, limits, derivatives."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.kernels import mixture as module
from workbench.kernels.mixture import by_definition, log_joint, mixture_score


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
    torch.testing.assert_close(tuple(mine), exact)
    up = normal(n, seed=1), normal(n, d, seed=2), normal(n, d, seed=3)
    torch.testing.assert_close(
        torch.autograd.grad(mine, x, up, retain_graph=True), torch.autograd.grad(exact, x, up, retain_graph=True)
    )
    # Tweedie: what the posterior mean says is the slope of the log-density.
    torch.testing.assert_close(torch.autograd.grad(mine.log_density.sum(), x)[0], mine.score.detach())


def test_first_and_second_derivatives_in_everything():
    x, means, told = normal(2, 2).requires_grad_(), normal(3, 2, seed=1), levels(2, 3)
    assert torch.autograd.gradcheck(lambda x: mixture_score(x, means, **told), x)
    assert torch.autograd.gradgradcheck(lambda x: mixture_score(x, means, **told).x0, x)
    learned = means.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda mu: mixture_score(x.detach(), mu, **told), learned)


@pytest.mark.parametrize("spread", [0.3, torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)])
def test_without_noise_the_clean_density_remains(spread):
    x, means = normal(5, 2).requires_grad_(), normal(3, 2, seed=1)
    told = mixture_score(x, means, sigma=0.0, spread=spread)
    torch.testing.assert_close(told.x0, x)
    slope, bend = normal(5, seed=4), normal(5, 2, seed=5)
    torch.testing.assert_close(torch.autograd.grad(told.log_density.sum(), x, retain_graph=True)[0], told.score)
    nearly = mixture_score(x, means, sigma=1e-7, spread=spread)
    for one, other in zip(told, nearly, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        torch.autograd.grad((told.log_density, told.score), x, (slope, bend)),
        torch.autograd.grad((nearly.log_density, nearly.score), x, (slope, bend)),
        rtol=1e-6,
        atol=1e-6,
    )


def test_transforms_and_forward_mode_see_the_same_function():
    means, told = normal(3, 2, seed=1), levels(4, 3)
    x, way = normal(4, 2), normal(4, 2, seed=2)

    def x0(x):
        return mixture_score(x, means, **told).x0

    at = x.clone().requires_grad_()
    reverse = torch.autograd.grad(x0(at), at, way)[0]  # the Jacobian of the denoiser is symmetric
    torch.testing.assert_close(torch.func.jvp(x0, (x,), (way,))[1], reverse)
    alone = torch.func.vmap(lambda x, a, s: mixture_score(x[None], means, alpha=a, sigma=s).x0[0])
    one_by_one = alone(x, told["alpha"], told["sigma"])
    torch.testing.assert_close(one_by_one, mixture_score(x, means, alpha=told["alpha"], sigma=told["sigma"]).x0)


def test_the_joint_density_sums_to_the_density_and_has_its_slope():
    x, means, told = normal(5, 3).requires_grad_(), normal(4, 3, seed=1), levels(5, 4)
    joint = log_joint(x, means, weights=normal(4, seed=5).exp(), **told)
    whole = mixture_score(x, means, weights=normal(4, seed=5).exp(), **told)
    torch.testing.assert_close(joint.logsumexp(1), whole.log_density)
    torch.testing.assert_close(torch.autograd.grad(joint.logsumexp(1).sum(), x)[0], whole.score)


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
