"""Divergences between the class distributions of two sets of logits, row by row: the plain PyTorch reference.

With teacher distribution ``p = softmax(teacher / teacher_temperature)`` and student distribution
``q = softmax(student / student_temperature)`` over the last axis:

    forward_kl        KL(p ‖ q)
    reverse_kl        KL(q ‖ p)
    jeffreys          KL(p ‖ q) + KL(q ‖ p) = Σ (p − q)(log p − log q)
    jensen_shannon    β KL(p ‖ m) + (1 − β) KL(q ‖ m),   m = β p + (1 − β) q
    skew_kl           KL(p ‖ α p + (1 − α) q)            ≤ −log α
    skew_reverse_kl   KL(q ‖ (1 − α) p + α q)            ≤ −log α
    total_variation   ½ Σ |p − q|

Everything is computed from log-probabilities (mixtures by log-add-exp), so that logits of any finite size give finite
values and gradients. No function multiplies by T²: the signal that wants it does. Skew divergences: paper 094.
"""

import math

import torch
from torch import Tensor


def forward_kl(
    student: Tensor, teacher: Tensor, *, student_temperature: float = 1.0, teacher_temperature: float = 1.0
) -> Tensor:
    """KL(p ‖ q): what the student must cover; its gradient with respect to the student's logits is (q − p) / T.

    Parameters
    ----------
    student, teacher
        Logits, shape (..., classes), of equal shape.
    student_temperature, teacher_temperature
        Positive; the logits are divided by them.

    Returns
    -------
    Tensor
        Shape (...), in nats, ≥ 0.

    Examples
    --------
    >>> import torch
    >>> same = torch.tensor([[2.0, 0.0, -1.0]])
    >>> forward_kl(same, same + 3)
    tensor([0.])
    """
    p, q = _log_probabilities(student, teacher, student_temperature, teacher_temperature)
    return _kl(p, q)


def reverse_kl(
    student: Tensor, teacher: Tensor, *, student_temperature: float = 1.0, teacher_temperature: float = 1.0
) -> Tensor:
    """KL(q ‖ p): where the student may put no mass the teacher lacks. Arguments as `forward_kl`."""
    p, q = _log_probabilities(student, teacher, student_temperature, teacher_temperature)
    return _kl(q, p)


def jeffreys(
    student: Tensor, teacher: Tensor, *, student_temperature: float = 1.0, teacher_temperature: float = 1.0
) -> Tensor:
    """KL(p ‖ q) + KL(q ‖ p), symmetric. Arguments as `forward_kl`."""
    p, q = _log_probabilities(student, teacher, student_temperature, teacher_temperature)
    return ((p.exp() - q.exp()) * (p - q)).sum(-1)


def jensen_shannon(
    student: Tensor,
    teacher: Tensor,
    *,
    beta: float = 0.5,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> Tensor:
    """β KL(p ‖ m) + (1 − β) KL(q ‖ m) with m = β p + (1 − β) q and 0 < β < 1; at most log 2. Others as `forward_kl`."""
    if not 0 < beta < 1:
        raise ValueError(f"beta is {beta}; it must lie strictly between 0 and 1 (at the ends the divergence is 0)")
    p, q = _log_probabilities(student, teacher, student_temperature, teacher_temperature)
    mixture = _log_mixture(p, q, beta)
    return beta * _kl(p, mixture) + (1 - beta) * _kl(q, mixture)


def skew_kl(
    student: Tensor,
    teacher: Tensor,
    *,
    alpha: float = 0.1,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> Tensor:
    """KL(p ‖ α p + (1 − α) q) with 0 ≤ α ≤ 1: forward KL whose gradient stays bounded. Others as `forward_kl`."""
    _check_share(alpha)
    p, q = _log_probabilities(student, teacher, student_temperature, teacher_temperature)
    return _kl(p, _log_mixture(p, q, alpha))


def skew_reverse_kl(
    student: Tensor,
    teacher: Tensor,
    *,
    alpha: float = 0.1,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> Tensor:
    """KL(q ‖ (1 − α) p + α q) with 0 ≤ α ≤ 1: `skew_kl` with p and q exchanged. Others as `forward_kl`."""
    _check_share(alpha)
    p, q = _log_probabilities(student, teacher, student_temperature, teacher_temperature)
    return _kl(q, _log_mixture(q, p, alpha))


def total_variation(
    student: Tensor, teacher: Tensor, *, student_temperature: float = 1.0, teacher_temperature: float = 1.0
) -> Tensor:
    """½ Σ |p − q|, in 0..1: the mass that would have to move. Arguments as `forward_kl`."""
    p, q = _log_probabilities(student, teacher, student_temperature, teacher_temperature)
    return 0.5 * (p.exp() - q.exp()).abs().sum(-1)


def entropy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Entropy of softmax(logits / temperature) in nats, 0 … log(classes): (..., classes) → (...).

    Examples
    --------
    >>> import torch
    >>> entropy(torch.zeros(1, 4))
    tensor([1.3863])
    """
    log_p = (logits / temperature).log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def _log_probabilities(
    student: Tensor, teacher: Tensor, student_temperature: float, teacher_temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the teacher, then of the student."""
    if student.shape != teacher.shape:
        raise ValueError(
            f"student logits have shape {tuple(student.shape)}, teacher logits {tuple(teacher.shape)}: "
            "both networks must score the same classes on the same batch"
        )
    if not (student_temperature > 0 and teacher_temperature > 0):
        raise ValueError(
            f"temperatures are {student_temperature} (student) and {teacher_temperature} (teacher); "
            "they must be positive"
        )
    return (teacher / teacher_temperature).log_softmax(-1), (student / student_temperature).log_softmax(-1)


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def _log_mixture(log_p: Tensor, log_q: Tensor, share: float) -> Tensor:
    """The log of ``share · p + (1 − share) · q``."""
    if share == 0:
        return log_q
    if share == 1:
        return log_p
    return torch.logaddexp(math.log(share) + log_p, math.log1p(-share) + log_q)


def _check_share(alpha: float) -> None:
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it must lie in 0..1")
