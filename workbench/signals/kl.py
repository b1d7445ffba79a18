"""Soft labels (Hinton): the student matches the teacher's softened class probabilities.

    L = T² · KL(softmax(t / T) ‖ softmax(s / T))

The gradient with respect to the student's logits is T · (softmax(s / T) − softmax(t / T)); as T → ∞ it tends to
((s − s̄) − (t − t̄)) / C, regression of centred logits. Hinton, Vinyals & Dean 2015; paper 037, method 1.
"""

from dataclasses import dataclass

from torch import Tensor

from workbench.kernels import divergence
from workbench.models import Outputs
from workbench.signals.numbers import positive
from workbench.signals.signal import Signal


@dataclass(frozen=True)
class KL(Signal):
    """Soft-label signal.

    Attributes
    ----------
    temperature
        T > 0: the larger, the more the small probabilities count.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> logits = torch.tensor([[4.0, 1.0, 0.0]])
    >>> KL(temperature=4)(Outputs(logits), Outputs(logits), torch.tensor([0]))
    tensor([0.])
    """

    temperature: float = 4.0

    def __post_init__(self) -> None:
        positive(temperature=self.temperature)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,); logits (n, classes)."""
        T = self.temperature
        divergences = divergence.forward_kl(
            student.logits, teacher.logits, student_temperature=T, teacher_temperature=T
        )
        return T**2 * divergences
