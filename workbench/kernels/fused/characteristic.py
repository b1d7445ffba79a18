"""Sums of cosines and sines over the rows of a block of phases in one reading, and the block's slopes."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from workbench.kernels.fused import products
from workbench.kernels.fused.products import Parts

ROWS = 16
COLUMNS = 128
STRIP = 256
"""Programs count strips of rows, of all sets, along the first axis of the grid: the others end at 65,535."""


@triton.jit
def _sums(phases, out, rows, columns, strips, R: tl.constexpr, C: tl.constexpr, STRIP: tl.constexpr):
    strip = tl.program_id(0) % strips
    set_ = (tl.program_id(0) // strips).to(tl.int64)
    column = tl.program_id(1) * C + tl.arange(0, C)
    cosines = tl.zeros([R, C], tl.float32)
    sines = tl.zeros([R, C], tl.float32)
    for start in range(0, STRIP, R):
        row = strip * STRIP + start + tl.arange(0, R)
        inside = (row < rows)[:, None] & (column < columns)[None, :]
        at = phases + (set_ * rows + row)[:, None] * columns + column[None, :]
        phase = tl.load(at, mask=inside, other=0.0)
        cosines += tl.where(inside, tl.cos(phase), 0.0)
        sines += tl.sin(phase)
    at = out + (set_ * strips + strip) * 2 * columns + column
    tl.store(at, tl.sum(cosines, 0), mask=column < columns)
    tl.store(at + columns, tl.sum(sines, 0), mask=column < columns)


@triton.jit
def _slopes(
    phases, parts, real, imaginary, rows, columns, strips, size,
    R: tl.constexpr, C: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    set_ = (tl.program_id(0) // strips).to(tl.int64)
    column = tl.program_id(1) * C + tl.arange(0, C)
    row = (tl.program_id(0) % strips) * R + tl.arange(0, R)
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    where = (set_ * rows + row)[:, None] * columns + column[None, :]
    phase = tl.load(phases + where, mask=inside, other=0.0)
    a = tl.load(real + set_ * columns + column, mask=column < columns, other=0.0)
    b = tl.load(imaginary + set_ * columns + column, mask=column < columns, other=0.0)
    slope = b[None, :] * tl.cos(phase) - a[None, :] * tl.sin(phase)
    if SPLIT:
        first = slope.to(tl.bfloat16)
        rest = slope - first.to(tl.float32)
        second = rest.to(tl.bfloat16)
        third = (rest - second.to(tl.float32)).to(tl.bfloat16)
        tl.store(parts + where, first, mask=inside)
        tl.store(parts + where + size, second, mask=inside)
        tl.store(parts + where + tl.cast(size, tl.int64) * 2, third, mask=inside)
    else:
        tl.store(phases + where, slope, mask=inside)


def sums(phases: Tensor) -> Tensor:
    """(..., n, K) → Σ cos and Σ sin over n, (2, ..., K). Strips of rows are added up in a fixed order."""
    sets, (rows, columns) = phases.shape[:-2], phases.shape[-2:]
    strips = triton.cdiv(rows, STRIP)
    out = torch.empty(sets.numel(), strips, 2, columns, dtype=torch.float32, device=phases.device)
    _sums[(strips * sets.numel(), triton.cdiv(columns, COLUMNS))](
        phases.contiguous(), out, rows, columns, strips, R=ROWS, C=COLUMNS, STRIP=STRIP
    )
    return out.sum(1).movedim(1, 0).unflatten(1, sets) if sets else out[0].sum(0)


def slopes_(phases: Tensor, real: Tensor, imaginary: Tensor) -> Tensor:
    """`phases` (..., n, K), contiguous, become imaginary · cos − real · sin, with (..., K) of either."""
    _run(phases, phases, real, imaginary, split=False)
    return phases


def slopes_in_parts(phases: Tensor, real: Tensor, imaginary: Tensor) -> Parts:
    """The same of phases (..., n, K), which stay, as the parts of a matrix (all rows, K) that is multiplied next."""
    found = torch.empty(3, *phases.shape, dtype=torch.bfloat16, device=phases.device)
    _run(phases, found, real, imaginary, split=True)
    return Parts(*found.flatten(1, -2))


def _run(phases: Tensor, out: Tensor, real: Tensor, imaginary: Tensor, *, split: bool) -> None:
    sets, (rows, columns) = phases.shape[:-2], phases.shape[-2:]
    strips = triton.cdiv(rows, ROWS)
    _slopes[(strips * sets.numel(), triton.cdiv(columns, COLUMNS))](
        phases, out, real.contiguous(), imaginary.contiguous(), rows, columns, strips, phases.numel(),
        R=ROWS, C=COLUMNS, SPLIT=split,
    )  # fmt: skip


class Phases:
    """Block after block of x @ t.mT, of points (..., n, d) and frequencies (K, d) or (..., K, d), and what they give.

    One set's products, if they are wide, are made on the units for bfloat16: `workbench.kernels.fused.products`.
    """

    def __init__(self, x: Tensor, t: Tensor, blocks: list[slice]) -> None:
        self.x, self.t, self.blocks = x, t, blocks
        self.split = products.takes(x, t)
        if self.split:
            self.x_parts, self.t_parts = products.parts(x), products.parts(t)
            self.across = products.Across(self.x_parts, self.t_parts)

    def sums(self) -> Tensor:
        """Σ cos and Σ sin over the points, (2, ..., K)."""
        return torch.stack([sums(self._of(rows)) for rows in self.blocks]).sum(0)

    def slopes(self, real: Tensor, imaginary: Tensor, for_x: bool, for_t: bool) -> tuple[Tensor | None, Tensor | None]:
        """Towards points and frequencies, of upstream gradients (..., K) of the sums; None where not wanted."""
        toward_x = torch.empty_like(self.x) if for_x else None
        toward_t = self.x.new_zeros(*self.x.shape[:-2], *self.t.shape[-2:]) if for_t else None
        along_t = products.Along(self.t_parts) if self.split and for_x else None
        along_x = products.Along(self.x_parts) if self.split and for_t else None
        for rows in self.blocks:
            phases = self._of(rows)
            if self.split:
                parts = slopes_in_parts(phases, real, imaginary)
                if toward_x is not None and along_t is not None:
                    toward_x[rows] = along_t(parts)
                if toward_t is not None and along_x is not None:
                    toward_t += along_x(parts.turned(), rows)
            else:
                slopes = slopes_(phases, real, imaginary)
                if toward_x is not None:
                    toward_x[..., rows, :] = slopes @ self.t
                if toward_t is not None:
                    toward_t += slopes.mT @ self.x[..., rows, :]
        return toward_x, None if toward_t is None else toward_t.sum_to_size(self.t.shape)

    def _of(self, rows: slice) -> Tensor:
        if self.split:
            return self.across[rows]
        return self.x[..., rows, :] @ self.t.mT
