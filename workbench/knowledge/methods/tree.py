"""DNN→tree: one ordinary decision tree, grown by multi-output regression on what a network answers.

At a node with examples A the split (feature, threshold) is chosen that minimises

    Σ_{B ∈ {L, R}} Σ_{i ∈ B} ‖t_i − t̄_B‖²,      t_i = z_i − mean_k z_ik   or   t_i = softmax(z_i / T),

and a leaf answers its mean t̄_B: as it is for soft targets, its softmax for logits. With one-hot targets this is the
Gini tree of the labels, exactly: Σ_k p_k (1 − p_k) is the variance of one-hot vectors. So the teacher of T → 0 is the
baseline, and everything else that a tree gains it gains from what the network says beyond the label.

Paper 108 (Liu, Wang & Matwin 2018). From a trained network, through soft outputs as targets, into one decision tree.
More inputs for the network to label (`extra`) are ours.
"""

import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import clone
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.tree._tree import Tree
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, has_fit_parameter, validate_data
from torch import nn

from workbench.data import Dataset, Split
from workbench.signals.numbers import positive
from workbench.training.evaluating import logits_of
from workbench.training.guide import train_split

TARGETS = ("logits", "probabilities")
FLOOR = 1e-9
"""Probabilities of a scikit-learn teacher are read as logits down to this."""

Scores = Callable[[np.ndarray], Any]
"""A teacher as a function: rows (n, features) → logits (n, classes)."""


