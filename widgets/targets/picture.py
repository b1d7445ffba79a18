"""The static picture of a TargetTrajectoryExplorer."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from widgets.core.colours import OTHERS, QUIET, STUDENT, TEACHER, class_colour
from widgets.targets import view
from widgets.targets.content import pictures, with_samples
from workbench.diffusion.trajectories.levels import levels, shrink
from workbench.diffusion.trajectories.plane import SeedPlane
from workbench.records import TargetTrajectories

if TYPE_CHECKING:
    from widgets.targets import TargetTrajectoryExplorer

MOST_POINTS = 2000
"""Seeds that are drawn in one plane."""

MOST_COLUMNS = 14
"""Steps in a row of the strip."""

DASHES = ("-", (0, (5, 2)), ":")
"""Of the first, second and further runs of one role."""

SHADE = LinearSegmentedColormap.from_list("density", ["#ffffff", "#b9bcc2"])
"""Of a density under points."""

LABELS = {
    "commitment": "commitment",
    "spread": "spread of x̂₀ over seeds",
    "distance": "distance of x̂₀ to the sample",
    "curvature": "curvature of the path",
    "error": "error of the step",
    "drift": "distance to the exact path",
}


def draw(explorer: "TargetTrajectoryExplorer") -> Figure:
    """The plane or the strip at the step of the timeline, and the timeline's curve under the same cursor."""
    strip = explorer.view == "strip" and explorer.content["kind"] == "images"
    runs = explorer.runs
    count = 1 if strip else len(runs)
    shown = view.shown_seeds(explorer)
    tall = 0.4 * len(runs) * len(shown) + 0.1 * len(shown) + 0.3 if strip else 4.0 if count < 3 else 3.2
    figure = Figure(figsize=(max(7.0, 3.5 * count), tall + 2.1), layout="constrained")
    figure.suptitle(_plain(explorer.title), fontsize=13, fontweight="bold", x=0.01, ha="left")
    grid = figure.add_gridspec(2, count, height_ratios=[tall, 1.4])
    if strip:
        _strip(figure.add_subplot(grid[0, :]), explorer, shown)
    else:
        plane = SeedPlane.of(list(runs.values()))
        for k, name in enumerate(runs):
            _plane(figure.add_subplot(grid[0, k]), explorer, plane, name)
    _course(figure.add_subplot(grid[1, :]), explorer)
    return figure


def run_colour(explorer: "TargetTrajectoryExplorer", name: str) -> str:
    """The colour of a run; ``parts/colours.js`` has the other copy."""
    item = next(item for item in explorer.content["runs"] if item["name"] == name)
    return {"teacher": TEACHER, "student": STUDENT}.get(item["role"], OTHERS[item["other"] % len(OTHERS)])


def _plane(axes: Axes, explorer: "TargetTrajectoryExplorer", plane: SeedPlane, name: str) -> None:
    run, colour = explorer.runs[name], run_colour(explorer, name)
    index = view.index_of(explorer, name)
    near = explorer.show == "targets"
    x0, x1, y0, y1 = explorer.content["plane"]["close" if near else "span"]
    if explorer.density and (under := density_at(explorer, run, index)) is not None:
        axes.imshow(under, extent=(x0, x1, y0, y1), origin="lower", cmap=SHADE, vmin=0, vmax=255, zorder=0)
    state, target = view.now(run, index)
    factor = float(shrink(run)[index])
    places = plane.project((target if explorer.show == "targets" else state * factor)[None])[0, :MOST_POINTS].numpy()
    colours: str | list[str] = colour
    if explorer.colour == "class" and run.condition is not None:
        colours = [class_colour(c) if c >= 0 else QUIET for c in run.condition[:MOST_POINTS].tolist()]
    axes.scatter(
        places[:, 0], places[:, 1], s=7 if len(places) > 200 else 16, c=colours, alpha=0.8, linewidths=0, zorder=2
    )
    if explorer.paths:
        for seed in explorer.selection["seeds"]:
            states, targets = view.trajectory(run, seed)
            factors = shrink(run).to(states).view(-1, *[1] * (states.ndim - 1))
            path, believed = (plane.project(values[:, None])[:, 0].numpy() for values in (states * factors, targets))
            axes.plot(*path.T, color=QUIET, linewidth=1, zorder=3)
            axes.plot(*believed.T, color=colour, linewidth=1.2, linestyle=":", zorder=3)
            axes.annotate(str(seed), path[-1], fontsize=8, xytext=(4, 4), textcoords="offset points", zorder=4)
    axes.set(xlim=(x0, x1), ylim=(y0, y1), aspect="equal", xlabel=plane.axes[0], ylabel=plane.axes[1])
    what = "x̂₀" if explorer.show == "targets" else "x"
    when = "samples" if index >= run.steps else f"{what} at step {index + 1}, t = {float(run.times[index]):.3g}"
    axes.set_title(f"{_plain(name)}: {when}", fontsize=10, color=colour)


