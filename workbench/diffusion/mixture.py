"""Gaussian mixtures as exact teachers: their score, and so everything a diffusion model could say, in closed form.

    p₀ = Σ_k w_k N(m_k, Σ_k)  ⇒  p_t = Σ_k w_k N(α m_k, C_k),  C_k = α² Σ_k + σ² I,
    x̂₀ = Σ_k r_k [m_k + α Σ_k C_k⁻¹ (x − α m_k)],   ε̂ = σ Σ_k r_k C_k⁻¹ (x − α m_k),
    r_k ∝ w_k N(x; α m_k, C_k).

No division by α or σ: the formulas hold at every time, the clean end (σ = 0, Σ_k > 0) and pure noise (α = 0) included.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from workbench.diffusion.predictions import Prediction
from workbench.diffusion.schedules import RectifiedFlow, Schedule


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """A mixture in d dimensions, a `Denoiser`.

    Attributes
    ----------
    means
        m_k, shape (K, d).
    variances
        Variances of each component along its axes, shape (K, d); isotropic ones have equal entries.
    weights
        w_k, shape (K,), summing to one.
    axes
        The axes of each component, orthonormal columns, shape (K, d, d); None: those of the coordinates.
    labels
        The class of each component, int64, shape (K,); None: no classes.
    schedule
        Whose states it is asked about.
    shape
        Shape of one example whose entries are the d coordinates; None: (d,).

    Examples
    --------
    >>> teacher = ring()
    >>> prediction = teacher(torch.zeros(1, 2), torch.tensor(1.0))
    >>> bool((prediction.x0.abs() < 1e-6).all())  # of pure noise it believes the mean
    True
    """

    means: Tensor
    variances: Tensor
    weights: Tensor
    axes: Tensor | None = None
    labels: Tensor | None = None
    schedule: Schedule = field(default_factory=RectifiedFlow)
    shape: tuple[int, ...] = None  # type: ignore[assignment]  # never None after __post_init__

    def __post_init__(self) -> None:
        count, dimensions = self.means.shape
        if self.shape is None:
            object.__setattr__(self, "shape", (dimensions,))
        if self.variances.shape != (count, dimensions) or bool((self.variances < 0).any()):
            raise ValueError(
                f"variances have shape {tuple(self.variances.shape)}; {count} components in {dimensions} dimensions "
                f"need ({count}, {dimensions}) of numbers that are not negative"
            )
        if self.weights.shape != (count,) or not math.isclose(float(self.weights.sum()), 1, abs_tol=1e-5):
            raise ValueError(
                f"weights of shape {tuple(self.weights.shape)} sum to {float(self.weights.sum()):g}; "
                f"shape ({count},) and a sum of 1 are needed"
            )
        if math.prod(self.shape) != dimensions:
            raise ValueError(f"shape {self.shape} does not hold {dimensions} numbers")
        if self.labels is not None and self.labels.shape != (count,):
            raise ValueError(f"labels have shape {tuple(self.labels.shape)}; one class per component, ({count},)")

    @property
    def classes(self) -> int:
        """Number of classes; 0 without labels."""
        return 0 if self.labels is None else int(self.labels.max()) + 1

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
        flat = x.flatten(1)
        alpha, sigma = (self._at(value(t), flat) for value in (self.schedule.alpha, self.schedule.sigma))
        offset = self._turned(flat, alpha)  # (n, K, d): x − α m_k in the component's axes
        spread = alpha.square() * self.variances.to(x) + sigma.square()  # C_k, (n or 1, K, d)
        scaled = offset / spread
        share = self._responsibilities(offset * scaled, spread, condition).unsqueeze(2)
        noise = self._back(share * scaled, flat) * sigma.squeeze(1)
        pulled = alpha * self.variances.to(x) * scaled
        x0 = self._back(share * pulled, flat) + share.squeeze(2) @ self.means.to(x)
        return Prediction(x0.view_as(x), noise.view_as(x))

    def responsibilities(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """r_k = p(component k | x_t), shape (n, K)."""
        flat = x.flatten(1)
        alpha, sigma = (self._at(value(t), flat) for value in (self.schedule.alpha, self.schedule.sigma))
        offset = self._turned(flat, alpha)
        spread = alpha.square() * self.variances.to(x) + sigma.square()
        return self._responsibilities(offset.square() / spread, spread, condition)

    def log_density(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """The logarithm of p_t(x), shape (n,)."""
        flat = x.flatten(1)
        alpha, sigma = (self._at(value(t), flat) for value in (self.schedule.alpha, self.schedule.sigma))
        offset = self._turned(flat, alpha)
        spread = alpha.square() * self.variances.to(x) + sigma.square()
        joint = self._joint(offset.square() / spread, spread, condition)
        return joint.logsumexp(1) - 0.5 * flat.shape[1] * math.log(2 * math.pi)

    def sample(self, n: int, generator: torch.Generator, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Examples (n, *shape) and the component each came from, (n,)."""
        log = self._log_weights(condition, n, self.means)
        chosen = torch.multinomial(log.exp(), 1, generator=generator).squeeze(1)
        noise = torch.randn((n, self.means.shape[1]), generator=generator, dtype=self.means.dtype)
        step = noise * self.variances[chosen].sqrt()
        if self.axes is not None:
            step = torch.einsum("nij,nj->ni", self.axes[chosen], step)
        return (self.means[chosen] + step).view(n, *self.shape), chosen

    @property
    def mean(self) -> Tensor:
        """E[x₀], shape (d,)."""
        return self.weights @ self.means

    @property
    def total_variance(self) -> float:
        """Trace of the covariance of x₀."""
        within = self.weights @ self.variances.sum(1)
        between = self.weights @ (self.means - self.mean).square().sum(1)
        return float(within + between)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "GaussianMixture":
        """The same on another device or in another floating point type."""
        moved = {
            name: None if value is None else value.to(device=device, dtype=dtype)
            for name, value in (
                ("means", self.means), ("variances", self.variances), ("weights", self.weights), ("axes", self.axes)
            )
        }  # fmt: skip
        labels = None if self.labels is None else self.labels.to(device)
        return GaussianMixture(**moved, labels=labels, schedule=self.schedule, shape=self.shape)  # type: ignore[arg-type]

    def only(self, components: Tensor) -> "GaussianMixture":
        """The mixture of some of the components, reweighted."""
        weights = self.weights[components]
        return GaussianMixture(
            self.means[components],
            self.variances[components],
            weights / weights.sum(),
            None if self.axes is None else self.axes[components],
            None if self.labels is None else self.labels[components],
            self.schedule,
            self.shape,
        )

    @staticmethod
    def _at(value: Tensor, x: Tensor) -> Tensor:
        """A value of the schedule, shaped (n or 1, 1, 1)."""
        return value.to(x).reshape(-1, 1, 1)

    def _turned(self, x: Tensor, alpha: Tensor) -> Tensor:
        offset = x[:, None] - alpha * self.means.to(x)
        return offset if self.axes is None else torch.einsum("nki,kij->nkj", offset, self.axes.to(x))

    def _back(self, turned: Tensor, x: Tensor) -> Tensor:
        """Sum over components, (n, d), of vectors (n, K, d) in the components' axes."""
        return turned.sum(1) if self.axes is None else torch.einsum("nkj,kij->ni", turned, self.axes.to(x))

    def _joint(self, distance: Tensor, spread: Tensor, condition: Tensor | None) -> Tensor:
        """The log of w_k N(x; α m_k, C_k) up to a constant, (n, K)."""
        weights = self._log_weights(condition, len(distance), distance)
        return weights - 0.5 * (distance.sum(2) + spread.log().sum(2))

    def _responsibilities(self, distance: Tensor, spread: Tensor, condition: Tensor | None) -> Tensor:
        return self._joint(distance, spread, condition).softmax(1)

    def _log_weights(self, condition: Tensor | None, n: int, like: Tensor) -> Tensor:
        """The log of w_k, over the components that the condition leaves, (n, K)."""
        log = self.weights.to(like).log().expand(n, -1)
        if condition is None:
            return log
        if self.labels is None:
            raise ValueError("condition was given, but this mixture has no classes: pass labels")
        wanted = condition.to(like.device).expand(n)[:, None]
        allowed = (wanted < 0) | (self.labels.to(like.device) == wanted)
        if not bool(allowed.any(1).all()):
            raise ValueError(f"condition holds a class outside 0..{self.classes - 1}, or one without a component")
        return log.masked_fill(~allowed, -math.inf).log_softmax(1)


