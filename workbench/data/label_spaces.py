"""Several label spaces over the same examples: parity, above or below, has a loop, … of what were ten digits.

    parity = relabelled(digits, ["even", "odd"] * 5)
    for name, data in label_spaces(digits).items(): ...

What a network of another label space knows of the examples is what distillation across tasks moves; what a coarse label
hides is what subclasses bring back.
"""

import dataclasses
from collections.abc import Sequence
from typing import overload

import torch

from workbench.data.dataset import UNLABELLED, Dataset, Split
from workbench.data.sampling import DataError

DIGITS = tuple("0123456789")
OF_DIGITS: dict[str, tuple[str, ...]] = {
    "parity": ("even", "odd") * 5,
    "at least 5": ("below 5",) * 5 + ("5 or more",) * 5,
    "has a loop": ("loop", "none", "none", "none", "none", "none", "loop", "none", "loop", "loop"),
    "strokes": ("round", "straight", "both", "round", "straight", "both", "round", "straight", "round", "both"),
    "rest of three": tuple(f"3 k + {digit % 3}" for digit in range(10)),
}  # fmt: skip
"""Label spaces of the ten digits by name: each digit's class, as a person would say it."""


@overload
def relabelled(data: Dataset, groups: Sequence[str], name: str = "") -> Dataset: ...


@overload
def relabelled(data: Split, groups: Sequence[str], name: str = "") -> Split: ...


def relabelled(data: Dataset | Split, groups: Sequence[str], name: str = "") -> Dataset | Split:
    """The same examples with each class renamed to its group; classes are the groups in their first order.

    Parameters
    ----------
    data
        A `Dataset` or a `Split` with classes.
    groups
        One name for each class of the data.
    name
        What the data set is then called; empty: as before.

    Raises
    ------
    DataError
        There are no classes, or not as many groups as classes.

    Examples
    --------
    >>> import workbench as wb
    >>> parity = relabelled(wb.data.load("digits"), ["even", "odd"] * 5, "parity")
    >>> parity.classes, parity.test.labels[:3].tolist()
    (('even', 'odd'), [0, 0, 0])
    """
    if isinstance(data, Dataset):
        train, test = (relabelled(split, groups) for split in (data.train, data.test))
        return dataclasses.replace(data, name=name or data.name, train=train, test=test)
    if not data.classes or len(groups) != len(data.classes):
        raise DataError(f"groups has {len(groups)} names for {len(data.classes)} classes; it takes one for each")
    classes = tuple(dict.fromkeys(groups))
    number = torch.tensor([classes.index(group) for group in groups], device=data.labels.device)
    labels = torch.where(data.labelled, number[data.labels.clamp(min=0)], UNLABELLED)
    return dataclasses.replace(data, labels=labels, classes=classes)


def label_spaces(data: Dataset) -> dict[str, Dataset]:
    """Label spaces of a data set by name, each of fewer classes than it has.

    Of the digits, `OF_DIGITS`; of other data with at least three classes: every second class, the upper half, and the
    rest of three.

    Examples
    --------
    >>> import workbench as wb
    >>> {name: len(one.classes) for name, one in label_spaces(wb.data.load("digits")).items()}
    {'parity': 2, 'at least 5': 2, 'has a loop': 2, 'strokes': 3, 'rest of three': 3}
    >>> list(label_spaces(wb.data.load("wine")))
    ['parity', 'upper half']
    """
    C = len(data.classes)
    spaces = OF_DIGITS
    if data.classes != DIGITS:
        spaces = {
            "parity": tuple(f"{('even', 'odd')[c % 2]} number" for c in range(C)),
            "upper half": tuple(("lower", "upper")[2 * c >= C] for c in range(C)),
            "rest of three": tuple(f"3 k + {c % 3}" for c in range(C)),
        }
    return {
        name: relabelled(data, groups, f"{data.name}: {name}")
        for name, groups in spaces.items()
        if 1 < len(set(groups)) < C
    }
