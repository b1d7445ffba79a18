"""Logit regression: the student reproduces the teacher's logits themselves.

    L = Σ_c (s_c − t_c)²

The large-temperature limit of soft labels, up to the factor 2C and for centred logits. Ba & Caruana 2014; paper 037,
method 2.
"""

from dataclasses import dataclass

from torch import Tensor

from workbench.models import Outputs
from workbench.signals.signal import Signal


@dataclass(frozen=True)
class LogitRegression(Signal):
    """Squared distance of logits.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> LogitRegression()(Outputs(torch.ones(1, 3)), Outputs(torch.zeros(1, 3)), torch.tensor([0]))
    tensor([3.])
    """

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,); logits (n, classes)."""
        return (student.logits - teacher.logits).square().sum(1)
