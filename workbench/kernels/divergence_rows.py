"""Divergences and their gradients in plain PyTorch: the definitions, and the same in blocks of rows that stay in cache.

A divergence is a kind and a share; p, q are the distributions of teacher and student, g = q (c − Σ q c) / T the
gradient with respect to the student's logits, with c = ∂D/∂q up to a constant:

    kind           D                                        c
    forward        Σ p (log p − log q)                      −p/q
    reverse        Σ q (log q − log p)                      log q − log p
    jeffreys       Σ (p − q)(log p − log q)                 log q − log p − p/q
    jensen         β KL(p‖m) + (1 − β) KL(q‖m)              (1 − β)(log q − log m)        m = β p + (1 − β) q
    skew           Σ p (log p − log m)                      −(1 − α) p/m                  m = α p + (1 − α) q
    skew_reverse   Σ q (log q − log m)                      log q − log m − α q/m         m = (1 − α) p + α q
    variation      ½ Σ |p − q|                              ½ sign(q − p)

A class of probability 0 adds nothing where its probability multiplies (0 log 0 = 0).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["KINDS", "Kind", "by_blocks", "expression", "gradient"]

KINDS = ("forward", "reverse", "jeffreys", "jensen", "skew", "skew_reverse", "variation")

BLOCK = 1 << 18
"""Elements of a block: four float32 buffers of it, 4 MiB, stay in the cache that the cores share."""


class Kind(NamedTuple):
    """A divergence: which, its β or α, and the temperatures of student and teacher."""

    name: str
    share: float
    student_temperature: float
    teacher_temperature: float

    def exchanged(self) -> "Kind":
        """The same number as a function of (teacher, student): the teacher's gradient is that of its first argument."""
        names = {"forward": "reverse", "reverse": "forward", "skew": "skew_reverse", "skew_reverse": "skew"}
        share = 1 - self.share if self.name == "jensen" else self.share
        return Kind(names.get(self.name, self.name), share, self.teacher_temperature, self.student_temperature)

    @property
    def teacher_share(self) -> float:
        """The weight of p in the mixture m."""
        return 1 - self.share if self.name == "skew_reverse" else self.share


def expression(student: Tensor, teacher: Tensor, kind: Kind) -> Tensor:
    """The divergence by its definition, from log-probabilities: (..., classes) → (...). Differentiable to any order."""
    lp, lq = _log_probabilities(student, teacher, kind)
    p, q = lp.exp(), lq.exp()
    match kind.name:
        case "forward":
            return _weighted(p, lp, lq)
        case "reverse":
            return _weighted(q, lq, lp)
        case "jeffreys":
            return _weighted(p, lp, lq) + _weighted(q, lq, lp)
        case "variation":
            return 0.5 * ((q - p) * _sign(q - p)).sum(-1)
    lm = _log_mixture(lp, lq, kind.teacher_share)
    match kind.name:
        case "jensen":
            return kind.share * _weighted(p, lp, lm) + (1 - kind.share) * _weighted(q, lq, lm)
        case "skew":
            return _weighted(p, lp, lm)
        case _:
            return _weighted(q, lq, lm)


def gradient(student: Tensor, teacher: Tensor, kind: Kind) -> Tensor:
    """∂D/∂student in closed form, (..., classes); differentiable, which gives the second derivatives."""
    lp, lq = _log_probabilities(student, teacher, kind)
    p, q = lp.exp(), lq.exp()
    match kind.name:
        case "forward":
            return (q - p) / kind.student_temperature
        case "reverse" | "jeffreys":
            c = lq - lp
        case "variation":
            c = 0.5 * _sign(q - p)
        case _:
            lm = _log_mixture(lp, lq, kind.teacher_share)
            if kind.name == "jensen":
                c = (1 - kind.share) * (lq - lm)
            elif kind.name == "skew":
                c = (kind.share - 1) * (lp - lm).exp()
            else:
                c = lq - lm - kind.share * (lq - lm).exp()
    c = c.masked_fill(q == 0, 0)
    g = q * (c - (q * c).sum(-1, keepdim=True))
    return (g + q - p if kind.name == "jeffreys" else g) / kind.student_temperature


