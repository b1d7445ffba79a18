"""Putting a `SimilarityMap` together: masks with their reasons, titles, and the views its inspector shows."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from workbench.analysis.networks import Side, moments
from workbench.analysis.views import ViewBuilder, examples_of, spread_over_classes
from workbench.data import Split
from workbench.records import Examples, Provenance, SimilarityMap

__all__ = ["Gallery", "similarity_map"]

Reasons = tuple[dict[int, str], dict[int, str]]


class Gallery:
    """The few examples that a map keeps, and what every layer of both networks makes of them."""

    def __init__(self, a: Side, b: Side, examples: Examples, kept: Tensor) -> None:
        total = sum(max(1, len(side.states)) * len(side.layers) for side in (a, b))
        self.examples, self.kept = examples, kept
        self.builders = tuple(ViewBuilder(examples.labels, total) for _ in (a, b))
        self.expected = tuple(max(1, len(side.states)) for side in (a, b))

    @classmethod
    def of(cls, a: Side, b: Side, split: Split, rows: Tensor, count: int) -> Self:
        """At most `count` of the examples at `rows` of `split`, spread over the classes and ordered by them."""
        kept = spread_over_classes(split.labels[rows.to(split.device)].cpu(), min(count, len(rows)))
        return cls(a, b, examples_of(split, rows[kept]), kept)

    def cut(self, grams: Tensor) -> Tensor:
        """The gallery's part of Gram matrices (L, n, n) of the rows it was made of."""
        kept = self.kept.to(grams.device)
        return grams[:, kept][:, :, kept]

    def add(self, moment: int, linear: tuple[Tensor, Tensor], shown: tuple[Tensor, Tensor] | None = None) -> None:
        """The examples' Gram matrices (L, m, m) on either side, linear and of the measure's kernel, at one moment."""
        for builder, expected, one, other in zip(self.builders, self.expected, linear, shown or linear, strict=True):
            if moment < expected:  # a network without snapshots is the same at all moments
                builder.add(one, other)


def similarity_map(
    a: Side,
    b: Side,
    split: Split,
    *,
    values: Sequence[Tensor],
    reasons: Sequence[Reasons],
    intervals: Sequence[Tensor] | None,
    per_class: Sequence[Sequence[Tensor]] | None,
    gallery: Gallery | None,
    measure: str,
    options: dict[str, Any],
    provenance: Provenance,
) -> SimilarityMap:
    """The record of a comparison; sequences hold one entry per moment of training."""
    epochs, _ = moments(a, b)

    def along(parts: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(parts)).float() if epochs else parts[0].float()

    masked = {
        ",".join(map(str, (e, i, j) if epochs else (i, j))): reason
        for e, pair in enumerate(reasons)
        for (i, j), reason in _cells(a, b, *pair).items()
    }
    name_a, name_b = (a.name, b.name) if a.name != b.name else (f"{a.name} (a)", f"{b.name} (b)")
    return SimilarityMap(
        values=along(values),
        layers_a=a.layers,
        layers_b=b.layers,
        measure=measure,
        n=len(split),
        options=options,
        intervals=None if intervals is None else along(intervals),
        per_class=None if per_class is None else along([torch.stack(list(classes)) for classes in per_class]),
        classes=split.classes,
        epochs=epochs,
        name_a=name_a,
        name_b=name_b,
        masked=masked,
        views_a=None if gallery is None else gallery.builders[0].result(),
        views_b=None if gallery is None else gallery.builders[1].result(),
        examples=None if gallery is None else gallery.examples,
        provenance=provenance,
    )


def _cells(a: Side, b: Side, in_a: dict[int, str], in_b: dict[int, str]) -> dict[tuple[int, int], str]:
    cells: dict[tuple[int, int], str] = {}
    for i in range(len(a.layers)):
        for j in range(len(b.layers)):
            parts = [f"{in_a[i]} in {a.layers[i]} of {a.name}"] if i in in_a else []
            parts += [f"{in_b[j]} in {b.layers[j]} of {b.name}"] if j in in_b else []
            if parts:
                cells[i, j] = "; ".join(parts)
    return cells
