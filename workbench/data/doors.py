"""What a torch user has, as a `Dataset` or a `Split`: tensors, arrays, torch data sets, loaders, dicts of tensors.

Values are taken as they are: nothing is scaled, normalised or held out (`from_arrays` does that).

>>> import torch
>>> as_dataset((torch.randn(6, 4), torch.arange(6) % 3))
Split(6 × 4, 3 classes, cpu)
>>> as_dataset({"input_ids": torch.ones(6, 12, dtype=torch.int32), "labels": [0, 1, 0, 1, 0, 1]})
Split(6 × 12, 2 classes, cpu)
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils import data as torch_data

from workbench.data.dataset import Dataset, Loader, Split
from workbench.data.sampling import DataError

INPUTS = ("inputs", "input", "x", "X", "images", "image", "pixel_values", "input_ids", "features", "data")
LABELS = ("labels", "label", "y", "targets", "target")
PARTS = (("train", "training"), ("test", "validation", "val", "valid"))

MOST_BYTES = 8 * 2**30
"""What a data set of single examples may take as one tensor; larger ones belong on disk, read in parts."""

TAKEN = (
    "a Dataset or Split, a pair (x, y) of tensors or arrays, a pair of such pairs (train, test), a torch Dataset or "
    "DataLoader, or a dict of tensors with inputs and labels"
)


def as_dataset(data: object, argument: str = "data", *, labelled: bool = True) -> Dataset | Split:
    """`data` as a `Dataset` where it has a train and a test part, else as a `Split`.

    Parameters
    ----------
    data
        A `Dataset` or `Split`, which stay what they are; ``(x, y)`` of tensors, arrays or lists; ``((x, y), (x, y))``
        or ``{"train": …, "test": …}``; a map-style torch data set, whose examples are read once, or a `DataLoader`
        over one; a dict of tensors, with inputs under a usual name (``inputs``, ``x``, ``images``, ``pixel_values``,
        ``input_ids``, …) and labels (``labels``, ``label``, ``y``, ``targets``, …).
        Inputs are floating point numbers or token ids, of shape (n, ...); labels have shape (n,): integers 0..C−1 are
        classes, floating point numbers are targets of a regression.
    argument
        What the caller calls it, for messages.
    labelled
        Refuse inputs without labels; else all of them are of one class.

    Raises
    ------
    TypeError
        It is something else; the message says what would do.
    DataError
        Shapes, types or values cannot work; named with the row where there is one.
    """
    if isinstance(data, Dataset | Split):
        return data
    if isinstance(data, Loader):
        return data.split
    parts = _parts(data)
    if parts is None:
        return as_split(data, argument, labelled=labelled)
    train, test = (
        as_split(part, f"{argument}, {which}", labelled=labelled)
        for part, which in zip(parts, ("train", "test"), strict=True)
    )
    if train.classes and test.classes:
        names = max(train.classes, test.classes, key=len)
        train, test = (_renamed(split, names) for split in (train, test))
    return Dataset("custom", train, test)


def as_split(data: Any, argument: str = "data", *, labelled: bool = True) -> Split:
    """`data` as one `Split`; without `labelled`, bare inputs (n, ...) do too, all of one class.

    Raises
    ------
    TypeError, DataError
        As `as_dataset`; also a `Dataset`, which is two splits.

    Examples
    --------
    >>> as_split(torch.randn(5, 3), labelled=False)
    Split(5 × 3, 1 classes, cpu)
    """
    if isinstance(data, Split):
        return data
    if isinstance(data, Dataset):
        raise TypeError(f"{argument} is a Dataset: pass one of its splits, {argument}.train or {argument}.test")
    if isinstance(data, Loader):
        return data.split
    if isinstance(data, torch_data.DataLoader):
        x, y = _read_loader(data, argument)
    elif isinstance(data, torch_data.TensorDataset):
        x, y = _pair(data.tensors, argument)
    elif isinstance(data, Mapping):
        x, y = _named(data, argument)
    elif isinstance(data, tuple | list) and len(data) == 2 and all(map(_whole, data)):
        x, y = data
    elif isinstance(data, Tensor | np.ndarray):
        x, y = data, None
    elif _map_style(data):
        x, y = _read_examples(data, range(len(data)), argument)
    else:
        raise TypeError(f"{argument} is {_called(data)}; it can be {TAKEN}")
    return _split(x, y, argument, labelled)


def _parts(data: Any) -> tuple[Any, Any] | None:
    """The train and the test part, if that is what `data` holds."""
    if isinstance(data, Mapping):
        found = [next((data[name] for name in names if name in data), None) for names in PARTS]
        return None if found[0] is None or found[1] is None else (found[0], found[1])
    pair = isinstance(data, tuple) and len(data) == 2
    return cast("tuple[Any, Any]", data) if pair and not any(map(_whole, data)) else None


def _whole(value: Any) -> bool:
    """Many examples' worth of numbers, not one example."""
    if isinstance(value, Tensor | np.ndarray):
        return value.ndim > 0
    numbers = isinstance(value, list | tuple) and len(value) > 0
    return numbers and all(isinstance(one, int | float | list | np.number) for one in value)


