"""From distilled sets to what travels to the browser: pixels of every moment as bytes, labels, curves, real pairs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from widgets.core.arrays import Arrays
from widgets.distilled.inspector.crops import crops_content
from widgets.distilled.inspector.pairs import real_pairs
from workbench.data import Dataset, Split
from workbench.records import DistilledSet

MOST_BYTES = 128 * 2**20
"""Pixels that are sent at most: beyond it moments are left out, and a set too large by itself is refused."""

MOST_POINTS = 2000
"""Points of a curve: a timeline is not wider than that."""

HALF_LEVEL = 0.5 / 255


def content_of(sets: dict[str, DistilledSet], data: Dataset | Split | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What travels to the browser once: plain values, and the arrays they refer to."""
    first = next(iter(sets.values()))
    arrays = Arrays()
    room = MOST_BYTES // len(sets)
    content = {
        "sets": [_set(name, record, arrays, room, data) for name, record in sets.items()],
        "classes": list(first.classes),
        "shape": list(first.images.shape[1:]),
        "trainable": isinstance(data, Dataset),
    }
    return content, arrays.packed


def moments_of(record: DistilledSet) -> tuple[int, ...]:
    """The iterations at which the images are known; of a set without history only the last."""
    return record.snapshot_iterations if record.snapshots is not None else (record.iterations,)


def images_at(record: DistilledSet, moment: int) -> Tensor:
    """The stored images at position `moment` of `moments_of`, float32, shape (n, channels, height, width)."""
    if record.snapshots is None or moment == len(record.snapshot_iterations) - 1:
        return record.images.float()
    return record.snapshots[moment].float()


def labels_at(record: DistilledSet, moment: int) -> Tensor:
    """The labels at position `moment` of `moments_of`: those of the record, unless they were learned along the way."""
    if record.snapshot_labels is None or moment == len(record.snapshot_iterations) - 1:
        return record.labels
    return record.snapshot_labels[moment].float()


def raw(record: DistilledSet, images: Tensor) -> Tensor:
    """Pixels as they were before normalising: 0..1 for a natural image."""
    return record.raw(images)


def _set(name: str, record: DistilledSet, arrays: Arrays, room: int, data: Dataset | Split | None) -> dict[str, Any]:
    iterations = list(moments_of(record))
    kept = _kept(len(iterations), record.images.numel(), room, name)
    pixels, low, high = _bytes(record, kept)
    found = {
        "name": name,
        "method": record.method,
        "count": len(record),
        "ipc": record.ipc,
        "soft": record.soft,
        "pixels": arrays.add(pixels, "uint8"),
        "low": low,
        "high": high,
        "labels": arrays.add(record.hard_labels, "int32"),
        "soft_labels": arrays.add(record.labels, "float32") if record.soft else None,
        "label_course": None if record.snapshot_labels is None else arrays.add(record.snapshot_labels[kept], "float32"),
        "iterations": [iterations[k] for k in kept],
        "left_out": len(iterations) - len(kept),
        "curves": _curves(record, arrays),
        "accuracy": None if record.snapshot_accuracy is None else arrays.add(record.snapshot_accuracy[kept], "float32"),
        "source": None if record.source is None else arrays.add(record.source, "int32"),
        "bytes": record.nbytes,
        "seconds": record.provenance.wall_time,
        "device": record.provenance.device,
        "iterations_done": record.iterations,
        "interrupted": record.interrupted,
        "view": record.view,
        "choices": crops_content(record, arrays),
    }
    return found | {"real": real_pairs(record, data, arrays)}


def _kept(moments: int, values: int, room: int, name: str) -> list[int]:
    """Which moments are sent: all, or as many as there is room for, evenly spaced, with the first and the last."""
    if values > room:
        raise ValueError(
            f"the set {name!r} has {values / 2**20:,.0f} MiB of pixels; up to {room / 2**20:,.0f} MiB are sent to a "
            "browser: show fewer sets, or a part of this one, as in record.take(range(1000))"
        )
    most = min(moments, room // values)
    if most < 2:
        return [moments - 1]
    return sorted({round(k * (moments - 1) / (most - 1)) for k in range(most)})


def _bytes(record: DistilledSet, kept: Sequence[int]) -> tuple[np.ndarray, float, float]:
    """Pixels as bytes, (moments, n, c, h, w), and the raw values that 0 and 255 stand for.

    0 and 1 where all values lie there: a byte is then exactly what a picture shows. Else the bytes span all values.
    """
    low, high = 0.0, 1.0
    for k in kept:
        values = raw(record, images_at(record, k))
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    if low >= -HALF_LEVEL and high <= 1 + HALF_LEVEL:
        low, high = 0.0, 1.0
    pixels = np.empty((len(kept), *record.images.shape), np.uint8)
    for row, k in enumerate(kept):
        values = raw(record, images_at(record, k))
        pixels[row] = ((values - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels, low, high


def _curves(record: DistilledSet, arrays: Arrays) -> dict[str, dict[str, str]]:
    """Loss and what else the method logged: values, and the iterations they belong to."""
    found = {}
    for name, curve in {"loss": record.loss, **record.curves}.items():
        length = len(curve)
        if not length:
            continue
        rows = torch.linspace(0, length - 1, min(length, MOST_POINTS)).round().long()
        found[name] = {"values": arrays.add(curve[rows], "float32"), "at": arrays.add(rows + 1, "int32")}
    return found
