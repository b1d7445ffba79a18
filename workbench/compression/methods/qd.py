"""Quantised distillation (QD): a student computes with weights on fixed levels, while full-precision shadow weights
take the gradients; its teacher's soft labels are the signal.

    each step:  w^q = Q(w),   L = 0.7 · T² KL(p_t^T ‖ p_s^T) + 0.3 · CE at w^q,   w ← w − lr · ∂L/∂w^q
    deployed:   Q(w)

Polino, Pascanu & Alistarh 2018, section 3; paper 046. Q is the uniform quantiser of `making.quantising`.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from workbench.compression.making.quantising import rounded, scale
from workbench.signals.cross_entropy import CrossEntropy
from workbench.signals.kl import KL
from workbench.signals.numbers import positive, share
from workbench.signals.signal import Signal
from workbench.training import doors

GRADIENTS = ("straight-through", "truncated", "with scale")


@dataclass(frozen=True)
class QD:
    """Quantised distillation.

    Attributes
    ----------
    bits
        Of a weight, at least 1: s = 2^bits levels.
    bucket
        k, consecutive weights that share α and β; None: the whole tensor.
    temperature
        T > 0.
    weight
        Of the teacher's soft labels, 0..1; the labels have the rest.
    gradient
        What the shadow weights are told: ``"straight-through"`` the gradient at w^q; ``"truncated"`` w is clamped to
        −1..1 and takes none outside; ``"with scale"`` the dependence of α and β on the bucket's smallest and largest
        weight is added.
    stochastic
        Round at random while training; deployed weights are the nearest levels.
    tensors, keep
        Which parameters: ``"weights"`` or, as in the paper's code, ``"all"``; but those that a name or glob in `keep`
        fits.

    Raises
    ------
    ValueError
        A value is out of its range.
    """

    bits: int = 4
    bucket: int | None = 256
    temperature: float = 2.0
    weight: float = 0.7
    gradient: str = "straight-through"
    stochastic: bool = False
    tensors: str = "weights"
    keep: tuple[str, ...] = ()

    trains: ClassVar[str] = "weights"
    """What gradients change."""

    def __post_init__(self) -> None:
        doors.whole("bits", self.bits, 1)
        if self.bucket is not None:
            doors.whole("bucket", self.bucket, 1)
        positive(temperature=self.temperature)
        share(weight=self.weight)
        if self.gradient not in GRADIENTS:
            raise ValueError(f"gradient is {self.gradient!r}; it can be {', '.join(map(repr, GRADIENTS))}")

    @property
    def s(self) -> int:
        """Levels."""
        return 2**self.bits

    def loss(self, *, taught: bool) -> Signal:
        """L; without a teacher the cross-entropy with the labels alone."""
        if not taught:
            return CrossEntropy()
        return self.weight * KL(self.temperature) + (1 - self.weight) * CrossEntropy()

    def quantisers(self, tensors: list[Tensor]) -> list[nn.Module]:
        """One per tensor."""
        return [Shadowed(self.s, self.bucket, self.gradient, stochastic=self.stochastic) for _ in tensors]


class Shadowed(nn.Module):
    """w ↦ w^q = Q(w), whose gradient reaches the shadow weight w as `gradient` says."""

    def __init__(
        self, s: int, bucket: int | None, gradient: str = "straight-through", *, stochastic: bool = False
    ) -> None:
        super().__init__()
        self.s, self.bucket, self.gradient, self.stochastic = s, bucket, gradient, stochastic

    def forward(self, w: Tensor) -> Tensor:
        if self.gradient == "truncated":
            w = w.clamp(-1, 1)  # its gradient is 0 outside
        found = scale(w if self.gradient == "with scale" else w.detach(), self.bucket)
        v_hat = rounded(found.v_hat.detach(), self.s, stochastic=self.stochastic and self.training)
        if self.gradient == "with scale":
            return found.back(through(v_hat, found.v_hat), w)
        return through(found.back(v_hat, w), w)


def through(value: Tensor, source: Tensor) -> Tensor:
    """`value`, to the last bit, whose gradient is passed on to `source`."""
    return value.detach() + (source - source.detach())
