"""Learning without forgetting: on new data, the old network holds the new one to what it said about the old classes.

    L = T² · KL(softmax(t / T) ‖ softmax(s / T))   over the old classes' logits only

Li & Hoiem 2016 (T = 2); paper 037's lifelong algorithm. The student starts from the old network; add
``CrossEntropy()`` for the new task's labels.
"""

from dataclasses import dataclass

from torch import Tensor

from workbench.models import Outputs
from workbench.signals.kl import KL
from workbench.signals.signal import Signal


@dataclass(frozen=True)
class OldClasses(Signal):
    """Soft labels restricted to the classes the old network knew.

    Attributes
    ----------
    classes
        Their indices.
    temperature
        T > 0.

    Examples
    --------
    What happens to the other classes' logits costs nothing:

    >>> import torch
    >>> from workbench.models import Outputs
    >>> old, new = Outputs(torch.tensor([[1.0, 2.0, 0.0]])), Outputs(torch.tensor([[1.0, 2.0, 9.0]]))
    >>> OldClasses((0, 1))(new, old, torch.tensor([2]))
    tensor([0.])
    """

    classes: tuple[int, ...]
    temperature: float = 2.0

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        """Per-example loss, shape (n,); logits (n, classes)."""
        kept = list(self.classes)
        return KL(self.temperature)(Outputs(student.logits[:, kept]), Outputs(teacher.logits[:, kept]), labels)
