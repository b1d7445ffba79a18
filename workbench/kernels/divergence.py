"""Divergences between the class distributions of two sets of logits, row by row.

With teacher distribution ``p = softmax(teacher / teacher_temperature)`` and student distribution
``q = softmax(student / student_temperature)`` over the last axis:

    forward_kl        KL(p ‖ q)
    reverse_kl        KL(q ‖ p)
    jeffreys          KL(p ‖ q) + KL(q ‖ p) = Σ (p − q)(log p − log q)
    jensen_shannon    β KL(p ‖ m) + (1 − β) KL(q ‖ m),   m = β p + (1 − β) q
    skew_kl           KL(p ‖ α p + (1 − α) q)            ≤ −log α
    skew_reverse_kl   KL(q ‖ (1 − α) p + α q)            ≤ −log α
    total_variation   ½ Σ |p − q|

Logits of any finite size give finite values and gradients; −∞ is a class of probability 0; NaN gives NaN. No function
multiplies by T²: the signal that wants it does. Skew divergences: paper 094.

Every function takes further `weights`, shape (...), which multiply the rows' values, and `ignore`, shape (...), whose
true rows have value and gradient 0 whatever their logits are. The teacher may be `Sparse`. First derivatives with
respect to either side are in closed form; second ones go through plain PyTorch.

Cost, for N = rows × classes elements of b bytes: values and gradient must read both logits and write the gradient,
3 b N bytes, with 2 exponentials per pair. The plain version in blocks (`divergence_rows`) moves 5 b N on a CPU, the
last two to scale the stored gradient where it lies, and holds b N. The fused one moves 5 b N on a GPU up to 16,384
classes (forward both logits once, backward both again and the gradient: five sums per row are all it stores), and
beyond 5 b N for forward KL, 7 b N for the others. On two cores forward KL takes 0.24 of the time and 0.2 of the memory
of ``softmax``, ``log_softmax`` and ``kl_div``, most of it in exponentials, and 0.8 of the time of what
`torch.compile` makes of them (``BENCHMARKS.md``). Of a GPU: ``BENCHMARKS-GPU.md``.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from workbench.kernels.dispatch import INTERPRETED, runs_fused
from workbench.kernels.divergence_rows import Kind, by_blocks, expression, gradient
from workbench.kernels.sparse_rows import Sparse, buckets

__all__ = [
    "Sparse",
    "buckets",
    "entropy",
    "forward_kl",
    "jeffreys",
    "jensen_shannon",
    "reverse_kl",
    "skew_kl",
    "skew_reverse_kl",
    "total_variation",
]

SMALL = 1 << 14
"""Elements below which the definition is as fast on a CPU, where calling functions takes the time."""


def forward_kl(
    student: Tensor,
    teacher: Tensor | Sparse,
    *,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
    weights: Tensor | None = None,
    ignore: Tensor | None = None,
) -> Tensor:
    """KL(p ‖ q): what the student must cover; its gradient with respect to the student's logits is (q − p) / T.

    Parameters
    ----------
    student, teacher
        Logits, shape (..., classes), of equal shape; the teacher's may be `Sparse`.
    student_temperature, teacher_temperature
        Positive; the logits are divided by them.
    weights
        Shape (...): multiply the rows' values.
    ignore
        Shape (...), bool: rows that count for nothing, padding say.

    Returns
    -------
    Tensor
        Shape (...), in nats, ≥ 0; float32 for half-precision logits.

    Raises
    ------
    ValueError
        Shapes that do not fit, a temperature that is not positive.

    Examples
    --------
    >>> import torch
    >>> same = torch.tensor([[2.0, 0.0, -1.0]])
    >>> forward_kl(same, same + 3)
    tensor([0.])
    """
    return _value(Kind("forward", 0, student_temperature, teacher_temperature), student, teacher, weights, ignore)


def reverse_kl(
    student: Tensor,
    teacher: Tensor | Sparse,
    *,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
    weights: Tensor | None = None,
    ignore: Tensor | None = None,
) -> Tensor:
    """KL(q ‖ p): where the student may put no mass the teacher lacks. Arguments as `forward_kl`."""
    return _value(Kind("reverse", 0, student_temperature, teacher_temperature), student, teacher, weights, ignore)


def jeffreys(
    student: Tensor,
    teacher: Tensor | Sparse,
    *,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
    weights: Tensor | None = None,
    ignore: Tensor | None = None,
) -> Tensor:
    """KL(p ‖ q) + KL(q ‖ p), symmetric. Arguments as `forward_kl`."""
    return _value(Kind("jeffreys", 0, student_temperature, teacher_temperature), student, teacher, weights, ignore)


def jensen_shannon(
    student: Tensor,
    teacher: Tensor | Sparse,
    *,
    beta: float = 0.5,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
    weights: Tensor | None = None,
    ignore: Tensor | None = None,
) -> Tensor:
    """β KL(p ‖ m) + (1 − β) KL(q ‖ m) with m = β p + (1 − β) q and 0 < β < 1; at most log 2. Others as `forward_kl`."""
    if not 0 < beta < 1:
        raise ValueError(f"beta is {beta}; it must lie strictly between 0 and 1 (at the ends the divergence is 0)")
    return _value(Kind("jensen", beta, student_temperature, teacher_temperature), student, teacher, weights, ignore)


def skew_kl(
    student: Tensor,
    teacher: Tensor | Sparse,
    *,
    alpha: float = 0.1,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
    weights: Tensor | None = None,
    ignore: Tensor | None = None,
) -> Tensor:
    """KL(p ‖ α p + (1 − α) q) with 0 ≤ α ≤ 1: forward KL whose gradient stays bounded. Others as `forward_kl`."""
    _check_share(alpha)
    name = "skew" if alpha else "forward"
    return _value(Kind(name, alpha, student_temperature, teacher_temperature), student, teacher, weights, ignore)


def skew_reverse_kl(
    student: Tensor,
    teacher: Tensor | Sparse,
    *,
    alpha: float = 0.1,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
    weights: Tensor | None = None,
    ignore: Tensor | None = None,
) -> Tensor:
    """KL(q ‖ (1 − α) p + α q) with 0 ≤ α ≤ 1: `skew_kl` with p and q exchanged. Others as `forward_kl`."""
    _check_share(alpha)
    name = "skew_reverse" if alpha else "reverse"
    return _value(Kind(name, alpha, student_temperature, teacher_temperature), student, teacher, weights, ignore)


def total_variation(
    student: Tensor,
    teacher: Tensor | Sparse,
    *,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
    weights: Tensor | None = None,
    ignore: Tensor | None = None,
) -> Tensor:
    """½ Σ |p − q|, in 0..1: the mass that would have to move. Arguments as `forward_kl`."""
    return _value(Kind("variation", 0, student_temperature, teacher_temperature), student, teacher, weights, ignore)


def entropy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Entropy of softmax(logits / temperature) in nats, 0 … log(classes): (..., classes) → (...).

    Examples
    --------
    >>> import torch
    >>> entropy(torch.zeros(1, 4))
    tensor([1.3863])
    """
    log_p = (logits / temperature).log_softmax(-1)
    return -(log_p.exp() * log_p.masked_fill(log_p == -torch.inf, 0)).sum(-1)


