"""Plackett–Luce distillation: the student learns the teacher's ranking of the classes, not its probabilities.

    L = Σ_k α_k (log Σ_{l≥k} exp s_{π_l} − s_{π_k}),   α = softmax(t / τ) along π,
    π = the true label, then the other classes by falling teacher logit.

Paper 092 (Bassam, Zhu & Bian 2025), Eq. 5. Convex in s; blind to a constant added to s or to t; for two classes it is
cross-entropy weighted by the teacher's confidence in the label. `ListMLE`, `PListMLE` and `TeacherPListMLE` keep the
ranking and weight its ranks evenly, by position, or by the teacher's probabilities in falling order.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from workbench.models import Outputs
from workbench.signals.numbers import positive
from workbench.signals.signal import Signal


@dataclass(frozen=True)
class PLD(Signal):
    """List-wise ranking signal; stands alone, with no label term and no weight beside it.

    A teacher that is sure of a wrong class gives the label a small α: `choice_weights` shows it.

    Attributes
    ----------
    temperature
        τ > 0: how evenly the ranks count (large: all alike). The paper's 1 on ImageNet, 4 on CIFAR-100.

    Examples
    --------
    A teacher that is certain turns it into cross-entropy:

    >>> import torch
    >>> from workbench.models import Outputs
    >>> student, teacher = Outputs(torch.tensor([[1.0, 0.0, 2.0]])), Outputs(torch.tensor([[500.0, 1.0, 0.0]]))
    >>> label = torch.tensor([0])
    >>> PLD()(student, teacher, label), torch.nn.functional.cross_entropy(student.logits, label)
    (tensor([1.4076]), tensor(1.4076))
    """

    temperature: float = 1.0
    complete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive(temperature=self.temperature)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        """Per-example loss, shape (n,); logits (n, classes), labels (n,) in 0..classes-1."""
        order = label_first_order(teacher.logits, labels)
        alpha = choice_weights(teacher.logits, order, self.temperature)
        return (alpha * choice_losses(student.logits, order)).sum(1)


@dataclass(frozen=True)
class ListMLE(Signal):
    """The same ranking with every rank weighted 1 / C: −log of its Plackett–Luce probability, divided by C.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> even = Outputs(torch.zeros(1, 3))
    >>> ListMLE()(even, even, torch.tensor([1])) * 3  # −log of one in 3! rankings
    tensor([1.7918])
    """

    complete: ClassVar[bool] = True

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        """Per-example loss, shape (n,)."""
        return choice_losses(student.logits, label_first_order(teacher.logits, labels)).mean(1)


@dataclass(frozen=True)
class PListMLE(Signal):
    """The same ranking with weights that fall with the rank k alone: 2^(C−k) − 1, normalised.

    Lan et al. 2014 (position-aware ListMLE).

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> even = Outputs(torch.zeros(1, 2))
    >>> PListMLE()(even, even, torch.tensor([1]))  # two classes: all weight on the first choice
    tensor([0.6931])
    """

    complete: ClassVar[bool] = True

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        """Per-example loss, shape (n,)."""
        losses = choice_losses(student.logits, label_first_order(teacher.logits, labels))
        # 2^−k − 2^−C is (2^(C−k) − 1) / 2^C: it does not overflow for many classes.
        k = torch.arange(1, losses.shape[1] + 1, dtype=losses.dtype, device=losses.device)
        weights = torch.exp2(-k) - 2.0 ** -losses.shape[1]
        return (losses * (weights / weights.sum())).sum(1)


@dataclass(frozen=True)
class TeacherPListMLE(Signal):
    """The same ranking; rank k weighs as much as the teacher's k-th largest probability: paper 092's p-ListMLE.

    The card says "teacher probabilities re-normalised" and "fixed decreasing". Weights that fall with the rank and stem
    from the teacher are its probabilities in falling order, whichever class stands at the rank. It differs from `PLD`,
    which weighs a rank by the class that stands there, where the teacher does not put the label first.

    Attributes
    ----------
    temperature
        τ > 0.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> wrong, even = Outputs(torch.tensor([[9.0, 0.0]])), Outputs(torch.zeros(1, 2))
    >>> TeacherPListMLE()(even, wrong, torch.tensor([1])), PLD()(even, wrong, torch.tensor([1]))
    (tensor([0.6931]), tensor([8.5531e-05]))
    """

    temperature: float = 1.0
    complete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive(temperature=self.temperature)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        """Per-example loss, shape (n,)."""
        order = label_first_order(teacher.logits, labels)
        falling = (teacher.logits.detach() / self.temperature).softmax(1).sort(1, descending=True).values
        return (falling * choice_losses(student.logits, order)).sum(1)


def label_first_order(teacher: Tensor, labels: Tensor) -> Tensor:
    """π: the label, then the other classes by falling teacher logit; shape (n, classes), int64."""
    first = torch.full_like(teacher[:, :1], torch.inf)
    return teacher.detach().scatter(1, labels[:, None], first).argsort(stable=True, dim=1, descending=True)


def choice_weights(teacher: Tensor, order: Tensor, temperature: float) -> Tensor:
    """α: the teacher's probability, at temperature τ, of the class at each rank; shape (n, classes), rows sum to 1."""
    return (teacher.detach() / temperature).softmax(1).gather(1, order)


def choice_losses(student: Tensor, order: Tensor) -> Tensor:
    """−log of the probability that the student, at each rank, chooses that rank's class among those left; (n, classes).

    The last is always 0: one class is left. Their sum is −log P(π) under Plackett–Luce.
    """
    s = student.gather(1, order)
    tail = s.flip(1).logcumsumexp(1).flip(1)  # log Σ over the ranks from k on
    return tail - s
