"""The two nouns of data: a `Split` of normalised tensors, and a `Dataset` of a train and a test split."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from workbench.data.sampling import DataError, random_order, rows_per_class, stratified_order

if TYPE_CHECKING:
    from workbench.data.whitening import Whitening

UNLABELLED = -100
"""The label of an example whose class nobody knows: what torch's losses ignore (`workbench.data.unlabelled`)."""


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Examples of one kind of use (training, testing): inputs that a network can take as they are, and their labels.

    Attributes
    ----------
    inputs
        Normalised, float32, shape (n, *shape): (n, channels, height, width) for images, (n, features) for tables; or
        token ids, int64, which no conversion to another floating point type touches.
    labels
        Classes 0..C−1, int64, shape (n,), or `UNLABELLED`; float targets, shape (n,), when there are no `classes`
        (regression).
    classes
        The C class names; empty for regression.
    mean, std
        What the inputs were normalised with, broadcastable against one input: ``raw = inputs * std + mean``. Raw images
        lie in 0..1.
    index
        Position of each example in the source it was read from, int64, shape (n,), on the CPU; for pairs of digits,
        left · 1797 + right.
    features
        Names of the columns of a table after encoding; empty for images.
    target_mean, target_std
        Regression targets are standardised too: ``raw = labels * target_std + target_mean``.
    whitening
        Where images are ZCA-whitened (`workbench.data.whitened`), the map: ``raw = whitening.undo(inputs)``.

    Raises
    ------
    DataError
        Lengths differ, or a label is outside the classes (named with its row).
    """

    inputs: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    mean: Tensor
    std: Tensor
    index: Tensor = field(default=None)  # type: ignore[assignment]  # never None after __post_init__
    features: tuple[str, ...] = ()
    target_mean: float = 0.0
    target_std: float = 1.0
    whitening: "Whitening | None" = None

    def __post_init__(self) -> None:
        if self.index is None:
            object.__setattr__(self, "index", torch.arange(len(self.inputs)))
        if not (len(self.inputs) == len(self.labels) == len(self.index)):
            raise DataError(
                f"inputs, labels and index differ in length: {len(self.inputs)}, {len(self.labels)}, {len(self.index)}"
            )
        if not (self.inputs.is_floating_point() or self.inputs.dtype == torch.int64):
            raise DataError(f"inputs are {self.inputs.dtype}; floating point numbers, or int64 token ids, are needed")
        if self.labels.ndim != 1:
            raise DataError(f"labels have shape {tuple(self.labels.shape)}; shape (n,) is needed")
        if not self.classes:
            if not self.labels.is_floating_point():
                raise DataError(f"labels are {self.labels.dtype}; without classes, floating point targets are needed")
        elif self.labels.dtype != torch.int64:
            raise DataError(f"labels are {self.labels.dtype}; classes need int64")
        elif (row := self._wrong_label()) is not None:
            raise DataError(
                f"row {row} has label {int(self.labels[row])}, outside 0..{len(self.classes) - 1} "
                f"({len(self.classes)} classes)"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        kind = f"{len(self.classes)} classes" if self.classes else self.task
        return f"Split({len(self):,} × {_times(self.shape)}, {kind}, {self.device})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.inputs.shape[1:])

    @property
    def device(self) -> torch.device:
        return self.inputs.device

    @property
    def task(self) -> str:
        """``"classification"`` or ``"regression"``."""
        return "classification" if self.classes else "regression"

    @property
    def counts(self) -> Tensor:
        """Number of examples of each class, int64, shape (C,); those without a label count for none."""
        self._needs_classes("counts")
        return torch.bincount(self.labels[self.labelled], minlength=len(self.classes))

    @property
    def labelled(self) -> Tensor:
        """Which examples have a label, bool, shape (n,)."""
        return self.labels != UNLABELLED if self.classes else torch.ones_like(self.labels, dtype=torch.bool)

    def take(self, rows: Tensor | Sequence[int] | slice) -> Self:
        """The examples at `rows` (positions, a slice, or a boolean mask of shape (n,)), in that order."""
        if not isinstance(rows, slice):
            rows = torch.as_tensor(rows, device=self.device)
            if rows.numel() == 0:
                rows = rows.long()
        cpu_rows = rows if isinstance(rows, slice) else rows.to(self.index.device)
        return dataclasses.replace(self, inputs=self.inputs[rows], labels=self.labels[rows], index=self.index[cpu_rows])

    def subset(self, n: int, seed: int = 0) -> Self:
        """`n` examples with the classes in their overall proportions, in source order.

        A smaller subset of the same seed is part of a larger one.
        """
        if not 0 < n <= len(self):
            raise DataError(f"n={n} must be in 1..{len(self)}, the number of examples")
        order = stratified_order(self.labels, seed) if self.classes else random_order(len(self), seed)
        return self.take(order[:n].sort().values)

    def per_class(self, k: int, seed: int = 0) -> Self:
        """`k` examples of every class, grouped by class."""
        self._needs_classes("per_class")
        if k < 1:
            raise DataError(f"k={k} must be at least 1")
        return self.take(rows_per_class(self.labels, self.classes, k, seed))

    def of_class(self, c: int | str) -> Self:
        """All examples of class `c`, given by number or name."""
        self._needs_classes("of_class")
        if isinstance(c, str):
            if c not in self.classes:
                raise DataError(f"c={c!r} is none of the classes {', '.join(self.classes)}")
            c = self.classes.index(c)
        if not 0 <= c < len(self.classes):
            raise DataError(f"c={c} must be in 0..{len(self.classes) - 1}")
        return self.take(self.labels == c)

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None, *, drop_last: bool = False
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """One pass over the examples, shuffled when a `generator` is given.

        Yields
        ------
        tuple
            ``(inputs, labels, rows)``; `rows` are the positions in this split: ``inputs`` is ``self.inputs[rows]``.
        """
        if batch_size < 1:
            raise DataError(f"batch_size={batch_size} must be at least 1")
        end = len(self) - len(self) % batch_size if drop_last else len(self)
        if generator is None:
            order = torch.arange(len(self), device=self.device)
        else:
            order = torch.randperm(len(self), generator=generator, device=generator.device).to(self.device)
        for start in range(0, end, batch_size):
            batch = slice(start, min(start + batch_size, end))
            rows = order[batch]
            picked = batch if generator is None else rows  # a slice is a view: nothing is copied
            yield self.inputs[picked], self.labels[picked], rows

    def images(self) -> Tensor:
        """The inputs as pictures, uint8 in 0..255, shape (n, channels, height, width), on the CPU.

        Raises
        ------
        DataError
            The inputs are no images of 1 or 3 channels.
        """
        if len(self.shape) != 3 or self.shape[0] not in (1, 3):
            raise DataError(f"inputs of shape {_times(self.shape)} are no images: (1 or 3 channels, height, width)")
        raw = self.inputs * self.std + self.mean
        return (raw * 255).round().clamp(0, 255).to(torch.uint8).cpu()

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """The same on another device, or with inputs (and regression targets) of another floating point type."""
        labels = self.labels.to(device)
        return dataclasses.replace(
            self,
            inputs=self.inputs.to(device=device, dtype=dtype if self.inputs.is_floating_point() else None),
            labels=labels if self.classes else labels.to(dtype=dtype),
            mean=self.mean.to(device=device, dtype=dtype),
            std=self.std.to(device=device, dtype=dtype),
        )

    def renormalise(self, mean: Sequence[float], std: Sequence[float]) -> Self:
        """The same images normalised with other constants, one per channel, as a public checkpoint may want them."""
        if self.whitening is not None:
            raise DataError("the images are whitened: renormalise the data before they are")
        if len(self.shape) != 3:
            raise DataError(
                f"inputs of shape {_times(self.shape)} are no images: only those are renormalised by channel"
            )
        new_mean, new_std = (torch.as_tensor(v).to(self.mean).reshape(-1, 1, 1) for v in (mean, std))
        for what, values in (("mean", new_mean), ("std", new_std)):
            if len(values) != self.shape[0]:
                raise DataError(f"{what} has {len(values)} entries; the images have {self.shape[0]} channels")
        if not bool((new_std > 0).all()):
            raise DataError(f"std={tuple(std)} must be positive")
        inputs = (self.inputs * self.std + self.mean - new_mean) / new_std
        return dataclasses.replace(self, inputs=inputs, mean=new_mean, std=new_std)

    def _wrong_label(self) -> int | None:
        """The first row whose label is neither a class nor `UNLABELLED`."""
        if not len(self.labels):
            return None
        low, high = (int(v) for v in torch.aminmax(self.labels))
        if low >= 0 and high < len(self.classes):
            return None
        wrong = (self.labels < 0) & (self.labels != UNLABELLED) | (self.labels >= len(self.classes))
        return int(wrong.nonzero()[0]) if bool(wrong.any()) else None

    def _needs_classes(self, verb: str) -> None:
        if not self.classes:
            raise DataError(f"{verb} needs classes; these are regression targets")


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A named pair of a train and a test split that share shape, classes and normalisation.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> data
    Dataset('digits', 1,200 train + 597 test × 1×8×8, 10 classes, cpu)
    >>> data.per_class(2).train.labels.tolist()[:4]
    [0, 0, 1, 1]
    """

    name: str
    train: Split
    test: Split

    def __post_init__(self) -> None:
        for what in ("shape", "classes"):
            if getattr(self.train, what) != getattr(self.test, what):
                raise DataError(
                    f"{self.name}: train and test differ in {what}: "
                    f"{getattr(self.train, what)} and {getattr(self.test, what)}"
                )

    def __repr__(self) -> str:
        kind = f"{len(self.classes)} classes" if self.classes else self.task
        return (
            f"Dataset({self.name!r}, {len(self.train):,} train + {len(self.test):,} test × {_times(self.shape)}, "
            f"{kind}, {self.device})"
        )

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.train.shape

    @property
    def mean(self) -> Tensor:
        return self.train.mean

    @property
    def std(self) -> Tensor:
        return self.train.std

    @property
    def device(self) -> torch.device:
        return self.train.device

    @property
    def task(self) -> str:
        """``"classification"`` or ``"regression"``."""
        return self.train.task

    def subset(self, n: int, seed: int = 0) -> Self:
        """The same with `n` stratified training examples; the test split stays whole."""
        return dataclasses.replace(self, train=self.train.subset(n, seed))

    def per_class(self, k: int, seed: int = 0) -> Self:
        """The same with `k` training examples of every class; the test split stays whole."""
        return dataclasses.replace(self, train=self.train.per_class(k, seed))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """The same on another device, or with another floating point type."""
        return dataclasses.replace(self, train=self.train.to(device, dtype), test=self.test.to(device, dtype))

    def renormalise(self, mean: Sequence[float], std: Sequence[float]) -> Self:
        """The same images normalised with other constants, one per channel, as a public checkpoint may want them.

        Examples
        --------
        >>> import workbench as wb
        >>> raw = wb.data.load("digits").renormalise(mean=[0.0], std=[1.0])
        >>> raw.train.inputs.min().item(), raw.train.inputs.max().item()
        (0.0, 1.0)
        """
        return dataclasses.replace(self, train=self.train.renormalise(mean, std), test=self.test.renormalise(mean, std))

    def loader(self, batch_size: int = 64, seed: int = 0) -> "Loader":
        """The training split in shuffled batches; each pass over the loader has its own order, all set by `seed`."""
        return Loader(self.train, batch_size, seed)

    def summary(self) -> str:
        """A few lines of plain text: sizes, value range, classes and how many examples each has."""
        lines = [repr(self)]
        low, high = (float(v) for v in torch.aminmax(self.train.inputs))
        lines.append(f"normalised inputs from {low:.2f} to {high:.2f}; labels: {self.task}")
        if self.classes:
            pairs = zip(self.classes, self.train.counts.tolist(), self.test.counts.tolist(), strict=True)
            shown = [f"{name} {a}+{b}" for name, a, b in pairs]
            more = f", … ({len(shown)} classes)" if len(shown) > 20 else ""
            lines.append("train+test per class: " + ", ".join(shown[:20]) + more)
        else:
            y = self.train.labels * self.train.target_std + self.train.target_mean
            lines.append(f"target from {float(y.min()):g} to {float(y.max()):g}, mean {float(y.mean()):g}")
        return "\n".join(lines)


class Loader:
    """Shuffled batches ``(inputs, labels, rows)`` of a split, pass after pass."""

    def __init__(self, split: Split, batch_size: int, seed: int) -> None:
        self.split = split
        self.batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return math.ceil(len(self.split) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return self.split.batches(self.batch_size, self._generator)


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