def _value(
    kind: Kind, student: Tensor, teacher: Tensor | Sparse, weights: Tensor | None, ignore: Tensor | None
) -> Tensor:
    if not (kind.student_temperature > 0 and kind.teacher_temperature > 0):
        raise ValueError(
            f"temperatures are {kind.student_temperature} (student) and {kind.teacher_temperature} (teacher); "
            "they must be positive"
        )
    if isinstance(teacher, Sparse):
        if kind.teacher_temperature != 1:
            raise ValueError(
                f"teacher_temperature is {kind.teacher_temperature}, but a sparse teacher holds the mass of all other "
                "classes together, which no temperature can be applied to: record its logits at that temperature"
            )
        student = buckets(student, teacher.ids, temperature=kind.student_temperature)
        teacher = torch.cat([teacher.values, teacher.tail.unsqueeze(-1)], -1).to(student.dtype)
        kind = kind._replace(student_temperature=1.0)
    if student.shape != teacher.shape:
        raise ValueError(
            f"student logits have shape {tuple(student.shape)}, teacher logits {tuple(teacher.shape)}: "
            "both networks must score the same classes on the same batch"
        )
    rows = student.shape[:-1]
    for name, given in (("weights", weights), ("ignore", ignore)):
        if given is not None and given.shape != rows:
            raise ValueError(f"{name} have shape {tuple(given.shape)}; there is one per row, {tuple(rows)}")
    if _by_definition(student, kind):
        value = _defined(kind, student, teacher, ignore)
    else:
        wanted = torch.is_grad_enabled() and student.requires_grad
        value = _Divergence.apply(student, teacher, ignore, kind, wanted)[0]
    return value if weights is None else value * weights


def _by_definition(student: Tensor, kind: Kind) -> bool:
    if kind.share == 1 or not student.numel():  # the mixture is one of the two; nothing at all
        return True
    if torch.autograd.forward_ad._current_level >= 0:  # noqa: SLF001 - torch has no public question for it
        return True
    return student.device.type == "cpu" and student.numel() < SMALL and not INTERPRETED


def _defined(kind: Kind, student: Tensor, teacher: Tensor, ignore: Tensor | None) -> Tensor:
    wide = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    student, teacher = student.to(wide), teacher.to(wide)
    if ignore is None:
        return expression(student, teacher, kind)
    # Masked on the way in as well: what a row of NaN has for a gradient is NaN even where nothing asks for it.
    student, teacher = (each.masked_fill(ignore.unsqueeze(-1), 0) for each in (student, teacher))
    return expression(student, teacher, kind).masked_fill(ignore, 0)


