"""RAD: which unlabelled points to ask an imperfect teacher about is a game, and its equilibrium is sampled.

The student gains g_i = 1 − margin_i from point i, but the teacher is wrong on up to m of the n points of the pool, and
an adversary has chosen which:

    max_{p ∈ Δ_n}  min_{|I| ≤ m}  Σ_{i ∉ I} p_i g_i

With g_1 ≥ … ≥ g_n and H_k = Σ_{i ≤ k} 1/g_i the solution is, of value (k* − m) / H_{k*},

    k* = argmax_k (k − m) / H_k,        p_i = (1/g_i) / H_{k*}  for i ≤ k*, else 0

so within the support what gains less is asked more often, and the adversary has nothing to choose. b points are drawn
with marginals min(1, b p_i) by dependent rounding. m = ⌈n · error⌉ is all that must be known of the teacher.

Paper 116 (Robust Active Distillation, ICLR 2023). From an expensive, sometimes wrong network, through its answers on
the points drawn, into a smaller network. The solution was derived again; it is the optimum of the linear program.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from workbench.data import Dataset, Split, joined
from workbench.kernels import divergence
from workbench.knowledge.teachers.oracle import CERTAIN, Oracle
from workbench.models import Outputs
from workbench.records import TrainingRecord
from workbench.signals.kl import KL
from workbench.signals.numbers import number, positive, share
from workbench.signals.signal import Bound
from workbench.training import Ensemble
from workbench.training.evaluating import logits_of

FLOOR = 1e-6
"""Gains below it count as it: a margin of 1 would be drawn infinitely often."""


def gains(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """G = 1 − (largest − second largest probability), in (0, 1]: (n, classes) → (n,), float64.

    Examples
    --------
    >>> gains(torch.tensor([[0.0, 0.0, -9.0], [9.0, 0.0, 0.0]])).round(decimals=3)
    tensor([1., 0.], dtype=torch.float64)
    """
    positive(temperature=temperature)
    top = (logits.double() / temperature).softmax(1).topk(2, dim=1).values
    return (1 - (top[:, 0] - top[:, 1])).clamp(min=FLOOR)


def equilibrium(g: Tensor, m: int) -> Tensor:
    """p*: how often each point is drawn where the teacher is wrong on up to m of them; (n,) → (n,), float64.

    Of equally good supports the largest is taken, so that equal gains are drawn equally.

    Raises
    ------
    ValueError
        A gain is not positive, or m is none of 0..n−1: with every answer wrong nothing is gained.

    Examples
    --------
    >>> equilibrium(torch.tensor([1.0, 0.5, 0.25]), m=1)
    tensor([0.3333, 0.6667, 0.0000], dtype=torch.float64)
    """
    g = g.double()
    n = len(g)
    if not bool((g > 0).all()):
        raise ValueError(
            f"g has the gain {float(g.min()):g}; gains must be positive (gains() floors them at {FLOOR:g})"
        )
    if isinstance(m, bool) or not isinstance(m, int) or not 0 <= m < n:
        raise ValueError(f"m is {m!r}; it must be a number of wrong answers in 0..{n - 1}, below the pool's {n} points")
    order = g.argsort(descending=True, stable=True)
    inverse = 1 / g[order]
    k = torch.arange(1, n + 1, dtype=torch.float64, device=g.device)
    value = (k - m) / inverse.cumsum(0)
    best = int((value >= value.max() * (1 - 1e-12)).nonzero()[-1]) + 1
    p = torch.zeros_like(g)
    p[order[:best]] = inverse[:best] / inverse[:best].sum()
    return p


def worst_case(p: Tensor, g: Tensor, m: int) -> float:
    """What p gains where the adversary takes away the m best of the products p_i g_i."""
    kept = (p.double() * g.double()).sort(descending=True).values[m:]
    return float(kept.sum())


def marginals(p: Tensor, b: int, g: Tensor) -> Tensor:
    """How surely each point is among b distinct ones: b p_i, what exceeds 1 handed on in proportion; sums to b.

    Where the support has fewer than b points, the next best gains fill up.
    """
    n = len(p)
    if not 0 < b <= n:
        raise ValueError(f"b is {b}; it must be in 1..{n}, the number of points left in the pool")
    p = p.double()
    q, certain = torch.zeros_like(p), torch.zeros(n, dtype=torch.bool, device=p.device)
    while True:
        rest, mass = b - int(certain.sum()), p.masked_fill(certain, 0)
        if rest == 0:
            break
        if float(mass.sum()) == 0:  # the support is spent
            next_best = g.double().masked_fill(certain, -torch.inf).topk(rest).indices
            certain[next_best] = True
            break
        q = rest * mass / mass.sum()
        over = q >= 1 - 1e-12
        if not bool(over.any()):
            break
        certain |= over
        q = torch.zeros_like(q)
    return torch.where(certain, 1.0, q)


def dependent_rounding(q: Tensor, generator: torch.Generator) -> Tensor:
    """Distinct rows drawn with marginals q, which sum to a whole number b: shape (b,), ascending.

    Two fractional entries at a time exchange mass until one of them is 0 or 1; the sum and each expectation stay.

    Examples
    --------
    >>> dependent_rounding(torch.tensor([1.0, 0.0, 1.0]), torch.Generator())
    tensor([0, 2])
    """
    left = q.double().tolist()
    b = round(sum(left))
    if abs(sum(left) - b) > 1e-6 or min(left) < 0 or max(left) > 1 + 1e-9:
        raise ValueError(f"q sums to {sum(left):g}; marginals are shares in 0..1 that sum to a whole number")
    open_ = [i for i, value in enumerate(left) if 1e-12 < value < 1 - 1e-12]
    coins = torch.rand(len(open_), generator=generator, dtype=torch.float64).tolist()
    while len(open_) > 1:
        i, j = open_[-2:]
        up, down = min(1 - left[i], left[j]), min(left[i], 1 - left[j])  # to i, and to j
        moved = up if coins.pop() < down / (up + down) else -down
        left[i], left[j] = left[i] + moved, left[j] - moved
        open_[-2:] = [k for k in (i, j) if 1e-12 < left[k] < 1 - 1e-12]
    return torch.tensor([i for i, value in enumerate(left) if value > 0.5], dtype=torch.int64)


@dataclass(frozen=True)
class RAD:
    """Draw by the game's equilibrium.

    Attributes
    ----------
    error
        Share of its answers that the teacher is expected to get wrong, in 0..1; see `error_of`.
    temperature
        Of the student's probabilities in the gains.
    """

    error: float
    temperature: float = 1.0

    def __post_init__(self) -> None:
        share(error=self.error)
        positive(temperature=self.temperature)

    def probabilities(self, logits: Tensor) -> Tensor:
        """P of every point of the pool, from the student's logits (n, classes)."""
        n = len(logits)
        m = min(math.ceil(n * self.error - 1e-9), n - 1)
        return equilibrium(gains(logits, self.temperature), m)

    def __call__(self, logits: Tensor, b: int, generator: torch.Generator) -> Tensor:
        """B rows of the pool."""
        return dependent_rounding(marginals(self.probabilities(logits), b, gains(logits, self.temperature)), generator)


