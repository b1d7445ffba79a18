"""DIST: match the teacher's relations between classes and between examples instead of its probabilities.

    L = τ² [ β (1 − mean over examples of ρ(q_i·, p_i·)) + γ (1 − mean over classes of ρ(q_·c, p_·c)) ]

ρ is Pearson's correlation, q and p the class probabilities of student and teacher at temperature τ. Huang et al. 2022
(Eq. 6 to 9); a baseline of paper 092, whose CIFAR setting is β = γ = 2, τ = 4.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from workbench.models import Outputs
from workbench.signals.numbers import at_least_zero, positive
from workbench.signals.signal import Signal


@dataclass(frozen=True)
class DIST(Signal):
    """Correlation signal within the batch.

    Attributes
    ----------
    beta
        β: weight of the relation between classes within an example.
    gamma
        γ: weight of the relation between examples within a class.
    temperature
        τ > 0.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    >>> round(float(DIST()(Outputs(logits), Outputs(logits), torch.zeros(8, dtype=torch.int64))), 5)
    0.0
    """

    beta: float = 2.0
    gamma: float = 2.0
    temperature: float = 4.0

    def __post_init__(self) -> None:
        at_least_zero(beta=self.beta, gamma=self.gamma)
        positive(temperature=self.temperature)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """One number for the batch, shape (); logits (n, classes)."""
        q, p = ((logits / self.temperature).softmax(1) for logits in (student.logits, teacher.logits))
        between_classes = 1 - _pearson(q, p).mean()
        between_examples = 1 - _pearson(q.mT, p.mT).mean()
        return self.temperature**2 * (self.beta * between_classes + self.gamma * between_examples)


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    """Correlation of each row of `a` with the same row of `b`."""
    return functional.cosine_similarity(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True), dim=1)