class DistilledTree(DecisionTreeClassifier):
    """A scikit-learn decision tree that a network has taught: `export_text`, `plot_tree` and the like take it as it is.

    Parameters
    ----------
    teacher
        What says the targets. A scikit-learn classifier with `predict_proba`, which is fitted to X and y first (a
        `FrozenEstimator` is taken as it is); a network that takes rows (n, features); a function of rows that returns
        logits (n, classes); or ``"labels"``, the one-hot labels themselves: the ordinary Gini tree.
    targets
        ``"logits"``, centred over classes, or ``"probabilities"`` at `temperature`.
    temperature
        T > 0, of the probabilities. From T → 0 (the teacher's labels) to ∞ (its logits, as 1/T² of their scale).
    extra
        For every row, so many inputs between two rows, which the teacher labels too.
    max_depth, min_samples_split, min_samples_leaf, max_leaf_nodes, ccp_alpha, random_state
        As those of `sklearn.tree.DecisionTreeRegressor`.

    Attributes
    ----------
    teacher_
        The fitted teacher; None for labels.
    leaf_targets_ : ndarray of shape (nodes, classes)
        t̄ of every node; ``tree_.value`` holds them as probabilities.
    classes_, n_classes_, n_features_in_, tree_, …
        As of `sklearn.tree.DecisionTreeClassifier`. Impurities are those of the regression.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sklearn.tree import export_text
    >>> X, y = load_iris(return_X_y=True)
    >>> network = MLPClassifier((32,), max_iter=1000, random_state=0)
    >>> tree = DistilledTree(network, max_depth=2).fit(X, y)
    >>> tree.get_depth(), tree.score(X, y) > 0.9, export_text(tree).count("class:")
    (2, True, 4)
    """

    criterion = "squared_error"
    splitter = "best"
    min_weight_fraction_leaf = 0.0
    max_features = None
    min_impurity_decrease = 0.0
    class_weight = None
    monotonic_cst = None

    def __init__(
        self,
        teacher: Any = "labels",
        *,
        targets: str = "logits",
        temperature: float = 1.0,
        extra: int = 0,
        max_depth: int | None = None,
        min_samples_split: int = 2,
        min_samples_leaf: int = 1,
        max_leaf_nodes: int | None = None,
        ccp_alpha: float = 0.0,
        random_state: int | None = 0,
    ) -> None:
        self.teacher = teacher
        self.targets = targets
        self.temperature = temperature
        self.extra = extra
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.max_leaf_nodes = max_leaf_nodes
        self.ccp_alpha = ccp_alpha
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Ask the teacher about the rows of X (n, features), and grow the tree on its answers.

        `y` (n,) are the labels: what an unfitted teacher learns from, and the names of the classes.

        Raises
        ------
        ValueError
            A setting is out of range; the teacher scores other classes than y has, or takes no `sample_weight`.
        """
        self._check()
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        classes, numbers = np.unique(y, return_inverse=True)
        self.classes_: Any = classes
        weight = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        self.teacher_ = self._taught(X, y, weight)
        t = self._targets(X, numbers)
        if self.extra:
            more = between(X, self.extra, check_random_state(self.random_state))
            X, t = np.concatenate([X, more]), np.concatenate([t, self._targets(more, None)])
            weight = None if weight is None else np.tile(weight, 1 + self.extra)
        grown = DecisionTreeRegressor(
            max_depth=self.max_depth, min_samples_split=self.min_samples_split, min_samples_leaf=self.min_samples_leaf,
            max_leaf_nodes=self.max_leaf_nodes, ccp_alpha=self.ccp_alpha, random_state=self.random_state,
        ).fit(X, t, sample_weight=weight)  # fmt: skip
        self.n_outputs_, self.max_features_ = 1, X.shape[1]
        self.n_classes_: Any = len(self.classes_)
        self.leaf_targets_ = grown.tree_.value.reshape(grown.tree_.node_count, -1)
        self.tree_ = self._classifying(grown.tree_)
        return self

    def fidelity(self, X: Any) -> float:
        """Share of rows on which the tree and its teacher answer the same class."""
        check_is_fitted(self)
        if self.teacher_ is None:
            raise ValueError("teacher is 'labels', which answers nothing about new rows")
        said = self._logits(np.asarray(X, dtype=np.float32)).argmax(1)
        return float(np.mean(self.predict_proba(X).argmax(1) == said))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.sparse = False
        tags.classifier_tags.multi_label = False
        tags.target_tags.multi_output = False
        return tags

    def _support_missing_values(self, X: Any) -> bool:  # noqa: ARG002 - a network answers nothing about them
        return False

    def _check(self) -> None:
        if self.targets not in TARGETS:
            raise ValueError(f"targets is {self.targets!r}; it can be {' or '.join(TARGETS)}")
        positive(temperature=self.temperature)
        if isinstance(self.extra, bool) or not isinstance(self.extra, int | np.integer) or self.extra < 0:
            raise ValueError(f"extra is {self.extra!r}; it must be a number of inputs for every row, 0 or more")
        if isinstance(self.teacher, str) and self.teacher != "labels":
            raise ValueError(f"teacher is {self.teacher!r}; it can be a classifier, a network, a function or 'labels'")
        if self.extra and isinstance(self.teacher, str):
            raise ValueError(f"extra is {self.extra}, but nobody labels further inputs: teacher is 'labels'")

    def _taught(self, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> Any:
        if isinstance(self.teacher, str):
            return None
        if isinstance(self.teacher, nn.Module) or not hasattr(self.teacher, "fit"):
            return self.teacher
        teacher = clone(self.teacher)
        if weight is None:
            return teacher.fit(X, y)
        if not has_fit_parameter(teacher, "sample_weight"):
            raise ValueError(f"sample_weight is given, but the teacher {type(teacher).__name__} takes none")
        return teacher.fit(X, y, sample_weight=weight)

    def _targets(self, X: np.ndarray, numbers: np.ndarray | None) -> np.ndarray:
        """t, shape (n, classes), float64."""
        if self.teacher_ is None:
            return np.eye(len(self.classes_))[numbers]
        z = self._logits(X)
        if z.shape != (len(X), len(self.classes_)):
            raise ValueError(
                f"the teacher answers {z.shape} to {len(X)} rows, but y has the {len(self.classes_)} classes "
                f"{', '.join(map(str, self.classes_[:10]))}"
            )
        if not np.isfinite(z).all():
            raise ValueError("the teacher's logits are not all finite: a tree cannot be grown on them")
        if self.targets == "logits":
            return z - z.mean(1, keepdims=True)
        return softmax(z / self.temperature)

    def _logits(self, X: np.ndarray) -> np.ndarray:
        teacher = self.teacher_
        if isinstance(teacher, nn.Module):
            found: Any = logits_of(teacher, torch.from_numpy(X))
        elif hasattr(teacher, "predict_proba"):
            found = np.log(np.clip(teacher.predict_proba(X), FLOOR, None))
        else:
            found = teacher(X)
        return np.asarray(found.detach().cpu() if isinstance(found, torch.Tensor) else found, dtype=np.float64)

    def _classifying(self, grown: Any) -> Any:
        """The grown tree as one of a classifier: the same nodes, whose values are probabilities."""
        soft = self.teacher_ is None or self.targets == "probabilities"
        p = self.leaf_targets_ if soft else softmax(self.leaf_targets_)
        tree = Tree(grown.n_features, np.array([len(self.classes_)], dtype=np.intp), 1)
        tree.__setstate__(grown.__getstate__() | {"values": np.ascontiguousarray(p[:, None, :])})
        return tree


class Seen:
    """A network as a teacher of raw rows: what it sees of them is normalised, and shaped, as its data are."""

    def __init__(self, network: nn.Module, data: Dataset | Split) -> None:
        split = train_split(data)
        self.network, self.shape, self.mean, self.std = network, split.shape, split.mean.cpu(), split.std.cpu()

    def __call__(self, X: np.ndarray) -> torch.Tensor:
        """Logits (n, classes) of rows (n, features) in original units."""
        raw = torch.as_tensor(np.asarray(X, dtype=np.float32)).reshape(-1, *self.shape)
        return logits_of(self.network, (raw - self.mean) / self.std)


def distil_tree(network: nn.Module, data: Dataset | Split, **settings: Any) -> DistilledTree:
    """The tree of a network over data of the workbench, in the data's own units, in which thresholds can be read.

    Parameters
    ----------
    network
        Trained on the data.
    data
        What the tree is grown on; whitened images have no units of their own.
    settings
        Of `DistilledTree`.

    Examples
    --------
    >>> import workbench as wb
    >>> from sklearn.tree import export_text
    >>> data = wb.data.load("wine")
    >>> network = wb.training.fit(wb.models.build("mlp", data, width=16), data, progress=False).model
    >>> tree = distil_tree(network, data, max_depth=1)
    >>> "<=" in export_text(tree, feature_names=column_names(data)), tree.fidelity(raw_rows(data.test)) > 0.4
    (True, True)
    """
    split = train_split(data)
    if not split.classes:
        raise ValueError("data has no classes: the leaves of this tree are class probabilities")
    tree: DistilledTree = DistilledTree(Seen(network, split), **settings)
    return tree.fit(raw_rows(split), split.labels.cpu().numpy())


def raw_rows(data: Dataset | Split) -> np.ndarray:
    """Inputs in original units, one row each: (n, features), float32."""
    split = train_split(data)
    return (split.inputs * split.std + split.mean).flatten(1).cpu().numpy().astype(np.float32)


def column_names(data: Dataset | Split) -> list[str]:
    """What each column of `raw_rows` is called: a table's features, or a pixel's row and column (and channel)."""
    split = train_split(data)
    if len(split.features) == math.prod(split.shape):
        return list(split.features)
    if len(split.shape) == 3:
        many = split.shape[0] > 1
        return [f"row {i}, column {j}" + (f", channel {c}" if many else "") for c, i, j in np.ndindex(*split.shape)]
    return [f"feature {i}" for i in range(math.prod(split.shape))]


def between(X: np.ndarray, count: int, random: np.random.RandomState) -> np.ndarray:
    """For each row `count` points between it and another, at a uniform share of the way: (n · count, features)."""
    made = []
    for _ in range(count):
        share = random.uniform(size=(len(X), 1)).astype(X.dtype)
        made.append(share * X + (1 - share) * X[random.permutation(len(X))])
    return np.concatenate(made)


def softmax(z: np.ndarray) -> np.ndarray:
    """Over classes, shape (n, classes)."""
    e = np.exp(z - z.max(1, keepdims=True))
    p: np.ndarray = e / e.sum(1, keepdims=True)
    return p
