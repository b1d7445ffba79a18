"""Born-again networks: distil a network into a fresh copy of itself, generation after generation.

    BAN     L = CE(p, q) = −Σ_c p_c log q_c,    p = softmax(teacher), q = softmax(student), no temperature
    BAN+L   L = CE(p, q) + CE(y, q)             ``BornAgain() + CrossEntropy()``
    CWTM    L = Σ_i w_i CE(y_i, q_i) / Σ_j w_j,  w_i = max_c p_i,c over the batch: only the teacher's confidence
    DKPP    L = CE(p̃, q),  p̃ = p with its entries other than the largest shuffled among the classes

Furlanello et al. 2018, paper 097. `generations` runs the chain; a `Committee` of its members is the BAN ensemble. A
student that starts from its teacher's weights is already at the teacher and gets no gradient: starts must be fresh.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.data import Dataset
from workbench.knowledge.making.distill import distill
from workbench.models import Outputs
from workbench.records import TrainingRecord
from workbench.signals.cross_entropy import CrossEntropy
from workbench.signals.signal import Signal


@dataclass(frozen=True)
class BornAgain(Signal):
    """BAN: the teacher's whole prediction is the label. Its gradient on the logits is q − p.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> even = Outputs(torch.zeros(1, 4))
    >>> BornAgain()(even, even, torch.tensor([0]))
    tensor([1.3863])
    """

    complete: ClassVar[bool] = True

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,); logits (n, classes)."""
        return F.cross_entropy(student.logits, teacher.logits.softmax(1), reduction="none")


@dataclass(frozen=True)
class CWTM(Signal):
    """Confidence weighted by teacher max: labels only, each example counted by how sure the teacher is of something.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> even = Outputs(torch.zeros(2, 4))
    >>> CWTM()(even, even, torch.tensor([0, 1]))
    tensor(1.3863)
    """

    complete: ClassVar[bool] = True

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        """One number for the batch, shape ()."""
        w = confidences(teacher.logits)
        return (w * CrossEntropy()(student, teacher, labels)).sum() / w.sum()


@dataclass(frozen=True)
class DKPP(Signal):
    """Dark knowledge with permuted predictions: the wrong classes' probabilities are kept, but not whose they are.

    Each example has its own permutation, drawn from its teacher logits and `seed`: the same example under the same
    teacher is shuffled the same way whenever it is met, and no random state is involved.

    Attributes
    ----------
    seed
        Another seed, other permutations.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> logits = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    >>> shuffled = permuted(logits.softmax(1), logits, seed=0)
    >>> shuffled.argmax(1), torch.equal(shuffled.sort(1).values, logits.softmax(1).sort(1).values)
    (tensor([0]), True)
    """

    seed: int = 0
    complete: ClassVar[bool] = True

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,); logits (n, classes)."""
        p = teacher.logits.softmax(1)
        return F.cross_entropy(student.logits, permuted(p, teacher.logits, self.seed), reduction="none")


def confidences(teacher: Tensor) -> Tensor:
    """w: the teacher's largest class probability per example, shape (n,)."""
    return teacher.softmax(1).amax(1)


def permuted(p: Tensor, key: Tensor, seed: int) -> Tensor:
    """Rows of `p` (n, classes): the largest entry in place, the others in an order drawn from `key` and `seed`."""
    top = p.argmax(1, keepdim=True)
    draw = _hash(key, seed)
    # The largest entry sorts first both by value and by draw, so that it is handed to the class it came from.
    places = draw.scatter(1, top, -1).argsort(stable=True, dim=1)
    ranked = p.scatter(1, top, torch.inf).argsort(stable=True, dim=1, descending=True)
    return torch.zeros_like(p).scatter(1, places, p.gather(1, ranked))


def generations(
    make: Callable[[int], nn.Module],
    data: Dataset,
    count: int = 3,
    signal: Signal | None = None,
    *,
    seed: int = 0,
    name: str = "generation",
    **options: Any,
) -> list[TrainingRecord]:
    """Generation 0 is trained on labels, each later one with the one before it as its teacher.

    Parameters
    ----------
    make
        Seed → a freshly initialised network; called with a new seed for each generation.
    data
        Every generation's training data.
    count
        Generations after the first.
    signal
        Default `BornAgain`.
    seed
        Of the chain: generation k initialises and orders its data by ``seed + 1000 k``.
    name
        Runs are called ``"<name> k"``.
    options
        As for `workbench.knowledge.distill`.

    Returns
    -------
    list of TrainingRecord
        ``count + 1`` records, oldest first.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(100)
    >>> make = lambda seed: wb.models.build("mlp", data, seed=seed)
    >>> family = generations(make, data, count=1, steps=20, progress=False)
    >>> [record.name for record in family]
    ['generation 0', 'generation 1']
    """
    if count < 0:
        raise ValueError(f"count is {count}; it is the number of generations after the first, 0 or more")
    chain: list[TrainingRecord] = []
    for k in range(count + 1):
        teacher = chain[-1].model if chain else None
        told = (signal or BornAgain()) if chain else CrossEntropy()
        its_seed = seed + 1000 * k
        chain.append(distill(teacher, make(its_seed), data, told, seed=its_seed, name=f"{name} {k}", **options))
    return chain


def _hash(key: Tensor, seed: int) -> Tensor:
    """A fixed pseudo-random whole number in 0..2³¹−1 for every entry of `key`, which also depends on its whole row."""
    mask = 0x7FFFFFFF
    bits = (key.detach().double() * 4096).round().clamp(-1e12, 1e12).to(torch.int64)
    column = torch.arange(key.shape[1], device=key.device)
    mixed = (bits * (2 * column + 1)).sum(1, keepdim=True) + bits + column * 0x9E3779B1 + seed * 0x85EBCA6B
    for factor in (0x45D9F3B, 0x2C1B3C6D, 0x297A2D39):
        mixed = (mixed ^ (mixed >> 15)) & mask
        mixed = (mixed * factor) & mask
    return mixed ^ (mixed >> 13)
