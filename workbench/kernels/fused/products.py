"""Products of float32 matrices on units that multiply bfloat16, to float32's precision and over twice as fast.

A float32 number is the sum of three bfloat16 numbers, of 8 bits each. Of the nine products of parts, the six that a
float32 product has digits for are made, exactly, and added up in float32:

    a b ≈ a₀ b₀ + a₀ b₁ + a₁ b₀ + a₀ b₂ + a₁ b₁ + a₂ b₀

What is left out is below 2⁻²⁵ of |a| |b|, half a last digit. An infinity has the parts ∞ and NaN.
"""

from typing import NamedTuple

import torch
from torch import Tensor

WIDE = 64
"""Inner sizes from which the six products take less time than writing the result does."""


class Parts(NamedTuple):
    """A matrix as three of bfloat16 that add up to it."""

    first: Tensor
    second: Tensor
    third: Tensor

    def turned(self) -> "Parts":
        return Parts(*(each.mT for each in self))


def takes(x: Tensor, t: Tensor) -> bool:
    """Whether the machine has the units, and the matrices are wide enough for them."""
    if x.ndim != 2 or t.ndim != 2 or t.shape[1] < WIDE:
        return False
    if x.device.type == "cpu":  # Triton's interpreter: the same sums
        return True
    recent = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 8)  # has products with out_dtype
    return recent and torch.version.cuda is not None and torch.cuda.get_device_capability(x.device)[0] >= 8


def parts(x: Tensor) -> Parts:
    """Of (n, d) in float32."""
    first = x.bfloat16()
    rest = x - first
    second = rest.bfloat16()
    return Parts(first, second, (rest - second).bfloat16())


class Across:
    """a @ b.mT, of rows of a (n, d) at a time, and b (K, d): what is small first, then the products of first parts.

    Units that multiply bfloat16 cut off where float32 rounds, in proportion to how far a sum has come: five of the six
    products are summed apart, where they are as small as what they are made of.
    """

    def __init__(self, a: Parts, b: Parts) -> None:
        self._first = a.first, b.first.mT
        left = torch.cat([a.first, a.second, a.first, a.second, a.third], 1)
        right = torch.cat([b.second, b.first, b.third, b.second, b.first], 1)
        self._rest = left, right.mT

    def __getitem__(self, rows: slice) -> Tensor:
        """(rows, K), float32."""
        rest = _product(self._rest[0][rows], self._rest[1])
        return _added(rest, self._first[0][rows], self._first[1])


class Along:
    """a @ b, (n, d), of a wide a (n, K) and a narrow b (K, d): three products, the parts of b side by side."""

    def __init__(self, b: Parts) -> None:
        self._d = b.first.shape[1]
        self._side = torch.cat([*b], 1)

    def __call__(self, a: Parts, rows: slice = slice(None)) -> Tensor:
        """Of all of b, or some of its rows."""
        d, side = self._d, self._side[rows]
        parts = _product(a.first, side)
        parts[:, : 2 * d] += _product(a.second, side[:, : 2 * d])
        parts[:, :d] += _product(a.third, side[:, :d])
        return parts.unflatten(1, (3, d)).sum(1)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """To float32."""
    if a.device.type == "cpu":
        return a.float() @ b.float()
    return torch.mm(a, b, out_dtype=torch.float32)


def _added(total: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`total`, of float32, with the product added where it lies."""
    if a.device.type == "cpu":
        return total.addmm_(a.float(), b.float())
    return torch.addmm(total, a, b, out_dtype=torch.float32, out=total)
