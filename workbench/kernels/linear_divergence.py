"""Divergence of the classes that two output heads see in hidden states, without ever holding all the logits.

With logits s = h_s W_sᵀ and t = h_t W_tᵀ, the value is Σ_i w_i D(s_i, t_i) for any divergence D of
`workbench.kernels.divergence`. Logits exist for a chunk of rows at a time; gradients of the student's hidden states
and head are added up while they do, and wait until the backward pass multiplies them. It decides what vocabulary fits.

Cost, for N rows, V classes and width H: four products of N V H multiply-adds (two heads, two gradients), which are the
BLAS's, and per chunk the traffic of the divergence kernel, which at H ≥ 1,000 is small beside them. Held: two chunks of
`LOGITS` logits, the head's gradient once in float32 and once as given, the hidden states' gradient. On two cores 0.3 of
the time and 0.1 of the memory of all logits at once (1,024 rows, 16,000 classes; ``BENCHMARKS.md``); on an H100 0.63 of
the rate of a product in bfloat16 (32,768 rows, 131,072 classes; ``BENCHMARKS-GPU.md``).
"""

from typing import Any, Literal

import torch
from torch import Tensor

from workbench.kernels.dispatch import runs_fused
from workbench.kernels.divergence_rows import Kind, by_blocks, expression

__all__ = ["linear_divergence"]

LOGITS = {"cpu": 1 << 20, "cuda": 1 << 28}
"""Logits of a chunk."""

Name = Literal[
    "forward_kl", "reverse_kl", "jeffreys", "jensen_shannon", "skew_kl", "skew_reverse_kl", "total_variation"
]
_KINDS = {
    "forward_kl": "forward",
    "reverse_kl": "reverse",
    "jeffreys": "jeffreys",
    "jensen_shannon": "jensen",
    "skew_kl": "skew",
    "skew_reverse_kl": "skew_reverse",
    "total_variation": "variation",
}


def linear_divergence(
    student: Tensor,
    student_head: Tensor,
    teacher: Tensor,
    teacher_head: Tensor,
    *,
    divergence: Name = "forward_kl",
    alpha: float = 0.1,
    beta: float = 0.5,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
    weights: Tensor | None = None,
    ignore: Tensor | None = None,
) -> Tensor:
    """Weighted sum of the rows' divergences, with gradients towards `student` and `student_head`.

    Parameters
    ----------
    student, teacher
        Hidden states, shapes (..., H_s) and (..., H_t) with the same rows.
    student_head, teacher_head
        Shapes (classes, H_s) and (classes, H_t), each in its hidden states' dtype. A bias is one more column of the
        head beside a column of ones.
    divergence
        Name of a function of `workbench.kernels.divergence`.
    alpha, beta
        Of the skew divergences, and of Jensen–Shannon; strictly between 0 and 1.
    student_temperature, teacher_temperature
        Positive.
    weights
        Shape (...), constants; None: one over the number of rows that count, which makes the value their mean.
    ignore
        Shape (...), bool: rows that are left out, and not even multiplied.

    Returns
    -------
    Tensor
        Shape (), float32 or wider.

    Raises
    ------
    ValueError
        Shapes that do not fit; an unknown divergence; a share or temperature out of range.

    Examples
    --------
    >>> hidden, head = torch.randn(4, 3), torch.randn(10, 3)
    >>> linear_divergence(hidden, head, hidden, head)
    tensor(0.)
    """
    kind = _kind(divergence, alpha, beta, student_temperature, teacher_temperature)
    if student.shape[:-1] != teacher.shape[:-1] or len(student_head) != len(teacher_head):
        raise ValueError(
            f"hidden states {tuple(student.shape)} and {tuple(teacher.shape)} must have the same rows, "
            f"heads {tuple(student_head.shape)} and {tuple(teacher_head.shape)} the same classes"
        )
    for who, hidden, head in (("student", student, student_head), ("teacher", teacher, teacher_head)):
        if head.ndim != 2 or hidden.shape[-1] != head.shape[1]:
            raise ValueError(f"the {who}'s head {tuple(head.shape)} does not take hidden states {tuple(hidden.shape)}")
    rows = student.shape[:-1]
    for name, given in (("weights", weights), ("ignore", ignore)):
        if given is not None and given.shape != rows:
            raise ValueError(f"{name} have shape {tuple(given.shape)}; there is one per row, {tuple(rows)}")
    h_s, h_t = student.flatten(0, -2), teacher.detach().flatten(0, -2)
    w = None if weights is None else weights.detach().flatten()
    if ignore is not None:
        counted = ~ignore.flatten()
        h_s, h_t = h_s[counted], h_t[counted]
        w = None if w is None else w[counted]
    wide = torch.promote_types(student.dtype, torch.float32)
    if w is None:
        w = torch.full((len(h_s),), 1 / max(1, len(h_s)), dtype=wide, device=h_s.device)
    wanted = torch.is_grad_enabled() and (student.requires_grad or student_head.requires_grad)
    return _Linear.apply(h_s, student_head, h_t, teacher_head.detach(), w.to(wide), kind, wanted)[0]