def by_blocks(student: Tensor, teacher: Tensor, kind: Kind, *, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """The divergence of each row and, where `wanted`, its gradient, in one pass over memory.

    Two exponentials per pair of logits (one logarithm more for a mixture), four buffers of `BLOCK` elements, and the
    gradient itself. Rows that come out as NaN, from masks of −∞ most likely, are done again by definition.

    Parameters
    ----------
    student, teacher
        Shape (n, classes), classes ≥ 1.

    Returns
    -------
    tuple
        Losses (n,) in the student's precision, at least float32, and gradients (n, classes) in the student's dtype.
    """
    n, classes = student.shape
    dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    losses = torch.empty(n, dtype=dtype, device=student.device)
    gradients = torch.empty_like(student, memory_format=torch.contiguous_format) if wanted else None
    height = min(n, max(1, BLOCK // classes))
    buffers = torch.empty(4, height, classes, dtype=dtype, device=student.device)
    direct = gradients is not None and gradients.dtype == dtype
    for start in range(0, n, height):
        s, t = student[start : start + height], teacher[start : start + height]
        lq, q, lp, p = buffers[:, : len(s)]
        out = None
        if gradients is not None:
            rows = gradients[start : start + height]
            out = rows if direct else torch.empty_like(q)
        zs = _exponentials(s, kind.student_temperature, lq, q)
        zt = _exponentials(t, kind.teacher_temperature, lp, p)
        if kind.name == "forward":
            loss = _forward(lp, lq, p, q, zt, zs, kind, out)
        else:
            for total, log_each, each in ((zs, lq, q), (zt, lp, p)):
                each.div_(total)
                log_each.sub_(total.log())
            loss = _FAST[kind.name](lp, lq, p, q, kind, out)
            if out is not None and kind.student_temperature != 1:
                out /= kind.student_temperature
        if bool(loss.isnan().any()):
            again = loss.isnan()
            loss[again] = expression(s[again].to(dtype), t[again].to(dtype), kind)
            if out is not None:
                out[again] = gradient(s[again].to(dtype), t[again].to(dtype), kind)
        losses[start : start + height] = loss
        if out is not None and not direct:
            rows.copy_(out)
    return losses, gradients


def _exponentials(logits: Tensor, temperature: float, log_out: Tensor, out: Tensor) -> Tensor:
    """Logits over their temperature less the largest, their exponentials, and the sums of those (n, 1)."""
    if logits.dtype == out.dtype:
        torch.sub(logits, logits.amax(-1, keepdim=True), out=log_out)
    else:  # raised first: to subtract in mixed precision takes longer than to copy
        log_out.copy_(logits)
        log_out -= log_out.amax(-1, keepdim=True)
    if temperature != 1:
        log_out *= 1 / temperature
    return torch.exp(log_out, out=out).sum(-1, keepdim=True)


def _forward(
    lp: Tensor, lq: Tensor, p: Tensor, q: Tensor, zt: Tensor, zs: Tensor, kind: Kind, out: Tensor | None
) -> Tensor:
    """From exponentials that are not normalised, which spares four passes."""
    loss = torch.linalg.vecdot(p, lp.sub_(lq)).div_(zt[:, 0]).add_(zs[:, 0].log()).sub_(zt[:, 0].log())
    if out is not None:
        T = kind.student_temperature
        torch.mul(q, 1 / (T * zs), out=out).addcmul_(p, -1 / (T * zt))
    return loss


# Each may overwrite lp, lq, p and q, and writes T · gradient into `out` where there is one.


def _reverse(lp: Tensor, lq: Tensor, p: Tensor, q: Tensor, kind: Kind, out: Tensor | None) -> Tensor:  # noqa: ARG001
    c = lq.sub_(lp)
    loss = torch.linalg.vecdot(q, c)
    if out is not None:
        torch.mul(q, c.sub_(loss[:, None]), out=out)
    return loss


def _jeffreys(lp: Tensor, lq: Tensor, p: Tensor, q: Tensor, kind: Kind, out: Tensor | None) -> Tensor:  # noqa: ARG001
    c, excess = lq.sub_(lp), torch.sub(q, p, out=p)
    if out is not None:
        inner = torch.linalg.vecdot(q, c)
        torch.addcmul(excess, q, torch.sub(c, inner[:, None], out=lp), out=out)
    return torch.linalg.vecdot(excess, c)


def _jensen(lp: Tensor, lq: Tensor, p: Tensor, q: Tensor, kind: Kind, out: Tensor | None) -> Tensor:
    lm = _fast_log_mixture(p, q, kind.share)
    loss = kind.share * torch.linalg.vecdot(p, lp.sub_(lm))
    own = torch.linalg.vecdot(q, lq.sub_(lm))
    if out is not None:
        torch.mul(q, lq.sub_(own[:, None]).mul_(1 - kind.share), out=out)
    return loss + (1 - kind.share) * own


def _skew(lp: Tensor, lq: Tensor, p: Tensor, q: Tensor, kind: Kind, out: Tensor | None) -> Tensor:
    lm = _fast_log_mixture(p, q, kind.share)
    loss = torch.linalg.vecdot(p, lp.sub_(lm))
    if out is not None:
        c = torch.exp(lp, out=lq).mul_(kind.share - 1)
        torch.mul(q, c.sub_(torch.linalg.vecdot(q, c)[:, None]), out=out)
    return loss


def _skew_reverse(lp: Tensor, lq: Tensor, p: Tensor, q: Tensor, kind: Kind, out: Tensor | None) -> Tensor:
    lm = _fast_log_mixture(p, q, 1 - kind.share)
    log_ratio = lq.sub_(lm)
    loss = torch.linalg.vecdot(q, log_ratio)
    if out is not None:
        c = torch.sub(log_ratio, torch.exp(log_ratio, out=lp), alpha=kind.share, out=lq)
        torch.mul(q, c.sub_(torch.linalg.vecdot(q, c)[:, None]), out=out)
    return loss


def _variation(lp: Tensor, lq: Tensor, p: Tensor, q: Tensor, kind: Kind, out: Tensor | None) -> Tensor:  # noqa: ARG001
    excess = torch.sub(q, p, out=lq)
    if out is not None:
        c = torch.sign(excess, out=lp).mul_(0.5)
        torch.mul(q, c.sub_(torch.linalg.vecdot(q, c)[:, None]), out=out)
    return 0.5 * excess.abs_().sum(-1)


_FAST: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor, Kind, Tensor | None], Tensor]] = dict(
    zip(KINDS[1:], (_reverse, _jeffreys, _jensen, _skew, _skew_reverse, _variation), strict=True)
)


