"""The static picture of a classification in a PosteriorExplorer: maps or lines, and calibration over the steps."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from widgets.core.colours import QUIET, class_colour
from widgets.posterior.picture import FOCUS, plain, step_colour

if TYPE_CHECKING:
    from widgets.posterior.classes import ClassificationView
    from widgets.posterior.labels import Variant

SHOWN = {"probability": "probability", "mean": "latent mean", "std": "latent standard deviation"}


def draw_classification(view: "ClassificationView", explorer: Any) -> Figure:
    """One panel per approach, and beside them error, ECE and reliability."""
    variants = view.now.variants
    figure = Figure(figsize=(4.9 * len(variants) + 3.6, 4.9), layout="constrained")
    figure.suptitle(f"{plain(explorer.title)}\n", fontsize=13, fontweight="bold", x=0.01, ha="left")
    figure.text(0.01, 0.925, plain(view.summary(explorer)), fontsize=8, color=QUIET)
    grid = figure.add_gridspec(2, len(variants) + 1, width_ratios=[4.9] * len(variants) + [3.6])
    for column, variant in enumerate(variants):
        axes = figure.add_subplot(grid[:, column])
        if view.now.shape is not None and len(view.now.shape) == 2:
            _map(axes, view, explorer, variant)
        else:
            _line(axes, view, explorer, variant)
        mode = f", {variant.mode}" if variant.approach == "distribution" else ""
        axes.set_title(f"{variant.approach}-centric{mode}: {SHOWN[explorer.show]}", fontsize=10)
    _calibration(figure.add_subplot(grid[0, -1]), view)
    _reliability(figure.add_subplot(grid[1, -1]), view, explorer)
    return figure


def _map(axes: Axes, view: "ClassificationView", explorer: Any, variant: "Variant") -> None:
    look, path, t = view.now, variant.path, view.step(explorer, variant)
    assert look.shape is not None
    assert path.probabilities is not None
    rows, k = slice(0, variant.grid), view.latent(explorer)
    x, y = (path.inputs[rows, axis].numpy().reshape(look.shape) for axis in look.axes)
    probabilities = path.probabilities[t, rows].numpy().reshape(*look.shape, -1)
    extent = (x.min(), x.max(), y.min(), y.max())
    options: dict[str, Any] = {"extent": extent, "origin": "lower", "aspect": "auto", "interpolation": "bilinear"}
    if explorer.show == "probability":
        axes.imshow(blend(probabilities), **options)
    elif explorer.show == "mean":
        values = path.mean[t, rows, k].numpy().reshape(look.shape)
        limit = float(np.abs(values).max()) or 1.0
        image = axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, **options)
        axes.figure.colorbar(image, ax=axes, shrink=0.6)
    else:
        values = path.variance[t, rows, k].clamp_min(0).sqrt().numpy().reshape(look.shape)
        image = axes.imshow(values, cmap="viridis", vmin=0, **options)
        axes.figure.colorbar(image, ax=axes, shrink=0.6)
    for c in range(probabilities.shape[-1] if probabilities.shape[-1] > 2 else 1):
        others = np.delete(probabilities, c, axis=-1).max(-1)
        axes.contour(x, y, probabilities[..., c] - others, levels=[0.0], colors="black", linewidths=1.6)
    _points(axes, view, path.train_inputs.numpy(), path.train_targets[:, 0].numpy())


def blend(probabilities: np.ndarray) -> np.ndarray:
    """Colours (…, 3) of class probabilities (…, classes): the likeliest class's, the paler the closer to a draw."""
    classes = probabilities.shape[-1]
    best = probabilities.argmax(-1)
    sure = (probabilities.max(-1) - 1 / classes) / (1 - 1 / classes)
    palette = np.array([to_rgb(class_colour(c)) for c in range(classes)])
    return 1 - 0.75 * sure[..., None] * (1 - palette[best])


def _points(axes: Axes, view: "ClassificationView", inputs: np.ndarray, labels: np.ndarray) -> None:
    first, second = view.now.axes
    for c, name in enumerate(view.base.classes):
        chosen = labels == c
        face = class_colour(c) if c < 8 else "white"
        axes.scatter(
            inputs[chosen, first],
            inputs[chosen, second],
            s=18,
            color=face,
            edgecolor="black",
            linewidth=0.7,
            label=plain(name),
        )
    axes.set_xlabel(plain(view.features[first].name))
    axes.set_ylabel(plain(view.features[second].name))
    axes.legend(fontsize=7, frameon=False, loc="upper right")


def _line(axes: Axes, view: "ClassificationView", explorer: Any, variant: "Variant") -> None:
    path, t, axis = variant.path, view.step(explorer, variant), view.now.axes[0]
    assert path.probabilities is not None
    rows, c, k = slice(0, variant.grid), view.base.classes.index(explorer.class_name), view.latent(explorer)
    x = path.inputs[rows, axis].numpy()
    style = "-" if view.now.shape is not None else "."
    for step in range(path.steps) if explorer.fan else [t]:
        ink = step_colour(step, max(1, path.steps - 1))
        values = {
            "probability": path.probabilities[step, rows, c],
            "mean": path.mean[step, rows, k],
            "std": path.variance[step, rows, k].clamp_min(0).sqrt(),
        }[explorer.show].numpy()
        axes.plot(x, values, style, color=ink, linewidth=2.6 if step == t else 1)
    axes.set_xlabel(plain(view.features[axis].name))
    axes.set_ylabel(plain(f"{SHOWN[explorer.show]} of {explorer.class_name}"))
    if explorer.show == "probability":
        labels = path.train_targets[:, 0].numpy()
        colours = [class_colour(label) for label in labels]
        axes.scatter(
            path.train_inputs[:, axis], labels == c, c=colours, s=18, edgecolor="black", linewidth=0.6, zorder=3
        )
        axes.axhline(0.5, color=QUIET, linestyle="--", linewidth=1)


def _calibration(axes: Axes, view: "ClassificationView") -> None:
    for variant, line in zip(view.now.variants, ("-", "--"), strict=False):
        steps = range(1, len(variant.judged) + 1)
        of = f", {variant.approach}" if len(view.now.variants) > 1 else ""
        axes.plot(steps, [one.ece for one in variant.judged], line, marker=".", color=FOCUS, label=f"ECE{of}")
        axes.plot(steps, [one.nll for one in variant.judged], line, marker=".", color=QUIET, label=f"NLL (nats){of}")
    axes.set_xlabel("step", fontsize=8)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=7.5)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(fontsize=7, frameon=False)


def _reliability(axes: Axes, view: "ClassificationView", explorer: Any) -> None:
    axes.plot([0, 1], [0, 1], "--", color=QUIET, linewidth=1)
    for variant, ink in zip(view.now.variants, ("#00805d", "#b4558a"), strict=False):
        if variant.judged:
            one = variant.judged[view.step(explorer, variant)]
            known = one.count > 0
            axes.plot(one.confidence[known], one.accuracy[known], "o-", color=ink, markersize=4, linewidth=1)
    axes.set_xlabel("confidence", fontsize=8)
    axes.set_ylabel("share right", fontsize=8)
    axes.tick_params(labelsize=7.5)
    axes.spines[["top", "right"]].set_visible(False)
