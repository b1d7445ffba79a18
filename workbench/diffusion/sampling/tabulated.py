"""A schedule given by a table: ᾱ at each of the discrete steps that a network was trained on."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from workbench.diffusion.sampling.schedules import SCHEDULES, Schedule


@dataclass(frozen=True, repr=False)
class Tabulated(Schedule):
    """ᾱ_k = α² at time t = (k + 1) / T, k = 0 … T − 1; variance preserving.

    Between the steps λ is linear in t; before the first, σ² is, so that time 0 is clean.

    Examples
    --------
    >>> schedule = Tabulated((0.99, 0.9, 0.5))
    >>> round(float(schedule.alpha(torch.tensor(1.0)) ** 2), 4), float(schedule.sigma(torch.tensor(0.0)))
    (0.5, 0.0)
    """

    alphas: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "alphas", tuple(map(float, self.alphas)))
        falling = all(a > b for a, b in zip(self.alphas, self.alphas[1:], strict=False))
        if not self.alphas or not falling or not 0 < self.alphas[-1] <= self.alphas[0] < 1:
            raise ValueError(f"alphas has {len(self.alphas)} entries; they must fall, between 1 and 0, at least one")

    def __repr__(self) -> str:
        return f"Tabulated({len(self.alphas)} steps, ᾱ {self.alphas[0]:.4g} to {self.alphas[-1]:.4g})"

    def log_snr(self, t: Tensor) -> Tensor:
        times, values = _knots(self.alphas)
        at = t.detach().to("cpu", torch.float64)
        early = at < times[0]
        place = torch.searchsorted(times, at.contiguous()).clamp(1, max(len(times) - 1, 1))
        inside = values[-1].expand_as(at)
        if len(times) > 1:
            low, high = times[place - 1], times[place]
            inside = torch.lerp(values[place - 1], values[place], (at - low) / (high - low))
        variance = at * self._rise
        return torch.where(early, (torch.log1p(-variance) - variance.log()) / 2, inside).to(t)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.sigmoid(2 * self.log_snr(t.double())).sqrt().to(t)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sigmoid(-2 * self.log_snr(t.double())).sqrt().to(t)

    def alpha_rate(self, t: Tensor) -> Tensor:
        alpha, sigma = self.alpha(t.double()), self.sigma(t.double())
        return torch.where(self._early(t), -self._rise / (2 * alpha), alpha * sigma.square() * self._slope(t)).to(t)

    def sigma_rate(self, t: Tensor) -> Tensor:
        alpha, sigma = self.alpha(t.double()), self.sigma(t.double())
        return torch.where(self._early(t), self._rise / (2 * sigma), -sigma * alpha.square() * self._slope(t)).to(t)

    def time(self, log_snr: Tensor) -> Tensor:
        times, values = _knots(self.alphas)
        wanted = log_snr.detach().to("cpu", torch.float64)
        place = torch.searchsorted(-values, -wanted.contiguous()).clamp(1, max(len(times) - 1, 1))
        inside = times[-1].expand_as(wanted)
        if len(times) > 1:
            share = (wanted - values[place - 1]) / (values[place] - values[place - 1])
            inside = torch.lerp(times[place - 1], times[place], share.clamp(max=1))
        return torch.where(wanted > values[0], torch.sigmoid(-2 * wanted) / self._rise, inside).to(log_snr)

    @property
    def _rise(self) -> float:
        """dσ²/dt before the first step."""
        return (1 - self.alphas[0]) * len(self.alphas)

    def _early(self, t: Tensor) -> Tensor:
        return t.double() < 1 / len(self.alphas)

    def _slope(self, t: Tensor) -> Tensor:
        """dλ/dt between the steps."""
        times, values = _knots(self.alphas)
        if len(times) == 1:
            return torch.zeros_like(t.double())
        at = t.detach().to("cpu", torch.float64)
        place = torch.searchsorted(times, at.contiguous()).clamp(1, len(times) - 1)
        return ((values[place] - values[place - 1]) / (times[place] - times[place - 1])).to(t.device)


@lru_cache(maxsize=16)
def _knots(alphas: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Times of the steps, and λ there."""
    table = torch.tensor(alphas, dtype=torch.float64)
    return torch.arange(1, len(table) + 1, dtype=torch.float64) / len(table), (table.log() - torch.log1p(-table)) / 2


SCHEDULES[Tabulated.__name__] = Tabulated
