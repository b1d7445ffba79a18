"""At which noise levels a student's samples are looked at: laws of the time, as score distillation draws it."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from workbench.diffusion.making.run import DiffusionRun
from workbench.diffusion.sampling.schedules import Schedule


class Levels(Protocol):
    """A law of noise levels; a frozen dataclass."""

    def __call__(self, run: DiffusionRun, n: int, purpose: str) -> Tensor:
        """Times, shape (n,), on the run's device, drawn for one purpose of one iteration."""


@dataclass(frozen=True)
class EvenLevels:
    """Even in t between two times."""

    first: float = 0.02
    last: float = 0.98

    def __post_init__(self) -> None:
        if not 0 < self.first < self.last < 1:
            raise ValueError(f"levels from {self.first} to {self.last}: 0 < first < last < 1 is needed")

    def __call__(self, run: DiffusionRun, n: int, purpose: str) -> Tensor:
        return self.first + (self.last - self.first) * run.uniform(n, purpose)


@dataclass(frozen=True)
class EDMLevels:
    """Even in (σ/α)^(1/7), as the times of EDM's sampler are, from `least` to the share `until` of the way to `most`.

    σ/α = (least^(1/7) + r (most^(1/7) − least^(1/7)))⁷, r ~ U[0, until]: with 0.8 at most 24.4. What paper 114 trains
    its generator at.
    """

    least: float = 0.002
    most: float = 80.0
    until: float = 0.8

    def __call__(self, run: DiffusionRun, n: int, purpose: str) -> Tensor:
        low, high = self.least ** (1 / 7), self.most ** (1 / 7)
        r = self.until * run.uniform(n, purpose)
        return at_ratio(7 * (low + r * (high - low)).log(), run.teacher.schedule)


@dataclass(frozen=True)
class LogNormalLevels:
    """log(σ/α) ~ N(mean, std²), as EDM is trained (Karras et al. 2022); what paper 114 trains its fake network at."""

    mean: float = -1.2
    std: float = 1.2

    def __call__(self, run: DiffusionRun, n: int, purpose: str) -> Tensor:
        drawn = torch.randn(n, generator=run.generator(purpose)).to(run.device)
        return at_ratio(self.mean + self.std * drawn, run.teacher.schedule)


def at_ratio(log_ratio: Tensor, schedule: Schedule) -> Tensor:
    """The time at which log(σ/α) has these values, within what the schedule can be asked for; shape of `log_ratio`.

    >>> from workbench.diffusion import VE, RectifiedFlow
    >>> level = torch.tensor(2.5).log()
    >>> round(float(at_ratio(level, RectifiedFlow())), 4), round(float(at_ratio(level, VE())) * 80, 4)
    (0.7143, 2.5)
    """
    return schedule.time(-log_ratio.clamp(-7, 7)).clamp_max(schedule.latest)
