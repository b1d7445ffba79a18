"""What a PosteriorExplorer shows of a regression: the settings it takes, its numbers, its table."""

from typing import Any

import numpy as np
import pandas as pd
import torch
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from widgets.core.checks import require_known
from widgets.core.explaining import Step
from widgets.core.jobs import Job
from widgets.posterior.content import regression_content
from widgets.posterior.explain import regression_steps
from widgets.posterior.kernels import FITTED
from widgets.posterior.picture import draw_regression
from widgets.posterior.settings import held_values, positive, share
from widgets.posterior.source import Ask, Regression, Truth
from workbench.gp import redistill
from workbench.gp.inference.kernels import NAMES
from workbench.gp.making.stepwise import largest_difference
from workbench.records import PosteriorPath

MOST_STEPS = 60
MOST_SAMPLES = 12


class RegressionView:
    """A regression as the explorer sees it; `source` computes, `now` is what is looked at."""

    asked: tuple[str, ...] = ("kernel", "length_scale", "amplitude", "points", "feature", "held", "samples")

    def __init__(self, posterior: Any, test: Any, truth: Truth | None) -> None:
        self.source = Regression(posterior, test, truth)
        self.base, self.features, self.outputs = self.source.base, self.source.features, self.source.outputs
        self.has_limit = self.base.limit_mean is not None
        self.now = self.source.look(Ask(feature=self.features[0].name))

    def first(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Content and arrays of the view nobody has changed yet."""
        return regression_content(self.source, self.now)

    def look(self, ask: Ask, job: Job | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Content and arrays under the settings of `ask`; from now on `now` is that look."""
        found = self.source.look(ask)
        if job is not None:
            job.progress()
        packed = regression_content(self.source, found)
        self.now = found
        return packed

    def telling(self) -> int:
        """The step to open at: of the smallest test error where that is known, else the last."""
        path, rows = self.now.path, self.now.tests
        if rows is None or path.test_targets is None:
            return self.base.steps
        errors = (path.mean[:, rows] - path.test_targets[rows]).square().mean((1, 2))
        return int(errors.argmin()) + 1

    def rows(self) -> int:
        """How many training rows there are now."""
        return len(self.now.path.train_inputs)

    def second_feature(self) -> str:
        return ""

    def title(self) -> str:
        """The heading of a view that nobody has named."""
        what = self.outputs[0] if len(self.outputs) == 1 else f"{len(self.outputs)} outputs"
        return f"Self-distilled Gaussian process: {what}"

    def checked(self, name: str, value: Any) -> Any:
        """A setting's value if this view can show it; else a TraitError that says what would do."""
        check = getattr(self, f"_{name}", None)
        return value if value is None or check is None else check(value)

    def _noise(self, value: Any) -> float:
        if not self.source.interactive:
            raise traitlets.TraitError(f"noise cannot change here: {self.source.why_not}")
        return positive("noise", value)

    def _length_scale(self, value: Any) -> float:
        return positive("length_scale", value)

    def _amplitude(self, value: Any) -> float:
        return positive("amplitude", value)

    def _mixing(self, value: Any) -> float:
        return share("mixing", value)

    def _steps(self, value: Any) -> int:
        most = MOST_STEPS if self.source.interactive else self.base.steps
        if not 1 <= value <= most:
            raise traitlets.TraitError(f"steps is {value!r}; it can be 1 to {most}")
        return value

    def _approach(self, value: Any) -> str:
        if value != self.base.approach and not self.source.interactive:
            raise traitlets.TraitError(f"approach cannot change here: {self.source.why_not}")
        return value

    def _kernel(self, value: Any) -> str:
        require_known("kernel", [value], [FITTED, *(NAMES if self.source.live else ())])
        return value

    def _feature(self, value: Any) -> str:
        require_known("feature", [value], [feature.name for feature in self.features])
        return value

    def _held(self, value: Any) -> dict[str, float]:
        if value and self.source.model is None:
            raise traitlets.TraitError(f"held values cannot change here: {self.source.why_not}")
        return held_values(value, [feature.name for feature in self.features])

    def _output(self, value: Any) -> str:
        require_known("output", [value], list(self.outputs))
        return value

    def _samples(self, value: Any) -> int:
        most = MOST_SAMPLES if self.source.live and self.now.path.directions is not None else 0
        if not (isinstance(value, int) and 0 <= value <= most):
            raise traitlets.TraitError(f"samples is {value!r}; it can be 0 to {most}")
        return value

    def _points(self, value: Any) -> list[list[float]]:
        if not self.source.editable:
            raise traitlets.TraitError(f"points cannot change here: {self.source.why_not}")
        points = np.asarray(value, dtype=float)
        if points.ndim != 2 or points.shape[1] != 2 or not len(points) or not np.isfinite(points).all():
            raise traitlets.TraitError("points must be a list of at least one pair [x, y] of finite numbers")
        return points.tolist()

    # What is seen ---------------------------------------------------------------------------------------------------

    def path(self, explorer: Any, approach: str) -> PosteriorPath:
        """The path as the sliders stand; its inputs are those of the look."""
        if not self.source.interactive:
            return self.now.path
        assert self.base.noise is not None
        noise = _schedule(explorer.noise, self.base.noise, explorer.steps)
        mixing = _schedule(explorer.mixing, self.base.mixing, explorer.steps) if approach == "data" else None
        return redistill(self.now.path, approach=approach, steps=explorer.steps, noise=noise, mixing=mixing)

    def approaches(self, explorer: Any) -> list[str]:
        """The approaches that are shown, side by side."""
        return ["data", "distribution"] if explorer.approach == "both" else [explorer.approach]

    def moments(self, explorer: Any, path: PosteriorPath) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation along the axis at the selected step, each (grid,)."""
        output, rows, step = self.outputs.index(explorer.output), slice(0, self.now.grid), explorer.selection["step"]
        if step == "limit":
            assert path.limit_mean is not None
            assert path.limit_variance is not None
            mean, variance = path.limit_mean, path.limit_variance
        else:
            mean, variance = path.mean[step - 1], path.variance[step - 1]
        return mean[rows, output], variance[rows, output].clamp_min(0).sqrt()

    def data(self, explorer: Any) -> pd.DataFrame:
        """One row per approach and place along the axis: `approach`, the feature, `mean`, `std`."""
        frames = []
        for approach in self.approaches(explorer):
            mean, std = self.moments(explorer, self.path(explorer, approach))
            x = self.now.path.inputs[: self.now.grid, self.now.axis].numpy()
            columns = {"approach": approach, explorer.feature: x, "mean": mean.numpy(), "std": std.numpy()}
            frames.append(pd.DataFrame(columns))
        return pd.concat(frames, ignore_index=True)

    def fitted(self, path: PosteriorPath, index: int) -> Tensor:
        """Mean at the merged training rows at a step from 0; the number of steps is the limit; shape (n, p)."""
        assert path.fitted is not None
        if index < path.steps:
            return path.fitted[index]
        assert path.limit_filter is not None
        assert path.directions is not None
        assert path.coefficients is not None
        assert path.scale is not None
        assert path.offset is not None
        return path.directions @ (path.limit_filter[:, None] * path.coefficients) * path.scale + path.offset

    def errors(self, explorer: Any, path: PosteriorPath) -> tuple[Tensor | None, Tensor | None]:
        """Root mean squared errors over the steps on training and test rows, of the output that is shown, each (T,)."""
        k = self.outputs.index(explorer.output)
        train = test = None
        if path.fitted is not None:
            train = (path.fitted[:, path.groups, k] - path.train_targets[:, k]).square().mean(1).sqrt()
        if self.now.tests is not None:
            assert path.test_targets is not None
            rows = self.now.tests
            test = (path.mean[:, rows, k] - path.test_targets[rows, k]).square().mean(1).sqrt()
        return train, test

    def summary(self, explorer: Any) -> str:
        step = explorer.selection["step"]
        parts = []
        for approach in self.approaches(explorer):
            _, test = self.errors(explorer, self.path(explorer, approach))
            error = ""
            if test is not None:
                best = int(test.argmin()) + 1
                here = "" if step == "limit" else f"RMSE {test[step - 1]:.3g}, "
                error = f", {here}smallest at step {best} ({test[best - 1]:.3g})"
            parts.append(f"{approach}-centric{error}")
        when = "the limit" if step == "limit" else f"step {step} of {explorer.steps}"
        return f"Gaussian-process regression of {explorer.output} on {self.rows():,} rows, {when}: {'; '.join(parts)}"

    def check(self, explorer: Any) -> list[dict[str, Any]]:
        """The largest differences between steps taken one by one and the one equivalent process, by Cholesky."""
        if not self.source.live:
            raise ValueError(self.source.why_not)
        step = explorer.selection["step"]
        count = explorer.steps if step == "limit" else step
        kernel = self.now.model.fitted_kernel
        return [
            largest_difference(kernel, self.path(explorer, name), self.now.grid, approach=name, step=count)
            for name in self.approaches(explorer)
        ]

    def explain(self, explorer: Any) -> list[Step]:
        return regression_steps(self, explorer)

    def figure(self, explorer: Any) -> Figure:
        return draw_regression(self, explorer)


def _schedule(value: float | None, given: Tensor, steps: int) -> list[float]:
    """One number per step: `value` throughout, or what was fitted with its last number repeated."""
    if value is not None:
        return [value] * steps
    return torch.cat([given[:steps], given[-1:].expand(max(0, steps - len(given)))]).tolist()
