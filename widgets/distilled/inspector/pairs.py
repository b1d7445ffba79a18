"""The real image beside each distilled one: the nearest in pixels, and the one it began as."""

from typing import Any

import torch
from torch import Tensor

from widgets.core.arrays import Arrays
from workbench.analysis import nearest
from workbench.data import Dataset, Split
from workbench.records import DistilledSet

MOST_PRODUCTS = 2e10
"""Multiplications that looking for the nearest images may take: about a second."""


def real_pairs(record: DistilledSet, data: Dataset | Split | None, arrays: Arrays) -> dict[str, Any]:
    """By kind ("nearest", "start"): pictures, and for each distilled image which of them is its own (−1: none).

    Of the nearest also `distance`, Euclidean between normalised pixels, as `DistilledLooks.nearest_pixels_distance`.
    """
    if data is None:
        return {}
    split = data.train if isinstance(data, Dataset) else data
    found: dict[str, Any] = {}
    if len(record) * split.inputs.numel() <= MOST_PRODUCTS:
        distances, rows = nearest(record.images.float().cpu(), split.inputs.float().cpu())
        found["nearest"] = _pictures(split, rows[:, 0], arrays) | {"distance": arrays.add(distances[:, 0], "float32")}
    if record.source is not None and bool((record.source >= 0).any()):
        place = {int(index): row for row, index in enumerate(split.index.tolist())}
        rows = torch.tensor([place.get(index, -1) for index in record.source.tolist()])
        if bool((rows >= 0).any()):
            found["start"] = _pictures(split, rows, arrays)
    return found


def _pictures(split: Split, rows: Tensor, arrays: Arrays) -> dict[str, Any]:
    """Each real image that is needed once, and which of them belongs to each row."""
    used, place = torch.unique(rows[rows >= 0], return_inverse=True)
    own = torch.full((len(rows),), -1)
    own[rows >= 0] = place
    chosen = used.to(split.inputs.device)
    values = (split.inputs[chosen].float() * split.std.float() + split.mean.float()).cpu()
    return {
        "pixels": arrays.add((values * 255).round().clamp(0, 255), "uint8"),
        "rows": arrays.add(own, "int32"),
        "index": arrays.add(split.index[used], "int32"),
        "labels": arrays.add(split.labels[chosen], "int32"),
    }
