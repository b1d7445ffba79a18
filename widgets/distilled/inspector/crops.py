"""Why a mosaic of crops looks as it does, as it travels to the browser: the windows behind each cell, scored."""

from typing import Any

import torch

from widgets.core.arrays import Arrays
from workbench.records import DistilledSet

MOST_BYTES = 16 * 2**20
"""Pixels of windows that are sent at most; beyond it their scores go without them."""


def crops_content(record: DistilledSet, arrays: Arrays) -> dict[str, Any] | None:
    """Of n images of q² cells, each chosen among the r windows of a real image; None where images are no mosaics.

    `score` (n, q², r) in nats, `chosen` and `rank` (n, q²) as in `CropChoices`, `source` the real image's position,
    `candidates` (n, q², r, channels, side, side) or None, and `pool`: images of each class that were looked at.
    """
    choices = record.choices
    if choices is None:
        return None
    picked = choices.picked
    seen = choices.candidates
    return {
        "factor": choices.factor,
        "crops": choices.score.shape[1],
        "pool": torch.bincount(choices.labels, minlength=len(record.classes)).tolist(),
        "score": arrays.add(choices.score[picked], "float32"),
        "chosen": arrays.add(choices.chosen[picked], "int32"),
        "rank": arrays.add(choices.rank[picked], "int32"),
        "source": arrays.add(choices.source[picked], "int32"),
        "candidates": None if seen is None or seen.numel() > MOST_BYTES else arrays.add(seen, "uint8"),
    }
