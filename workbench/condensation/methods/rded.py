"""RDED: nothing is optimised; each image is a mosaic of the crops of real images that a classifier recognises best.

    s(p) = −CE(f(pad(p)), y);   per image keep the best of r random crops, per class the best ipc · q² images,
    laid out so that cell k of image j is the class's crop number k · ipc + j.

Sun et al., “On the Diversity and Realism of Distilled Dataset: An Efficient Dataset Distillation Paradigm”, CVPR 2024
(paper 011). The labels stored are classes: a student hears the classifier's own word on every view of a mosaic, see
`workbench.condensation.train_relabelled`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.condensation.making.checks import check
from workbench.condensation.making.crops import cut, pad, square_windows, tile
from workbench.condensation.making.making import CondensationError
from workbench.condensation.making.run import CondensationRun
from workbench.data import Split
from workbench.records import CropChoices
from workbench.training import Guide

KEPT_BYTES = 64 * 2**20
"""Pictures of the crops that were looked at are kept up to this size."""


@dataclass(frozen=True, kw_only=True)
class RDED:
    """Mosaics of recognisable crops.

    Attributes
    ----------
    teacher
        The classifier that scores crops. It must know small pictures amid mean grey: train it with `PaddedCrops`.
    ipc
        Images per class.
    factor
        q: each image holds q × q crops. The paper takes 2 for ImageNet's sizes and 1 for CIFAR.
    pool
        Real images of each class that are looked at, at random (all, where there are fewer).
    crops
        r: random crops of each image that are scored.
    scale
        Least and greatest share of the image's area that a crop has.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> method = RDED(teacher=wb.models.build("mlp", data), ipc=2, factor=2, pool=20)
    >>> tiny = wb.condensation.condense(data, method)
    >>> tiny.images.shape, tiny.choices.picked.shape
    (torch.Size([20, 1, 8, 8]), torch.Size([20, 4]))
    """

    short: ClassVar[str] = "RDED"

    teacher: nn.Module
    ipc: int = 10
    factor: int = 2
    pool: int = 300
    crops: int = 5
    scale: tuple[float, float] = (0.08, 1.0)

    def __post_init__(self) -> None:
        check(self, whole={"ipc": 1, "factor": 1, "pool": 1, "crops": 1})
        if not isinstance(self.teacher, nn.Module):
            raise TypeError(f"teacher is a {type(self.teacher).__name__}; it must be a trained network (an nn.Module)")

    def choose(self, run: CondensationRun) -> Mapping[str, Any]:
        shape = (run.shape[1], run.shape[2])
        rows = _pool(run, min(self.pool, int(run.split.counts.max())), self.ipc * self.factor**2)
        windows = square_windows(len(rows) * self.crops, shape, self.scale, run.generator("crops"))
        windows = windows.view(len(rows), self.crops, 3)
        size = (shape[0] // self.factor, shape[1] // self.factor)
        score = crop_scores(self.teacher, run.split.take(rows), windows, size)
        chosen = score.argmin(1)
        rank = ranks(score.gather(1, chosen[:, None])[:, 0], run.split.labels[rows])
        picked = mosaic_plan(rank, run.split.labels[rows], self.ipc, self.factor)
        images = run.split.inputs[rows][picked.flatten()]
        everything = windows[picked.flatten().cpu()]  # (n q², r, 3)
        best = everything.gather(1, chosen[picked.flatten()].cpu()[:, None, None].expand(-1, 1, 3))[:, 0]
        tiles = cut(images, best, size).unflatten(0, picked.shape)
        source = run.split.index[rows.cpu()]
        return {
            "images": tile(tiles, shape),
            "labels": torch.arange(run.classes).repeat_interleave(self.ipc),
            "source": source[picked[:, 0].cpu()] if self.factor == 1 else None,
            "choices": CropChoices(
                source=source,
                labels=run.split.labels[rows].cpu(),
                windows=windows,
                score=score.cpu(),
                chosen=chosen.cpu(),
                rank=rank.cpu(),
                picked=picked.cpu(),
                candidates=_pictures(run.split, images, everything, size, picked),
            ),
        }


@dataclass(frozen=True, kw_only=True)
class RandomCrops:
    """Mosaics of random crops of random images: what RDED is without scores.

    Attributes
    ----------
    ipc, factor, scale
        As in `RDED`. With `factor` 1 and ``scale=(1, 1)`` the images are random real ones.
    """

    short: ClassVar[str] = "random crops"

    ipc: int = 10
    factor: int = 2
    scale: tuple[float, float] = (0.08, 1.0)

    def choose(self, run: CondensationRun) -> Mapping[str, Any]:
        shape = (run.shape[1], run.shape[2])
        each = self.ipc * self.factor**2
        rows = _pool(run, each, each)
        windows = square_windows(len(rows), shape, self.scale, run.generator("crops"))
        crops = cut(run.split.inputs[rows], windows, (shape[0] // self.factor, shape[1] // self.factor))
        picked = mosaic_plan(
            torch.arange(each).repeat(run.classes), run.split.labels[rows].cpu(), self.ipc, self.factor
        )
        return {
            "images": tile(crops[picked.flatten()].unflatten(0, picked.shape), shape),
            "labels": torch.arange(run.classes).repeat_interleave(self.ipc),
            "source": run.split.index[rows.cpu()][picked[:, 0]] if self.factor == 1 else None,
        }


def crop_scores(
    teacher: nn.Module, split: Split, windows: Tensor, size: tuple[int, int], *, batch_size: int = 512
) -> Tensor:
    """How hard each crop is for the teacher: cross-entropy in nats of the crop amid mean grey, shape (n, r).

    Parameters
    ----------
    teacher
        A classifier; it is put in eval mode.
    split
        n images with their classes.
    windows
        Top, left and side of each crop, shape (n, r, 3).
    size
        Height and width that crops are resized to before they are padded to the image's size.
    """
    guide, shape = Guide(teacher), (split.shape[1], split.shape[2])
    crops = windows.shape[1]
    parts = []
    for rows in torch.arange(len(split), device=split.device).split(max(1, batch_size // crops)):
        images = split.inputs[rows].repeat_interleave(crops, 0)
        small = cut(images, windows[rows.cpu()].flatten(0, 1), size)
        logits = guide.live(pad(small, shape)).logits
        parts.append(F.cross_entropy(logits, split.labels[rows].repeat_interleave(crops), reduction="none"))
    return torch.cat(parts).view(len(split), crops)


def ranks(score: Tensor, labels: Tensor) -> Tensor:
    """Place of each value among those of its class, 0 the lowest; of equal ones the earlier goes first; shape (n,)."""
    place = torch.empty_like(labels)
    for label in labels.unique():
        rows = (labels == label).nonzero().flatten()
        place[rows[score[rows].argsort(stable=True)]] = torch.arange(len(rows), device=labels.device)
    return place


def mosaic_plan(rank: Tensor, labels: Tensor, ipc: int, factor: int) -> Tensor:
    """Which candidate each cell shows, int64, shape (classes · ipc, factor²).

    Cell k of image j of a class shows the candidate of rank k · ipc + j, so that every image mixes ranks.
    """
    plan = []
    for label in labels.unique():
        rows = (labels == label).nonzero().flatten()
        best = rows[rank[rows].argsort(stable=True)][: ipc * factor**2]
        plan.append(best.view(factor**2, ipc).T)
    return torch.cat(plan)


def _pool(run: CondensationRun, each: int, needed: int) -> Tensor:
    """Rows of `each` random images of every class (or all of it), in the classes' order."""
    for name, rows in zip(run.split.classes, run.rows, strict=True):
        if min(each, len(rows)) < needed:
            have = f"has {len(rows)} images" if len(rows) < needed else f"gives a pool of {each}"
            raise CondensationError(
                f"mosaics of ipc · factor² = {needed} crops need as many different images of each class, but class "
                f"{name!r} {have}: lower ipc or factor, or raise pool"
            )
    generator = run.generator("pool")
    return torch.cat([rows[torch.randperm(len(rows), generator=generator)[:each].to(rows.device)] for rows in run.rows])


def _pictures(split: Split, images: Tensor, windows: Tensor, size: tuple[int, int], picked: Tensor) -> Tensor | None:
    """All windows of the images that are shown, uint8, shape (n, q², r, c, *size), unless they are too many."""
    crops = windows.shape[1]
    if len(images) * crops * images.shape[1] * size[0] * size[1] > KEPT_BYTES:
        return None
    small = cut(images.repeat_interleave(crops, 0), windows.flatten(0, 1), size)
    raw = small * split.std + split.mean
    return (raw * 255).round().clamp(0, 255).to(torch.uint8).cpu().unflatten(0, (*picked.shape, crops))
