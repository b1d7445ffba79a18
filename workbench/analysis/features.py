"""All features of each layer, one layer at a time, with only so many in memory at once."""

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from workbench.analysis.compact import ROUNDING
from workbench.analysis.networks import Side
from workbench.data import Split

__all__ = ["layer_features", "unusable"]

FEATURE_BYTES = 512 * 2**20
"""How much of a network's features is held at once; what does not fit is computed in further forward passes."""


def layer_features(side: Side, split: Split, batch_size: int = 256, moment: int = 0) -> Iterator[Tensor]:
    """Each layer's features of all examples of a split in turn, shape (n, d), on the CPU, in the order of the split."""
    batches = torch.arange(len(split), device=split.device).split(batch_size)

    def look(some: Side, rows: Tensor) -> list[Tensor]:
        return some.run(split.inputs[rows], _keep, moment)[0]

    sizes = [one.shape[1] * one.element_size() * len(split) for one in look(side, batches[0][:1])]
    for group in _groups(sizes):
        some = dataclasses.replace(side, layers=tuple(side.layers[i] for i in group))
        chunks = [look(some, rows) for rows in batches]
        for i in range(len(group)):
            yield torch.cat([chunk[i] for chunk in chunks])
            for chunk in chunks:
                chunk[i] = torch.empty(0)  # lets a layer go before the next is put together


def unusable(features: Tensor) -> str:
    """Why features (n, d) have no similarity to anything, or an empty string."""
    if bool(features.isnan().any()):
        return "NaN activations"
    if not bool(features.isfinite().all()):
        return "infinite activations"
    wide = features.double()
    return "constant features" if (wide - wide.mean(0)).norm() <= ROUNDING * wide.norm() else ""


def _keep(output: Tensor) -> Tensor:
    return output.flatten(1).to("cpu", copy=True)  # the next layer may work in place


def _groups(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Consecutive layers whose features fit into `FEATURE_BYTES` together; one that is larger goes alone."""
    group: list[int] = []
    for index, size in enumerate(sizes):
        if group and sum(sizes[i] for i in group) + size > FEATURE_BYTES:
            yield group
            group = []
        group.append(index)
    if group:
        yield group
