"""From raw arrays to a `Dataset`: checks every value, splits, and normalises with the training split's statistics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.data.dataset import Dataset, Split
from workbench.data.sampling import DataError, split_rows


@dataclass(frozen=True, eq=False)
class Part:
    """One split before normalisation.

    Attributes
    ----------
    inputs
        uint8 pixels in 0..255 or floating point numbers, shape (n, channels, height, width) or (n, features).
    labels
        int64 classes or float targets, shape (n,).
    index
        Position of each row in its source, int64, shape (n,).
    """

    inputs: Tensor
    labels: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


def from_arrays(
    inputs: object,
    labels: object,
    *,
    test: tuple[Any, Any] | None = None,
    classes: Sequence[str] | None = None,
    name: str = "custom",
    test_fraction: float = 0.25,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Dataset:
    """A `Dataset` of your own arrays or tensors.

    Parameters
    ----------
    inputs
        Shape (n, channels, height, width), or (n, height, width) for grey images, or (n, features). uint8 means pixels
        in 0..255; other numbers are taken as they are and must be finite.
    labels
        Shape (n,). Integers 0..C−1 are classes; floating point numbers are regression targets.
    test
        ``(inputs, labels)`` of the test split; without it a seeded, stratified part is held out.
    classes
        Names of the classes; by default their numbers.
    name
        What the dataset is called.
    test_fraction
        Share of the rows held out when there is no `test`, in 0..1.
    seed
        Seed of that split.
    device
        Where the tensors live.

    Returns
    -------
    Dataset
        Images are normalised per channel, tables per feature, with the training split's mean and standard deviation.

    Raises
    ------
    DataError
        Names the row, and what is wrong with it.

    Examples
    --------
    >>> import numpy as np, workbench as wb
    >>> pictures = np.random.default_rng(0).integers(0, 256, (40, 12, 12), dtype=np.uint8)
    >>> wb.data.from_arrays(pictures, np.arange(40) % 2, classes=["left", "right"])
    Dataset('custom', 30 train + 10 test × 1×12×12, 2 classes, cpu)
    """
    train_part = _part(inputs, labels, "")
    parts = [train_part] if test is None else [train_part, _part(*test, "test ")]
    regression = train_part.labels.is_floating_point()
    if regression and classes:
        raise DataError("labels are floating point numbers, which have no classes: pass integers or leave classes out")
    names: tuple[str, ...] = ()
    if classes is not None:
        names = tuple(str(c) for c in classes)
    elif not regression:
        names = tuple(str(c) for c in range(max(int(part.labels.max()) for part in parts) + 1))
    if test is None:
        parts = held_out(train_part, test_fraction, seed, names)
    return assemble(name, parts[0], parts[1], names, device=device)


def held_out(whole: Part, test_fraction: float, seed: int, classes: Sequence[str]) -> list[Part]:
    """The part as a train and a test part: stratified where there are classes."""
    check_labels(whole, classes, "")
    rows = split_rows(whole.labels if classes else None, len(whole), test_fraction, seed, classes)
    return [Part(whole.inputs[r], whole.labels[r], whole.index[r]) for r in rows]


def assemble(
    name: str,
    train: Part,
    test: Part,
    classes: tuple[str, ...],
    *,
    device: torch.device | str = "cpu",
    features: tuple[str, ...] = (),
) -> Dataset:
    """Check and normalise a train and a test part.

    Raises
    ------
    DataError
        A value is not finite, a label is outside the classes, the training labels are of one class, or a regression
        target is constant.
    """
    for which, part in (("training ", train), ("test ", test)):
        if not len(part):
            raise DataError(f"{name}: there are no {which}examples")
        check_labels(part, classes, f"{name}: {which}")
        _check_finite(part, f"{name}: {which}")
    _check_variety(name, train, classes)
    train_x = _raw(train.inputs)
    axes = [0, *range(2, train_x.ndim)]
    variance, mean = torch.var_mean(train_x, dim=axes, correction=0)
    std = torch.where(variance > 1e-12, variance.sqrt(), 1.0)  # a constant channel or feature becomes zero, not NaN
    if train_x.ndim == 4:
        mean, std = mean[:, None, None], std[:, None, None]
    target_mean, target_std = 0.0, 1.0
    if not classes:
        target_mean = float(train.labels.double().mean())
        target_std = float(train.labels.double().std(correction=0))
    splits = []
    for part, x in ((train, train_x), (test, _raw(test.inputs))):
        if classes:
            labels = part.labels.long()
        else:
            labels = ((part.labels.double() - target_mean) / target_std).float()
        inputs = (x - mean).div_(std)
        split = Split(inputs, labels, classes, mean, std, part.index, features, target_mean, target_std)
        splits.append(split.to(device))
    return Dataset(name, *splits)


def check_labels(part: Part, classes: Sequence[str], where: str) -> None:
    """Refuse labels outside the classes, naming the row."""
    if not classes:
        return
    wrong = (part.labels < 0) | (part.labels >= len(classes))
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise DataError(
            f"{where}row {int(part.index[row])} has label {int(part.labels[row])}; "
            f"the {len(classes)} classes are numbered 0..{len(classes) - 1}"
        )


def _check_variety(name: str, train: Part, classes: tuple[str, ...]) -> None:
    present = train.labels.unique()
    if classes and len(present) < 2:
        raise DataError(
            f"{name}: all training examples are of one class, {classes[int(present[0])]!r}; at least two are needed"
        )
    if not classes and len(present) < 2:
        raise DataError(f"{name}: the target is {float(present[0]):g} in every training row: there is nothing to learn")


def _check_finite(part: Part, where: str) -> None:
    for what, values in (("input", part.inputs), ("target", part.labels)):
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            row, *position = (~torch.isfinite(values)).nonzero()[0].tolist()
            at = f" at position {tuple(position)}" if position else ""
            raise DataError(
                f"{where}row {int(part.index[row])} has the {what} {float(values[(row, *position)])}{at}: "
                "every number must be finite"
            )


def _raw(x: Tensor) -> Tensor:
    """Pixels as 0..1; other numbers as they are."""
    return x.float().div_(255) if x.dtype == torch.uint8 else x.float()


def _part(inputs: object, labels: object, which: str) -> Part:
    x, y = _tensor(inputs, f"{which}inputs"), _tensor(labels, f"{which}labels")
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim not in (2, 4):
        raise DataError(
            f"{which}inputs have shape {tuple(x.shape)}; (n, channels, height, width), (n, height, width) "
            "or (n, features) is needed"
        )
    if not len(x):
        raise DataError(f"{which}inputs are empty")
    if y.ndim != 1:
        raise DataError(f"{which}labels have shape {tuple(y.shape)}; shape (n,) is needed")
    if len(x) != len(y):
        raise DataError(f"there are {len(x)} {which}inputs but {len(y)} {which}labels: each input needs one")
    return Part(x, y if y.is_floating_point() else y.long(), torch.arange(len(x)))


def _tensor(values: object, what: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} are of type {array.dtype}; numbers are needed")
    return torch.from_numpy(np.array(array, dtype=None if array.dtype.isnative else array.dtype.newbyteorder("=")))
