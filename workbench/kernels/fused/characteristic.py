"""Sums of cosines and sines over the rows of a block of phases in one reading, and the block's slopes where it lies."""

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, COLUMNS, STRIP = 16, 128, 256
"""Programs count strips of rows, of all sets, along the first axis of the grid: the others end at 65,535."""


@triton.jit
def _sums(phases, out, rows, columns, strips, R: tl.constexpr, C: tl.constexpr, STRIP: tl.constexpr):
    strip = tl.program_id(0) % strips
    set_ = (tl.program_id(0) // strips).to(tl.int64)
    column = tl.program_id(1) * C + tl.arange(0, C)
    cosines = tl.zeros([C], tl.float32)
    sines = tl.zeros([C], tl.float32)
    for start in range(0, STRIP, R):
        row = strip * STRIP + start + tl.arange(0, R)
        inside = (row < rows)[:, None] & (column < columns)[None, :]
        at = phases + (set_ * rows + row)[:, None] * columns + column[None, :]
        phase = tl.load(at, mask=inside, other=0.0)
        cosines += tl.sum(tl.where(inside, tl.cos(phase), 0.0), 0)
        sines += tl.sum(tl.sin(phase), 0)
    at = out + (set_ * strips + strip) * 2 * columns + column
    tl.store(at, cosines, mask=column < columns)
    tl.store(at + columns, sines, mask=column < columns)


@triton.jit
def _slopes(phases, real, imaginary, rows, columns, strips, R: tl.constexpr, C: tl.constexpr):
    set_ = (tl.program_id(0) // strips).to(tl.int64)
    column = tl.program_id(1) * C + tl.arange(0, C)
    row = (tl.program_id(0) % strips) * R + tl.arange(0, R)
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    at = phases + (set_ * rows + row)[:, None] * columns + column[None, :]
    phase = tl.load(at, mask=inside, other=0.0)
    a = tl.load(real + set_ * columns + column, mask=column < columns, other=0.0)
    b = tl.load(imaginary + set_ * columns + column, mask=column < columns, other=0.0)
    tl.store(at, b[None, :] * tl.cos(phase) - a[None, :] * tl.sin(phase), mask=inside)


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
    sets, (rows, columns) = phases.shape[:-2], phases.shape[-2:]
    strips = triton.cdiv(rows, ROWS)
    _slopes[(strips * sets.numel(), triton.cdiv(columns, COLUMNS))](
        phases, real.contiguous(), imaginary.contiguous(), rows, columns, strips, R=ROWS, C=COLUMNS
    )
    return phases
