"""From raw arrays to a `Dataset`: checks every value, splits, and normalises with the training split's statistics."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.data.dataset import Dataset, Split
from workbench.data.sampling import DataError, split_rows

Describe = Callable[[int], str]


def from_arrays(
    inputs: Any,
    labels: Any,
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
        in 0..255; anything else is taken as it is. Must be finite.
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
    x, y = _as_inputs(inputs, "inputs"), _as_labels(labels)
    if test is None:
        _check_lengths(x, y, "inputs", "labels")
        train_rows, test_rows = split_rows(None if y.is_floating_point() else y, len(x), test_fraction, seed)
        parts = [(x[rows], y[rows], rows) for rows in (train_rows, test_rows)]
    else:
        test_x, test_y = _as_inputs(test[0], "test inputs"), _as_labels(test[1])
        _check_lengths(x, y, "inputs", "labels")
        _check_lengths(test_x, test_y, "test inputs", "test labels")
        parts = [(x, y, torch.arange(len(x))), (test_x, test_y, torch.arange(len(test_x)))]
    if classes is None and not y.is_floating_point():
        classes = [str(c) for c in range(int(max(part[1].max() for part in parts)) + 1)]
    return assemble(name, parts, tuple(classes or ()), device=device)


def assemble(
    name: str,
    parts: Sequence[tuple[Tensor, Tensor, Tensor]],
    classes: tuple[str, ...],
    *,
    device: torch.device | str = "cpu",
) -> Dataset:
    """Check and normalise a raw train and test part, each ``(inputs, labels, index)``.

    Raises
    ------
    DataError
        An input is not finite, a training split has a single class, or a regression target is constant.
    """
    (train_x, train_y, _), _ = parts
    if classes:
        present = train_y.unique()
        if len(present) < 2:
            only = classes[int(present[0])] if len(present) else "none"
            raise DataError(
                f"{name}: all training examples are of one class ({only!r}): at least two classes are needed"
            )
    elif bool((train_y == train_y[0]).all()):
        raise DataError(f"{name}: the target is {float(train_y[0]):g} in every training row: nothing to learn")
    for part, (x, y, index) in zip(("train", "test"), parts, strict=True):
        for what, values in (("input", x), ("target", y)):
            if values.is_floating_point() and not bool(torch.isfinite(values).all()):
                bad = (~torch.isfinite(values)).nonzero()[0].tolist()
                raise DataError(
                    f"{name}: the {what} of row {int(index[bad[0]])} ({part}) is not finite"
                    + (f" at position {tuple(bad[1:])}" if bad[1:] else "")
                )
    train_x = _raw(train_x)
    axes = (0, 2, 3) if train_x.ndim == 4 else (0,)
    mean = train_x.double().mean(axes, keepdim=True)[0].float()
    std = train_x.double().std(axes, keepdim=True, correction=0)[0].float()
    std = torch.where(std > 1e-6, std, 1.0)  # a constant channel or feature becomes zero, not NaN
    splits = []
    for x, y, index in parts:
        y = y.float() if not classes else y.long()  # noqa: PLW2901
        splits.append(Split((_raw(x) - mean) / std, y, classes, mean, std, index).to(device))
    return Dataset(name, *splits)


def _raw(x: Tensor) -> Tensor:
    """Pixels as 0..1; other numbers as they are."""
    return x.float() / 255 if x.dtype == torch.uint8 else x.float()


def _as_inputs(values: Any, what: str) -> Tensor:
    x = values.detach().cpu() if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim not in (2, 4):
        raise DataError(
            f"{what} have shape {tuple(x.shape)}; (n, channels, height, width), (n, height, width) or (n, features) is needed"
        )
    if not len(x):
        raise DataError(f"{what} are empty")
    return x


def _as_labels(values: Any) -> Tensor:
    y = values.detach().cpu() if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))
    return y if y.is_floating_point() else y.long()


def _check_lengths(x: Tensor, y: Tensor, inputs: str, labels: str) -> None:
    if len(x) != len(y):
        raise DataError(f"{len(x)} {inputs} but {len(y)} {labels}: one label for each is needed")
