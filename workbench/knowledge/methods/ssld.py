"""SSLD: no labels at all: the student agrees with a large teacher, symmetrically and for long, on labelled and pool.

    L = JS(p, q) = ½ KL(p ‖ m) + ½ KL(q ‖ m),    m = ½ (p + q),    p = softmax(z_t), q = softmax(z_s), no temperature

1. The pool: without near-duplicates of the examples that will judge; per predicted class the k examples of which the
   teacher is surest. 2. Stage one: L on labelled and pooled examples alike. 3. Stage two: L on the labelled examples,
   short and at a small learning rate. With g_i = ½ log(q_i / m_i) the gradient on z_s is q_j (g_j − Σ_i q_i g_i): a
   quarter of KL's where the two agree, bounded where they do not. Paper 098 (Cui et al. 2021).
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from workbench.data import Dataset, Split, joined, unlabelled
from workbench.kernels import divergence
from workbench.knowledge.making.distill import distill
from workbench.models import Outputs
from workbench.records import TrainingRecord
from workbench.signals.numbers import positive, share
from workbench.signals.signal import Signal
from workbench.training.evaluating import logits_of


@dataclass(frozen=True)
class JS(Signal):
    """Jensen–Shannon divergence of teacher and student: a whole loss, blind to the labels, in 0..log 2.

    Examples
    --------
    >>> import torch
    >>> sure, unsure = Outputs(torch.tensor([[99.0, 0.0]])), Outputs(torch.tensor([[0.0, 99.0]]))
    >>> JS()(sure, sure, torch.tensor([0])), JS()(sure, unsure, torch.tensor([0])).exp()
    (tensor([0.]), tensor([2.]))
    """

    complete: ClassVar[bool] = True

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss in nats, shape (n,); logits (n, classes)."""
        return divergence.jensen_shannon(student.logits, teacher.logits, beta=0.5)


@dataclass(frozen=True)
class SSLD:
    """The recipe.

    Attributes
    ----------
    per_class
        k ≥ 1: how many of the pool are kept of each class that the teacher predicts; None: all.
    alike
        Correlation in 0..1 above which an example of the pool counts as one that judges, and is left out; 1: none.
    steps, lr
        Of stage one, in optimizer steps.
    steps_two, lr_two
        Of stage two; with 0 steps there is none.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> teacher, student = wb.models.build("mlp", data, seed=1), wb.models.build("mlp", data, width=12)
    >>> rest = data.train.take(slice(100, 300))
    >>> record = SSLD(per_class=5, steps=20, steps_two=5)(teacher, student, data.subset(100), rest, progress=False)
    >>> record.model is student
    True
    """

    per_class: int | None = None
    alike: float = 0.99
    steps: int = 600
    lr: float = 4e-3
    steps_two: int = 100
    lr_two: float = 4e-4

    def __post_init__(self) -> None:
        if self.per_class is not None and (not isinstance(self.per_class, int) or self.per_class < 1):
            raise ValueError(f"per_class is {self.per_class!r}; it must be a whole number of at least 1, or None")
        for name in ("steps", "steps_two"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"{name} is {value!r}; it must be a number of steps, 0 or more")
        share(alike=self.alike)
        positive(lr=self.lr, lr_two=self.lr_two)

    def __call__(
        self, teacher: nn.Module, student: nn.Module, data: Dataset, pool: Any, *, seed: int = 0, **options: Any
    ) -> TrainingRecord:
        """Choose from the pool, and train the student in two stages.

        Parameters
        ----------
        teacher
            Trained, over the classes of `data`; it is only asked.
        student
            Trained in place.
        data
            Its training examples are used without their labels; its test split judges, and nothing in the pool may be
            as good as one of these.
        pool
            What `workbench.data.unlabelled` takes.
        seed, options
            As for `workbench.knowledge.distill`.

        Returns
        -------
        TrainingRecord
            Of the last stage that there is.
        """
        forgotten = unlabelled(data)
        both = joined(forgotten, self.chosen(teacher, unlabelled(pool, like=data), data.test))
        steps = {"seed": seed, **options}
        stage = replace(data, train=both)
        record = distill(teacher, student, stage, JS(), steps=self.steps, lr=self.lr, **steps)
        if not self.steps_two or record.interrupted:
            return record
        stage = replace(data, train=forgotten)
        return distill(teacher, student, stage, JS(), steps=self.steps_two, lr=self.lr_two, **steps)

    def chosen(self, teacher: nn.Module, pool: Split, judging: Split) -> Split:
        """What is used of the pool: no near-duplicate of what judges, and the teacher's k surest of each class."""
        if self.alike < 1:
            pool = pool.take((~near_duplicates(pool.inputs, judging.inputs, self.alike)).nonzero()[:, 0])
        if self.per_class is None or not len(pool):
            return pool
        return pool.take(surest(logits_of(teacher, pool.inputs), self.per_class))


def surest(logits: Tensor, k: int) -> Tensor:
    """The `k` rows of each predicted class whose probability is largest, or all where there are fewer; sorted.

    Parameters
    ----------
    logits
        The teacher's, shape (n, classes).

    Examples
    --------
    >>> surest(torch.tensor([[3.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), 2)
    tensor([0, 2, 3])
    """
    p, predicted = logits.softmax(1).max(1)
    rows = []
    for c in range(logits.shape[1]):
        of_class = (predicted == c).nonzero()[:, 0]
        rows.append(of_class[p[of_class].argsort(descending=True, stable=True)[:k]])
    return torch.cat(rows).sort().values


def near_duplicates(inputs: Tensor, others: Tensor, alike: float = 0.99, rows: int = 1024) -> Tensor:
    """Which examples are nearly one of `others`, bool, shape (n,): their values correlate by `alike` or more.

    A correlation does not see brightness and contrast. An example of one value all over is a duplicate of another such.

    Examples
    --------
    >>> photograph = torch.rand(1, 3, 8, 8)
    >>> near_duplicates(torch.cat([photograph * 0.5 + 0.1, torch.rand(1, 3, 8, 8)]), photograph)
    tensor([ True, False])
    """
    known = _standardised(others)
    found = [
        (_standardised(part) @ known.T >= alike).any(1) if len(known) else torch.zeros(len(part), dtype=torch.bool)
        for part in inputs.split(rows)
    ]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.bool)


def _standardised(inputs: Tensor) -> Tensor:
    """(n, values + 1) of mean 0 and length 1; the last value is 1 for rows of one value, which are like each other."""
    flat = inputs.flatten(1).double()
    centred = flat - flat.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    constant = length <= 1e-9 * flat.abs().amax(1, keepdim=True)
    unit = torch.where(constant, 0.0, centred / length.clamp(min=torch.finfo(flat.dtype).tiny))
    return torch.cat([unit, constant.to(unit)], 1)