def _map_style(data: object) -> bool:
    if isinstance(data, str | bytes | torch_data.IterableDataset) or hasattr(data, "columns"):  # a pandas table
        return False
    if isinstance(data, list | tuple) and data and not isinstance(data[0], list | tuple | Mapping):  # no examples
        return False
    return hasattr(data, "__getitem__") and hasattr(data, "__len__")


def _called(data: object) -> str:
    if isinstance(data, str):
        return f"{data!r}, a name: pass wb.data.load({data!r})"
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        return "a table: read it with wb.data.table"
    if isinstance(data, torch_data.IterableDataset) or hasattr(data, "__next__"):
        return f"a {type(data).__name__}, a stream without a length: collect its examples first"
    if data is None:
        return "None"
    return f"a {type(data).__name__}"


def _read_loader(loader: "torch_data.DataLoader[Any]", argument: str) -> tuple[Any, Any]:
    """All examples of a loader's data set, in their order there: shuffling and batches are the training's own."""
    examples = loader.dataset
    if isinstance(examples, torch_data.IterableDataset) or not hasattr(examples, "__len__"):
        raise TypeError(f"{argument} is a DataLoader over a stream without a length: collect its examples first")
    rows: Sequence[int] = range(len(examples))
    sampler = loader.sampler
    if isinstance(sampler, torch_data.SubsetRandomSampler):
        rows = sorted(int(row) for row in sampler.indices)
    elif type(loader.batch_sampler) not in (torch_data.BatchSampler, type(None)) or not isinstance(
        sampler, torch_data.RandomSampler | torch_data.SequentialSampler
    ):
        raise TypeError(
            f"{argument} is a DataLoader with a {type(loader.batch_sampler or sampler).__name__}, which decides what a "
            f"step sees: training does that itself, so pass {argument}.dataset"
        )
    if isinstance(examples, torch_data.TensorDataset) and isinstance(rows, range):
        return _pair(examples.tensors, argument)
    batched = loader.batch_size is not None
    return _read_examples(examples, rows, argument, loader.collate_fn if batched else torch_data.default_collate)


def _read_examples(
    examples: Any, rows: Sequence[int], argument: str, collate: Any = torch_data.default_collate
) -> tuple[Any, Any]:
    """The examples at `rows`, each read once, as one tensor of inputs and one of labels."""
    if not len(rows):
        raise DataError(f"{argument} is empty: there are no examples")
    read: list[tuple[Tensor, Any]] = []
    with torch.random.fork_rng(devices=[]):  # a transform may draw: the global random state stays as it was
        for row in rows:
            example = examples[row]
            try:
                batch = collate([example])
            except TypeError as error:
                held = example[0] if isinstance(example, tuple | list) and example else example
                raise DataError(
                    f"{argument}[{row}] holds a {type(held).__name__}, which makes no tensor: add a transform, such as "
                    "torchvision's ToTensor"
                ) from error
            x, y = _named(batch, argument) if isinstance(batch, Mapping) else _pair(batch, argument)
            x = torch.as_tensor(x)
            if not read:
                _check_size(x, len(rows), argument)
            elif x.shape != read[0][0].shape:
                raise DataError(
                    f"{argument}[{row}] has shape {tuple(x.shape)[1:]}, those before it {tuple(read[0][0].shape)[1:]}: "
                    "all inputs must be of one shape"
                )
            read.append((x, y))
    inputs, labels = zip(*read, strict=True)
    return _joined(inputs), None if labels[0] is None else _joined(labels)


def _joined(values: Sequence[object]) -> Tensor:
    return torch.cat([torch.as_tensor(value) for value in values])


def _check_size(one: Tensor, n: int, argument: str) -> None:
    size = one.numel() * one.element_size() * n
    if size > MOST_BYTES:
        raise DataError(
            f"{argument} has {n:,} examples of {size / n:,.0f} bytes, {size / 2**30:.0f} GiB in all, and is held in "
            f"memory: pass at most {MOST_BYTES / 2**30:.0f} GiB, such as a torch.utils.data.Subset"
        )


