"""Teacher assistants: a large teacher teaches a medium network, which teaches the small one it could not reach itself.

Mirzadeh et al. 2020; paper 037's control for the capacity gap between teacher and student.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from workbench.data import Dataset
from workbench.knowledge.making.distill import distill
from workbench.records import TrainingRecord
from workbench.signals.signal import Signal


def assistants(
    teacher: nn.Module | TrainingRecord,
    students: Sequence[nn.Module],
    data: Dataset,
    signal: Signal | None = None,
    **options: Any,
) -> list[TrainingRecord]:
    """Distil down a chain of networks, each from the one before it.

    Parameters
    ----------
    teacher
        The first in the chain.
    students
        From the largest to the smallest; the last is the one wanted, the others are its assistants.
    data, signal, options
        As for `workbench.knowledge.distill`, the same at each link.

    Returns
    -------
    list of TrainingRecord
        One per student, in order.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(200)
    >>> sizes = [wb.models.build("mlp", data, width=width) for width in (128, 32, 8)]
    >>> chain = assistants(sizes[0], sizes[1:], data, steps=5, progress=False)
    >>> chain[-1].model is sizes[-1]
    True
    """
    chain: list[TrainingRecord] = []
    for student in students:
        chain.append(distill(chain[-1] if chain else teacher, student, data, signal, **options))
    return chain