class _Kept(NamedTuple):
    """What the forward pass leaves for the backward one: the gradient (plain) or the rows' sums (fused)."""

    gradient: Tensor | None
    sums: Tensor | None


class _Divergence(torch.autograd.Function):
    """Value of each row; the gradient in closed form."""

    @staticmethod
    def forward(student: Tensor, teacher: Tensor, ignore: Tensor | None, kind: Kind, wanted: bool) -> Any:
        s, t = student.reshape(-1, student.shape[-1]), teacher.reshape(-1, teacher.shape[-1])
        gradients = sums = None
        if runs_fused("divergence", student, teacher):
            from workbench.kernels.fused import divergence as fused  # noqa: PLC0415 - only where Triton is

            values, sums = fused.forward(s, t, kind)
        else:
            values, gradients = by_blocks(s, t, kind, wanted=wanted)
        values = values.view(student.shape[:-1])
        return values if ignore is None else values.masked_fill(ignore, 0), gradients, sums

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        student, teacher, ignore, ctx.kind, _ = inputs
        kept = [each for each in output[1:] if each is not None]
        ctx.mark_non_differentiable(*kept)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(student, teacher, ignore)
        ctx.kept = _Kept(*output[1:])

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None, *_: Tensor | None) -> Any:
        if upstream is None:
            return None, None, None, None, None
        student, teacher, ignore = ctx.saved_tensors
        kind, kept = ctx.kind, ctx.kept
        # Scaled where it lies, so it serves once; whoever goes back a second time has it computed again.
        ctx.kept = _Kept(None, kept.sums)
        both: list[Tensor | None] = []
        for wanted, one, other, each, known in (
            (ctx.needs_input_grad[0], student, teacher, kind, kept),
            (ctx.needs_input_grad[1], teacher, student, kind.exchanged(), _Kept(None, None)),
        ):
            if not wanted:
                both.append(None)
            elif torch.is_grad_enabled():
                both.append(_differentiable(one, other, ignore, upstream, each))
            else:
                both.append(_scaled(one, other, ignore, upstream, each, known))
        return *both, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        """Rows are independent: the mapped axis is one more axis of rows."""
        size = info.batch_size
        tensors = [
            x if x is None else x.expand(size, *x.shape) if d is None else x.movedim(d, 0)
            for x, d in zip(inputs[:3], in_dims[:3], strict=True)
        ]
        values, gradients, sums = _Divergence.apply(*tensors, *inputs[3:])
        # What is kept has all rows in one axis; whoever takes the mapped axis off finds it in front.
        kept = [each if each is None else each.unflatten(0, (size, -1)) for each in (gradients, sums)]
        return (values, *kept), (0, *(None if each is None else 0 for each in kept))


def _differentiable(one: Tensor, other: Tensor, ignore: Tensor | None, upstream: Tensor, kind: Kind) -> Tensor:
    wide = torch.promote_types(torch.promote_types(one.dtype, other.dtype), torch.float32)
    first, second = one.to(wide), other.to(wide)
    if ignore is not None:
        first, second = (each.masked_fill(ignore.unsqueeze(-1), 0) for each in (first, second))
        upstream = upstream.masked_fill(ignore, 0)
    return (upstream.unsqueeze(-1) * gradient(first, second, kind)).to(one.dtype)


def _scaled(one: Tensor, other: Tensor, ignore: Tensor | None, upstream: Tensor, kind: Kind, kept: _Kept) -> Tensor:
    """Upstream × gradient, by the version that ran forward."""
    if ignore is not None:
        upstream = upstream.masked_fill(ignore, 0)
    scale = upstream.flatten()
    if runs_fused("divergence", one, other):
        from workbench.kernels.fused import divergence as fused  # noqa: PLC0415 - only where Triton is

        a, b = one.reshape(-1, one.shape[-1]), other.reshape(-1, other.shape[-1])
        sums = kept.sums.flatten(0, -2) if kept.sums is not None else fused.forward(a, b, kind)[1]
        return fused.backward(a, b, kind, sums, scale).view(one.shape)
    rows = kept.gradient
    if rows is None:
        rows = by_blocks(one.reshape(-1, one.shape[-1]), other.reshape(-1, other.shape[-1]), kind, wanted=True)[1]
    assert rows is not None
    rows = rows.view(-1, rows.shape[-1])
    rows *= scale.to(rows.dtype).unsqueeze(-1)
    if ignore is not None:  # 0 × NaN is NaN
        rows.masked_fill_(ignore.flatten().unsqueeze(-1), 0)
    return rows.view(one.shape)


def _check_share(alpha: float) -> None:
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it must lie in 0..1")
