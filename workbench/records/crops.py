"""The record of a choice among crops: the windows of real images looked at, their scores, and what was kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import pandas as pd
import torch
from torch import Tensor

from workbench.records.base import Record


@dataclass(frozen=True, eq=False, kw_only=True)
class CropChoices(Record):
    """Why a mosaic of crops looks as it does (RDED, paper 011).

    P real images were looked at, r windows in each. Of each image the window with the lowest score was its candidate;
    of each class the candidates with the lowest scores were kept and laid out as q × q cells of n images.

    Attributes
    ----------
    source
        Position in the data's source of each image looked at, int64, shape (P,).
    labels
        Their classes, int64, shape (P,).
    windows
        Top, left and side of each square window in pixels, int64, shape (P, r, 3).
    score
        Cross-entropy of the classifier on each window in nats, shape (P, r): low is recognisable.
    chosen
        Which window was each image's candidate, int64, shape (P,).
    rank
        Place of each candidate within its class, 0 the most recognisable, int64, shape (P,).
    picked
        The image looked at, 0..P−1, that each cell shows, int64, shape (n, q²); cells count row by row.
    candidates
        All windows of the images that were kept, as they were scored, uint8, shape (n, q², r, channels, side, side);
        None where they would be too many to keep.
    """

    source: Tensor
    labels: Tensor
    windows: Tensor
    score: Tensor
    chosen: Tensor
    rank: Tensor
    picked: Tensor
    candidates: Tensor | None = None

    layout: ClassVar[Mapping[str, str]] = {
        "source": "whole P",
        "labels": "whole P",
        "windows": "whole P r 3",
        "score": "float P r",
        "chosen": "whole P",
        "rank": "whole P",
        "picked": "whole n cells",
        "candidates": "byte n cells r _ _ _",
    }

    def __post_init__(self) -> None:
        pool, crops = self.score.shape
        if self.windows.shape != (pool, crops, 3):
            raise ValueError(f"windows have shape {tuple(self.windows.shape)}; scores need ({pool}, {crops}, 3)")
        for name in ("source", "labels", "chosen", "rank"):
            if getattr(self, name).shape != (pool,):
                raise ValueError(f"{name} has shape {tuple(getattr(self, name).shape)}; scores need ({pool},)")

    @property
    def factor(self) -> int:
        """Cells along a side of an image."""
        return round(self.picked.shape[1] ** 0.5)

    @property
    def realism(self) -> float:
        """Mean score of the windows shown, in nats; lower is more recognisable."""
        rows = self.picked.flatten()
        return self.score[rows, self.chosen[rows]].double().mean().item()

    @property
    def sources(self) -> int:
        """Different real images shown."""
        return len(self.picked.unique())

    def take(self, rows: Tensor) -> Self:
        """The choices behind some of the images; everything looked at is kept."""
        return self.replace(
            picked=self.picked[rows], candidates=None if self.candidates is None else self.candidates[rows]
        )

    def check(self) -> None:
        super().check()
        for what, rows, end in (("chosen", self.chosen, self.score.shape[1]), ("picked", self.picked, len(self.score))):
            if rows.numel() and not 0 <= int(rows.min()) <= int(rows.max()) < end:
                raise ValueError(f"{what} names {int(rows.max())} of 0..{end - 1}")

    def summary(self) -> str:
        pool, crops = self.score.shape
        return (
            f"{self.picked.numel()} of {pool * crops:,} crops from {self.sources} of {pool:,} images, "
            f"mean cross-entropy {self.realism:.3f} nats"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per crop looked at: ``source``, ``class``, ``crop``, ``top``, ``left``, ``side``, ``score``,
        ``chosen`` (its image's candidate), ``rank`` (of the candidate; −1 for the others), ``kept`` (it is shown).
        """
        pool, crops = self.score.shape
        image = torch.arange(pool).repeat_interleave(crops)
        crop = torch.arange(crops).repeat(pool)
        chosen = crop == self.chosen[image]
        kept = torch.zeros(pool, dtype=torch.bool).index_fill(0, self.picked.flatten(), True)
        columns: dict[str, Any] = {
            "source": self.source[image],
            "class": self.labels[image],
            "crop": crop,
            "top": self.windows[..., 0].flatten(),
            "left": self.windows[..., 1].flatten(),
            "side": self.windows[..., 2].flatten(),
            "score": self.score.flatten(),
            "chosen": chosen,
            "rank": self.rank[image].where(chosen, -1),
            "kept": chosen & kept[image],
        }
        return pd.DataFrame({name: column.numpy() for name, column in columns.items()})
