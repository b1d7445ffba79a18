"""Noise schedules: how much signal α and noise σ a state holds at each time, and how to go from one to another.

    x_t = α_t x₀ + σ_t ε,   ε ~ N(0, I),   t in 0..1: 0 is clean, 1 is noise;   λ_t = log(α_t / σ_t) falls with t.

Any two schedules differ by a change of time (equal λ) and a scale, so a teacher on one serves on all: `Schedule.match`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor


class Schedule:
    """Base of the schedules: α, σ, their derivatives in t, and the time at which λ has a value.

    `latest` is the time sampling starts from: the last one at which dividing by α is safe.
    """

    latest: ClassVar[float] = 1.0
    preserving: ClassVar[bool] = True
    """α² + σ² = 1 at every time, which the v-prediction needs."""

    def alpha(self, t: Tensor) -> Tensor:
        """Signal α_t, shape of t."""
        raise NotImplementedError

    def sigma(self, t: Tensor) -> Tensor:
        """Noise σ_t, shape of t."""
        raise NotImplementedError

    def alpha_rate(self, t: Tensor) -> Tensor:
        """dα/dt."""
        raise NotImplementedError

    def sigma_rate(self, t: Tensor) -> Tensor:
        """dσ/dt."""
        raise NotImplementedError

    def log_snr(self, t: Tensor) -> Tensor:
        """λ_t = log(α_t / σ_t), half the logarithm of the signal-to-noise ratio; +∞ at t = 0."""
        return self.alpha(t).log() - self.sigma(t).log()

    def time(self, log_snr: Tensor) -> Tensor:
        """The time at which λ has this value."""
        raise NotImplementedError

    def match(self, t: Tensor, other: "Schedule") -> tuple[Tensor, Tensor]:
        """The same state on another schedule: its time t′ there (equal λ), and the factor α′/α to multiply it with.

        Examples
        --------
        >>> t, scale = RectifiedFlow().match(torch.tensor(0.5), VE())
        >>> round(float(VE().sigma(t)), 6), round(float(scale), 6)
        (1.0, 2.0)
        """
        there = other.time(self.log_snr(t))
        return there, other.alpha(there) / self.alpha(t)

    def diffuse(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t = α_t x + σ_t ε, for one time or one per example."""
        return along(self.alpha(t), x) * x + along(self.sigma(t), x) * noise

    def transition(self, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(α, σ) of x_t given x_s, s ≤ t: x_t = α x_s + σ ε."""
        scale = self.alpha(t) / self.alpha(s)
        return scale, (self.sigma(t).square() - (scale * self.sigma(s)).square()).clamp_min(0).sqrt()

    def grid(self, steps: int, spacing: str = "time", *, latest: float | None = None) -> Tensor:
        """Times of a sampler, float64, shape (steps + 1,), falling from `latest` to 0.

        Parameters
        ----------
        steps
            Number of steps.
        spacing
            ``"time"``: even in t; ``"log_snr"``: even in λ, then 0 (the last step jumps from λ = 5);
            ``"karras"``: even in (σ/α)^(1/7), then 0 (Karras et al. 2022, from σ/α = 0.002).

        Raises
        ------
        ValueError
            `steps` is under 1, or the spacing is unknown.
        """
        if steps < 1:
            raise ValueError(f"steps is {steps}; a sampler makes at least 1")
        start = torch.tensor(self.latest if latest is None else latest, dtype=torch.float64)
        self.check(start)
        if spacing == "time":
            return start * torch.linspace(1, 0, steps + 1, dtype=torch.float64)
        first = self.log_snr(start)
        if spacing == "log_snr":
            between = torch.linspace(float(first), max(5.0, float(first)), steps, dtype=torch.float64)
        elif spacing == "karras":
            ends = torch.exp(-first) ** (1 / 7), 0.002 ** (1 / 7)
            between = -7 * torch.linspace(float(ends[0]), float(ends[1]), steps, dtype=torch.float64).log()
        else:
            raise ValueError(f"spacing is {spacing!r}; it can be 'time', 'log_snr' or 'karras'")
        times = self.time(between)
        times[0] = start
        return torch.cat([times, torch.zeros(1, dtype=torch.float64)])

    def check(self, times: Tensor | Sequence[float]) -> None:
        """Refuse times outside 0..1.

        Raises
        ------
        ValueError
            Names the first of them.
        """
        flat = torch.as_tensor(times).flatten()
        wrong = ((flat < 0) | (flat > 1) | flat.isnan()).nonzero()
        if len(wrong):
            raise ValueError(f"time {flat[wrong[0]].item():g} is outside 0..1 (0 is clean, 1 is noise)")

    @property
    def spec(self) -> dict[str, Any]:
        """Name and parameters in plain values; `schedule` builds it again."""
        return {"name": type(self).__name__, **self.__dict__}


@dataclass(frozen=True)
class RectifiedFlow(Schedule):
    """α = 1 − t, σ = t: a straight line from data to noise (Liu et al. 2023; Lipman et al. 2023)."""

    latest: ClassVar[float] = 0.999
    preserving: ClassVar[bool] = False

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t.clone()

    def alpha_rate(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)

    def sigma_rate(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr)


@dataclass(frozen=True)
class Trig(Schedule):
    """α = cos(π t / 2), σ = sin(π t / 2): the quarter circle of TrigFlow (Lu & Song 2025)."""

    latest: ClassVar[float] = 0.999

    def alpha(self, t: Tensor) -> Tensor:
        return torch.cos(t * (math.pi / 2))

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sin(t * (math.pi / 2))

    def alpha_rate(self, t: Tensor) -> Tensor:
        return -(math.pi / 2) * self.sigma(t)

    def sigma_rate(self, t: Tensor) -> Tensor:
        return (math.pi / 2) * self.alpha(t)

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.atan(torch.exp(-log_snr)) * (2 / math.pi)


@dataclass(frozen=True)
class VPLinear(Schedule):
    """Variance preserving with a rate β that grows linearly from `least` to `most` (Ho et al. 2020)."""

    least: float = 0.1
    most: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.most:
            raise ValueError(f"least={self.least} and most={self.most} must satisfy 0 < least <= most")

    def _log_alpha(self, t: Tensor) -> Tensor:
        return -(t.square() * (self.most - self.least) / 4 + t * self.least / 2)

    def alpha(self, t: Tensor) -> Tensor:
        return self._log_alpha(t).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return (-torch.expm1(2 * self._log_alpha(t))).sqrt()

    def _rate(self, t: Tensor) -> Tensor:
        return self.least + t * (self.most - self.least)

    def alpha_rate(self, t: Tensor) -> Tensor:
        return -0.5 * self._rate(t) * self.alpha(t)

    def sigma_rate(self, t: Tensor) -> Tensor:
        return 0.5 * self._rate(t) * self.alpha(t).square() / self.sigma(t)

    def time(self, log_snr: Tensor) -> Tensor:
        twice = F.softplus(-2 * log_snr)  # −2 log α
        slope = self.most - self.least
        # The stable root of slope t²/2 + least t = twice.
        return 2 * twice / ((self.least**2 + 2 * slope * twice).sqrt() + self.least)


@dataclass(frozen=True)
class VPCosine(Schedule):
    """Variance preserving, ᾱ a squared cosine of (t + offset) / (1 + offset) (Nichol & Dhariwal 2021)."""

    offset: float = 0.008
    latest: ClassVar[float] = 0.999

    def _angle(self, t: Tensor) -> Tensor:
        return (t + self.offset) / (1 + self.offset) * (math.pi / 2)

    @property
    def _first(self) -> float:
        return math.cos(self.offset / (1 + self.offset) * math.pi / 2)

    def alpha(self, t: Tensor) -> Tensor:
        return self._angle(t).cos() / self._first

    def sigma(self, t: Tensor) -> Tensor:
        # 1 − (cos b / cos a)² = (sin(b − a) sin(b + a)) / cos² a: nothing cancels at t → 0.
        b, a = self._angle(t), self.offset / (1 + self.offset) * math.pi / 2
        return (torch.sin(b - a) * torch.sin(b + a)).clamp_min(0).sqrt() / self._first

    def alpha_rate(self, t: Tensor) -> Tensor:
        return -(math.pi / 2 / (1 + self.offset)) * self._angle(t).sin() / self._first

    def sigma_rate(self, t: Tensor) -> Tensor:
        return -self.alpha(t) * self.alpha_rate(t) / self.sigma(t)

    def time(self, log_snr: Tensor) -> Tensor:
        alpha = torch.sigmoid(2 * log_snr).sqrt()
        return torch.acos((alpha * self._first).clamp(-1, 1)) * (2 / math.pi) * (1 + self.offset) - self.offset


@dataclass(frozen=True)
class VE(Schedule):
    """Variance exploding: α = 1, σ = `largest` · t (Karras et al. 2022, where the time is σ itself)."""

    largest: float = 80.0
    preserving: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.largest > 0:
            raise ValueError(f"largest={self.largest} must be positive")

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.largest * t

    def alpha_rate(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def sigma_rate(self, t: Tensor) -> Tensor:
        return torch.full_like(t, self.largest)

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.exp(-log_snr) / self.largest


SCHEDULES: dict[str, type[Schedule]] = {kind.__name__: kind for kind in (RectifiedFlow, Trig, VPLinear, VPCosine, VE)}


def schedule(spec: dict[str, Any]) -> Schedule:
    """Build a schedule from its `spec`.

    Examples
    --------
    >>> schedule({"name": "VPLinear", "least": 0.1, "most": 20.0})
    VPLinear(least=0.1, most=20.0)
    """
    options = dict(spec)
    name = options.pop("name", None)
    if name not in SCHEDULES:
        raise ValueError(f"schedule is {name!r}; it can be {', '.join(SCHEDULES)}")
    return SCHEDULES[name](**options)


def along(values: Tensor, x: Tensor) -> Tensor:
    """A value per example, or one for all, shaped and typed to multiply x of shape (n, ...)."""
    values = values.to(x)
    return values.view(-1, *([1] * (x.ndim - 1))) if values.ndim else values
