"""Decoupled distillation: how sure the teacher is of the label, and how it shares out the rest, weighted apart.

    TCKD = T² KL(b_t ‖ b_s),   b = (p_y, 1 − p_y)
    NCKD = T² KL(p̂_t ‖ p̂_s),   p̂ = softmax over the classes other than y
    L = α TCKD + β NCKD

p at temperature T. Soft labels are the same with β = 1 − p_y of the teacher: the surer it is, the less they say about
the other classes. Zhao et al. 2022 (Eq. 6 and 7); a baseline of papers 034 and 092.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.kernels import divergence
from workbench.models import Outputs
from workbench.signals.numbers import at_least_zero, positive
from workbench.signals.signal import Signal


@dataclass(frozen=True)
class DKD(Signal):
    """Decoupled soft labels; beside the labels' cross-entropy, which `distill` adds.

    Attributes
    ----------
    alpha
        α ≥ 0: weight of the target class against all others.
    beta
        β ≥ 0: weight of the distribution over the others.
    temperature
        T > 0.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> logits = torch.tensor([[4.0, 1.0, 0.0]])
    >>> DKD()(Outputs(logits), Outputs(logits), torch.tensor([0]))
    tensor([0.])
    """

    alpha: float = 1.0
    beta: float = 8.0
    temperature: float = 4.0

    def __post_init__(self) -> None:
        at_least_zero(alpha=self.alpha, beta=self.beta)
        positive(temperature=self.temperature)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        """Per-example loss, shape (n,); logits (n, classes), labels (n,) in 0..classes-1."""
        target = divergence.forward_kl(*(binary(z.logits / self.temperature, labels) for z in (student, teacher)))
        rest = divergence.forward_kl(*(others(z.logits / self.temperature, labels) for z in (student, teacher)))
        return self.temperature**2 * (self.alpha * target + self.beta * rest)


def others(logits: Tensor, labels: Tensor) -> Tensor:
    """The logits (n, classes) without each example's label: (n, classes − 1)."""
    column = torch.arange(logits.shape[1] - 1, device=logits.device)
    return logits.gather(1, column + (column >= labels[:, None]))


def binary(logits: Tensor, labels: Tensor) -> Tensor:
    """Two logits per example, (n, 2), whose softmax is (p_y, 1 − p_y)."""
    return torch.stack([logits.gather(1, labels[:, None])[:, 0], others(logits, labels).logsumexp(1)], 1)
