"""Variational information distillation: the student's features say as much as they can about the teacher's.

    L = mean over elements of  ½ [ log σ_c² + (t − μ(F_s))² / σ_c² ],    σ_c² = softplus(α_c) + ε

A bound on the mutual information of the two layers: μ is a small network on the student's features (three 1×1
convolutions), σ_c² a variance per channel of the teacher, and both are trained with the student. Ahn et al. 2019 (Eq. 5
and 6); with σ fixed it is the hint's regression.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from workbench.models import Outputs
from workbench.signals.features import FeatureSignal, as_maps, same_size
from workbench.signals.hint import Regressor
from workbench.signals.numbers import positive

EPSILON = 1e-5


@dataclass(frozen=True)
class VID(FeatureSignal):
    """Features matched with a learned mean and variance. Maps of different size are pooled to the smaller one.

    Attributes
    ----------
    variance
        σ² at the start, the same for all channels.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> narrow = Outputs(torch.zeros(2, 3), {"stage2": torch.randn(2, 4, 5, 5)})
    >>> wide = Outputs(torch.zeros(2, 3), {"stage3": torch.randn(2, 16, 5, 5)})
    >>> labels = torch.zeros(2, dtype=torch.int64)
    >>> loss = VID("stage2", "stage3").bind(narrow, wide, labels, generator=torch.Generator().manual_seed(0))
    >>> loss(narrow, wide, labels).shape
    torch.Size([2])
    """

    variance: float = 5.0

    def __post_init__(self) -> None:
        positive(variance=self.variance)
        if self.variance <= EPSILON:
            raise ValueError(f"variance is {self.variance}; it must be more than {EPSILON:g}")

    def bind(self, student: Outputs, teacher: Outputs, labels: Tensor, *, generator: torch.Generator) -> nn.Module:  # noqa: ARG002
        """Makes μ and α for each pair."""
        return BoundVID(self, [
            Guess(as_maps(F_s).shape[1], as_maps(F_t).shape[1], F_s, self.variance, generator)
            for F_s, F_t in self.pairs(student, teacher)
        ])  # fmt: skip


class Guess(nn.Module):
    """μ and σ² of one pair of layers."""

    def __init__(self, channels: int, targets: int, like: Tensor, variance: float, generator: torch.Generator) -> None:
        super().__init__()
        sizes = ((channels, targets), (targets, targets), (targets, targets))
        self.layers = nn.ModuleList(Regressor(a, b, like, generator) for a, b in sizes)
        self.alpha = nn.Parameter(torch.full((targets,), math.log(math.expm1(variance - EPSILON))).to(like))

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """μ of maps (n, channels, h, w), (n, targets, h, w), and σ², (targets, 1, 1)."""
        first, second, last = self.layers
        return last(second(first(maps).relu()).relu()), (functional.softplus(self.alpha) + EPSILON)[:, None, None]


class BoundVID(nn.Module):
    """The signal with its guesses."""

    def __init__(self, signal: VID, guesses: list[Guess]) -> None:
        super().__init__()
        self.signal = signal
        self.guesses = nn.ModuleList(guesses)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,)."""
        losses = []
        for guess, (F_s, F_t) in zip(self.guesses, self.signal.pairs(student, teacher), strict=True):
            F, t = same_size(as_maps(F_s), as_maps(F_t))
            mean, variance = guess(F)
            losses.append(0.5 * (variance.log() + (t - mean).square() / variance).mean((1, 2, 3)))
        return sum(losses[1:], losses[0])
