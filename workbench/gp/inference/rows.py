"""Training rows with equal inputs merged: a smaller, never singular system with exactly the same posterior.

Rows at one input x with weights w_i and targets y_i enter every likelihood here only through ``w = Σ w_i`` and
``ȳ = Σ w_i y_i / w``, and the spread around ȳ, which shifts the evidence and nothing else.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Rows:
    """What a posterior is conditioned on.

    Attributes
    ----------
    X
        Distinct inputs, shape (n, features).
    y
        Weighted mean targets, shape (n, p).
    weight
        Total weight w > 0 of each, shape (n,).
    groups
        Which of them each given row became, shape (N,); −1 for a row of weight 0.
    spread
        Σ w_i (y_i − ȳ)² over all rows and outputs.
    """

    X: Tensor
    y: Tensor
    weight: Tensor
    groups: np.ndarray
    spread: float

    @property
    def root(self) -> Tensor:
        """√w as a column, shape (n, 1): rows scaled by it have equal noise."""
        return self.weight.sqrt()[:, None]

    @property
    def scaled(self) -> Tensor:
        """√w · y, shape (n, p)."""
        return self.root * self.y

    @property
    def plain(self) -> bool:
        """All weights are one."""
        return bool((self.weight == 1).all())

    def with_targets(self, y: Tensor, spread: float = 0.0) -> "Rows":
        """The same inputs with other targets of shape (n, p)."""
        return replace(self, y=y, spread=spread)

    def subset(self, count: int, seed: int) -> "Rows":
        """`count` of the distinct rows, drawn without replacement; the spread shrinks in proportion."""
        index = torch.randperm(len(self.X), generator=torch.Generator().manual_seed(seed))[:count].sort().values
        index = index.to(self.X.device)
        share = count / len(self.X)
        return Rows(self.X[index], self.y[index], self.weight[index], np.zeros(0, int), self.spread * share)


def merge(X: np.ndarray, y: np.ndarray, weight: np.ndarray | None, like: Tensor) -> Rows:
    """Merge rows of equal input and drop rows of weight 0.

    Parameters
    ----------
    X, y, weight
        Shapes (N, features), (N, p) and (N,) or None.
    like
        A tensor whose device and precision the result takes.

    Examples
    --------
    >>> rows = merge(np.array([[0.0], [1.0], [0.0]]), np.array([[1.0], [5.0], [3.0]]), None, torch.zeros(1))
    >>> rows.y.ravel().tolist(), rows.weight.tolist(), rows.groups.tolist(), rows.spread
    ([2.0, 5.0], [2.0, 1.0], [0, 1, 0], 2.0)
    """
    w = np.ones(len(X)) if weight is None else weight
    kept = np.flatnonzero(w > 0)
    distinct, inverse = np.unique(X[kept], axis=0, return_inverse=True)
    groups = np.full(len(X), -1)
    if weight is None and len(distinct) == len(X):
        groups, merged_X, merged_w, merged_y, spread = np.arange(len(X)), X, w, y, 0.0
    else:
        groups[kept] = inverse.reshape(-1)
        merged_X, merged_w = distinct, np.bincount(groups[kept], w[kept])
        sums = np.stack([np.bincount(groups[kept], w[kept] * column) for column in y[kept].T], axis=1)
        merged_y = sums / merged_w[:, None]
        spread = float((w[kept, None] * (y[kept] - merged_y[groups[kept]]) ** 2).sum())
    merged = [torch.tensor(a).to(like) for a in (merged_X, merged_y, merged_w)]
    return Rows(merged[0], merged[1], merged[2], groups, spread)


def check_weights(sample_weight: object, X: np.ndarray) -> np.ndarray | None:
    """`sample_weight` as non-negative numbers of shape (N,), not all zero; None stays None."""
    if sample_weight is None:
        return None
    weight = np.asarray(sample_weight, dtype=float)
    if weight.ndim == 0:
        weight = np.full(len(X), float(weight))
    if weight.shape != (len(X),):
        raise ValueError(f"sample_weight has shape {weight.shape}; it must be ({len(X)},), one weight per row of X")
    if not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        raise ValueError("sample_weight must hold finite weights of at least 0, and not only zero weights")
    return weight


def normalisation(y: np.ndarray, weight: np.ndarray | None, wanted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Offset and scale of each target column, shapes (p,): weighted mean and standard deviation, or 0 and 1."""
    if not wanted:
        return np.zeros(y.shape[1]), np.ones(y.shape[1])
    mean = np.average(y, axis=0, weights=weight)
    scale = np.sqrt(np.average((y - mean) ** 2, axis=0, weights=weight))
    flat = scale <= 10 * np.finfo(float).eps * np.abs(mean)  # a constant column: rounding is not spread
    return np.where(flat, y[0], mean), np.where(flat, 1.0, scale)


def refuse_conflicts(noise: np.ndarray, rows: Rows) -> None:
    """Refuse different targets at one input where some step has no noise to explain them."""
    if rows.spread and (noise == 0).any():
        repeated = int(np.argmax(np.bincount(rows.groups[rows.groups >= 0])))
        where = np.flatnonzero(rows.groups == repeated)[:3].tolist()
        raise ValueError(
            f"noise is 0, but rows of X with equal inputs (such as rows {', '.join(map(str, where))}) have different "
            "targets, which no function can pass through: give a positive noise"
        )
