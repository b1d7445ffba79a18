"""The record of a comparison of two networks, layer by layer, with what is needed to look into each pair."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from workbench.records.base import Record


@dataclass(frozen=True, eq=False, kw_only=True)
class Examples(Record):
    """The few examples that a `SimilarityMap` keeps so that its layers can be looked into; ordered by class.

    Attributes
    ----------
    labels
        Shape (m,), int64.
    images
        uint8, shape (m, channels, height, width); None when the inputs are no images.
    index
        Position of each example in the split it came from, shape (m,), int64.
    """

    labels: Tensor
    images: Tensor | None = None
    index: Tensor | None = None

    layout: ClassVar[Mapping[str, str]] = {
        "labels": "whole m",
        "images": "byte m _ _ _",
        "index": "whole m",
    }


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerViews(Record):
    """What each layer of one network makes of the `Examples`.

    The leading axis E is 1 for a network without epochs, also where the other network of the map has some. A layer
    with NaN activations has zeros.

    Attributes
    ----------
    projections
        The plane of the first two principal components, float32, shape (E, layers, m, 2). At the first epoch the
        axes are the components; from then on the plane is turned to fit the epoch before (orthogonal Procrustes), so
        that a moving cloud neither flips nor spins.
    explained
        Share of variance along each of the two axes, shape (E, layers, 2), in 0..1.
    grams
        Centred Gram matrix of g ≤ m examples divided by its largest absolute entry, as
        int8 in −127..127, shape (E, layers, g, g).
    gram_examples
        Which of the m examples the g rows are, rising (so ordered by class), shape (g,), int64.
    """

    projections: Tensor
    explained: Tensor
    grams: Tensor
    gram_examples: Tensor

    layout: ClassVar[Mapping[str, str]] = {
        "projections": "real E L m 2",
        "explained": "real E L 2",
        "grams": "grade E L g g",
        "gram_examples": "whole g",
    }


@dataclass(frozen=True, eq=False, kw_only=True)
class SimilarityMap(Record):
    """How alike the layers of two networks are on the same inputs.

    Attributes
    ----------
    values
        Shape (La, Lb), or (E, La, Lb) when `epochs` names E moments of training. NaN where `masked` says why.
    layers_a, layers_b
        Layer names as ``named_modules()`` has them.
    measure
        ``"cka"``, ``"svcca"``, ``"pwcca"``, ``"procrustes"``, ``"rsa"``, ``"mknn"``.
    options
        The measure's settings (kernel, debiased, …), as plain values.
    n
        Number of examples compared.
    intervals
        95 % interval of each value, shape ``values.shape + (2,)``; None when not asked for.
    per_class
        The same measure within each class, shape (C, La, Lb) or (E, C, La, Lb); None when not asked for, NaN for
        a class with fewer members than the measure needs.
    classes
        Names of the C classes.
    epochs
        Epoch of each leading slice of `values`; empty when there is one moment only.
    name_a, name_b
        What the two networks are called in titles.
    masked
        For a cell that has no value, ``"i,j"`` (``"e,i,j"`` with `epochs`; e, i, j are positions) → the reason in a
        few words.
    views_a, views_b, examples
        What the explorer's inspector shows; None when not kept.
    """

    values: Tensor
    layers_a: tuple[str, ...]
    layers_b: tuple[str, ...]
    measure: str
    n: int
    options: dict[str, Any] = field(default_factory=dict)
    intervals: Tensor | None = None
    per_class: Tensor | None = None
    classes: tuple[str, ...] = ()
    epochs: tuple[int, ...] = ()
    name_a: str = "a"
    name_b: str = "b"
    masked: dict[str, str] = field(default_factory=dict)
    views_a: LayerViews | None = None
    views_b: LayerViews | None = None
    examples: Examples | None = None

    layout: ClassVar[Mapping[str, str]] = {
        "values": "real …",
        "intervals": "real …",
        "per_class": "real …",
    }

    def __post_init__(self) -> None:
        shape: tuple[int, ...] = (len(self.layers_a), len(self.layers_b))
        if self.epochs:
            shape = (len(self.epochs), *shape)
        if tuple(self.values.shape) != shape:
            raise ValueError(f"values has shape {tuple(self.values.shape)}; its layers and epochs ask for {shape}")

    @property
    def stack(self) -> Tensor:
        """`values` with an epoch axis always: shape (E, La, Lb)."""
        return self.values if self.epochs else self.values[None]

    @property
    def best_match(self) -> Tensor:
        """For each layer of a the most similar layer of b: indices of shape (La,) or (E, La); −1 in an all-NaN row."""
        filled = self.values.nan_to_num(nan=-torch.inf)
        best = filled.argmax(-1)
        return best.masked_fill(filled.amax(-1) == -torch.inf, -1)

    def check(self) -> None:
        super().check()
        shape = tuple(self.values.shape)
        within = (*shape[:-2], len(self.classes), *shape[-2:])
        for what, value, wanted in (("intervals", self.intervals, (*shape, 2)), ("per_class", self.per_class, within)):
            if value is not None and tuple(value.shape) != wanted:
                raise ValueError(f"{what} has shape {tuple(value.shape)}; {wanted} belongs there")

    def summary(self) -> str:
        moments = f" at {len(self.epochs)} epochs" if self.epochs else ""
        seen = self.values[~self.values.isnan()]
        span = f"{seen.min():.2f} to {seen.max():.2f}" if len(seen) else "no defined value"
        return (
            f"{self.measure} between {len(self.layers_a)} layers of {self.name_a} and {len(self.layers_b)} of "
            f"{self.name_b} on {self.n:,} examples{moments}: {span}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per cell: `epoch` (where there are epochs), `layer_a`, `layer_b`, `value`, `low` and `high`."""
        rows = []
        bounds = None if self.intervals is None else self.intervals.reshape(*self.stack.shape, 2)
        for e, matrix in enumerate(self.stack.tolist()):
            for i, row in enumerate(matrix):
                for j, value in enumerate(row):
                    cell: dict[str, Any] = {"epoch": self.epochs[e]} if self.epochs else {}
                    cell |= {"layer_a": self.layers_a[i], "layer_b": self.layers_b[j], "value": value}
                    if bounds is not None:
                        cell |= dict(zip(("low", "high"), bounds[e, i, j].tolist(), strict=True))
                    rows.append(cell)
        return pd.DataFrame(rows)