def density_at(explorer: "TargetTrajectoryExplorer", run: TargetTrajectories, index: int) -> np.ndarray | None:
    """Bytes of the density under a run: of the data for targets, of as noisy data for states; None where unknown."""
    known = explorer.content["ground"]["density"]
    if known is None:
        return None
    near = explorer.show == "targets"
    packed = explorer.arrays[known["close" if near else "values"]]
    values = np.frombuffer(packed["data"], np.uint8).reshape(packed["shape"])
    if near or index >= run.steps:
        return values[-1]
    clock = levels(explorer.runs[known["run"]])
    now = levels(run)[index] + 1e-6
    return values[max([row for row, k in enumerate(known["index"][:-1]) if clock[k] <= now], default=0)]


def _strip(axes: Axes, explorer: "TargetTrajectoryExplorer", shown: list[int]) -> None:
    """Rows are seeds and models, columns the steps of each run spread over the width, the sample last."""
    row = 0
    ticks = []
    for seed in shown:
        for name, run in explorer.runs.items():
            targets = with_samples(run.targets[:, seed : seed + 1], run.samples[seed : seed + 1])[:, 0]
            some = sorted(
                {round(k * run.steps / (MOST_COLUMNS - 1)) for k in range(MOST_COLUMNS)} & set(range(len(targets)))
            )
            some = some if run.steps >= MOST_COLUMNS else list(range(len(targets)))
            shown_now = view.index_of(explorer, name)
            for k in some:
                raw = np.moveaxis(pictures(run, targets[k]), 0, -1)
                image = raw if raw.shape[-1] == 3 else np.repeat(raw, 3, -1)
                left = MOST_COLUMNS * k / run.steps * (1 - 1 / MOST_COLUMNS)
                axes.imshow(image, extent=(left, left + 0.94, -row - 0.94, -row), interpolation="nearest", zorder=2)
            nearest = min(some, key=lambda k: abs(k - shown_now))
            left = MOST_COLUMNS * nearest / run.steps * (1 - 1 / MOST_COLUMNS)
            box = (left, left + 0.94, left + 0.94, left, left), (-row, -row, -row - 0.94, -row - 0.94, -row)
            axes.plot(*box, color=run_colour(explorer, name), linewidth=2, zorder=3)
            ticks.append((-row - 0.47, f"{_plain(name)}, seed {seed}"))
            row += 1
        row += 0.2  # type: ignore[assignment]  # a gap between seeds
    axes.set(xlim=(-0.1, MOST_COLUMNS + 0.1), ylim=(-row, 0.1), aspect="equal", xticks=[])
    axes.set_yticks([at for at, _ in ticks], [text for _, text in ticks], fontsize=8)
    axes.set_xlabel("first step → sample; framed: nearest to the step shown", fontsize=8)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _course(axes: Axes, explorer: "TargetTrajectoryExplorer") -> None:
    roles: list[str] = []
    for name, run in explorer.runs.items():
        # Runs of one role share its colour; scene.js has the other copy.
        dash = DASHES[min(roles.count(run.role), len(DASHES) - 1)] if run.role != "other" else "-"
        roles.append(run.role)
        values = explorer.known[name].get(explorer.curve)
        if values is None:
            continue
        colour = run_colour(explorer, name)
        marker = "o" if run.steps <= 8 else None
        axes.plot(run.times, values, color=colour, linewidth=1.8, linestyle=dash, marker=marker, markersize=4)
        axes.plot([], [], color=colour, linestyle=dash, label=_plain(name))
    place = view.place(explorer)
    clock = explorer.run
    axes.axvline(0.0 if place >= clock.steps else float(clock.times[place]), color="#1c1d20", linewidth=1)
    axes.set(xlabel="time t: noise → sample", ylabel=LABELS[explorer.curve], xlim=(1.02, -0.02))
    axes.yaxis.label.set_fontsize(8)
    axes.legend(frameon=False, fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _plain(text: str) -> str:
    """A name with what matplotlib would read as mathematics taken literally."""
    return text.replace("$", r"\$")