def mixture(means: Tensor, std: float | Tensor, **options: object) -> GaussianMixture:
    """Isotropic components of equal weight: `std` for all, or one each, (K,)."""
    spread = torch.as_tensor(std, dtype=means.dtype).expand(len(means))
    variances = spread.square()[:, None].expand_as(means).clone()
    return GaussianMixture(means, variances, torch.full((len(means),), 1 / len(means), dtype=means.dtype), **options)  # type: ignore[arg-type]


def ring(
    modes: int = 8, *, radius: float = 1.0, std: float = 0.08, dimensions: int = 2, classes: int = 0,
    schedule: Schedule | None = None, dtype: torch.dtype = torch.float32,
) -> GaussianMixture:  # fmt: skip
    """Modes evenly on a circle, in the first two of `dimensions`; `classes` > 0 parts the circle into arcs."""
    angle = torch.arange(modes, dtype=torch.float64) * (2 * math.pi / modes)
    means = torch.zeros(modes, dimensions, dtype=torch.float64)
    means[:, 0], means[:, 1] = radius * angle.cos(), radius * angle.sin()
    labels = torch.arange(modes) * classes // modes if classes else None
    return mixture(means.to(dtype), std, labels=labels, schedule=schedule or RectifiedFlow())


def grid(
    side: int = 5, *, std: float = 0.05, schedule: Schedule | None = None, dtype: torch.dtype = torch.float32
) -> GaussianMixture:
    """A square of side × side modes on [−1, 1]²: modes are lost here before they are on a ring."""
    at = torch.linspace(-1, 1, side, dtype=torch.float64)
    return mixture(torch.cartesian_prod(at, at).to(dtype), std, schedule=schedule or RectifiedFlow())


def moons(
    modes: int = 16, *, std: float = 0.1, schedule: Schedule | None = None, dtype: torch.dtype = torch.float32
) -> GaussianMixture:
    """Two interleaved half circles, each a chain of modes and a class of its own."""
    half = modes // 2
    angle = torch.linspace(0, math.pi, half, dtype=torch.float64)
    upper = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], 1)
    lower = torch.stack([0.5 - angle.cos(), 0.25 - angle.sin()], 1)
    labels = torch.arange(2).repeat_interleave(half)
    return mixture(torch.cat([upper, lower]).to(dtype), std, labels=labels, schedule=schedule or RectifiedFlow())
