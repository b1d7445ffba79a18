"""DistillNearest and DistillWeighted: from a zoo of networks of other tasks into one student of a task with few labels.

    e_s = PARC(φ_s(X_l), Y_l)                                               how like the target a source sees
    w_s = max(e_s, 0)^p / Σ_s' max(e_s', 0)^p                               p = 0: all alike; p → ∞: the nearest alone
    L = λ CE(y, h φ(x_l)) + (1 − λ) Σ_s w_s CE(f_s(x_u), g_s φ(x_u))        x_u: the pool and the labelled inputs

Each source teaches in its own classes, through a head g_s of the student's that is trained from the start and dropped.
PARC (Bolya et al. 2021): Spearman's correlation over pairs of labelled examples of 1 − corr of their features, in 32
principal components, with 1 − corr of their one-hot labels. Paper 104 (Borup et al. 2023).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional

from workbench import models
from workbench.data import Split, beside, joined, unlabelled
from workbench.knowledge.making.distill import distill
from workbench.knowledge.teachers.zoo import Source
from workbench.models import Outputs
from workbench.records import TrainingRecord
from workbench.signals.numbers import number, share
from workbench.signals.signal import Signal

HEADS = "heads"
"""The layer whose output is the logits of the disposable heads, (n, Σ K_s), of a student `WithHeads`; and w_s f_s of a
teacher `ZooTeacher`.
"""


@dataclass(frozen=True)
class FromZoo(Signal):
    """The loss: labels on labelled examples, the zoo's answers on those beside them.

    Attributes
    ----------
    sizes
        K_s of each source.
    lam
        λ in 0..1.
    """

    sizes: tuple[int, ...]
    lam: float = 0.8
    complete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        share(lam=self.lam)

    @property
    def student_layers(self) -> tuple[str, ...]:
        return (HEADS,)

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        return (HEADS,)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        """Per-pair loss, shape (n,)."""
        hard = functional.cross_entropy(student.logits, labels, reduction="none")
        if self.lam == 1:
            return hard
        parts = zip(
            student.features[HEADS].split(self.sizes, 1), teacher.features[HEADS].split(self.sizes, 1), strict=True
        )
        soft = sum((-(told * g.log_softmax(1)).sum(1) for g, told in parts), torch.zeros_like(hard))
        return self.lam * hard + (1 - self.lam) * soft


class WithHeads(nn.Module):
    """A network whose last linear layer is the target's head and all disposable ones, side by side.

    On pairs (n, 2, …) its logits are those of the labelled examples, and the layer ``heads`` gives those of the
    examples beside them; on plain inputs (n, …) the logits are the target's.

    Parameters
    ----------
    network
        Its outputs are C + Σ K_s.
    classes
        C.
    ndim
        Axes of one input.
    """

    def __init__(self, network: nn.Module, classes: int, ndim: int) -> None:
        super().__init__()
        self.network, self.classes, self.ndim = network, classes, ndim
        self.add_module(HEADS, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, C)."""
        if x.ndim == self.ndim + 1:
            logits: Tensor = self.network(x)[:, : self.classes]
            return logits
        both = self.network(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        self.get_submodule(HEADS)(both[:, 1, self.classes :])
        return torch.as_tensor(both[:, 0, : self.classes])


class ZooTeacher(nn.Module):
    """What a zoo says of the second of each pair: layer ``heads`` gives w_s f_s side by side; logits are all 0.

    A source of weight 0 is never asked.
    """

    def __init__(self, zoo: Sequence[Source], weights: Sequence[float], classes: int) -> None:
        super().__init__()
        self.zoo, self.weights, self.classes = list(zoo), [float(w) for w in weights], classes
        self.add_module(HEADS, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """Zeros (n, C)."""
        told = [
            w * source.says(x[:, 1]) if w else x.new_zeros(len(x), len(source.classes))
            for source, w in zip(self.zoo, self.weights, strict=True)
        ]
        self.get_submodule(HEADS)(torch.cat(told, 1))
        return x.new_zeros(len(x), self.classes)


@dataclass(frozen=True)
class DistillWeighted:
    """Distillation from all sources, by similarity.

    Attributes
    ----------
    power
        p ≥ 0; ``math.inf`` is `DistillNearest`.
    lam
        λ in 0..1: the labels' share.
    dimensions
        Principal components of the features that PARC compares.

    Examples
    --------
    >>> import workbench as wb
    >>> digits = wb.data.load("digits").subset(200)
    >>> tasks = wb.data.label_spaces(digits)
    >>> zoo = [Source(name, wb.models.build("mlp", task, width=8), task.classes) for name, task in tasks.items()]
    >>> few, pool = digits.train.per_class(3), digits.train.take(slice(60, 160))
    >>> record = DistillWeighted(power=4)(zoo, "mlp", few, pool, width=[16], steps=5, progress=False)
    >>> record.model(digits.test.inputs[:2]).shape
    torch.Size([2, 10])
    """

    power: float = 10.0
    lam: float = 0.8
    dimensions: int = 32

    def __post_init__(self) -> None:
        if self.power != math.inf:
            number("power", self.power, lambda p: p >= 0, "0 or more, or math.inf")
        share(lam=self.lam)
        number("dimensions", self.dimensions, lambda d: d >= 1, "at least 1")

    def __call__(
        self,
        zoo: Sequence[Source],
        network: str,
        labelled: Split,
        pool: Any,
        *,
        seed: int = 0,
        width: int | Sequence[int] | None = None,
        depth: int | None = None,
        **options: Any,
    ) -> TrainingRecord:
        """Score the zoo, and train a student.

        Parameters
        ----------
        zoo
            Sources of any classes.
        network, width, depth
            The student, as `workbench.models.build` takes it.
        labelled
            The few labelled examples of the target.
        pool
            What `workbench.data.unlabelled` takes.
        seed, options
            As for `workbench.knowledge.distill`.

        Returns
        -------
        TrainingRecord
            Of the student with its target head alone.
        """
        if not zoo:
            raise ValueError("zoo is empty: it takes at least one source")
        weights = similarity_weights(self.similarities(zoo, labelled), self.power)
        size: dict[str, Any] = {"width": width, "depth": depth}
        student = with_heads(network, labelled, zoo, seed=seed, **size)
        pairs = beside(labelled, joined(unlabelled(labelled), unlabelled(pool, like=labelled)), seed=seed)
        told = FromZoo(tuple(len(source.classes) for source in zoo), self.lam)
        teacher = ZooTeacher(zoo, weights, len(labelled.classes))
        record = distill(teacher, student, pairs, told, seed=seed, **options)
        alone = without_heads(student, models.build(network, labelled, seed=seed, **size))
        return record.replace(state=dict(alone.state_dict()), spec=alone.spec, checkpoint={}).with_model(alone)

    def similarities(self, zoo: Sequence[Source], labelled: Split) -> list[float]:
        """e_s of each source."""
        return [parc(source.features(labelled.inputs), labelled.labels, self.dimensions) for source in zoo]


@dataclass(frozen=True)
class DistillNearest(DistillWeighted):
    """Distillation from the source with the largest similarity alone."""

    power: float = math.inf


def with_heads(network: str, labelled: Split, zoo: Sequence[Source], *, seed: int = 0, **size: Any) -> WithHeads:
    """A fresh student with a head for each source beside its own."""
    outputs = len(labelled.classes) + sum(len(source.classes) for source in zoo)
    built = models.build(network, (labelled.shape, outputs), seed=seed, **size)
    return WithHeads(built.to(labelled.device), len(labelled.classes), len(labelled.shape))


def without_heads(student: WithHeads, fresh: nn.Module) -> Any:
    """`fresh`, a network of C outputs, with the student's weights; the disposable heads are left behind."""
    own, wanted = student.network.state_dict(), fresh.state_dict()
    fresh.load_state_dict(
        {name: value[: len(wanted[name])] if wanted[name].ndim else value for name, value in own.items()}
    )
    return fresh.to(next(student.parameters()).device).eval()


def similarity_weights(e: Sequence[float], power: float) -> list[float]:
    """w_s, of sum 1; of tied nearest sources each has an equal share.

    Raises
    ------
    ValueError
        No similarity is positive: no source is like the target.

    Examples
    --------
    >>> similarity_weights([0.4, 0.2, -0.9], 1)
    [0.666..., 0.333..., 0.0]
    >>> similarity_weights([0.4, 0.2, -0.9], math.inf)
    [1.0, 0.0, 0.0]
    """
    clipped = torch.as_tensor([max(float(one), 0.0) for one in e], dtype=torch.float64)
    if not float(clipped.max()) > 0:
        raise ValueError(f"no source is like the target: similarities are {[round(float(one), 3) for one in e]}")
    relative = clipped / clipped.max()  # powers of numbers up to 1 do not overflow
    powered = (relative == 1).double() if power == math.inf else torch.where(clipped > 0, relative**power, 0.0)
    return (powered / powered.sum()).tolist()


def parc(features: Tensor, labels: Tensor, dimensions: int = 32) -> float:
    """How far examples that are alike in features are alike in labels, in −1..1.

    Parameters
    ----------
    features
        Shape (n, D).
    labels
        Classes, shape (n,).
    dimensions
        Principal components kept, where D is larger.

    Raises
    ------
    ValueError
        There are fewer than three examples or one class only, or all features are alike.

    Examples
    --------
    >>> round(parc(torch.eye(3)[[0, 0, 1, 2, 2]], torch.tensor([0, 0, 1, 2, 2])), 9)
    1.0
    """
    F, Y = features.double().cpu(), functional.one_hot(labels.cpu()).double()
    Y = Y[:, Y.any(0)]
    if len(F) < 3 or Y.shape[1] < 2:
        raise ValueError(f"{len(F)} labelled examples of {Y.shape[1]} classes: it takes three, of two classes")
    if F.shape[1] > dimensions:
        centred = F - F.mean(0)
        F = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:dimensions].T
    below = torch.tril_indices(len(F), len(F), -1)
    ranks = [
        torch.from_numpy(rankdata((1 - _correlations(values))[below[0], below[1]].round(decimals=12).numpy()))
        for values in (F, Y)
    ]
    a, b = (one - one.mean() for one in ranks)
    length = float(a.norm() * b.norm())
    if not length > 0:
        raise ValueError("all features are alike: they tell no two examples apart")
    return min(1.0, max(-1.0, float(a @ b) / length))


def _correlations(values: Tensor) -> Tensor:
    """Pearson's correlation of every two rows; of a constant row 0."""
    centred = values - values.mean(1, keepdim=True)
    unit = centred / centred.norm(dim=1, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)
    return unit @ unit.T
