"""Put signals of any scale on one footing: weight each so that its first gradient is as long as that of the labels.

Feature and relation losses differ in scale by a factor of a thousand; with equal weights a comparison would compare
units.
"""

import torch
from torch import Tensor, nn

from workbench.data import Dataset
from workbench.knowledge import CrossEntropy, Signal
from workbench.knowledge.making.distill import bind, look
from workbench.models import observe


def balanced(
    signal: Signal, teacher: nn.Module | None, student: nn.Module, data: Dataset, *, share: float = 1.0, batch: int = 64
) -> Signal:
    """``CrossEntropy() + w · signal`` with w such that both gradients on the student are equally long at its start.

    Parameters
    ----------
    signal
        To be weighted.
    teacher, student, data
        The pair, the student fresh, and the data whose first `batch` training examples decide.
    share
        Multiplies w.

    Raises
    ------
    ValueError
        The signal gives the student no gradient here.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> teacher, student = wb.models.build("mlp", data, seed=1), wb.models.build("mlp", data, width=8)
    >>> told = balanced(CrossEntropy(), teacher, student, data)
    >>> [round(term.weight, 6) for term in told.terms]
    [1.0, 1.0]
    """
    examples = data.train.take(torch.arange(min(batch, len(data.train))))
    parameters = list(student.parameters())
    examples = examples.to(parameters[0].device)
    bound = bind(signal, teacher, student, data).to(parameters[0].device)
    of_teacher = None if teacher is None else look(teacher, signal.teacher_layers, examples.inputs)
    of_student = observe(student, signal.student_layers)(examples.inputs)
    told, labels = bound(of_student, of_teacher, examples.labels), CrossEntropy()(of_student, None, examples.labels)
    length = _length(told.mean(), parameters)
    if not length > 0:
        raise ValueError(f"{signal} gives the student no gradient on this data: it cannot be weighted")
    return CrossEntropy() + share * float(_length(labels.mean(), parameters) / length) * signal


def _length(loss: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm()
