"""Divergences of rows of logits in one kernel each way; the formulas are those of `workbench.kernels.divergence_rows`.

The forward pass reads both logits once where a row fits into a tile, and once (forward KL, whose sum is re-centred as
the maxima move) or twice beyond; it writes five numbers per row: maximum and log-normaliser of either side, and Σ q c.
The backward pass reads both logits again and writes the gradient. Everything is added up in float32.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from workbench.kernels.divergence_rows import KINDS, Kind
from workbench.kernels.fused.tiles import tile

SUMS = 5
WHOLE = 16384
"""Columns up to which a row is held in registers."""


@triton.jit
def _logits(pointer, at, stride_column, columns, inside, scale):
    """A tile in float32 over its temperature; −∞ outside. Columns far apart may be 2³¹ elements from the first."""
    return (
        tl.load(pointer + at + columns.to(tl.int64) * stride_column, mask=inside, other=-float("inf")).to(tl.float32)
        * scale
    )


@triton.jit
def _finite(m):
    """A maximum that can be subtracted: −∞ minus −∞ is no number."""
    return tl.where(m == -float("inf"), 0.0, m)


@triton.jit
def _product(weight, log_ratio):
    return tl.where(weight == 0, 0.0, weight * log_ratio)


@triton.jit
def _sign(x):
    """−1, 0, 1 or NaN."""
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, x))


@triton.jit
def _log_mixture(lp, lq, share):
    """log(share · p + (1 − share) · q), by the larger of both; any number where both are −∞, NaN where one is."""
    a = lp + tl.log(share)
    b = lq + tl.log(1 - share)
    # Said in so many words: a GPU's plain maximum of NaN and a number is the number.
    larger = tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)
    none = larger == -float("inf")
    apart = tl.where(none, 0.0, tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL) - larger)
    return tl.where(none, 0.0, larger) + tl.log(1 + tl.exp(apart))


@triton.jit
def _terms(lp, lq, share, KIND: tl.constexpr):
    """What one class adds to D and to Σ q c."""
    p = tl.exp(lp)
    q = tl.exp(lq)
    if KIND == 0:
        value = _product(p, lp - lq)
        inner = value
    elif KIND == 1:
        value = _product(q, lq - lp)
        inner = value
    elif KIND == 2:
        inner = _product(q, lq - lp)
        value = _product(p, lp - lq) + inner
    elif KIND == 3:
        lm = _log_mixture(lp, lq, share)
        inner = (1 - share) * _product(q, lq - lm)
        value = share * _product(p, lp - lm) + inner
    elif KIND == 4:
        lm = _log_mixture(lp, lq, share)
        value = _product(p, lp - lm)
        inner = (share - 1) * tl.where(q == 0, 0.0, q * tl.exp(lp - lm))
    elif KIND == 5:
        lm = _log_mixture(lp, lq, 1 - share)
        value = _product(q, lq - lm)
        inner = value - share * tl.where(q == 0, 0.0, q * tl.exp(lq - lm))
    else:
        value = 0.5 * tl.abs(p - q)
        inner = 0.5 * q * _sign(q - p)
    return value, inner


@triton.jit
def _slope(lp, lq, inner, share, KIND: tl.constexpr):
    """T · ∂D/∂logit of one class."""
    p = tl.exp(lp)
    q = tl.exp(lq)
    if KIND == 0:
        out = q - p
    elif KIND == 1:
        out = tl.where(q == 0, 0.0, q * (lq - lp - inner))
    elif KIND == 2:
        out = q - p + tl.where(q == 0, 0.0, q * (lq - lp - inner))
    elif KIND == 3:
        c = (1 - share) * (lq - _log_mixture(lp, lq, share))
        out = tl.where(q == 0, 0.0, q * (c - inner))
    elif KIND == 4:
        c = (share - 1) * tl.exp(lp - _log_mixture(lp, lq, share))
        out = tl.where(q == 0, 0.0, q * (c - inner))
    elif KIND == 5:
        apart = lq - _log_mixture(lp, lq, 1 - share)
        out = tl.where(q == 0, 0.0, q * (apart - share * tl.exp(apart) - inner))
    else:
        out = q * (0.5 * _sign(q - p) - inner)
    return out


@triton.jit
def _forward(
    student, teacher, values, sums,
    student_row, student_column, teacher_row, teacher_column,
    rows, classes, student_scale, teacher_scale, share,
    KIND: tl.constexpr, R: tl.constexpr, C: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    real = row < rows
    column = tl.arange(0, C)
    s_at = (row * student_row)[:, None]
    t_at = (row * teacher_row)[:, None]
    if WHOLE:
        inside = real[:, None] & (column < classes)[None, :]
        x = _logits(student, s_at, student_column, column[None, :], inside, student_scale)
        y = _logits(teacher, t_at, teacher_column, column[None, :], inside, teacher_scale)
        ms = tl.max(x, 1)
        mt = tl.max(y, 1)
        lq = x - _finite(ms)[:, None]
        lp = y - _finite(mt)[:, None]
        ls = tl.log(tl.sum(tl.exp(lq), 1))
        lt = tl.log(tl.sum(tl.exp(lp), 1))
        value, inner = _terms(lp - lt[:, None], lq - ls[:, None], share, KIND)
        value = tl.sum(tl.where(inside, value, 0.0), 1)
        inner = tl.sum(tl.where(inside, inner, 0.0), 1)
    else:
        ms = tl.full([R], -float("inf"), tl.float32)
        mt = tl.full([R], -float("inf"), tl.float32)
        zs = tl.zeros([R], tl.float32)
        zt = tl.zeros([R], tl.float32)
        crossed = tl.zeros([R], tl.float32)
        for start in range(0, classes, C):
            at = start + column
            inside = real[:, None] & (at < classes)[None, :]
            x = _logits(student, s_at, student_column, at[None, :], inside, student_scale)
            y = _logits(teacher, t_at, teacher_column, at[None, :], inside, teacher_scale)
            ms_next = tl.maximum(ms, tl.max(x, 1))
            mt_next = tl.maximum(mt, tl.max(y, 1))
            s_shift = _finite(ms_next) - _finite(ms)
            t_shift = _finite(mt_next) - _finite(mt)
            x = x - _finite(ms_next)[:, None]
            y = y - _finite(mt_next)[:, None]
            f = tl.exp(y)
            if KIND == 0:
                moved = tl.where(zt == 0, 0.0, crossed + zt * (s_shift - t_shift))
                crossed = moved * tl.exp(-t_shift) + tl.sum(_product(f, y - x), 1)
            zs = tl.where(zs == 0, 0.0, zs * tl.exp(-s_shift)) + tl.sum(tl.exp(x), 1)
            zt = tl.where(zt == 0, 0.0, zt * tl.exp(-t_shift)) + tl.sum(f, 1)
            ms = ms_next
            mt = mt_next
        ls = tl.log(zs)
        lt = tl.log(zt)
        if KIND == 0:
            value = crossed / zt - lt + ls
            inner = value
        else:
            value = tl.zeros([R], tl.float32)
            inner = tl.zeros([R], tl.float32)
            for start in range(0, classes, C):
                at = start + column
                inside = real[:, None] & (at < classes)[None, :]
                x = _logits(student, s_at, student_column, at[None, :], inside, student_scale)
                y = _logits(teacher, t_at, teacher_column, at[None, :], inside, teacher_scale)
                lq = x - _finite(ms)[:, None] - ls[:, None]
                lp = y - _finite(mt)[:, None] - lt[:, None]
                more, more_inner = _terms(lp, lq, share, KIND)
                value += tl.sum(tl.where(inside, more, 0.0), 1)
                inner += tl.sum(tl.where(inside, more_inner, 0.0), 1)
    tl.store(values + row, value, mask=real)
    at = sums + row * 5
    tl.store(at, _finite(ms), mask=real)
    tl.store(at + 1, ls, mask=real)
    tl.store(at + 2, _finite(mt), mask=real)
    tl.store(at + 3, lt, mask=real)
    tl.store(at + 4, inner, mask=real)


@triton.jit
def _backward(
    student, teacher, sums, upstream, out,
    student_row, student_column, teacher_row, teacher_column,
    rows, classes, student_scale, teacher_scale, share,
    KIND: tl.constexpr, R: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    real = row < rows
    column = tl.program_id(1).to(tl.int64) * C + tl.arange(0, C)
    scale = tl.load(upstream + row, mask=real, other=0.0).to(tl.float32)
    inside = real[:, None] & (column < classes)[None, :]
    # Rows that nothing asks for are not read: they may be padding.
    asked = inside & (scale != 0)[:, None]
    x = _logits(student, (row * student_row)[:, None], student_column, column[None, :], asked, student_scale)
    y = _logits(teacher, (row * teacher_row)[:, None], teacher_column, column[None, :], asked, teacher_scale)
    at = sums + row * 5
    ms = tl.load(at, mask=real, other=0.0)
    ls = tl.load(at + 1, mask=real, other=0.0)
    mt = tl.load(at + 2, mask=real, other=0.0)
    lt = tl.load(at + 3, mask=real, other=0.0)
    inner = tl.load(at + 4, mask=real, other=0.0)
    lq = x - ms[:, None] - ls[:, None]
    lp = y - mt[:, None] - lt[:, None]
    slope = _slope(lp, lq, inner[:, None], share, KIND) * (scale * student_scale)[:, None]
    slope = tl.where(asked, slope, 0.0)
    tl.store(out + (row * classes)[:, None] + column[None, :], slope.to(out.dtype.element_ty), mask=inside)


def forward(student: Tensor, teacher: Tensor, kind: Kind) -> tuple[Tensor, Tensor]:
    """Values (n,) and the rows' sums (n, 5), both float32, of logits (n, classes)."""
    n, classes = student.shape
    values = torch.empty(n, dtype=torch.float32, device=student.device)
    sums = torch.empty(n, SUMS, dtype=torch.float32, device=student.device)
    cut = tile(n, classes, most=WHOLE, elements=4096)
    _forward[(triton.cdiv(n, cut.rows),)](
        student, teacher, values, sums, *student.stride(), *teacher.stride(), n, classes, *_numbers(kind),
        KIND=KINDS.index(kind.name), R=cut.rows, C=cut.columns, WHOLE=cut.whole, num_warps=cut.warps,
    )  # fmt: skip
    return values, sums


def backward(
    student: Tensor, teacher: Tensor, kind: Kind, sums: Tensor, upstream: Tensor, out: Tensor | None = None
) -> Tensor:
    """Upstream (n,) × gradient with respect to the student's logits, (n, classes).

    `out`, contiguous, may be the student's logits themselves, which are then lost.
    """
    n, classes = student.shape
    if out is None:
        out = torch.empty((n, classes), dtype=student.dtype, device=student.device)
    cut = tile(n, classes, most=2048, elements=2048)
    _backward[(triton.cdiv(n, cut.rows), triton.cdiv(classes, cut.columns))](
        student, teacher, sums, upstream.contiguous(), out,
        *student.stride(), *teacher.stride(), n, classes, *_numbers(kind),
        KIND=KINDS.index(kind.name), R=cut.rows, C=cut.columns, num_warps=cut.warps,
    )  # fmt: skip
    return out


def _numbers(kind: Kind) -> tuple[float, float, float]:
    return 1 / kind.student_temperature, 1 / kind.teacher_temperature, float(kind.share)
