"""The static picture of a TrainingExplorer."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from widgets.core.colours import OTHERS, QUIET, STUDENT, TEACHER

if TYPE_CHECKING:
    from widgets.training import TrainingExplorer


def draw(explorer: "TrainingExplorer") -> Figure:
    """Curves, accuracy per class at the cursor, reliability."""
    records, content, shown = explorer.records, explorer.content, explorer.shown
    epoch = explorer.selection["epoch"]
    with_bars = [run for run in content["runs"] if run["per_class"] and epoch <= run["epochs"]]
    judged = [run for run in content["runs"] if run["calibration"]]
    beside = bool(with_bars) + bool(judged)
    figure = Figure(figsize=(7 + (4.4 if beside else 0), 5), layout="constrained")
    figure.suptitle(_plain(explorer.title), fontsize=13, fontweight="bold", x=0.01, ha="left")
    grid = figure.add_gridspec(max(beside, 1), 2 if beside else 1, width_ratios=[7, 4.4] if beside else [1])
    axes = figure.add_subplot(grid[:, 0])
    for run in content["runs"]:
        record = records[run["name"]]
        style: dict[str, Any] = {"color": _colour(run), "alpha": _alpha(explorer, run)}
        if run["dash"]:
            style["dashes"] = [length / 2.2 for length in run["dash"]]
        if explorer.training_curve and shown["beside"] in record.curves:
            curve = record.curves[shown["beside"]].detach().cpu().numpy()
            axes.plot(np.arange(1, len(curve) + 1), curve, linewidth=0.9, **(style | {"alpha": 0.5 * style["alpha"]}))
        if shown["main"] in record.curves:
            curve = record.curves[shown["main"]].detach().cpu().numpy()
            axes.plot(np.arange(1, len(curve) + 1), curve, linewidth=2.2, label=_plain(run["name"]), **style)
    axes.axvline(epoch, color="black", linewidth=1)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(_plain(f"{shown['label']} ({shown['unit']})" if shown["unit"] else shown["label"]))
    if shown["share"]:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    elif explorer.logarithmic:
        axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=9)
    axes.set_title(_plain(explorer.summary()), fontsize=9, color=QUIET, loc="left")
    if with_bars:
        _bars(figure.add_subplot(grid[0, 1]), explorer, with_bars)
    if judged:
        _reliability(figure.add_subplot(grid[beside - 1, 1]), explorer, judged)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return figure


def _bars(axes: Axes, explorer: "TrainingExplorer", runs: list[dict[str, Any]]) -> None:
    epoch, classes = explorer.selection["epoch"], explorer.content["classes"]
    width = 0.8 / len(runs)
    for k, run in enumerate(runs):
        accuracy = explorer.records[run["name"]].per_class_accuracy
        assert accuracy is not None
        heights = accuracy[epoch - 1].detach().cpu().numpy()
        at = np.arange(len(heights)) + k * width
        axes.bar(at, heights, width, align="edge", color=_colour(run), alpha=_alpha(explorer, run))
    axes.set_xticks(np.arange(len(classes)) + 0.4, [_plain(name[:8]) for name in classes], fontsize=7.5)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_title(f"Accuracy per class at epoch {epoch}", fontsize=9, loc="left")


def _reliability(axes: Axes, explorer: "TrainingExplorer", runs: list[dict[str, Any]]) -> None:
    axes.plot([0, 1], [0, 1], color=QUIET, linestyle="--", linewidth=1)
    for run in runs:
        found = explorer.records[run["name"]].calibration
        assert found is not None
        kept = (found.count > 0).cpu().numpy()
        confidence, accuracy = found.confidence.cpu().numpy()[kept], found.accuracy.cpu().numpy()[kept]
        style: dict[str, Any] = {
            "color": _colour(run),
            "alpha": _alpha(explorer, run),
            "markersize": 3.5,
            "linewidth": 1,
        }
        axes.plot(confidence, accuracy, "o-", label=_plain(f"{run['name']}: ECE {found.ece:.3f}"), **style)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("confidence", fontsize=9)
    axes.set_ylabel("accuracy", fontsize=9)
    axes.legend(frameon=False, fontsize=7.5)
    axes.set_title("Reliability after the last epoch", fontsize=9, loc="left")


def _colour(run: dict[str, Any]) -> str:
    return {"teacher": TEACHER, "student": STUDENT}.get(run["role"], OTHERS[run["other"] % len(OTHERS)])


def _alpha(explorer: "TrainingExplorer", run: dict[str, Any]) -> float:
    return 1.0 if explorer.selection["run"] in (None, run["name"]) else 0.22


def _plain(text: str) -> str:
    """Text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")
