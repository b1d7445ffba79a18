"""What a DistilledImagesExplorer shows now: images in order, the other side of a comparison, the sets as a table."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from widgets.distilled.content import images_at, labels_at, moments_of, raw
from widgets.distilled.findings import scores_of
from workbench.records import DistilledSet

if TYPE_CHECKING:
    from widgets.distilled import DistilledImagesExplorer

NOTHING, MOMENT, NEAREST, START = "nothing", "another moment", "nearest real images", "real images they began as"
"""What images can be compared with, beside another set by its name."""


class Other(NamedTuple):
    """The other side of a comparison: raw pixels (n, c, h, w), which rows have one, and what it is called."""

    pixels: np.ndarray
    there: np.ndarray
    title: str


def shown(explorer: "DistilledImagesExplorer") -> list[tuple[str, list[int]]]:
    """The images in the order in which they are seen: blocks with a class name (or ``""`` where classes mix)."""
    record, names = explorer.record, explorer.content["classes"]
    labels = record.hard_labels.tolist()
    kept = set(explorer.classes or names)
    rows = [row for row in range(len(record)) if names[labels[row]] in kept]
    if explorer.sort != "class":
        score = scores(explorer).get(explorer.sort)
        if score is not None:
            sign = -1 if explorer.descending else 1
            # What has no score comes last, in either direction.
            rows.sort(key=lambda row: (np.isnan(score[row]), sign * score[row], row))
    elif explorer.descending:
        rows.sort(key=lambda row: -row)
    if explorer.by_class or explorer.sort == "class":
        blocks = [(name, [row for row in rows if labels[row] == c]) for c, name in enumerate(names)]
        if explorer.sort == "class" and explorer.descending:
            blocks.reverse()
        return [block for block in blocks if block[1]]
    return [("", rows)] if rows else []


def scores(explorer: "DistilledImagesExplorer") -> dict[str, np.ndarray]:
    """What the images of the set shown can be sorted by, float64 (n,) each."""
    name = explorer.selection["set"]
    found = {}
    real = next(item["real"] for item in explorer.content["sets"] if item["name"] == name)
    if "nearest" in real:
        packed = explorer.arrays[real["nearest"]["distance"]]
        found["nearest_pixels"] = np.frombuffer(packed["data"], "<f4").astype(float)
    if name in explorer.known.looks:
        found |= {key: value.numpy() for key, value in scores_of(explorer.known.looks[name]).items()}
    return found


def moment(record: DistilledSet, iteration: int) -> int:
    """Position of the latest moment that is not after `iteration`."""
    return max(sum(at <= iteration for at in moments_of(record)) - 1, 0)


def pixels(explorer: "DistilledImagesExplorer") -> np.ndarray:
    """Raw pixels of the set shown at the iteration shown, (n, c, h, w)."""
    record = explorer.record
    at = moments_of(record).index(explorer.selection["iteration"])
    return raw(record, images_at(record, at)).numpy()


def other(explorer: "DistilledImagesExplorer") -> Other | None:
    """What the images are compared with, or None."""
    record, what = explorer.record, explorer.against
    if what == NOTHING:
        return None
    whole = np.ones(len(record), bool)
    if what == MOMENT:
        iteration = explorer.selection["moment"]
        found = raw(record, images_at(record, moments_of(record).index(iteration))).numpy()
        return Other(found, whole, f"iteration {iteration}")
    empty = np.zeros(tuple(record.images.shape))
    if what in (NEAREST, START):
        kind = "nearest" if what == NEAREST else "start"
        item = next(item for item in explorer.content["sets"] if item["name"] == explorer.selection["set"])
        if kind not in item["real"]:
            return Other(empty, ~whole, what)
        rows = _unpacked(explorer, item["real"][kind]["rows"])
        stored = _unpacked(explorer, item["real"][kind]["pixels"]) / 255
        return Other(stored[np.maximum(rows, 0)], rows >= 0, what)
    second = explorer.sets[what]
    iteration = explorer.selection["iteration"]
    ended = iteration == moments_of(record)[-1]
    at = len(moments_of(second)) - 1 if ended else moment(second, iteration)
    rows = partners(record, second)
    found = raw(second, images_at(second, at)).numpy()
    return Other(found[np.maximum(rows, 0)], rows >= 0, f"{what}, iteration {moments_of(second)[at]}")


def partners(record: DistilledSet, second: DistilledSet) -> np.ndarray:
    """For each image the row of its partner in another set: the one at the same place within its class; −1: none."""
    labels, others = record.hard_labels, second.hard_labels
    rows = np.full(len(record), -1)
    for c in range(len(record.classes)):
        mine, theirs = (labels == c).nonzero().flatten().tolist(), (others == c).nonzero().flatten().tolist()
        for row, partner in zip(mine, theirs, strict=False):
            rows[row] = partner
    return rows


def images(explorer: "DistilledImagesExplorer") -> pd.DataFrame:
    """One row per image seen: `set`, `iteration`, `image`, `class`, `selected`, its scores, its label's
    probabilities.

    In a comparison also `difference`: the mean of this side's raw pixels minus the other's, and the mean of its
    magnitude, `distance`.
    """
    record, selection = explorer.record, explorer.selection
    rows = [row for _, block in shown(explorer) for row in block]
    labels, chosen = record.hard_labels.tolist(), set(selection["images"])
    columns: dict[str, Any] = {
        "set": selection["set"],
        "iteration": selection["iteration"],
        "image": rows,
        "class": [record.classes[labels[row]] for row in rows],
        "selected": [row in chosen for row in rows],
    }
    columns |= {name: score[rows] for name, score in scores(explorer).items()}
    if record.soft:
        soft = labels_at(record, moments_of(record).index(selection["iteration"]))
        columns |= {f"label[{name}]": soft[rows, c].tolist() for c, name in enumerate(record.classes)}
    if (beside := other(explorer)) is not None:
        apart = (pixels(explorer) - beside.pixels)[rows].reshape(len(rows), -1)
        apart[~beside.there[rows]] = np.nan
        columns |= {"difference": apart.mean(1), "distance": np.abs(apart).mean(1)}
    return pd.DataFrame(columns, index=range(len(rows)))


def sets(explorer: "DistilledImagesExplorer") -> pd.DataFrame:
    """One row per set: `set`, `images`, `ipc`, `KiB`, `seconds`, `iterations`; where it was evaluated, per network
    ``accuracy[network]`` and the half-width of its 95 % interval, ``±[network]``.
    """
    rows = []
    for name, record in explorer.sets.items():
        row: dict[str, Any] = {
            "set": name,
            "images": len(record),
            "ipc": record.ipc,
            "KiB": record.nbytes / 1024,
            "seconds": record.provenance.wall_time,
            "iterations": record.iterations,
        }
        if (found := explorer.known.evaluations.get(name)) is not None:
            for k, network in enumerate(found.networks):
                low, high = found.interval(k)
                row |= {f"accuracy[{network}]": found.mean(k), f"±[{network}]": (high - low) / 2}
        rows.append(row)
    return pd.DataFrame(rows)


def summary(explorer: "DistilledImagesExplorer") -> str:
    """One line of plain text: what is seen now."""
    record, selection = explorer.record, explorer.selection
    count = sum(len(block) for _, block in shown(explorer))
    shape = "×".join(map(str, record.images.shape[1:]))
    iteration = selection["iteration"]
    parts = [f"{selection['set']} at iteration {iteration}: {count} images {shape} of {len(record.classes)} classes"]
    if 0 < iteration <= len(record.loss):
        parts.append(f"loss {float(record.loss[iteration - 1]):.4g}")
    at = moments_of(record).index(iteration)
    if record.snapshot_accuracy is not None and not torch.isnan(record.snapshot_accuracy[at]):
        parts.append(f"test accuracy {float(record.snapshot_accuracy[at]):.1%}")
    if selection["images"]:
        parts.append(f"{len(selection['images'])} selected")
    if (beside := other(explorer)) is not None:
        parts.append(f"compared with {beside.title}")
    return ", ".join(parts)


def _unpacked(explorer: "DistilledImagesExplorer", name: str) -> np.ndarray:
    packed = explorer.arrays[name]
    return np.frombuffer(packed["data"], np.dtype(packed["dtype"])).reshape(packed["shape"])
