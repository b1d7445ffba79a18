"""Weights of single examples: some of what is said counts more than the rest.

    L = (1/B) Σ_i w_i ℓ_i

w_i belongs to training example i wherever it appears, so that a signal with weights is bound to its training split.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from workbench.models import Outputs
from workbench.signals.memory_crd import ROWS
from workbench.signals.signal import Signal, as_signal


@dataclass(frozen=True, eq=False)
class Weighted(Signal):
    """A signal whose loss is multiplied by a weight for each training example; for one student at a time (`distill`).

    Attributes
    ----------
    signal
        Its loss is per example, shape (n,): a signal or a function of (student, teacher, labels).
    weights
        w ≥ 0, one for each training example, in the split's order. Of mean 1 they keep the learning rate comparable.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(100)
    >>> teacher, student = wb.models.build("mlp", data, seed=1), wb.models.build("mlp", data, width=12)
    >>> told = Weighted(wb.knowledge.KL(4), torch.arange(100) / 49.5)
    >>> record = wb.knowledge.distill(teacher, student, data, told, labels_weight=0, steps=5, progress=False)
    """

    signal: Any
    weights: Tensor
    needs_rows: ClassVar[bool] = True
    static: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "signal", as_signal(self.signal))
        w = torch.as_tensor(self.weights)
        if w.ndim != 1 or not bool(w.isfinite().all()) or bool((w < 0).any()):
            least = float(w.min()) if w.numel() else "nothing"
            raise ValueError(
                f"weights have shape {tuple(w.shape)} and values from {least}; they must be finite, at least 0 and one "
                "for each training example, shape (n,)"
            )
        object.__setattr__(self, "weights", w)

    @property
    def examples(self) -> int:
        """How many training examples there are."""
        return len(self.weights)

    @property
    def needs_teacher(self) -> bool:  # type: ignore[override]
        return bool(self.signal.needs_teacher)

    @property
    def complete(self) -> bool:  # type: ignore[override]
        return bool(self.signal.complete)

    @property
    def student_layers(self) -> tuple[str, ...]:
        return tuple(self.signal.student_layers)

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        return tuple(self.signal.teacher_layers)

    def __repr__(self) -> str:
        return f"Weighted({self.signal!r}, {self.examples} weights)"

    def bind(self, student: Outputs, teacher: Outputs, labels: Tensor, *, generator: torch.Generator) -> nn.Module:
        """Binds the signal within."""
        return BoundWeighted(self.signal.bind(student, teacher, labels, generator=generator), self.weights)


class BoundWeighted(nn.Module):
    """A bound signal with its weights."""

    weights: Tensor

    def __init__(self, signal: nn.Module, weights: Tensor) -> None:
        super().__init__()
        self.signal = signal
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        """Per-example loss, shape (n,)."""
        losses: Tensor = self.signal(student, teacher, labels)
        if losses.ndim == 0:
            raise ValueError("the weighted signal gives one loss for the whole batch; weights need one per example")
        return self.weights[teacher.features[ROWS]].to(losses) * losses
