"""The static picture of a PosteriorExplorer: what a reader without a kernel, or of a paper, sees."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from widgets.core.colours import QUIET

if TYPE_CHECKING:
    from widgets.posterior.regression import RegressionView
    from workbench.records import PosteriorPath

FOCUS = "#0b62c4"


def step_colour(index: int, steps: int) -> tuple[float, float, float, float]:
    """The colour of a step in the fan, from 0; `steps` is the limit. The palest end would vanish on white."""
    return colormaps["viridis"](0.86 * index / max(1, steps))


def plain(text: str) -> str:
    """Text that matplotlib shows as it is written: a dollar sign starts no formula."""
    return text.replace("$", r"\$")


def draw_regression(view: "RegressionView", explorer: Any) -> Figure:
    """One panel per approach, and beside them the filter and the errors over the steps."""
    paths = {approach: view.path(explorer, approach) for approach in view.approaches(explorer)}
    figure = Figure(figsize=(5.4 * len(paths) + 3.6, 4.9), layout="constrained")
    figure.suptitle(f"{plain(explorer.title)}\n", fontsize=13, fontweight="bold", x=0.01, ha="left")
    figure.text(0.01, 0.925, plain(view.summary(explorer)), fontsize=8.5, color=QUIET)
    grid = figure.add_gridspec(2, len(paths) + 1, width_ratios=[5.4] * len(paths) + [3.6])
    first: Axes | None = None
    for column, (approach, path) in enumerate(paths.items()):
        axes = figure.add_subplot(grid[:, column], sharey=first, sharex=first)
        first = first or axes
        _posterior(axes, view, explorer, path)
        if len(paths) > 1:
            axes.set_title(f"{approach}-centric", fontsize=10)
    _filter(figure.add_subplot(grid[0, -1]), explorer, paths)
    _errors(figure.add_subplot(grid[1, -1]), view, explorer, paths)
    return figure


def _posterior(axes: Axes, view: "RegressionView", explorer: Any, path: "PosteriorPath") -> None:
    look, step = view.now, explorer.selection["step"]
    k = view.outputs.index(explorer.output)
    index = path.steps if step == "limit" else step - 1
    x = path.inputs[: look.grid, look.axis].numpy()
    mean, std = (values.numpy() for values in view.moments(explorer, path))
    ink = step_colour(index, path.steps)
    y = path.train_targets[:, k].numpy()
    partial = len(view.features) > 1 and view.source.model is not None and path.fitted is not None
    at = path.train_inputs[:, look.axis].numpy()
    if len(view.features) > 1 and view.source.model is None:
        axes.errorbar(x, mean, 2 * std, fmt="o", color=ink, markersize=3, elinewidth=0.7, alpha=0.7)
    else:
        for width in (2, 1):
            axes.fill_between(x, mean - width * std, mean + width * std, color=ink, alpha=0.15, linewidth=0)
        if explorer.fan:
            for t in range(path.steps):
                values = path.mean[t, : look.grid, k]
                axes.plot(x, values, color=step_colour(t, path.steps), linewidth=1, alpha=0.9 if t <= index else 0.4)
            if path.limit_mean is not None:
                axes.plot(x, path.limit_mean[: look.grid, k], ":", color=step_colour(path.steps, path.steps))
        axes.plot(x, mean, color=ink, linewidth=2.6, label=f"step {step}")
    if partial and path.fitted is not None:
        fitted = view.fitted(path, index)[path.groups, k].numpy()
        y = np.interp(at, x, mean) + y - fitted
    axes.plot(at, y, "o", color="black", markersize=5 if len(y) < 120 else 2.5, alpha=1 if len(y) < 120 else 0.5)
    axes.set_xlabel(plain(view.features[look.axis].name))
    axes.set_ylabel(plain(f"{view.outputs[k]}{' (partial residuals)' if partial else ''}"))
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0)


def _filter(axes: Axes, explorer: Any, paths: "dict[str, PosteriorPath]") -> None:
    kept = {name: path for name, path in paths.items() if path.filters is not None}
    if not kept:
        axes.set_axis_off()
        return
    for k, (name, path) in enumerate(kept.items()):
        assert path.filters is not None
        step = explorer.selection["step"]
        filters = path.limit_filter if step == "limit" else path.filters[step - 1]
        assert filters is not None
        values = filters[:40].numpy()
        place = np.arange(1, len(values) + 1) + (0 if len(kept) == 1 else (0.2, -0.2)[k == 0])
        index = path.steps if step == "limit" else step - 1
        ink = step_colour(index, path.steps) if len(kept) == 1 else ("#0072b2", "#00805d")[k]
        axes.bar(place, values, width=0.7 / len(kept), color=ink, label=f"{name}-centric")
    axes.set_yscale("log")
    axes.set_ylim(1e-6, 1.6)
    axes.set_xlabel("eigen-direction", fontsize=8)
    axes.set_ylabel("share b kept", fontsize=8)
    axes.tick_params(labelsize=7.5)
    axes.spines[["top", "right"]].set_visible(False)
    if len(kept) > 1:
        axes.legend(fontsize=7, frameon=False)


def _errors(axes: Axes, view: "RegressionView", explorer: Any, paths: "dict[str, PosteriorPath]") -> None:
    for (name, path), line in zip(paths.items(), ("-", "--"), strict=False):
        of = f", {name}" if len(paths) > 1 else ""
        for values, what, ink in zip(view.errors(explorer, path), ("training", "test"), (QUIET, FOCUS), strict=True):
            if values is not None:
                axes.plot(range(1, len(values) + 1), values, line, marker=".", color=ink, label=f"{what}{of}")
                if what == "test":
                    best = int(values.argmin())
                    axes.plot(best + 1, values[best], "o", color=ink, markersize=9, fillstyle="none")
    axes.set_xlabel("step", fontsize=8)
    axes.set_ylabel("RMSE", fontsize=8)
    axes.tick_params(labelsize=7.5)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(fontsize=7, frameon=False)
