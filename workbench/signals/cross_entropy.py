"""Labels: plain cross-entropy, the term every other signal is added to or compared with.

    L = −Σ_c m_c log softmax(s)_c,   m = (1 − ε) · onehot(y) + ε / C

The gradient on the logits is softmax(s) − m. Label smoothing: Szegedy et al. 2016.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from workbench.models import Outputs
from workbench.signals.numbers import share
from workbench.signals.signal import Signal


@dataclass(frozen=True)
class CrossEntropy(Signal):
    """Label signal; blind to the teacher.

    Attributes
    ----------
    smoothing
        ε in 0..1: the share of the target spread evenly over all classes (label smoothing).

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> CrossEntropy()(Outputs(torch.zeros(1, 4)), None, torch.tensor([2]))
    tensor([1.3863])
    """

    smoothing: float = 0.0
    needs_teacher: ClassVar[bool] = False
    complete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        share(smoothing=self.smoothing)

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,); logits (n, classes), labels (n,) in 0..classes-1."""
        return functional.cross_entropy(student.logits, labels, reduction="none", label_smoothing=self.smoothing)
