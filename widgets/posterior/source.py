"""What a PosteriorExplorer can be opened on, and what it can be asked again: a regression, its kernel, its points."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from torch import Tensor

from widgets.posterior.kernels import FITTED, named, read, rescaled
from workbench.gp import SelfDistilledGPC, SelfDistilledGPR
from workbench.gp.inference.kernels import wrap
from workbench.records import PosteriorPath

GRID = 201
MOST_POINTS = 500
MARGIN = 0.06
DRAW_SEED = 0
Truth = Callable[[np.ndarray], Any]


class Feature(NamedTuple):
    """A column of the inputs: its name, where it lies, and the value it is held at while another is on the axis."""

    name: str
    low: float
    high: float
    median: float
    whole: bool


@dataclass(frozen=True)
class Ask:
    """What has to be computed where the estimator is: everything that steps, noise and mixing do not touch."""

    kernel: str = FITTED
    length_scale: float | None = None
    amplitude: float | None = None
    points: tuple[tuple[float, float], ...] | None = None
    feature: str = ""
    feature_y: str = ""
    held: dict[str, float] = field(default_factory=dict)
    samples: int = 0
    steps: int | None = None
    mixing: float | None = None
    approach: str = "data"
    mode: str = "duplicate"


@dataclass(frozen=True, eq=False)
class Look:
    """A path whose leading `grid` rows lie along the axis, in order; `tests` are the rows with known targets.

    `axis` is the number of the feature on the axis; `truth` holds the noise-free targets at the merged training rows,
    `true_tests` at the test rows; `draws` are functions of the normalised prior at the grid, then the merged rows.
    """

    path: PosteriorPath
    axis: int
    grid: int
    tests: slice | None = None
    truth: Tensor | None = None
    true_tests: Tensor | None = None
    kernel: tuple[float | None, float | None] = (None, None)
    draws: Tensor | None = None
    model: Any = None


def opened(posterior: Any) -> tuple[Any, Any, PosteriorPath | None]:
    """The estimator (or None), the transformer before it (or None) and the record (or None) of what was given.

    Raises
    ------
    TypeError
        Neither a fitted self-distilled estimator, nor a search or pipeline that ends in one, nor a path.
    """
    if isinstance(posterior, PosteriorPath):
        return None, None, posterior
    best = getattr(posterior, "best_estimator_", posterior)
    before = None
    if hasattr(best, "steps") and isinstance(best.steps, list):
        before, best = best[:-1], best[-1]
    if not isinstance(best, SelfDistilledGPR | SelfDistilledGPC):
        raise TypeError(
            f"PosteriorExplorer draws a SelfDistilledGPR, a SelfDistilledGPC (alone, or last in a pipeline or search) "
            f"or a PosteriorPath, not a {type(posterior).__name__}"
        )
    if not hasattr(best, "mixing_"):
        raise TypeError(f"this {type(best).__name__} is not fitted: call fit(X, y) first")
    return best, before, None


def features_of(X: np.ndarray, names: tuple[str, ...]) -> list[Feature]:
    """The columns of X (N, features) by name, x or x1, x2, … where they have none."""
    count = X.shape[1]
    names = tuple(map(str, names)) or (("x",) if count == 1 else tuple(f"x{i + 1}" for i in range(count)))
    return [
        Feature(name, float(c.min()), float(c.max()), float(np.median(c)), bool((c == np.round(c)).all()))
        for name, c in zip(names, X.T, strict=True)
    ]


def matrix(values: Any, what: str) -> np.ndarray:
    """`values` as a matrix of finite numbers, one row per example."""
    found = np.asarray(values, dtype=float)
    if not np.isfinite(found).all():
        raise ValueError(f"{what} holds NaN or infinite values: leave those rows out")
    return found.reshape(len(found), -1)


def as_fitted(model: Any, X: np.ndarray) -> Any:
    """X (m, features) with the column names that the estimator was fitted with, if there were any."""
    names = getattr(model, "feature_names_in_", None)
    return X if names is None else pd.DataFrame(X, columns=names)


class Regression:
    """A fitted regression, or the record of one, from which the explorer asks for looks.

    Attributes
    ----------
    live
        Kernel, length-scale and amplitude can be changed: there is an estimator with one eigensystem for all steps.
    editable
        Training points can be moved, added and removed.
    why_not
        What keeps `live` or `editable` from being true, in words; empty otherwise.
    """

    def __init__(self, posterior: Any, test: Any = None, truth: Truth | None = None) -> None:
        self.model, before, record = opened(posterior)
        self._truth = truth
        if test is not None and record is not None:
            raise ValueError("test belongs to an estimator; a PosteriorPath has its own: model.path(X_test, y_test)")
        if record is not None:
            self.base, self._test = record, None
        else:
            self._test = self._checked_test(test, before)
            here = np.zeros((1, self.model.n_features_in_)) if self._test is None else self._test[0]
            self.base = self.model.path(as_fitted(self.model, here))
            if before is not None and hasattr(before, "get_feature_names_out"):
                self.base = self.base.replace(feature_names=tuple(before.get_feature_names_out()))
        self.tested = self._test is not None
        self.features = features_of(self.base.train_inputs.numpy(), self.base.feature_names)
        outputs = self.base.mean.shape[2]
        self.outputs = self.base.target_names or (
            ("y",) if outputs == 1 else tuple(f"y{i + 1}" for i in range(outputs))
        )
        self.interactive = self.base.interactive
        self.live = self.model is not None and self.interactive
        counted = self.base.evidence_terms.get("weight", 0.0) == len(self.base.train_inputs)
        self.why_not = self._why_not(counted)
        self.editable = self.live and not self.why_not
        self._kernel = self.model.fitted_kernel if self.live else None
        self.scales = read(self._kernel) if self.live else (None, None)
        self._fitted: tuple[Any, Any] = (None, self.model)

    def _why_not(self, counted: bool) -> str:
        if self.model is None:
            return "a saved path has no kernel to ask: open the fitted estimator to move points or change the kernel"
        if not self.interactive:
            return "each step has a kernel or solver of its own, so there is no eigensystem for sliders to filter"
        if len(self.features) > 1 or len(self.outputs) > 1:
            return "points can be moved where there is one input and one output"
        if not counted:
            return "the fit used sample weights, which moved points would not have"
        if len(self.base.train_inputs) > MOST_POINTS:
            return f"points can be moved up to {MOST_POINTS} of them; here are {len(self.base.train_inputs):,}"
        return ""

    def _checked_test(self, test: Any, before: Any) -> tuple[np.ndarray, np.ndarray] | None:
        if test is None:
            return None
        if not isinstance(test, tuple) or len(test) != 2:
            raise TypeError("test is a pair (X_test, y_test)")
        X, y = test
        X = X if before is None else before.transform(X)
        X, y = matrix(X, "the test inputs"), matrix(y, "the test targets")
        if len(X) != len(y):
            raise ValueError(f"test has {len(X)} inputs and {len(y)} targets")
        if X.shape[1] != self.model.n_features_in_:
            raise ValueError(f"test has {X.shape[1]} features; the estimator was fitted on {self.model.n_features_in_}")
        return X, y

    def span(self, axis: int) -> tuple[float, float]:
        """Where the axis of a feature begins and ends."""
        low, high = self.features[axis].low, self.features[axis].high
        if self.model is None:
            inputs = self.base.inputs[:, axis]
            return float(inputs.min()), float(inputs.max())
        if self._test is not None and len(self.features) == 1:
            low, high = min(low, self._test[0].min()), max(high, self._test[0].max())
        margin = MARGIN * (high - low) or 1.0
        return low - margin, high + margin

    def look(self, ask: Ask) -> Look:
        """The path along the axis of `ask`, with the test rows behind it."""
        axis = next(i for i, feature in enumerate(self.features) if feature.name == ask.feature)
        if self.model is None:
            return self._recorded(axis)
        model = self._estimator(ask)
        rows = np.tile([ask.held.get(feature.name, feature.median) for feature in self.features], (GRID, 1))
        rows[:, axis] = np.linspace(*self.span(axis), GRID)
        tests, targets = None, None
        if self._test is not None:
            tests, targets = self._test
        elif self._truth is not None:
            tests, targets = rows, self._true(rows)
        everything = rows if tests is None else np.vstack([rows, tests])
        path = model.path(as_fitted(model, everything)).replace(feature_names=self.base.feature_names)
        if targets is not None:
            known = np.vstack([np.full((GRID, targets.shape[1]), np.nan), targets])
            path = path.replace(test_targets=torch.from_numpy(known))
        kernel = self.scales if model is self.model else read(model.fitted_kernel) if self.live else (None, None)
        behind = slice(GRID, len(everything)) if tests is not None else None
        true = None if tests is None or self._truth is None else torch.from_numpy(self._true(tests))
        draws = self._draws(model, path, ask.samples) if ask.samples else None
        return Look(path, axis, GRID, behind, self._truth_at_rows(path), true, kernel, draws, model)

    def _estimator(self, ask: Ask) -> Any:
        """The estimator with the kernel and points of `ask`; the last one is kept."""
        lengths, amplitudes = self.scales
        changed = ask.kernel != FITTED or ask.points is not None
        changed |= ask.length_scale not in (None, lengths) or ask.amplitude not in (None, amplitudes)
        if not changed:
            return self.model
        if not self.live:
            raise ValueError(self.why_not)
        key = ask.kernel, ask.length_scale, ask.amplitude, ask.points
        if self._fitted[0] == key:
            return self._fitted[1]
        if ask.kernel == FITTED:
            kernel = rescaled(self._kernel, length_scale=ask.length_scale, amplitude=ask.amplitude)
        else:
            wide = self.features[0].high - self.features[0].low
            length = ask.length_scale or lengths or wide / 5 or 1.0
            amplitude = ask.amplitude or amplitudes or 1.0
            kernel = named(ask.kernel, length_scale=length, amplitude=amplitude, span=wide or 1.0)
        X, y = self.base.train_inputs.numpy(), self.base.train_targets.numpy()
        if ask.points is not None:
            points = np.asarray(ask.points, dtype=float).reshape(-1, 2)
            X, y = points[:, :1], points[:, 1:]
        # The eigensystem does not depend on noise and steps: the browser, and `redistill`, put in what is asked for.
        cheap = {"kernel": kernel, "hyperparameters": "fixed", "learn_noise": False, "steps": 1, "noise": 1.0}
        model = clone(self.model).set_params(**cheap, mixing=0.0, method=self.model.method_)
        model.fit(as_fitted(self.model, X), y[:, 0] if y.shape[1] == 1 else y)
        self._fitted = key, model
        return model

    def _draws(self, model: Any, path: PosteriorPath, count: int) -> Tensor:
        """Functions of the prior at the grid and the merged rows, shape (count, grid + n); the same each time."""
        assert path.directions is not None
        rows = torch.zeros(len(path.directions), path.train_inputs.shape[1], dtype=torch.float64)
        rows[path.groups] = path.train_inputs
        places = torch.cat([path.inputs[:GRID], rows])
        gram = wrap(model.fitted_kernel, places).gram(places)
        normal = torch.randn(
            len(places), count, dtype=torch.float64, generator=torch.Generator().manual_seed(DRAW_SEED)
        )
        jitter = 1e-9 * float(gram.diagonal().mean())
        while True:  # a Cholesky factor, not an eigensystem: draws then move smoothly with the kernel
            factor, failed = torch.linalg.cholesky_ex(gram + jitter * torch.eye(len(gram), dtype=gram.dtype))
            if not failed:
                return (factor @ normal).T
            jitter *= 10

    def _recorded(self, axis: int) -> Look:
        path = self.base
        order = path.inputs[:, axis].argsort(stable=True)
        changes: dict[str, Any] = {"inputs": path.inputs[order]}
        for name in ("mean", "variance"):
            changes[name] = getattr(path, name)[:, order]
        for name in ("limit_mean", "limit_variance", "projections", "prior_variance", "test_targets"):
            if getattr(path, name) is not None:
                changes[name] = getattr(path, name)[order]
        found = path.replace(**changes)
        everything = slice(0, len(order)) if path.test_targets is not None else None
        true = None if self._truth is None else torch.from_numpy(self._true(found.inputs.numpy()))
        return Look(found, axis, len(order), everything, self._truth_at_rows(found), true)

    def _true(self, X: np.ndarray) -> np.ndarray:
        assert self._truth is not None
        values = matrix(self._truth(X), "truth(X)")
        if values.shape != (len(X), len(self.outputs)):
            raise ValueError(
                f"truth(X) has shape {values.shape}; for {len(X)} inputs it must be {(len(X), len(self.outputs))}"
            )
        return values

    def _truth_at_rows(self, path: PosteriorPath) -> Tensor | None:
        """The noise-free targets at the merged training rows, shape (n, p)."""
        if self._truth is None or path.directions is None:
            return None
        values = torch.from_numpy(self._true(path.train_inputs.numpy()))
        rows = torch.zeros(len(path.directions), values.shape[1], dtype=values.dtype)
        rows[path.groups] = values
        return rows
