"""Gaussian mixtures as exact teachers: their score, and so everything a diffusion model could say, in closed form.

    p₀ = Σ_k w_k N(m_k, Σ_k)  ⇒  p_t = Σ_k w_k N(α m_k, C_k),  C_k = α² Σ_k + σ² I,
    x̂₀ = Σ_k r_k [m_k + α Σ_k C_k⁻¹ (x − α m_k)],   ε̂ = σ Σ_k r_k C_k⁻¹ (x − α m_k),
    r_k ∝ w_k N(x; α m_k, C_k).

No division by α or σ: the formulas hold at every time, the clean end (σ = 0, Σ_k > 0) and pure noise (α = 0) included.
Components that spread alike in all directions, Σ_k = s_k² I, are asked by matrix products, in blocks
(`workbench.kernels.mixture`): thousands of components in thousands of dimensions, such as images, are as welcome.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from workbench.diffusion.sampling.predictions import Prediction
from workbench.diffusion.sampling.schedules import RectifiedFlow, Schedule, along
from workbench.kernels.mixture import log_joint, mixture_score


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
    spread: Tensor | None = field(default=None, init=False, repr=False)
    """s_k, shape (K,), where every component is isotropic; else None."""

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
        if bool((self.weights < 0).any()):
            raise ValueError(f"weights hold {float(self.weights.min()):g}; shares of components are not negative")
        self._check_axes(count, dimensions)
        if math.prod(self.shape) != dimensions:
            raise ValueError(f"shape {self.shape} does not hold {dimensions} numbers")
        if self.labels is not None and self.labels.shape != (count,):
            raise ValueError(f"labels have shape {tuple(self.labels.shape)}; one class per component, ({count},)")
        if torch.equal(self.variances, self.variances[:, :1].expand_as(self.variances)):
            object.__setattr__(self, "spread", self.variances[:, 0].sqrt())

    def _check_axes(self, count: int, dimensions: int) -> None:
        if self.axes is None:
            return
        if self.axes.shape != (count, dimensions, dimensions):
            raise ValueError(
                f"axes have shape {tuple(self.axes.shape)}; ({count}, {dimensions}, {dimensions}) is needed"
            )
        axes = self.axes.double()
        off = float((axes.mT @ axes - torch.eye(dimensions, dtype=torch.float64, device=axes.device)).abs().max())
        if not off < 1e-4:
            raise ValueError(f"axes are off being orthonormal by {off:.2g}; pass the eigenvectors of each covariance")

    @property
    def classes(self) -> int:
        """Number of classes; 0 without labels."""
        return 0 if self.labels is None else int(self.labels.max()) + 1

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
        flat = x.flatten(1)
        if self.spread is not None:
            return Prediction(*(each.view_as(x) for each in self._by_class(self._isotropic, flat, t, condition)))
        alpha, sigma = (self._at(value(t), flat) for value in (self.schedule.alpha, self.schedule.sigma))
        offset = self._turned(flat, alpha)  # (n, K, d): x − α m_k in the component's axes
        spread = alpha.square() * self.variances.to(x) + sigma.square()  # C_k, (n or 1, K, d)
        scaled = offset / spread
        share = self._joint(offset * scaled, spread, condition).softmax(1).unsqueeze(2)
        noise = self._back(share * scaled, flat) * sigma.squeeze(1)
        pulled = alpha * self.variances.to(x) * scaled
        x0 = self._back(share * pulled, flat) + share.squeeze(2) @ self.means.to(x)
        return Prediction(x0.view_as(x), noise.view_as(x))

    def _isotropic(self, x: Tensor, t: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor]:
        """The prediction (x̂₀, ε̂) of some of the components, each (n, d)."""
        told = mixture_score(x, **self._levels(x, t, rows))
        return told.x0, -along(self.schedule.sigma(t), x) * told.score

    def _levels(self, x: Tensor, t: Tensor, rows: Tensor | None = None) -> dict[str, Tensor]:
        """The arguments of `mixture_score` after the points, for some of the components."""
        assert self.spread is not None
        means, spread, weights = (
            (each if rows is None else each[rows]).to(x) for each in (self.means, self.spread, self.weights)
        )
        alpha, sigma = (value(t).to(x) for value in (self.schedule.alpha, self.schedule.sigma))
        if alpha.numel() == 1:
            alpha, sigma = alpha.reshape(()), sigma.reshape(())
        return {"means": means, "alpha": alpha, "sigma": sigma, "spread": spread, "weights": weights}

    def _by_class(
        self,
        ask: Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, ...]],
        x: Tensor,
        t: Tensor,
        condition: Tensor | None,
    ) -> tuple[Tensor, ...]:
        """Ask the components of each class about the points of that class only: a tenth of the work for ten classes."""
        if condition is None:
            return ask(x, t, None)
        wanted = self._wanted(condition, len(x))
        classes = wanted.unique().tolist()
        if len(classes) == 1:
            return ask(x, t, self._of_class(classes[0]))
        groups = [(wanted == c).nonzero()[:, 0] for c in classes]
        parts = [
            ask(x[rows], t[rows] if t.numel() > 1 else t, self._of_class(c))
            for c, rows in zip(classes, groups, strict=True)
        ]
        back = torch.cat(groups).argsort()
        return tuple(torch.cat(each)[back] for each in zip(*parts, strict=True))

    def _of_class(self, c: int) -> Tensor | None:
        assert self.labels is not None
        return None if c < 0 else (self.labels == c).nonzero()[:, 0]

    def responsibilities(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """r_k = p(component k | x_t), shape (n, K)."""
        return self._joint_density(x.flatten(1), t, condition).softmax(1)

    def log_density(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """The logarithm of p_t(x), shape (n,)."""
        return self._joint_density(x.flatten(1), t, condition).logsumexp(1)

    def _joint_density(self, x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        """The log of w_k N(x; α m_k, C_k), (n, K)."""
        if self.spread is not None:
            levels = self._levels(x, t) | {"weights": torch.ones_like(self.weights).to(x)}
            even = math.log(len(self.weights))  # `log_joint` shares equal weights out
            return log_joint(x, **levels) + even + self._log_weights(condition, len(x), x)
        alpha, sigma = (self._at(value(t), x) for value in (self.schedule.alpha, self.schedule.sigma))
        spread = alpha.square() * self.variances.to(x) + sigma.square()
        distance = self._turned(x, alpha).square() / spread
        return self._joint(distance, spread, condition) - 0.5 * x.shape[1] * math.log(2 * math.pi)

    def distances(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Squared distance of clean points to each mean in standard deviations (Mahalanobis), (n, K).

        Infinite to components that the condition, (n,), leaves out.
        """
        flat = x.flatten(1)
        if self.spread is not None:
            exact = torch.cdist(flat, self.means.to(flat), compute_mode="donot_use_mm_for_euclid_dist")
            found = exact.square() / self.spread.to(flat).square()
        else:
            found = (self._turned(flat, torch.ones(1, 1, 1).to(flat)).square() / self.variances.to(flat)).sum(2)
        return found.masked_fill(self._log_weights(condition, len(flat), flat) == -math.inf, math.inf)

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

        def moved(value: Tensor) -> Tensor:
            return value.to(device=device, dtype=dtype)

        return GaussianMixture(
            moved(self.means),
            self._alike(moved),
            moved(self.weights),
            None if self.axes is None else moved(self.axes),
            None if self.labels is None else self.labels.to(device),
            self.schedule,
            self.shape,
        )

    def only(self, components: Tensor) -> "GaussianMixture":
        """The mixture of some of the components, reweighted."""
        weights = self.weights[components]
        return GaussianMixture(
            self.means[components],
            self._alike(lambda value: value[components]),
            weights / weights.sum(),
            None if self.axes is None else self.axes[components],
            None if self.labels is None else self.labels[components],
            self.schedule,
            self.shape,
        )

    def _alike(self, change: Callable[[Tensor], Tensor]) -> Tensor:
        """The variances after a change; isotropic ones, which may be one column seen many times, stay that."""
        if self.spread is None:
            return change(self.variances)
        return change(self.variances[:, :1]).expand(-1, self.variances.shape[1])

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

    def _log_weights(self, condition: Tensor | None, n: int, like: Tensor) -> Tensor:
        """The log of w_k, over the components that the condition leaves, (n, K)."""
        log = self.weights.to(like).log().expand(n, -1)
        if condition is None:
            return log
        wanted = self._wanted(condition, n).to(like.device)[:, None]
        assert self.labels is not None
        allowed = (wanted < 0) | (self.labels.to(like.device) == wanted)
        return log.masked_fill(~allowed, -math.inf).log_softmax(1)

    def _wanted(self, condition: Tensor, n: int) -> Tensor:
        """The class of each point, (n,), on the mixture's device.

        Raises
        ------
        ValueError
            There are no classes, or not that one.
        """
        if self.labels is None:
            raise ValueError("condition was given, but this mixture has no classes: pass labels")
        wanted = condition.to(self.labels.device).expand(n)
        known = torch.cat([self.labels.unique(), wanted.new_tensor([-1])])
        if not bool(torch.isin(wanted.clamp_min(-1), known).all()):
            raise ValueError(f"condition holds a class outside 0..{self.classes - 1}, or one without a component")
        return wanted


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