def _pair(values: object, argument: str) -> tuple[Any, Any]:
    if isinstance(values, Tensor):
        return values, None
    if not isinstance(values, tuple | list) or len(values) not in (1, 2):
        what = f"{len(values)} parts" if isinstance(values, tuple | list) else f"a {type(values).__name__}"
        raise DataError(f"an example of {argument} has {what}; it must be a pair (input, label) or a dict")
    return (values[0], values[1]) if len(values) == 2 else (values[0], None)


def _named(values: Mapping[str, object], argument: str) -> tuple[Any, Any]:
    inputs, labels = ([name for name in names if name in values] for names in (INPUTS, LABELS))
    if len(inputs) != 1 or len(labels) > 1:
        raise DataError(
            f"{argument} has the keys {', '.join(map(repr, values))}; one of {', '.join(INPUTS)} and one of "
            f"{', '.join(LABELS)} are needed"
        )
    for name in values.keys() - {*inputs, *labels}:
        rest = torch.as_tensor(values[name]) if isinstance(values[name], Tensor | np.ndarray | list) else None
        same = {"attention_mask": 1, "token_type_ids": 0}.get(name)
        if rest is None or same is None or not bool((rest == same).all()):
            why = "the network would not be told of it"
            raise DataError(f"{argument} has {name!r} besides {inputs[0]!r} and the labels, and {why}: leave it out")
    return values[inputs[0]], values[labels[0]] if labels else None


def _split(x: object, y: object, argument: str, labelled: bool) -> Split:
    inputs = _numbers(x, f"{argument}: inputs")
    if inputs.ndim < 2:
        raise DataError(f"{argument}: inputs have shape {tuple(inputs.shape)}; (n, ...) is needed")
    if not len(inputs):
        raise DataError(f"{argument} is empty: there are no examples")
    if inputs.dtype in (torch.uint8, torch.bool):
        raise DataError(
            f"{argument}: inputs are {inputs.dtype}: pass x.float() / 255, or wb.data.from_arrays(x, y), which also "
            "normalises and holds out a test split"
        )
    inputs = inputs if inputs.is_floating_point() else inputs.long()
    if inputs.is_floating_point() and not bool(inputs.isfinite().all()):
        row = int((~inputs.isfinite()).flatten(1).any(1).nonzero()[0])
        raise DataError(f"{argument}: row {row} of the inputs holds a number that is not finite")
    if y is None and labelled:
        raise DataError(f"{argument} has inputs but no labels: pass (x, y)")
    nothing = torch.zeros(len(inputs), dtype=torch.int64), ("all",)
    labels, classes = nothing if y is None else _labels(y, len(inputs), argument)
    mean = torch.zeros((), device=inputs.device)
    return Split(inputs, labels.to(inputs.device), classes, mean, mean + 1)


def _labels(y: object, n: int, argument: str) -> tuple[Tensor, tuple[str, ...]]:
    labels = _numbers(y, f"{argument}: labels")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        advice = "pass y.argmax(1)" if labels.ndim == 2 and labels.is_floating_point() else "one per example is needed"
        raise DataError(f"{argument}: labels have shape {tuple(labels.shape)}: {advice}, shape (n,)")
    if len(labels) != n:
        raise DataError(f"{argument} has {n} inputs but {len(labels)} labels: each input needs one")
    if labels.is_floating_point():
        if not bool(labels.isfinite().all()):
            raise DataError(f"{argument}: row {int((~labels.isfinite()).nonzero()[0])} has a target that is not finite")
        return labels, ()
    labels = labels.long()
    low, high = int(labels.min()), int(labels.max())
    if low < 0:
        raise DataError(f"{argument}: row {int(labels.argmin())} has label {low}; classes are numbered from 0")
    if high >= max(n, 1000) * 100:
        raise DataError(f"{argument}: row {int(labels.argmax())} has label {high}: number the classes from 0 on")
    return labels, tuple(map(str, range(high + 1)))


def _numbers(values: object, what: str) -> Tensor:
    if isinstance(values, Tensor):
        if values.is_complex() or values.layout != torch.strided:
            raise DataError(f"{what} are a {values.layout} tensor of {values.dtype}; plain real numbers are needed")
        return values.detach()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"{what} are lists of different lengths: all must be of one shape") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} are of type {array.dtype}; numbers are needed")
    if array.dtype.itemsize > 8 or (array.dtype.kind == "u" and array.dtype.itemsize > 1):
        array = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))


def _renamed(split: Split, classes: tuple[str, ...]) -> Split:
    return Split(split.inputs, split.labels, classes, split.mean, split.std, split.index, split.features)
