"""A distilled set made ready for use beside real data: checked, renormalised and decoded."""

import torch
from torch import Tensor

from workbench.condensation.making.synthetic import views_of
from workbench.data import Dataset, Split
from workbench.records import DistilledSet


def fitting(distilled: DistilledSet, data: Dataset) -> DistilledSet:
    """The set in the normalisation of `data`, on its device.

    Raises
    ------
    ValueError
        Classes or shapes differ, an image is not finite, or the data have no classes or no test examples.
    """
    what = distilled.name or distilled.method
    if not data.classes:
        raise ValueError(f"data {data.name!r} has no classes; distilled images are for classifiers")
    if len(data.test) == 0:
        raise ValueError(f"data {data.name!r} has no test examples: nothing could judge what the images teach")
    if len(distilled.classes) != len(data.classes):
        raise ValueError(
            f"{what} has {len(distilled.classes)} classes, but data {data.name!r} has {len(data.classes)}: "
            "use the data it was distilled from"
        )
    if tuple(distilled.images.shape[1:]) != data.shape:
        raise ValueError(
            f"{what} has images of shape {tuple(distilled.images.shape[1:])}, but data {data.name!r} has {data.shape}: "
            "use the data it was distilled from"
        )
    finite = distilled.images.flatten(1).isfinite().all(1)
    if not bool(finite.all()):
        raise ValueError(f"image {int((~finite).nonzero()[0])} of {what} is not finite: take it out with .without(row)")
    if not _whitened_alike(distilled, data):
        made, are = ("" if which else "not " for which in (distilled.whitening, data.train.whitening))
        raise ValueError(
            f"{what} was distilled from images {made}whitened, and those of data {data.name!r} are {are}whitened, or "
            "by other statistics: use the data it was distilled from"
        )
    to = data.train.inputs
    images, mean, std = (value.to(to) for value in (distilled.images, distilled.mean, distilled.std))
    if not (torch.allclose(mean, data.mean) and torch.allclose(std, data.std)):
        images = (images * std + mean - data.mean) / data.std
    labels = distilled.labels.to(to) if distilled.soft else distilled.labels.to(to.device)
    return distilled.replace(images=images, labels=labels, mean=data.mean, std=data.std)


def _whitened_alike(distilled: DistilledSet, data: Dataset) -> bool:
    map_of_data = data.train.whitening
    if map_of_data is None or not distilled.whitening:
        return map_of_data is None and not distilled.whitening
    own, theirs = distilled.whitening["inverse"].float(), map_of_data.inverse.float()
    return torch.allclose(own.cpu(), theirs.cpu(), atol=1e-4)


def decoded(distilled: DistilledSet) -> tuple[Split, Tensor | None, Tensor]:
    """The training examples that a set stands for.

    Returns
    -------
    tuple
        The examples with hard labels; their label distributions, shape (m, classes), where labels are soft, else None;
        and the row of the stored image that each example came from, shape (m,).
    """
    images, labels = distilled.images, distilled.labels
    owner = torch.arange(len(images), device=images.device)
    generator = torch.Generator().manual_seed(0)
    for view in views_of(distilled.view):
        pixels = images
        images, labels = view(pixels, labels, generator)
        _, owner = view(pixels, owner, generator)
    soft = labels if distilled.soft else None
    if soft is not None:
        soft = soft / soft.sum(1, keepdim=True)
    hard = labels.argmax(1) if distilled.soft else labels
    split = Split(inputs=images, labels=hard, classes=distilled.classes, mean=distilled.mean, std=distilled.std)
    return split, soft, owner


def random_real(split: Split, labels: Tensor, seed: int) -> Split:
    """As many random real examples of each class as `labels` (n,) names, in the order of the classes.

    Raises
    ------
    ValueError
        A class has fewer.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for c, count in enumerate(torch.bincount(labels.cpu(), minlength=len(split.classes)).tolist()):
        mine = (split.labels.cpu() == c).nonzero().flatten()
        if len(mine) < count:
            raise ValueError(
                f"there are {count} distilled images of class {split.classes[c]!r}, but only {len(mine)} real ones to "
                "compare with: pass references=False"
            )
        rows.append(mine[torch.randperm(len(mine), generator=generator)[:count]])
    return split.take(torch.cat(rows))