def by_definition(h_s: Tensor, head: Tensor, h_t: Tensor, teacher_head: Tensor, w: Tensor, kind: Kind) -> Tensor:
    """The same with all logits; differentiable to any order."""
    wide = torch.promote_types(h_s.dtype, torch.float32)
    return (w * expression((h_s @ head.mT).to(wide), (h_t @ teacher_head.mT).to(wide), kind)).sum()


class _Linear(torch.autograd.Function):
    """Value and gradients in one go over chunks of rows; the gradients wait for the scalar that multiplies them."""

    @staticmethod
    def forward(
        h_s: Tensor, head: Tensor, h_t: Tensor, teacher_head: Tensor, w: Tensor, kind: Kind, wanted: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        total = w.new_zeros(())
        for_hidden = torch.empty_like(h_s) if wanted else None
        # Half precision would lose a chunk's small part in the sum of many.
        for_head = torch.zeros(head.shape, dtype=w.dtype, device=head.device) if wanted else None
        chunk = max(1, LOGITS.get(h_s.device.type, LOGITS["cuda"]) // max(1, len(head)))
        for start in range(0, len(h_s), chunk):
            rows = slice(start, start + chunk)
            values, slopes = _rows(h_s[rows] @ head.mT, h_t[rows] @ teacher_head.mT, w[rows], kind, wanted)
            total += torch.linalg.vecdot(values, w[rows])
            if slopes is not None and for_hidden is not None and for_head is not None:
                for_hidden[rows] = slopes @ head
                if for_head.dtype == slopes.dtype:
                    for_head.addmm_(slopes.mT, h_s[rows])
                else:
                    for_head += slopes.mT @ h_s[rows]
        return total, for_hidden, None if for_head is None else for_head.to(head.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[object, ...], output: tuple[object, ...]) -> None:
        *tensors, ctx.kind, _ = inputs
        ctx.mark_non_differentiable(*(each for each in output[1:] if each is not None))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        ctx.gradients = output[1:]

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None, *_: Tensor | None) -> Any:
        nothing = (None,) * 5
        if upstream is None:
            return None, None, *nothing
        if torch.is_grad_enabled():  # a second derivative is wanted
            h_s, head, h_t, teacher_head, w = ctx.saved_tensors
            pull: Any = torch.func.vjp(lambda h, W: by_definition(h, W, h_t, teacher_head, w, ctx.kind), h_s, head)[1]
            return *pull(upstream), *nothing
        needed = zip(ctx.gradients, ctx.needs_input_grad, strict=False)
        return *(each * upstream.to(each.dtype) if need else None for each, need in needed), *nothing


def _rows(student: Tensor, teacher: Tensor, w: Tensor, kind: Kind, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """Values of a chunk's rows and w × their gradients; the logits may be overwritten."""
    if runs_fused("linear_divergence", student, teacher):
        from workbench.kernels.fused import divergence as fused  # noqa: PLC0415 - only where Triton is

        values, sums = fused.forward(student, teacher, kind)
        return values, fused.backward(student, teacher, kind, sums, w, out=student) if wanted else None
    values, slopes = by_blocks(student, teacher, kind, wanted=wanted)
    if slopes is not None:
        slopes *= w.to(slopes.dtype).unsqueeze(1)
    return values, slopes


def _kind(name: str, alpha: float, beta: float, student_temperature: float, teacher_temperature: float) -> Kind:
    if name not in _KINDS:
        raise ValueError(f"divergence is {name!r}; it can be {', '.join(_KINDS)}")
    if not (student_temperature > 0 and teacher_temperature > 0):
        raise ValueError(
            f"temperatures are {student_temperature} (student) and {teacher_temperature} (teacher); "
            "they must be positive"
        )
    share = beta if name == "jensen_shannon" else alpha if name.startswith("skew") else 0.0
    if name == "jensen_shannon" or name.startswith("skew"):
        what = "beta" if name == "jensen_shannon" else "alpha"
        if not 0 < share < 1:
            raise ValueError(f"{what} is {share}; it must lie strictly between 0 and 1")
    return Kind(_KINDS[name], share, student_temperature, teacher_temperature)
