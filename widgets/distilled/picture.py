"""The static picture of a DistilledImagesExplorer."""

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from widgets.core.colours import QUIET, STUDENT, TEACHER
from widgets.distilled import view
from widgets.distilled.content import moments_of

if TYPE_CHECKING:
    from widgets.distilled import DistilledImagesExplorer

MOST = 2000
"""Images in the picture; the rest is mentioned."""


def draw(explorer: "DistilledImagesExplorer") -> Figure:
    """The atlas by class, the other side of a comparison or the difference, and the curves under the cursor."""
    record, beside = explorer.record, view.other(explorer)
    own = view.pixels(explorer)
    selection = explorer.selection
    named = explorer.against in explorer.sets
    title = f"{selection['set']}, " * named + f"iteration {selection['iteration']}"
    panels: list[tuple[str, np.ndarray, np.ndarray | None]] = [(title, own, None)]
    if beside is not None and explorer.compare == "difference":
        panels = [(f"{title} − {beside.title}", own - beside.pixels, beside.there)]
    elif beside is not None:
        panels.append((beside.title, beside.pixels, beside.there))
    with_history = len(moments_of(record)) > 1
    figure = Figure(figsize=(max(6.2, 5.2 * len(panels)), 5.6 + 1.6 * with_history), layout="constrained")
    figure.suptitle(_plain(explorer.title), fontsize=13, fontweight="bold", x=0.01, ha="left")
    grid = figure.add_gridspec(1 + with_history, len(panels), height_ratios=[5, 1.25] if with_history else [1])
    low, high = (min(0.0, own.min()), max(1.0, own.max())) if explorer.full_range else (0.0, 1.0)
    for k, (name, values, there) in enumerate(panels):
        axes = figure.add_subplot(grid[0, k])
        signed = explorer.compare == "difference" and beside is not None
        _atlas(axes, explorer, values, there, name, None if signed else (low, high))
    figure.axes[0].set_ylabel("")
    if with_history:
        _course(figure.add_subplot(grid[1, :]), explorer)
    return figure


def _atlas(
    axes: Axes,
    explorer: "DistilledImagesExplorer",
    values: np.ndarray,
    there: np.ndarray | None,
    title: str,
    limits: tuple[float, float] | None,
) -> None:
    """Images row by row of classes; `limits` None: a signed difference, mean over channels, centred on zero."""
    _, channels, height, width = values.shape
    blocks = view.shown(explorer)
    most = max((len(rows) for _, rows in blocks), default=1)
    total = sum(len(rows) for _, rows in blocks)
    across = min(most, max(10, math.ceil(math.sqrt(min(total, MOST) * 1.4))))
    gap = max(1, round(min(height, width) / 12))
    lines = [(name, rows[k : k + across], k == 0) for name, rows in blocks for k in range(0, len(rows), across)]
    lines = lines[: max(1, MOST // across)]
    if limits is None or channels not in (3, 4):
        values = values.mean(1, keepdims=True)
    depth = values.shape[1]
    canvas = np.full((len(lines) * (height + gap), across * (width + gap), depth), np.nan)
    chosen, marks, names = set(explorer.selection["images"]), [], []
    for line, (name, rows, first) in enumerate(lines):
        top = line * (height + gap)
        if first and name:
            names.append((top + height / 2, name))
        for place, row in enumerate(rows):
            left = place * (width + gap)
            if there is None or there[row]:
                canvas[top : top + height, left : left + width] = np.moveaxis(values[row], 0, -1)
            if row in chosen:
                marks.append((left - 0.5, top - 0.5))
    if limits is None:
        reach = float(np.nanmax(np.abs(canvas))) if np.isfinite(canvas).any() else 1.0
        scale = Normalize(-(reach or 1.0), reach or 1.0)
        axes.imshow(canvas[..., 0], cmap="RdBu_r", norm=scale, interpolation="nearest")
        bar = axes.figure.colorbar(ScalarMappable(scale, "RdBu_r"), ax=axes, shrink=0.7, pad=0.01)
        bar.set_label("difference of raw pixel values (0 to 1), mean over channels", fontsize=8)
        bar.ax.tick_params(labelsize=7.5)
    elif depth >= 3:
        low, high = limits
        rgb = np.clip((canvas[..., :3] - low) / (high - low), 0, 1)
        alpha = np.isfinite(canvas[..., :1]).astype(float)
        axes.imshow(np.concatenate([np.nan_to_num(rgb), alpha], -1), interpolation="nearest")
    else:
        axes.imshow(canvas[..., 0], cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="nearest")
    for left, top in marks:
        axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=TEACHER, linewidth=2))
    axes.set_yticks([at for at, _ in names], [_plain(name[:18]) for _, name in names], fontsize=8)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title(_plain(title), fontsize=10, loc="left")
    drawn = sum(len(rows) for _, rows, _ in lines)
    if drawn < total:
        axes.set_xlabel(f"the first {drawn:,} of {total:,} images", fontsize=8, color=QUIET)


def _course(axes: Axes, explorer: "DistilledImagesExplorer") -> None:
    record = explorer.record
    curve = {"loss": record.loss, **record.curves}.get(explorer.curve)
    if curve is not None and len(curve):
        axes.plot(np.arange(1, len(curve) + 1), curve.numpy(), color=TEACHER, linewidth=1.4)
    axes.set_ylabel(_plain(explorer.curve.replace("_", " ")), fontsize=8.5, color=TEACHER)
    axes.set_xlabel("iteration", fontsize=8.5)
    axes.axvline(explorer.selection["iteration"], color="black", linewidth=1)
    if record.snapshot_accuracy is not None:
        second = axes.twinx()
        second.plot(moments_of(record), record.snapshot_accuracy.numpy(), "o-", markersize=3, color=STUDENT)
        second.set_ylabel("test accuracy", fontsize=8.5, color=STUDENT)
        second.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        second.tick_params(labelsize=8)
        second.spines["top"].set_visible(False)
    axes.spines["top"].set_visible(False)
    axes.tick_params(labelsize=8)


def _plain(text: str) -> str:
    """Text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")
