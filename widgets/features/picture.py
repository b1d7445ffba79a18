"""The static picture of a FeatureSimilarityExplorer: what a reader without a kernel, or of a paper, sees."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from widgets.core.colours import QUIET, STUDENT, TEACHER, class_colour

if TYPE_CHECKING:
    from widgets.features.explorer import FeatureSimilarityExplorer, Seen


def draw(explorer: "FeatureSimilarityExplorer") -> Figure:
    """The heat maps as they stand, and for a pinned pair its clouds and Gram matrices."""
    shown = [entry for entry in explorer.seen() if entry.matrix is not None]
    shift = explorer.difference()
    sides = _sides(explorer)
    maps = max(len(shown) + (shift is not None), 1)
    widths = [4.9 if maps == 1 else 3.7] * maps + [2.4] * len(sides)
    figure = Figure(figsize=(sum(widths), 5.6), layout="constrained")
    figure.suptitle(f"{_plain(explorer.title)}\n", fontsize=13, fontweight="bold", x=0.01, ha="left")
    figure.text(0.01, 0.935, _subtitle(explorer), fontsize=9.5, color=QUIET)
    grid = figure.add_gridspec(2, len(widths), width_ratios=widths)
    if not shown:
        axes = figure.add_subplot(grid[:, 0])
        axes.set_axis_off()
        axes.text(0.5, 0.5, _plain(f"{explorer.measure} was not computed here"), ha="center", va="center", color=QUIET)
    limits = _range(explorer)
    for column, entry in enumerate(shown):
        axes = figure.add_subplot(grid[:, column])
        _similarity(axes, entry, explorer, limits, last=column == len(shown) - 1)
        if maps > 1:
            axes.set_title(_plain(entry.title), fontsize=10)
    if shift is not None:
        axes = figure.add_subplot(grid[:, len(shown)])
        frames = [explorer.difference(when) for when in explorer.moments()]
        limit = max((np.nanmax(np.abs(frame), initial=0) for frame in frames if frame is not None), default=0) or 1.0
        image = _matrix(
            axes, shift.to_numpy(), list(shift.index), list(shift.columns), explorer, (-limit, limit), "RdBu_r"
        )
        _bar(axes, image)
        axes.set_title(_plain(f"{shown[1].title} − {shown[0].title}"), fontsize=10)
    for column, side in enumerate(sides):
        _cloud(figure.add_subplot(grid[0, maps + column]), side)
        _gram(figure.add_subplot(grid[1, maps + column]), side)
    return figure


def _similarity(
    axes: Axes, entry: "Seen", explorer: "FeatureSimilarityExplorer", limits: tuple[float, float], *, last: bool
) -> None:
    record, values = entry.record, entry.matrix
    assert record is not None
    assert values is not None
    if explorer.best_match:
        for row, line in enumerate(values):
            if not np.isnan(line).all():
                best = int(np.nanargmax(line))
                for ink, width in (("black", 2.4), ("white", 0.9)):  # white inside black shows on every colour
                    corner = (best - 0.5, row - 0.5)
                    axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=ink, linewidth=width))
    image = _matrix(axes, values, list(record.layers_a), list(record.layers_b), explorer, limits, explorer.colour_map)
    if last:
        _bar(axes, image)
    axes.set_ylabel(_plain(record.name_a), color=TEACHER, fontweight="bold")
    axes.set_xlabel(_plain(record.name_b), color=STUDENT, fontweight="bold")


def _subtitle(explorer: "FeatureSimilarityExplorer") -> str:
    epoch = explorer.selection["epoch"]
    counts = sorted({entry.record.n for entry in explorer.seen() if entry.record is not None})
    parts = [explorer.measure, f"n = {', '.join(f'{count:,}' for count in counts)}"]
    if epoch is not None:
        parts.append(f"epoch {epoch}")
    if explorer.class_name:
        parts.append(f"only {explorer.class_name}")
    if explorer.selection["layer_a"] and explorer.selection["layer_b"]:
        parts.append(f"pinned: {explorer.selection['layer_a']} × {explorer.selection['layer_b']}")
    return _plain(" · ".join(parts))


def _range(explorer: "FeatureSimilarityExplorer") -> tuple[float, float]:
    """The colour scale: 0 to 1, or most values of all epochs, so that it holds still along the timeline.

    From the 2nd to the 98th percentile, rounded outwards to twentieths; ``features/data.js`` has the other copy.
    """
    if not explorer.stretch:
        return 0.0, 1.0
    shown = [entry.matrix for when in explorer.moments() for entry in explorer.seen(when) if entry.matrix is not None]
    numbers = np.concatenate([values[~np.isnan(values)] for values in shown]) if shown else np.empty(0)
    if not len(numbers):
        return 0.0, 1.0
    low, high = np.percentile(numbers, [2, 98])
    low, high = np.floor(low * 20 + 1e-6) / 20, np.ceil(high * 20 - 1e-6) / 20
    return float(low), float(max(high, low + 0.05))


def _matrix(
    axes: Axes,
    values: np.ndarray,
    rows: list[str],
    columns: list[str],
    explorer: "FeatureSimilarityExplorer",
    limits: tuple[float, float],
    colour_map: str,
) -> AxesImage:
    image = axes.imshow(values, cmap=colour_map, norm=Normalize(*limits), aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(columns)), [_elided(name) for name in columns], rotation=45, ha="right", fontsize=7.5)
    axes.set_yticks(range(len(rows)), [_elided(name) for name in rows], fontsize=7.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    for row, column in np.argwhere(np.isnan(values)):
        axes.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="#eceef0", edgecolor=QUIET, hatch="////", linewidth=0)
        )
    if explorer.diagonal:
        axes.plot(
            [-0.5, len(columns) - 0.5],
            [-0.5, len(rows) - 0.5],
            color="white",
            linestyle="--",
            linewidth=1.2,
            scalex=False,
            scaley=False,
        )
    pinned = explorer.selection
    if pinned["layer_a"] in rows and pinned["layer_b"] in columns:
        corner = (columns.index(pinned["layer_b"]) - 0.5, rows.index(pinned["layer_a"]) - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="#0b62c4", linewidth=2.6, zorder=5))
    return image


def _bar(axes: Axes, image: AxesImage) -> None:
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02, aspect=26)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7.5, length=0)


def _sides(explorer: "FeatureSimilarityExplorer") -> list[dict[str, Any]]:
    """The pinned layers with what each makes of the examples; empty when nothing is pinned or kept."""
    found: list[dict[str, Any]] = []
    epochs = explorer.content["epochs"]
    when = epochs.index(explorer.selection["epoch"]) if epochs else 0
    shown: set[str] = set()
    for pair, entry in zip(explorer.content["pairs"], explorer.seen(), strict=True):
        for which, colour in (("a", TEACHER), ("b", STUDENT)):
            layer, views = explorer.selection[f"layer_{which}"], pair[f"views_{which}"]
            if (
                entry.record is None
                or views is None
                or layer not in pair[f"layers_{which}"]
                or views["projections"] in shown
            ):
                continue
            shown.add(views["projections"])
            numbers = {name: _unpack(explorer.arrays[key]) for name, key in views.items()}
            # A network that does not change along the epochs is kept once.
            moment = min(pair["slices"][when], len(numbers["projections"]) - 1)
            at = moment, pair[f"layers_{which}"].index(layer)
            labels = _unpack(explorer.arrays[explorer.content["examples"]["labels"]])
            found.append(
                {
                    "title": f"{pair[f'name_{which}']}\n{layer}",
                    "colour": colour,
                    "points": numbers["projections"][at],
                    "explained": numbers["explained"][at],
                    "gram": numbers["grams"][at],
                    "gram_examples": numbers["gram_examples"],
                    "labels": labels,
                    "example": explorer.selection["example"],
                }
            )
    return found


def _unpack(packed: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(packed["data"], dtype=packed["dtype"]).reshape(packed["shape"])


def _cloud(axes: Axes, side: dict[str, Any]) -> None:
    points, labels = side["points"], side["labels"]
    for label in np.unique(labels):
        chosen = points[labels == label]
        hollow = int(label) // 8 % 2 == 1
        colour = class_colour(int(label))
        axes.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=9,
            facecolor="white" if hollow else colour,
            edgecolor=colour if hollow else "white",
            linewidth=0.9 if hollow else 0.3,
        )
    if side["example"] is not None:
        x, y = points[side["example"]]
        axes.scatter(x, y, s=70, facecolor="none", edgecolor="black", linewidth=1.4)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#d9dbdf")
    axes.set_xlabel(f"PC 1 ({side['explained'][0]:.0%})", fontsize=7.5, color=QUIET)
    axes.set_ylabel(f"PC 2 ({side['explained'][1]:.0%})", fontsize=7.5, color=QUIET)
    axes.set_title(_plain(side["title"]), fontsize=8.5, color=side["colour"])


def _gram(axes: Axes, side: dict[str, Any]) -> None:
    order = np.argsort(side["labels"][side["gram_examples"]], kind="stable")
    axes.imshow(side["gram"][np.ix_(order, order)], cmap="RdBu_r", vmin=-127, vmax=127, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#d9dbdf")
    axes.set_xlabel("Gram matrix, by class", fontsize=7.5, color=QUIET)


def _elided(name: str, most: int = 18) -> str:
    short = name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-(most // 2) :]}"
    return _plain(short)


def _plain(text: str) -> str:
    """Text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")
