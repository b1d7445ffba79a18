"""`examples`: the training examples that a distilled set stands for, as a split like any other."""

from workbench.condensation.judging.usable import decoded
from workbench.data import Split
from workbench.records import DistilledSet


def examples(distilled: DistilledSet) -> Split:
    """The images as a network is to see them, with their classes.

    Where stored images are no examples themselves (tiles, mirror images), each becomes several. Of soft labels the most
    probable class is taken; `workbench.condensation.evaluate` trains on the distributions.

    Examples
    --------
    >>> import torch, workbench as wb
    >>> data = wb.data.load("digits")
    >>> made = wb.condensation.condense(data, wb.condensation.Random(ipc=2))
    >>> wb.condensation.examples(made)
    Split(20 × 1×8×8, 10 classes, cpu)
    >>> wb.condensation.examples(made.replace(view={"tiles": 2}))
    Split(80 × 1×8×8, 10 classes, cpu)
    """
    return decoded(distilled)[0]