def _fast_log_mixture(p: Tensor, q: Tensor, share: float) -> Tensor:
    # Where both probabilities underflow, what the logarithm is multiplied with is zero as well: any finite one does.
    return torch.lerp(q, p, share).clamp_min_(torch.finfo(p.dtype).tiny).log_()


def _log_probabilities(student: Tensor, teacher: Tensor, kind: Kind) -> tuple[Tensor, Tensor]:
    return (teacher / kind.teacher_temperature).log_softmax(-1), (student / kind.student_temperature).log_softmax(-1)


def _sign(x: Tensor) -> Tensor:
    """−1, 0 or 1; the sign of NaN is NaN, not 0 as torch has it."""
    return x.detach().sign().masked_fill(x.isnan(), torch.nan)


def _weighted(weight: Tensor, log_a: Tensor, log_b: Tensor) -> Tensor:
    return (weight * (log_a - log_b).masked_fill(weight == 0, 0)).sum(-1)


def _log_mixture(lp: Tensor, lq: Tensor, share: float) -> Tensor:
    """The log of ``share · p + (1 − share) · q``; any number where both are zero."""
    if share == 0:
        return lq
    if share == 1:
        return lp
    none = (lp == -torch.inf) & (lq == -torch.inf)
    one, other = (each.masked_fill(none, 0) for each in (lp, lq))
    weight = torch.tensor(share, dtype=torch.float64)
    return torch.logaddexp(one + float(weight.log()), other + float(torch.log1p(-weight)))
