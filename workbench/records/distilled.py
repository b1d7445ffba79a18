"""The record of a distilled data set: the images, their labels, how they came to be and how they want to be used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import pandas as pd
import torch
from torch import Tensor

from workbench.records.base import Record
from workbench.records.crops import CropChoices


@dataclass(frozen=True, eq=False, kw_only=True)
class DistilledSet(Record):
    """What `workbench.condensation.condense` leaves behind: a few images per class that stand for a data set.

    Attributes
    ----------
    name
        What the set is called in legends.
    method
        The method's short name, such as ``"DM"``.
    images
        The images as they are stored, normalised, float32, shape (n, channels, height, width), grouped by class:
        ``raw = images * std + mean``, raw in 0..1.
    labels
        Classes, int64, shape (n,); or, soft or learned, probabilities, float32, shape (n, classes), rows of sum one.
    classes
        Class names.
    mean, std
        What the images are normalised with, shape (channels, 1, 1): those of the data they were distilled from.
    whitening
        Of a set distilled from ZCA-whitened data: ``"mean"``, shape (channels, height, width), and ``"inverse"``, shape
        (d, d), by which `raw` undoes it; empty: the data were not whitened.
    view
        How stored images become training examples, as plain values; empty: as they are. ``{"tiles": 2}``: each holds
        2 × 2 smaller ones that are enlarged; ``{"mirror": True}``: each is accompanied by its mirror image.
        `workbench.condensation.examples` applies it.
    step_size
        The learning rate learned with the images, shape () or one per step, shape (steps,); None if none was.
    step_images
        Which images each of those steps sees, bool, shape (steps, n); None: each sees all.
    start
        The initial weights the images were made for, a ``state_dict``; empty: any.
    spec
        What `workbench.models.build` needs to build the network the images were made with; None if none was used.
    loss
        The objective at each iteration, shape (iterations,).
    curves
        Further curves of shape (iterations,) by name.
    snapshots
        The images along the way, float16, shape (k, n, channels, height, width); None if none were kept.
    snapshot_iterations
        The iteration of each snapshot, ascending: 0 is before the first step, the last is that of `images`.
    snapshot_labels
        The labels along the way, float16, shape (k, n, classes), where they are learned.
    snapshot_accuracy
        Test accuracy in 0..1 of a network trained on each snapshot, shape (k,); NaN where none was; None if never.
    source
        Position in the data's source (`Split.index`) of the real image that each image began as, int64, shape (n,);
        −1 for none; None where the method has no such images.
    choices
        Where the images are crops of real ones: what was looked at, and why these were kept.
    settings
        The method's hyperparameters and the arguments of the run, as plain values.
    checkpoint
        What continuing the run needs; empty if it cannot be continued.
    interrupted
        True when the run was stopped before its last iteration; everything reached is kept.
    """

    name: str = ""
    method: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    mean: Tensor
    std: Tensor
    whitening: dict[str, Tensor] = field(default_factory=dict)
    view: dict[str, Any] = field(default_factory=dict)
    step_size: Tensor | None = None
    step_images: Tensor | None = None
    start: dict[str, Tensor] = field(default_factory=dict)
    spec: dict[str, Any] | None = None
    loss: Tensor = field(default_factory=lambda: torch.empty(0))
    curves: dict[str, Tensor] = field(default_factory=dict)
    snapshots: Tensor | None = None
    snapshot_iterations: tuple[int, ...] = ()
    snapshot_labels: Tensor | None = None
    snapshot_accuracy: Tensor | None = None
    source: Tensor | None = None
    choices: CropChoices | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    checkpoint: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False

    layout: ClassVar[Mapping[str, str]] = {
        "images": "float n c h w",
        "labels": "number n …",
        "mean": "float c 1 1",
        "std": "float c 1 1",
        "step_size": "float …",
        "loss": "number iterations_",
        "snapshots": "float snapshot_iterations n c h w",
        "snapshot_labels": "float snapshot_iterations n classes",
        "snapshot_accuracy": "number snapshot_iterations",
        "source": "whole n",
    }

    def __post_init__(self) -> None:
        n, count = len(self.images), len(self.classes)
        if self.images.ndim != 4 or n == 0:
            raise ValueError(
                f"images have shape {tuple(self.images.shape)}; at least one image is needed, "
                "shape (n, channels, height, width)"
            )
        size = self.images[0].numel()
        if self.whitening and {key: value.numel() for key, value in self.whitening.items()} != {
            "mean": size, "inverse": size**2,
        }:  # fmt: skip
            raise ValueError(f"whitening must hold mean, {size} numbers, and inverse, {size} × {size}")
        if self.labels.shape not in {(n,), (n, count)}:
            raise ValueError(
                f"labels have shape {tuple(self.labels.shape)}; {n} images of {count} classes need ({n},) "
                f"or ({n}, {count})"
            )
        if self.step_images is not None:
            steps = 0 if self.step_size is None else self.step_size.numel()
            if self.step_images.shape != (steps, n) or self.step_images.dtype != torch.bool:
                raise ValueError(
                    f"step_images is {self.step_images.dtype} of shape {tuple(self.step_images.shape)}; "
                    f"{steps} step sizes and {n} images need booleans of shape ({steps}, {n})"
                )
        if not self.soft:
            wrong = ((self.labels < 0) | (self.labels >= count)).nonzero()
            if self.labels.is_floating_point() or len(wrong):
                shown = (
                    f"row {int(wrong[0])} has label {self.labels[wrong[0]].item()}" if len(wrong) else "they are floats"
                )
                raise ValueError(f"labels must be whole numbers in 0..{count - 1}; {shown}")
        else:
            right = ((self.labels.double().sum(1) - 1).abs() <= 1e-3) & (self.labels >= 0).all(1)
            off = ~right  # NaN is never right
            if bool(off.any()):
                row = int(off.nonzero()[0])
                raise ValueError(
                    f"soft labels must be probabilities: row {row} sums to {self.labels[row].sum().item():.4g} and its "
                    f"least is {self.labels[row].min().item():.4g}; pass logits through softmax first"
                )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def soft(self) -> bool:
        """Each label is a distribution over the classes."""
        return self.labels.ndim == 2

    @property
    def hard_labels(self) -> Tensor:
        """The class of each image (of a soft label the most probable), int64, shape (n,)."""
        return self.labels.argmax(1) if self.soft else self.labels

    @property
    def ipc(self) -> int:
        """Images per class; of unequal classes, the most."""
        return int(torch.bincount(self.hard_labels, minlength=len(self.classes)).max())

    @property
    def iterations(self) -> int:
        """Iterations completed."""
        return len(self.loss)

    @property
    def nbytes(self) -> int:
        """Bytes that images and labels take as they are stored."""
        return self.images.nbytes + self.labels.nbytes

    def at(self, iteration: int) -> Self:
        """The set as it was at the snapshot of `iteration`; its history ends there.

        Raises
        ------
        ValueError
            No snapshot was kept at that iteration.
        """
        if self.snapshots is None or iteration not in self.snapshot_iterations:
            have = ", ".join(map(str, self.snapshot_iterations)) or "none"
            raise ValueError(f"no snapshot was kept at iteration {iteration}; there are {have}")
        k = self.snapshot_iterations.index(iteration)
        labels = self.labels if self.snapshot_labels is None else self.snapshot_labels[k].to(self.labels.dtype)
        if self.snapshot_labels is not None:
            labels = labels / labels.sum(1, keepdim=True)  # half precision does not sum to one
        return self.replace(
            images=self.images if k == len(self.snapshot_iterations) - 1 else self.snapshots[k].to(self.images.dtype),
            labels=labels,
            loss=self.loss[:iteration],
            curves={key: curve[:iteration] for key, curve in self.curves.items()},
            snapshots=self.snapshots[: k + 1],
            snapshot_iterations=self.snapshot_iterations[: k + 1],
            snapshot_labels=None if self.snapshot_labels is None else self.snapshot_labels[: k + 1],
            snapshot_accuracy=None if self.snapshot_accuracy is None else self.snapshot_accuracy[: k + 1],
            checkpoint={},
        )

    def take(self, rows: object) -> Self:
        """The images at `rows` (positions or a boolean mask), with their history."""
        rows = torch.as_tensor(rows)
        if rows.dtype == torch.bool:
            rows = rows.nonzero().flatten()
        rows = rows.long()
        return self.replace(
            images=self.images[rows],
            labels=self.labels[rows],
            step_images=None if self.step_images is None else self.step_images[:, rows],
            snapshots=None if self.snapshots is None else self.snapshots[:, rows],
            snapshot_labels=None if self.snapshot_labels is None else self.snapshot_labels[:, rows],
            source=None if self.source is None else self.source[rows],
            choices=None if self.choices is None else self.choices.take(rows),
            checkpoint={},
        )

    def without(self, rows: object) -> Self:
        """All images but those at `rows`."""
        keep = torch.ones(len(self), dtype=torch.bool)
        keep[torch.as_tensor(rows)] = False
        return self.take(keep)

    def pictures(self, images: Tensor | None = None) -> Tensor:
        """Images (by default the final ones) as uint8 in 0..255, shape (..., channels, height, width)."""
        return (self.raw(images) * 255).round().clamp(0, 255).to(torch.uint8)

    def raw(self, images: Tensor | None = None) -> Tensor:
        """Images (by default the final ones) as before normalising or whitening: 0..1 for a natural image, float32."""
        shown = (self.images if images is None else images).float()
        if self.whitening:
            mean, inverse = (self.whitening[key].float().to(shown.device) for key in ("mean", "inverse"))
            return (shown.flatten(-3) @ inverse).view(shown.shape) + mean
        return shown * self.std.float() + self.mean.float()

    def check(self) -> None:
        super().check()
        if self.soft and not self.labels.is_floating_point():
            raise ValueError(f"soft labels are {self.labels.dtype}")
        if not self.images.numel():
            raise ValueError(f"images of shape {tuple(self.images.shape)} have no pixels")

    def summary(self) -> str:
        shape = "×".join(map(str, self.images.shape[1:]))
        labels = "soft" if self.soft else "hard"
        steps = f", {self.iterations:,} iterations" if self.iterations else ""
        stopped = ", interrupted" if self.interrupted else ""
        return (
            f"{self.name or self.method}: {len(self)} images {shape} of {len(self.classes)} classes, {labels} labels, "
            f"{self.nbytes / 1024:,.0f} KiB{steps}{stopped}, {self.provenance.wall_time:.1f} s "
            f"on {self.provenance.device}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per image: `image`, `class`, `least` and `greatest` pixel (raw values), `source`, and its label's
        probability per class where labels are soft.
        """
        raw = self.raw().flatten(1)
        columns: dict[str, Any] = {
            "image": range(len(self)),
            "class": [self.classes[c] for c in self.hard_labels.tolist()],
            "least": raw.amin(1).tolist(),
            "greatest": raw.amax(1).tolist(),
        }
        if self.source is not None:
            columns["source"] = self.source.tolist()
        if self.soft:
            columns |= {f"label[{name}]": self.labels[:, c].tolist() for c, name in enumerate(self.classes)}
        return pd.DataFrame(columns)
