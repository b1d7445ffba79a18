"""Bernoulli targets of a Gaussian process: labels in {0, 1}, and the continuous Bernoulli for probabilities in (0, 1).

Both are exponential families with natural parameter f: ``log p(y | f) = y f − A(f)``. Bernoulli has
``A(f) = log(1 + eᶠ)``; the continuous Bernoulli (Loaiza-Ganem and Cunningham 2019) has ``A(f) = log((eᶠ − 1)/f)``;
its mean has slope 1/12 at 0 where the sigmoid has 1/4. Paper 001, section E.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from gpytorch.distributions import MultivariateNormal
from gpytorch.likelihoods.likelihood import _OneDimensionalLikelihood
from torch import Tensor
from torch.distributions import Bernoulli, ContinuousBernoulli

SERIES = 0.4  # below this |f| the closed forms cancel; the series' first omitted term is below 1e-13
# A(f) − f/2 = Σ c_k f²ᵏ, c_k = B_2k / (2k · (2k)!)
SERIES_TERMS = (1 / 24, -1 / 2880, 1 / 181440, -1 / 9676800, 1 / 479001600, -691 / 2730 / 12 / math.factorial(12))


class Family(NamedTuple):
    """``log p(y | f) = y f − A(f)``: A, and its derivatives mean A′, variance A″ and A‴, all elementwise."""

    log_partition: Callable[[Tensor], Tensor]
    mean: Callable[[Tensor], Tensor]
    variance: Callable[[Tensor], Tensor]
    third: Callable[[Tensor], Tensor]


def log_partition(f: Tensor) -> Tensor:
    """A of the continuous Bernoulli; A(0) = 0.

    Examples
    --------
    >>> log_partition(torch.tensor([0.0, 1.0], dtype=torch.float64))
    tensor([0.0000, 0.5413], dtype=torch.float64)
    """
    small, safe = _split(f)
    size = safe.abs()
    return torch.where(small, f / 2 + _series(f, 0), safe.clamp_min(0) + torch.log(-torch.expm1(-size)) - size.log())


def mean(f: Tensor) -> Tensor:
    """μ(f) = A′(f) = 1/(1 − e⁻ᶠ) − 1/f, in 0..1; ½ at 0."""
    small, safe = _split(f)
    size = safe.abs()
    above = -1 / torch.expm1(-size) - 1 / size
    return torch.where(small, 0.5 + _series(f, 1), torch.where(safe > 0, above, 1 - above))


def variance(f: Tensor) -> Tensor:
    """A″(f) = 1/f² − 1/(4 sinh²(f/2)); 1/12 at 0."""
    small, safe = _split(f)
    decay = torch.exp(-safe.abs())
    return torch.where(small, _series(f, 2), 1 / safe.square() - decay / (1 - decay).square())


def third(f: Tensor) -> Tensor:
    """A‴(f), odd; 0 at 0."""
    small, safe = _split(f)
    size = safe.abs()
    decay = torch.exp(-size)
    value = decay * (1 + decay) / (1 - decay) ** 3 - 2 / size**3
    return torch.where(small, _series(f, 3), safe.sign() * value)


def _logistic_variance(f: Tensor) -> Tensor:
    return torch.sigmoid(f) * torch.sigmoid(-f)


LOGISTIC = Family(
    torch.nn.functional.softplus,
    torch.sigmoid,
    _logistic_variance,
    lambda f: _logistic_variance(f) * (1 - 2 * torch.sigmoid(f)),
)
CONTINUOUS = Family(log_partition, mean, variance, third)


class ExponentialFamilyLikelihood(_OneDimensionalLikelihood):
    """A `Family` as a gpytorch likelihood; expectations by Gauss–Hermite quadrature."""

    family: Family

    def expected_log_prob(
        self, observations: Tensor, function_dist: MultivariateNormal, *_: object, **__: object
    ) -> Tensor:
        """``y E[f] − E[A(f)]`` for y (n,) and the marginals of q(f); shape (n,)."""
        return observations * function_dist.mean - self.quadrature(self.family.log_partition, function_dist)

    def log_marginal(self, observations: Tensor, function_dist: MultivariateNormal, *_: object, **__: object) -> Tensor:
        """The log of E[p(y | f)], shape (n,)."""

        def density(f: Tensor) -> Tensor:
            return torch.exp(observations * f - self.family.log_partition(f))

        return self.quadrature(density, function_dist).log()


class LogisticLikelihood(ExponentialFamilyLikelihood):
    """Labels y in {0, 1} with ``p(y = 1 | f) = σ(f)``."""

    family = LOGISTIC

    def forward(self, function_samples: Tensor, *_: object, **__: object) -> Bernoulli:
        return Bernoulli(logits=function_samples)


class ContinuousBernoulliLikelihood(ExponentialFamilyLikelihood):
    """Targets y in (0, 1) with density ``exp(y f − A(f))``; works with any variational gpytorch model.

    Examples
    --------
    >>> q = MultivariateNormal(torch.zeros(1), torch.eye(1) * 1e-8)
    >>> ContinuousBernoulliLikelihood().expected_log_prob(torch.tensor([0.3]), q).abs().item() < 1e-6
    True
    """

    family = CONTINUOUS

    def forward(self, function_samples: Tensor, *_: object, **__: object) -> ContinuousBernoulli:
        return ContinuousBernoulli(logits=function_samples)


def averaged_sigmoid(latent_mean: Tensor, latent_variance: Tensor) -> Tensor:
    """E[σ(f)] for f ~ N(mean, variance), by a sum of five error functions (Williams and Barber 1998), error < 1e-4.

    ``½ Σ_j c_j (1 + erf(λ_j m / √(1 + 2 λ_j² v)))`` with the constants of scikit-learn's classifier.
    """
    total = torch.zeros_like(latent_mean)
    for rate, share in zip(
        (0.41, 0.4, 0.37, 0.44, 0.39),
        (-1854.8214151, 3516.89893646, 221.29346712, 128.12323805, -2010.49422654),
        strict=True,
    ):
        total += 0.5 * share * (1 + torch.erf(rate * latent_mean / (1 + 2 * rate**2 * latent_variance).sqrt()))
    return total.clamp(0, 1)


def averaged_mean(latent_mean: Tensor, latent_variance: Tensor) -> Tensor:
    """E[μ(f)] of the continuous Bernoulli for f ~ N(mean, variance), by 32-point Gauss–Hermite quadrature."""
    points, masses = np.polynomial.hermite_e.hermegauss(32)
    nodes, shares = torch.as_tensor(points).to(latent_mean), torch.as_tensor(masses / masses.sum()).to(latent_mean)
    return (mean(latent_mean[..., None] + latent_variance.sqrt()[..., None] * nodes) * shares).sum(-1)


def _split(f: Tensor) -> tuple[Tensor, Tensor]:
    """Where the series is used, and f with those entries replaced, so that no branch yields NaN gradients."""
    small = f.abs() < SERIES
    return small, torch.where(small, torch.ones_like(f), f)


def _series(f: Tensor, derivative: int) -> Tensor:
    """The given derivative of Σ c_k f²ᵏ."""
    f = f.clamp(-SERIES, SERIES)
    total = torch.zeros_like(f)
    for k, term in enumerate(SERIES_TERMS, start=1):
        power = 2 * k - derivative
        if power >= 0:
            total = total + term * math.perm(2 * k, derivative) * f**power
    return total
