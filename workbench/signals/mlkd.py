"""Multi-level logit distillation: match predictions, how examples agree with each other, and how classes do.

    L = mean over T of  T² KL(p_t ‖ p_s)  +  ‖P_s P_sᵀ − P_t P_tᵀ‖²_F / B  +  ‖P_sᵀ P_s − P_tᵀ P_t‖²_F / C

P the B × C matrix of class probabilities at temperature T. Jin, Wang & Lin 2023, whose code has T = 2 … 6; it also
shows the student a strongly augmented view and leaves out examples of which the teacher is unsure, which a signal on
one view does not.
"""

from dataclasses import dataclass

from torch import Tensor

from workbench.kernels import divergence
from workbench.models import Outputs
from workbench.signals.numbers import positive
from workbench.signals.signal import Signal


@dataclass(frozen=True)
class MLKD(Signal):
    """Logits matched at the level of example, batch and class, over several temperatures.

    Attributes
    ----------
    temperatures
        Each T > 0.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> out = Outputs(torch.randn(4, 3))
    >>> MLKD()(out, out, torch.zeros(4, dtype=torch.int64))
    tensor(0.)
    """

    temperatures: tuple[float, ...] = (2.0, 3.0, 4.0, 5.0, 6.0)

    def __post_init__(self) -> None:
        if isinstance(self.temperatures, str) or not self.temperatures:
            raise ValueError(f"temperatures is {self.temperatures!r}; it must be one positive number or more")
        for temperature in self.temperatures:
            positive(temperatures=temperature)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """One number for the batch, shape (); logits (n, classes)."""
        total = student.logits.new_zeros(())
        B, C = student.logits.shape
        for T in self.temperatures:
            alike = divergence.forward_kl(student.logits, teacher.logits, student_temperature=T, teacher_temperature=T)
            P_s, P_t = (logits.div(T).softmax(1) for logits in (student.logits, teacher.logits))
            of_batch = (P_s @ P_s.mT - P_t @ P_t.mT).square().sum() / B
            of_classes = (P_s.mT @ P_s - P_t.mT @ P_t).square().sum() / C
            total = total + T**2 * alike.mean() + of_batch + of_classes
        return total / len(self.temperatures)
