"""Differentiable quantisation (DQ): the weights of a trained student stay, and the positions of its levels are learned
by gradient descent through the quantiser.

    Q(v; p)_i = α_b(i) p_j(i) + β_b(i),   j(i) = argmin_j |v̂_i − p_j|,   ∂L/∂p_j = Σ_{i: j(i)=j} α_b(i) ∂L/∂Q_i

Levels p are one set per tensor, start at quantiles of v̂ (once, not at every step), and weights are assigned anew at
each step. Polino, Pascanu & Alistarh 2018, section 4; paper 046.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench.compression.making.quantising import on_levels, quantiles
from workbench.compression.methods.qd import QD
from workbench.signals.signal import Signal

STARTS = ("quantiles", "uniform")


@dataclass(frozen=True)
class DQ:
    """Differentiable quantisation.

    Attributes
    ----------
    bits, bucket, temperature, weight, tensors, keep
        As for `QD`.
    start
        Levels at first: ``"quantiles"`` of the scaled weights at equally spaced probabilities, or ``"uniform"``.
    points
        Levels of each tensor, at least 2, in the network's order, instead of 2^bits for each; see `allocate`.

    Raises
    ------
    ValueError
        A value is out of its range.
    """

    bits: int = 4
    bucket: int | None = 256
    temperature: float = 2.0
    weight: float = 0.7
    start: str = "quantiles"
    points: tuple[int, ...] = ()
    tensors: str = "weights"
    keep: tuple[str, ...] = ()

    trains: ClassVar[str] = "levels"

    def __post_init__(self) -> None:
        QD(self.bits, self.bucket, self.temperature, self.weight)
        if self.start not in STARTS:
            raise ValueError(f"start is {self.start!r}; it can be {', '.join(map(repr, STARTS))}")
        if any(s < 2 for s in self.points):
            raise ValueError(f"points is {self.points}; a tensor needs at least 2 levels")

    def loss(self, *, taught: bool) -> Signal:
        """As for `QD`."""
        return QD(self.bits, self.bucket, self.temperature, self.weight).loss(taught=taught)

    def quantisers(self, tensors: list[Tensor]) -> list[nn.Module]:
        """One per tensor."""
        each = self.points or (2**self.bits,) * len(tensors)
        if len(each) != len(tensors):
            raise ValueError(f"points has {len(each)} entries for {len(tensors)} tensors that are quantised")
        return [Levels(first(v, s, self.bucket, self.start), self.bucket) for v, s in zip(tensors, each, strict=True)]


class Levels(nn.Module):
    """v ↦ Q(v; p) with trainable levels p (s,); v takes no gradient."""

    def __init__(self, p: Tensor, bucket: int | None) -> None:
        super().__init__()
        self.p, self.bucket = nn.Parameter(p), bucket

    def forward(self, v: Tensor) -> Tensor:
        return on_levels(v.detach(), self.p, self.bucket)


def first(v: Tensor, s: int, bucket: int | None, start: str = "quantiles") -> Tensor:
    """Where the s levels of a tensor start, in 0..1."""
    if start == "uniform":
        return torch.linspace(0, 1, s, dtype=v.dtype, device=v.device)
    return quantiles(v.detach(), s, bucket)


def allocate(norms: Sequence[float], s: int) -> tuple[int, ...]:
    """Levels of each tensor: half of `s` for all, the other half where the gradient is large; `s` each in total.

    Parameters
    ----------
    norms
        Norm of the loss's gradient with respect to each tensor, on one pass (`making.compress.gradient_norms`).
    s
        Levels that a tensor has on average, at least 4.

    Raises
    ------
    ValueError
        s is below 4, or no norm is positive.

    Examples
    --------
    >>> allocate([3.0, 1.0], 8)
    (10, 6)
    """
    if s < 4:
        raise ValueError(f"s is {s}; half of it must leave a tensor 2 levels, so it must be at least 4")
    if not all(norm >= 0 for norm in norms) or not sum(norms) > 0:
        raise ValueError(f"norms is {list(norms)}; they must be 0 or more, and one positive")
    rest = s * len(norms) - (s // 2) * len(norms)
    shares = [rest * norm / sum(norms) for norm in norms]
    points = [s // 2 + int(part) for part in shares]
    # What rounding down has left goes where it has taken most, so that the total is exact.
    most = sorted(range(len(norms)), key=lambda i: int(shares[i]) - shares[i])
    for i in most[: s * len(norms) - sum(points)]:
        points[i] += 1
    return tuple(points)
