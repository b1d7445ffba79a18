"""A fitted classification, or the record of one, and the looks that a PosteriorExplorer takes at it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor

from widgets.core.jobs import Job
from widgets.posterior.kernels import FITTED, named, read, rescaled
from widgets.posterior.source import MARGIN, Ask, as_fitted, features_of, matrix, opened
from workbench.analysis import calibration
from workbench.records import Calibration, PosteriorPath

SIDE = 44
LINE = 201


@dataclass(frozen=True, eq=False)
class Variant:
    """One approach: a path whose leading `grid` rows are the map or line; `judged` has each step's calibration."""

    approach: str
    mode: str
    path: PosteriorPath
    grid: int
    judged: list[Calibration]


@dataclass(frozen=True, eq=False)
class LabelLook:
    """What is looked at: one variant, or two side by side.

    `axes` are the numbers of one or two features; `shape` (ny, nx) of the map, (nx,) of a line, None for loose points.
    """

    variants: tuple[Variant, ...]
    axes: tuple[int, ...]
    shape: tuple[int, ...] | None
    tested: bool


class Labels:
    """Where looks at a classification come from; attributes as in `source.Regression`."""

    def __init__(self, posterior: Any, test: Any) -> None:
        self.model, before, record = opened(posterior)
        if record is not None and test is not None:
            raise ValueError("test belongs to an estimator; a PosteriorPath has its own: model.path(X_test, y_test)")
        self._test: tuple[np.ndarray, Any] | None = None
        if record is not None:
            self.base = record
        else:
            if test is not None:
                X, y = test
                self._test = matrix(X if before is None else before.transform(X), "the test inputs"), np.asarray(y)
            self.base = self.model.path(as_fitted(self.model, np.zeros((1, self.model.n_features_in_))))
            if before is not None and hasattr(before, "get_feature_names_out"):
                self.base = self.base.replace(feature_names=tuple(before.get_feature_names_out()))
        self.features = features_of(self.base.train_inputs.numpy(), self.base.feature_names)
        self.why_not = "a saved path has no kernel to ask: open the fitted estimator" if record is not None else ""
        self.live = self.model is not None
        kernels = self.model.fitted_kernels if self.live else []
        exact = self.live and self.model.method_ == "exact"
        self.kernel = kernels[0] if len(kernels) == 1 and exact else None
        self.scales = (None, None) if self.kernel is None else read(self.kernel)
        self._fitted: dict[Any, Any] = {}

    def span(self, axis: int) -> tuple[float, float]:
        """Where the axis of a feature begins and ends."""
        low, high = self.features[axis].low, self.features[axis].high
        if self.model is None:
            inputs = self.base.inputs[:, axis]
            low, high = min(low, float(inputs.min())), max(high, float(inputs.max()))
        margin = MARGIN * (high - low) or 1.0
        return low - margin, high + margin

    def look(self, ask: Ask, approaches: list[str], job: Job | None = None) -> LabelLook:
        """The map, or the line, of each approach under the settings of `ask`."""
        names = [feature.name for feature in self.features]
        wanted = [ask.feature] if len(names) == 1 else [ask.feature, ask.feature_y]
        axes = tuple(names.index(name) for name in wanted)
        if self.model is None:
            return self._recorded(axes)
        ends = [np.linspace(*self.span(axis), LINE if len(axes) == 1 else SIDE) for axis in axes]
        places = np.stack(np.meshgrid(*ends, indexing="xy"), -1).reshape(-1, len(axes))
        rows = np.tile([ask.held.get(feature.name, feature.median) for feature in self.features], (len(places), 1))
        rows[:, list(axes)] = places
        X, y = self._test if self._test is not None else (self.base.train_inputs.numpy(), None)
        labels = (
            self.base.train_targets[:, 0] if y is None else torch.from_numpy(np.searchsorted(self.model.classes_, y))
        )
        variants = []
        for k, approach in enumerate(approaches):
            if job is not None:
                job.progress(k / len(approaches), approach)
            model = self._estimator(ask, approach)
            path = model.path(as_fitted(model, np.vstack([rows, X]))).replace(feature_names=self.base.feature_names)
            assert path.probabilities is not None
            judged = [_judge(step[len(rows) :], labels) for step in path.probabilities]
            variants.append(Variant(approach, ask.mode, path, len(rows), judged))
        shape = (LINE,) if len(axes) == 1 else (SIDE, SIDE)
        return LabelLook(tuple(variants), axes, shape, self._test is not None)

    def _estimator(self, ask: Ask, approach: str) -> Any:
        """The estimator under `ask`; every approach and mode of one kernel is kept, so that switching back is free."""
        assert self.model is not None
        same = ask.kernel == FITTED and ask.length_scale in (None, self.scales[0])
        same &= ask.amplitude in (None, self.scales[1])
        given = self.model.get_params(deep=False)
        mixing = given["mixing"] if ask.mixing is None or approach != "data" else ask.mixing
        steps = ask.steps or self.base.steps
        if approach == "distribution":
            mixing = 0.0
        elif np.ndim(mixing) and steps != self.base.steps:
            mixing = float(np.ravel(mixing)[-1])
        unchanged = (
            approach == given["approach"] and steps == self.base.steps and np.array_equal(mixing, given["mixing"])
        )
        if same and unchanged and (approach == "data" or ask.mode == given["mode"]):
            return self.model
        key = ask.kernel, ask.length_scale, ask.amplitude, approach, ask.mode, steps, str(mixing)
        if key not in self._fitted:
            changes = {"approach": approach, "mode": ask.mode, "steps": steps, "mixing": mixing}
            if self.kernel is not None:  # as fitted at the first step; several latent functions fit their own again
                changes |= {"kernel": self._kernel(ask), "hyperparameters": "fixed"}
            inputs = as_fitted(self.model, self.base.train_inputs.numpy())
            classes = self.model.classes_[self.base.train_targets[:, 0].numpy()]
            model = clone(self.model).set_params(**changes).fit(inputs, classes)
            self._fitted = dict(list(self._fitted.items())[-7:]) | {key: model}
        return self._fitted[key]

    def _kernel(self, ask: Ask) -> Any:
        if ask.kernel == FITTED:
            return rescaled(self.kernel, length_scale=ask.length_scale, amplitude=ask.amplitude)
        wide = max(feature.high - feature.low for feature in self.features) or 1.0
        length, amplitude = ask.length_scale or self.scales[0], ask.amplitude or self.scales[1]
        return named(ask.kernel, length_scale=length or wide / 5, amplitude=amplitude or 1.0, span=wide)

    def _recorded(self, axes: tuple[int, ...]) -> LabelLook:
        path = self.base
        assert path.probabilities is not None
        labels = None if path.test_targets is None else path.test_targets[:, 0]
        judged = [] if labels is None else [_judge(step, labels) for step in path.probabilities]
        order, shape = _regular(path.inputs[:, list(axes)]) if len(axes) == path.inputs.shape[1] else (None, None)
        if order is not None:
            path = path.replace(
                inputs=path.inputs[order],
                mean=path.mean[:, order],
                variance=path.variance[:, order],
                probabilities=path.probabilities[:, order],
                test_targets=None,
            )
        mode = str(path.settings.get("mode", "duplicate"))
        return LabelLook(
            (Variant(path.approach, mode, path, len(path.inputs), judged),), axes, shape, labels is not None
        )


def _judge(probabilities: Tensor, labels: Tensor) -> Calibration:
    """Calibration of class probabilities (m, classes): their logarithms are logits."""
    return calibration(probabilities.clamp_min(1e-12).log(), labels.long())


def _regular(places: Tensor) -> tuple[Tensor | None, tuple[int, ...] | None]:
    """The order in which places (m, 1 or 2) fill a line or a map, and its shape; None where they fill none."""
    if places.shape[1] == 1:
        return places[:, 0].argsort(stable=True), (len(places),)
    x, y = places[:, 0].unique(), places[:, 1].unique()
    if len(x) * len(y) != len(places) or len(x) < 3 or len(y) < 3:
        return None, None
    number = torch.searchsorted(y, places[:, 1].contiguous()) * len(x) + torch.searchsorted(
        x, places[:, 0].contiguous()
    )
    order = number.argsort()
    if not torch.equal(number[order], torch.arange(len(places))):
        return None, None
    return order, (len(y), len(x))
