"""Teachers of whom only the likeliest classes were kept: the student's logits in the same buckets.

All classes that are not listed are one bucket, on both sides, so that a divergence of the buckets is a divergence of
distributions: it is zero where the student agrees, and never more than that of all classes (data processing).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from workbench.kernels.dispatch import runs_fused

__all__ = ["Sparse", "buckets"]

BLOCK = 1 << 16


class Sparse(NamedTuple):
    """A teacher's listed classes, and all others together.

    Attributes
    ----------
    ids
        Classes, shape (..., k), int64, no class twice in a row.
    values
        Their log-probabilities, or logits on the scale of `tail`; shape (..., k).
    tail
        log of the sum of exp(values) of all classes that are not listed; shape (...); −∞ where there are none.

    Examples
    --------
    >>> logits = torch.tensor([[2.0, 0.0, -1.0, -3.0]])
    >>> teacher = Sparse.of(logits, 2)
    >>> teacher.ids, teacher.values
    (tensor([[0, 1]]), tensor([[-0.1755, -2.1755]]))
    """

    ids: Tensor
    values: Tensor
    tail: Tensor

    @classmethod
    def of(cls, logits: Tensor, k: int, *, temperature: float = 1.0) -> "Sparse":
        """The `k` likeliest classes of softmax(logits / temperature), in float32 at least."""
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        log_p = (wide / temperature).log_softmax(-1)
        values, ids = log_p.topk(k, -1)
        return cls(ids, values, log_p.scatter(-1, ids, -torch.inf).logsumexp(-1))


def buckets(student: Tensor, ids: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Logits of the listed classes and of the bucket that holds all others.

    Parameters
    ----------
    student
        Logits, shape (..., classes).
    ids
        Shape (..., k), int64, no class twice in a row.
    temperature
        Positive; the logits are divided by it.

    Returns
    -------
    Tensor
        Shape (..., k + 1), at least float32. Their softmax is that of all classes, summed over the last bucket.

    Raises
    ------
    ValueError
        The rows do not fit.

    Examples
    --------
    >>> buckets(torch.zeros(1, 5), torch.tensor([[1, 3]])).softmax(-1)
    tensor([[0.2000, 0.2000, 0.6000]])
    """
    if ids.shape[:-1] != student.shape[:-1]:
        raise ValueError(
            f"the sparse teacher lists classes for rows {tuple(ids.shape[:-1])}, "
            f"the student's logits have rows {tuple(student.shape[:-1])}"
        )
    wide = torch.promote_types(student.dtype, torch.float32)
    listed = student.gather(-1, ids).to(wide) / temperature
    rest = _Rest.apply(student, ids, temperature)
    return torch.cat([listed, rest.unsqueeze(-1)], -1)


def rest_by_definition(student: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """The logarithm of Σ exp(student / temperature) over the classes not listed: (..., classes) → (...)."""
    wide = student.to(torch.promote_types(student.dtype, torch.float32))
    return (wide / temperature).scatter(-1, ids, -torch.inf).logsumexp(-1)


def _weights(student: Tensor, ids: Tensor, rest: Tensor, temperature: float) -> Tensor:
    """∂rest/∂student: the softmax within the bucket."""
    wide = student.to(rest.dtype) / temperature
    empty = rest == -torch.inf
    inside = (wide - rest.masked_fill(empty, torch.inf).unsqueeze(-1)).exp()
    return inside.scatter(-1, ids, 0) / temperature


class _Rest(torch.autograd.Function):
    """`rest_by_definition` in blocks of rows; the backward pass needs its value only."""

    @staticmethod
    def forward(student: Tensor, ids: Tensor, temperature: float) -> Tensor:
        s, listed = (
            student.reshape(-1, student.shape[-1]),
            ids.reshape(-1 if ids.numel() else student.shape[:-1].numel(), ids.shape[-1]),
        )
        if runs_fused("buckets", student):
            from workbench.kernels.fused import sparse_rows as fused  # noqa: PLC0415 - only where Triton is

            return fused.rest(s, listed, temperature).view(student.shape[:-1])
        out = s.new_empty(len(s), dtype=torch.promote_types(s.dtype, torch.float32))
        height = max(1, BLOCK // max(1, s.shape[-1]))
        for start in range(0, len(s), height):
            rows = slice(start, start + height)
            out[rows] = rest_by_definition(s[rows], listed[rows], temperature)
        return out.view(student.shape[:-1])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[object, ...], output: Tensor) -> None:
        student, ids, ctx.temperature = inputs
        ctx.save_for_backward(student, ids, output)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        student, ids, rest = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: rest must depend on the student
            rest = rest_by_definition(student, ids, ctx.temperature)
            inside = _weights(student, ids, rest, ctx.temperature)
            return (upstream.unsqueeze(-1) * inside).to(student.dtype), None, None
        s, listed = (
            student.reshape(-1, student.shape[-1]),
            ids.reshape(-1 if ids.numel() else student.shape[:-1].numel(), ids.shape[-1]),
        )
        scale, values = upstream.flatten(), rest.flatten()
        out = torch.empty_like(s, memory_format=torch.contiguous_format)
        height = max(1, BLOCK // max(1, s.shape[-1]))
        for start in range(0, len(s), height):
            rows = slice(start, start + height)
            inside = _weights(s[rows], listed[rows], values[rows], ctx.temperature)
            out[rows] = inside.mul_(scale[rows].unsqueeze(-1))
        return out.view(student.shape), None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, student: Tensor, ids: Tensor, temperature: float) -> tuple[Tensor, int]:
        student, ids = (
            x.expand(info.batch_size, *x.shape) if d is None else x.movedim(d, 0)
            for x, d in zip((student, ids), in_dims[:2], strict=True)
        )
        return _Rest.apply(student, ids, temperature), 0
