"""Labels and soft labels in balance, at any temperature: the loss whose two knobs decide how well distillation goes.

    L = α · CE(y, softmax(z_S)) + (1 − α) · T² KL(softmax(z_T / T) ‖ softmax(z_S / T))

As T → ∞ the soft term tends to 1/(2K) ‖z̄_S − z̄_T‖², the distance of centred logits, with an error of O(1/T): T = ∞ is
that limit, logit matching. As T → 0 the teacher's soft labels become its hard decisions.

Hinton, Vinyals & Dean 2015; paper 055 asks what its knobs, the student's capacity and the teacher's quality decide.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from workbench.models import Outputs
from workbench.signals.cross_entropy import CrossEntropy
from workbench.signals.kl import KL
from workbench.signals.numbers import number, share
from workbench.signals.signal import Signal


@dataclass(frozen=True)
class Hinton(Signal):
    """Cross-entropy and soft labels in balance.

    Attributes
    ----------
    temperature
        T > 0; ``inf`` is logit matching.
    alpha
        α in 0..1: share of the labels. Examples without a label add nothing there.

    Examples
    --------
    >>> import torch
    >>> student, teacher = Outputs(torch.tensor([[2.0, 0.0]])), Outputs(torch.tensor([[0.0, 0.0]]))
    >>> [round(Hinton(T, alpha=0.0)(student, teacher, torch.tensor([0])).item(), 4) for T in (1, 4, math.inf)]
    [0.4338, 0.4949, 0.5]
    """

    temperature: float = 4.0
    alpha: float = 0.1
    complete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.temperature != math.inf:
            number("temperature", self.temperature, lambda T: T > 0, "above 0; inf matches logits")
        share(alpha=self.alpha)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        """Per-example loss, shape (n,); logits (n, classes), labels (n,) in 0..classes-1, or UNLABELLED."""
        hard = CrossEntropy()(student, teacher, labels)
        return self.alpha * hard + (1 - self.alpha) * self._soft(student, teacher, labels)

    def _soft(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        if self.temperature != math.inf:
            return KL(self.temperature)(student, teacher, labels)
        z_S, z_T = (logits - logits.mean(1, keepdim=True) for logits in (student.logits, teacher.logits))
        return (z_S - z_T).square().sum(1) / (2 * z_S.shape[1])
