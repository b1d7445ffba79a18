"""What a TargetTrajectoryExplorer shows of a hand-over: as a table, in a sentence, and as a static picture."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from widgets.core.colours import OTHERS, QUIET, STUDENT, TEACHER
from widgets.targets.content import is_images, pictures
from widgets.targets.hand_over.content import MOST_PICTURES, MOST_POINTS, Way, calls, whole
from widgets.targets.picture import SHADE
from workbench.diffusion.trajectories.plane import SeedPlane
from workbench.records import HandOver

if TYPE_CHECKING:
    from widgets.targets import TargetTrajectoryExplorer

TITLES = {
    "entropy": "Mode entropy",
    "modes": "Modes found",
    "quality": "Quality",
    "diversity": "Diversity",
    "precision": "Precision",
    "recall": "Recall",
}
"""How measures are called; ``measures.js`` has the other copy."""


def chosen(explorer: "TargetTrajectoryExplorer") -> tuple[HandOver, Way, int]:
    """The hand-over, by first steps or single ones, and which of them: 0 is the student alone."""
    assert explorer.handed is not None
    way: Way = "positions" if explorer.sharing == "one step" else "switches"
    return explorer.handed, way, explorer.selection["switch"]


def ways(explorer: "TargetTrajectoryExplorer") -> pd.DataFrame:
    """One row per way of sharing the steps, as it is shown: `at`, what was measured with its interval, and calls.

    `at` is how many steps the base makes first, or which one it makes (0: none); `shown` marks the one that is seen.
    """
    handed, way, at = chosen(explorer)
    count = handed.steps + 1
    columns: dict[str, list] = {"by": [explorer.sharing] * count, "at": list(range(count))}
    columns["shown"] = [k == at for k in range(count)]
    for name, measured in handed.measures.items():
        columns[name] = whole(measured, way).tolist()
        if name in handed.intervals:
            low, high = whole(handed.intervals[name], way).T.tolist()
            columns |= {f"{name} low": low, f"{name} high": high}
    both = calls(handed, way)
    if both is not None:
        columns |= {"base calls": both[0], "student calls": both[1]}
    return pd.DataFrame(columns)


def in_words(handed: HandOver, way: Way, at: int) -> str:
    """Who makes what, and what that costs; ``hand_over.js`` has the other copy."""
    base, student, steps = handed.base, handed.student, handed.steps

    def range_of(low: int, high: int) -> str:
        return f"step {low}" if low == high else f"steps {low}–{high}"

    if at == 0:
        who = f"{student} makes all {steps} steps"
    elif way == "positions":
        who = f"{base} makes step {at}, {student} the others"
    elif at == steps:
        who = f"{base} makes all {steps} steps"
    else:
        who = f"{base} makes {range_of(1, at)}, {student} {range_of(at + 1, steps)}"
    both = calls(handed, way)
    if both is None:
        return f"{who}."
    own, theirs = both[0][at], both[1][at]
    told = "1 call" if own + theirs == 1 else f"{own + theirs} calls"
    return f"{who}: {told} per seed, {own} of {base} and {theirs} of {student}."


def summary(explorer: "TargetTrajectoryExplorer") -> str:
    """One line of plain text."""
    handed, way, at = chosen(explorer)
    values = "; ".join(
        f"{TITLES.get(name, name).lower()} {float(whole(of, way)[at]):.3g} (alone {float(of['switches'][0]):.3g})"
        for name, of in handed.measures.items()
    )
    return f"Hand-over, {len(handed):,} seeds: {in_words(handed, way, at)} {values or 'Nothing was measured.'}"


def draw(explorer: "TargetTrajectoryExplorer") -> Figure:
    """Samples of the way that is shown, and what was measured for all of them."""
    handed, way, at = chosen(explorer)
    names = list(handed.measures)
    rows = max(1, (len(names) + 1) // 2)
    figure = Figure(figsize=(10.0, 5.2), layout="constrained")
    figure.suptitle(_plain(explorer.title), fontsize=13, fontweight="bold", x=0.01, ha="left")
    grid = figure.add_gridspec(rows + 1, 4, height_ratios=[0.28, *[1] * rows])
    _makers(figure.add_subplot(grid[0, :]), handed, way, at)
    samples = whole({"switches": handed.switches, "positions": handed.positions}, way)[at]
    axes = figure.add_subplot(grid[1:, :2])
    (_sheet if is_images(explorer.run) else _points)(axes, explorer, handed, samples)
    for k, name in enumerate(names):
        _measure(figure.add_subplot(grid[1 + k // 2, 2 + k % 2]), handed, way, at, name)
    return figure


def _makers(axes: Axes, handed: HandOver, way: Way, at: int) -> None:
    for i in range(handed.steps):
        by_base = i < at if way == "switches" else i + 1 == at
        axes.barh(0, 0.96, left=i, color=TEACHER if by_base else STUDENT)
        name = handed.base if by_base else handed.student
        axes.text(i + 0.48, 0, f"{i + 1}: {_plain(name)}", color="white", ha="center", va="center", fontsize=9)
    axes.set_title(_plain(in_words(handed, way, at)), fontsize=9, loc="left")
    axes.set(xlim=(0, handed.steps), ylim=(-0.45, 0.45))
    axes.axis("off")


def _points(axes: Axes, explorer: "TargetTrajectoryExplorer", handed: HandOver, samples: Tensor) -> None:
    plane = SeedPlane.of(list(explorer.runs.values()))
    x0, x1, y0, y1 = explorer.content["plane"]["close"]
    places = plane.project(samples[None, :MOST_POINTS])[0].numpy()
    known = explorer.content["ground"]["density"]
    if explorer.density and known is not None:
        packed = explorer.arrays[known["close"]]
        under = np.frombuffer(packed["data"], np.uint8).reshape(packed["shape"])[-1]
        axes.imshow(under, extent=(x0, x1, y0, y1), origin="lower", cmap=SHADE, vmin=0, vmax=255)
    axes.scatter(places[:, 0], places[:, 1], s=6, c=OTHERS[0], alpha=0.8, linewidths=0)
    axes.set(xlim=(x0, x1), ylim=(y0, y1), aspect="equal", xlabel=plane.axes[0], ylabel=plane.axes[1])
    axes.set_title(f"{len(places):,} of {len(handed):,} samples", fontsize=10)


def _sheet(axes: Axes, explorer: "TargetTrajectoryExplorer", handed: HandOver, samples: Tensor) -> None:
    scaled = explorer.run.replace(mean=handed.mean, std=handed.std)
    raw = np.moveaxis(pictures(scaled, samples[:MOST_PICTURES]), 1, -1)
    raw = raw if raw.shape[-1] == 3 else np.repeat(raw, 3, -1)
    columns = int(np.ceil(np.sqrt(len(raw))))
    for k, image in enumerate(raw):
        left, top = k % columns, -(k // columns)
        axes.imshow(image, extent=(left, left + 0.94, top - 0.94, top), interpolation="nearest")
    axes.set(xlim=(0, columns), ylim=(-np.ceil(len(raw) / columns), 0), aspect="equal")
    axes.axis("off")
    axes.set_title(f"{len(raw):,} of {len(handed):,} samples", fontsize=10)


def _measure(axes: Axes, handed: HandOver, way: Way, at: int, name: str) -> None:
    values = whole(handed.measures[name], way)
    x = range(len(values))
    axes.axhline(float(values[0]), color=QUIET, linewidth=1, linestyle="--")
    if name in handed.intervals:
        low, high = whole(handed.intervals[name], way).T
        axes.vlines(x, low, high, color=OTHERS[0], alpha=0.4, linewidth=4)
    axes.plot(x, values, color=OTHERS[0], marker="o", markersize=4, linestyle="-" if way == "switches" else "none")
    axes.plot([at], [float(values[at])], marker="o", markersize=10, color="none", markeredgecolor="#1c1d20")
    axes.set_title(f"{_plain(TITLES.get(name, name))}: {float(values[at]):.3g}", fontsize=9, loc="left")
    axes.set_xlabel("first steps made by the base" if way == "switches" else "the step made by the base", fontsize=8)
    axes.set_xticks(list(x), ["none" if way == "positions" and k == 0 else str(k) for k in x])
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _plain(text: str) -> str:
    """A name with what matplotlib would read as mathematics taken literally."""
    return text.replace("$", r"\$")
