"""How far the student's next-token distributions are from the teacher's, by name, as a mean over response tokens."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from workbench.kernels import divergence
from workbench.language.making.sequences import token_mean

DIVERGENCES: dict[str, Callable[..., Tensor]] = {
    "forward": divergence.forward_kl,
    "reverse": divergence.reverse_kl,
    "skew": divergence.skew_kl,
    "skew reverse": divergence.skew_reverse_kl,
    "jensen-shannon": divergence.jensen_shannon,
    "total variation": divergence.total_variation,
}
SKEWED = ("skew", "skew reverse")


def check(name: str, ratio: float, alpha: float | None = None) -> None:
    """Refuse a divergence that there is not, or a weight outside 0..1."""
    if name not in DIVERGENCES:
        raise ValueError(f"divergence is {name!r}; it can be {', '.join(map(repr, DIVERGENCES))}")
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio is {ratio}; it must lie in 0..1")
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it must lie in 0..1")


def mean(name: str, student: Tensor, teacher: Tensor, padding: Tensor, **options: Any) -> Tensor:
    """D(teacher, student) as a mean over tokens; logits (n, R, vocabulary), padding (n, R) counts for nothing."""
    return token_mean(DIVERGENCES[name](student, teacher, ignore=padding, **options), padding)