@dataclass(frozen=True)
class Uniform:
    """Draw any b points."""

    def __call__(self, logits: Tensor, b: int, generator: torch.Generator) -> Tensor:
        return torch.randperm(len(logits), generator=generator)[:b]


@dataclass(frozen=True)
class Margin:
    """The b points of the smallest margin."""

    temperature: float = 1.0

    def __call__(self, logits: Tensor, b: int, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        return gains(logits, self.temperature).topk(b).indices


@dataclass(frozen=True)
class Entropy:
    """The b points of the largest entropy."""

    temperature: float = 1.0

    def __call__(self, logits: Tensor, b: int, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        return divergence.entropy(logits, self.temperature).topk(b).indices


Strategy = Callable[[Tensor, int, torch.Generator], Tensor]
"""Student's logits on the pool (n, classes), how many, and a generator → which rows to ask about."""


@dataclass(frozen=True)
class Asking:
    """One student that asks one teacher.

    Attributes
    ----------
    oracle
        Whom it asks.
    make
        Makes a fresh student; called before each round, which trains from scratch.
    labelled, pool
        What it knows, and what it may ask about; the pool's labels are not read.
    strategy
        How it chooses.
    seed
        Of the draws and of training.
    """

    oracle: Oracle
    make: Callable[[], nn.Module]
    labelled: Split
    pool: Split
    strategy: Strategy
    seed: int = 0


@dataclass(frozen=True)
class Asked:
    """What came of an `Asking`: rows of the pool in the order they were asked about, and the student of each round."""

    rows: Tensor
    answers: Tensor
    students: tuple[TrainingRecord, ...]

    @property
    def student(self) -> TrainingRecord:
        """The last."""
        return self.students[-1]


def ask_actively(
    runs: Sequence[Asking], test: Split, *, rounds: int = 6, batch: int = 50, steps: int = 200, **options: Any
) -> list[Asked]:
    """Rounds of choosing, asking and training from scratch, for many runs whose students train as one ensemble.

    Parameters
    ----------
    runs
        With labelled sets of equal size, and students of one architecture.
    test
        Judges the students.
    rounds, batch
        The teacher is asked about b = `batch` points after each of `rounds` trainings; one more training follows.
    steps, options
        Of every training, as for `workbench.training.Ensemble.fit`.

    Returns
    -------
    list of Asked
        ``rounds + 1`` students each.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> oracle = Oracle(wb.models.build("mlp", data), "probabilities", budget=20)
    >>> run = Asking(oracle, lambda: wb.models.build("mlp", data, width=8), data.train.subset(40), data.train, RAD(0.2))
    >>> (told,) = ask_actively([run], data.test, rounds=2, batch=10, steps=5, progress=False)
    >>> len(told.rows), len(told.students), oracle.asked
    (20, 3, 20)
    """
    positive(rounds=rounds, batch=batch, steps=steps)
    rows: list[Tensor] = [torch.zeros(0, dtype=torch.int64) for _ in runs]
    students: list[list[TrainingRecord]] = [[] for _ in runs]
    draws = [torch.Generator().manual_seed(run.seed) for run in runs]
    for _ in range(rounds + 1):
        if students[0]:
            for i, run in enumerate(runs):
                free = torch.ones(len(run.pool), dtype=torch.bool)
                free[rows[i]] = False
                left = free.nonzero()[:, 0]
                logits = logits_of(students[i][-1].model.cpu(), run.pool.inputs[left].cpu())
                rows[i] = torch.cat([rows[i], left[run.strategy(logits, min(batch, len(left)), draws[i])]])
        told = [_told(run, chosen) for run, chosen in zip(runs, rows, strict=True)]
        made = Ensemble([run.make() for run in runs]).fit(
            [Dataset("asked", seen, test) for seen, _ in told],
            steps=steps, loss=Bound(KL(1.0)), guide=[guide for _, guide in told], seeds=[run.seed for run in runs],
            **{"evaluate_every": 0} | options,
        )  # fmt: skip
        for record, kept in zip(made, students, strict=True):
            kept.append(record)
    return [
        Asked(chosen, run.oracle.ask(run.pool.inputs[chosen]), tuple(kept))
        for run, chosen, kept in zip(runs, rows, students, strict=True)
    ]


def _told(run: Asking, chosen: Tensor) -> tuple[Split, Callable[[Tensor, Tensor], Outputs]]:
    """The training split, and its targets as logits: the labels, then the teacher's answers."""
    labels = nn.functional.one_hot(run.labelled.labels, len(run.labelled.classes)).float()
    asked = run.pool.take(chosen)
    answers = run.oracle(asked.inputs) if len(chosen) else labels[:0]
    table = torch.cat([CERTAIN * (labels - 1), answers])
    seen = joined(run.labelled, Split(
        asked.inputs, answers.argmax(1), asked.classes, asked.mean, asked.std, asked.index, features=asked.features
    ))  # fmt: skip

    def guide(inputs: Tensor, rows: Tensor) -> Outputs:
        return Outputs(table.to(inputs.device)[rows])

    return seen, guide


def error_of(oracle: Oracle, validation: Split) -> float:
    """Share of labelled examples, which it has not been trained on, that the teacher gets wrong: what m needs.

    It is asked about all of them.
    """
    number("the length of validation", len(validation), lambda n: n > 0, "1 or more")
    return float((oracle(validation.inputs).argmax(1) != validation.labels).double().mean())
