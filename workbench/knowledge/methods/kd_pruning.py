"""Distillation on pruned data: a teacher that has seen all of it makes up for what the student does not see.

    L = (1 − α) CE(s, y) + α τ² KL(p_t^τ ‖ p_s^τ)       on the ⌊f N⌋ examples with the highest score r(x)

Scores, each over all N training examples: random (stratified), EL2N ‖p − y‖, GraNd ‖∇ loss‖, forgetting (how often an
example was unlearned), herding (greedy matching of mean features), moderate (distance to the class mean nearest the
median). With a teacher even random pruning suffices; the smaller f, the larger the best α. Paper 080
(Ben-Baruch et al. 2025); EL2N and GraNd: Paul et al. 2021; forgetting: Toneva et al. 2019; moderate: Xia et al. 2023.

In the linear case all is in closed form (`LinearCase`): ridge regressions y = Xᵀθ + η, the teacher's on the examples A
and the student's on B with targets (1 − α) y_B + α X_Bᵀ θ̂_t, so that θ̂_s = L y and, with noise of variance σ²,

    E‖θ̂_s − θ‖² = ‖(L Xᵀ − I) θ‖² + σ² ‖L‖²_F,    a quadratic in α
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from workbench.data import Split
from workbench.data.sampling import stratified_order
from workbench.models import Outputs
from workbench.signals.cross_entropy import CrossEntropy
from workbench.signals.kl import KL
from workbench.signals.numbers import number, positive, share
from workbench.signals.signal import Signal


@dataclass(frozen=True)
class KDPruning(Signal):
    """The loss on what is left: labels and soft labels in the shares 1 − α and α.

    Attributes
    ----------
    alpha
        α in 0..1: the teacher's share; with 1 the labels are not read, with 0 the teacher is not.
    temperature
        τ > 0.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> teacher, student = wb.models.build("mlp", data, seed=1), wb.models.build("mlp", data, width=12)
    >>> few = pruned(data.train, at_random(data.train), 0.05)
    >>> record = wb.knowledge.distill(teacher, student, few, KDPruning(alpha=1.0), steps=5, progress=False)
    """

    alpha: float = 0.5
    temperature: float = 4.0
    complete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        share(alpha=self.alpha)
        positive(temperature=self.temperature)

    @property
    def needs_teacher(self) -> bool:  # type: ignore[override]
        return self.alpha > 0

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        """Per-example loss, shape (n,)."""
        if self.alpha == 0:
            return CrossEntropy()(student, teacher, labels)
        soft = self.alpha * KL(self.temperature)(student, teacher, labels)
        if self.alpha == 1:
            return soft
        return (1 - self.alpha) * CrossEntropy()(student, teacher, labels) + soft


def pruned(split: Split, scores: Tensor, fraction: float) -> Split:
    """The ⌊f N⌋ examples with the highest scores, in source order; of equal scores the first.

    Parameters
    ----------
    scores
        Shape (N,), one for each example.
    fraction
        f in 0..1.

    Raises
    ------
    ValueError
        There are not as many scores, or nothing is left.
    """
    share(fraction=fraction)
    count = math.floor(fraction * len(split) + 1e-9)
    if len(scores) != len(split) or count < 1:
        raise ValueError(
            f"fraction is {fraction} of {len(split)} examples with {len(scores)} scores: it takes one score each, and "
            "must leave at least one example"
        )
    return split.take(scores.argsort(descending=True, stable=True)[:count].sort().values)


def at_random(split: Split, seed: int = 0) -> Tensor:
    """Random scores (N,) by which every class keeps its share."""
    scores = torch.empty(len(split), dtype=torch.float64)
    scores[stratified_order(split.labels, seed)] = -torch.arange(len(split), dtype=torch.float64)
    return scores


def el2n(logits: Tensor, labels: Tensor) -> Tensor:
    """‖p − y‖₂, shape (N,), in 0..√2: a mean over K networks trained shortly.

    Parameters
    ----------
    logits
        Shape (K, N, classes).
    labels
        Shape (N,).
    """
    y = functional.one_hot(labels, logits.shape[2])
    return (logits.softmax(2) - y).norm(dim=2).mean(0)


def grand(networks: Sequence[nn.Module], split: Split, batch_size: int = 256) -> Tensor:
    """‖∇_θ CE(x, y)‖₂ of each example, shape (N,): a mean over networks, fresh or trained shortly; in eval mode."""
    total = torch.zeros(len(split), dtype=torch.float64)
    for network in networks:
        training = network.training
        weights = {name: value.detach() for name, value in network.named_parameters()}

        def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor, network: nn.Module = network) -> Tensor:
            logits = torch.func.functional_call(network, weights, (x[None],))
            return functional.cross_entropy(logits, y[None])

        try:
            network.eval()
            each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
            parts = [
                torch.stack([g.flatten(1).square().sum(1) for g in each(weights, x, y).values()]).sum(0).sqrt()
                for x, y in zip(split.inputs.split(batch_size), split.labels.split(batch_size), strict=True)
            ]
        finally:
            network.train(training)
        total += torch.cat(parts).cpu().double()
    return total / len(networks)


def forgetting(right: Tensor) -> Tensor:
    """How often each example was right and then wrong, shape (N,); one that never was right counts as T, the most.

    Parameters
    ----------
    right
        Whether it was right at T times of a training, bool, shape (T, N).

    Examples
    --------
    >>> forgetting(torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 1, 0]]).bool())
    tensor([2, 0, 4])
    """
    events = (right[:-1] & ~right[1:]).sum(0)
    return torch.where(right.any(0), events, len(right))


def herding(features: Tensor) -> Tensor:
    """Greedy mean matching: scores (N,), the first chosen highest; each prefix's mean is as near the whole mean as it
    gets by one more example (Welling 2009).

    Parameters
    ----------
    features
        Shape (N, D).
    """
    features = features.double()
    mean, total = features.mean(0), torch.zeros_like(features[0])
    scores = torch.empty(len(features), dtype=torch.float64)
    left = torch.ones(len(features), dtype=torch.bool)
    for k in range(len(features)):
        away = (mean - (total + features) / (k + 1)).square().sum(1).masked_fill(~left, torch.inf)
        chosen = int(away.argmin())
        scores[chosen], left[chosen] = -k, False
        total += features[chosen]
    return scores


def moderate(features: Tensor, labels: Tensor) -> Tensor:
    """−|d − median d|, shape (N,), where d is the distance to the mean feature of the example's class.

    Parameters
    ----------
    features
        Shape (N, D).
    labels
        Shape (N,).
    """
    scores = torch.empty(len(features), dtype=torch.float64)
    for c in labels.unique():
        own = features[labels == c].double()
        d = (own - own.mean(0)).norm(dim=1)
        scores[labels == c] = -(d - d.quantile(0.5)).abs()
    return scores


@dataclass(frozen=True)
class LinearCase:
    """Ridge regression distilled on a part of the data, in closed form.

    Attributes
    ----------
    X
        Inputs as columns, shape (d, N).
    A, B
        The teacher's and the student's examples, as columns of X.
    ridge
        λ > 0.

    Examples
    --------
    >>> X = torch.randn(5, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> case, theta = LinearCase(X, range(40), range(8), 0.1), torch.ones(5, dtype=torch.float64)
    >>> case.risk(case.best(theta, 0.7), theta, 0.7) <= case.risk(0.0, theta, 0.7)
    True
    """

    X: Tensor
    A: Sequence[int]
    B: Sequence[int]
    ridge: float

    def __post_init__(self) -> None:
        positive(ridge=self.ridge)

    def solution(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """M⁻¹X of a ridge regression on some examples, (d, n), and their selection S, (n, N)."""
        picked = torch.as_tensor(list(rows))
        X = self.X[:, picked]
        M = X @ X.T + self.ridge * torch.eye(len(X), dtype=X.dtype)
        return torch.linalg.solve(M, X), functional.one_hot(picked, self.X.shape[1]).to(X)

    def operator(self, alpha: float) -> Tensor:
        """L (d, N): θ̂_s = L y."""
        number("alpha", alpha)
        (teacher, S_A), (student, S_B) = self.solution(self.A), self.solution(self.B)
        X_B = self.X @ S_B.T
        return student @ ((1 - alpha) * S_B + alpha * X_B.T @ teacher @ S_A)

    def risk(self, alpha: float, theta: Tensor, sigma: float) -> float:
        """E‖θ̂_s − θ‖² over the noise."""
        L = self.operator(alpha)
        bias = L @ (self.X.T @ theta) - theta
        return float(bias.square().sum() + sigma**2 * L.square().sum())

    def best(self, theta: Tensor, sigma: float) -> float:
        """α* where the risk is least; not held to 0..1."""
        L_0, D = self.operator(0.0), self.operator(1.0) - self.operator(0.0)
        bias, change = L_0 @ (self.X.T @ theta) - theta, D @ (self.X.T @ theta)
        slope = bias @ change + sigma**2 * (L_0 * D).sum()
        return float(-slope / (change @ change + sigma**2 * D.square().sum()))
