"""Agreement of a student with its teacher: does it do what the teacher does, beyond being as often right?"""

import torch
from scipy.special import ndtri, stdtrit
from torch import Tensor, nn

from workbench.analysis.batches import as_split
from workbench.analysis.networks import sides
from workbench.data import Dataset, Split
from workbench.kernels.divergence import forward_kl
from workbench.records import Fidelity, TrainingRecord

__all__ = ["agreement", "agreement_of_logits", "wilson"]


def agreement(
    teacher: nn.Module | TrainingRecord,
    student: nn.Module | TrainingRecord,
    data: Split | Dataset | Tensor,
    *,
    batch_size: int = 256,
) -> Fidelity:
    """Fidelity of a student to its teacher (Stanton et al. 2021, section 3): top-1 agreement and predictive KL.

    Parameters
    ----------
    teacher, student
        Classifiers, or the records of their training (their final weights).
    data
        The examples: a split, the test split of a dataset, or inputs of shape (n, ...) without labels.
    batch_size
        Examples per forward pass.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> model = wb.models.build("mlp", data)
    >>> same = wb.analysis.agreement(model, model, data.test)
    >>> same.agreement, same.kl
    (1.0, 0.0)
    """
    split = as_split(data)
    given = data.test if isinstance(data, Dataset) else data
    if not isinstance(given, Tensor) and given.task != "classification":
        raise ValueError("data is a regression set; agreement is between classifiers")
    one, other = (
        torch.cat([side.run(inputs, nn.Identity())[1].float().cpu() for inputs in split.inputs.split(batch_size)])
        for side in sides(teacher, student, (), (), epochs=())
    )
    return agreement_of_logits(one, other, None if isinstance(given, Tensor) else given.labels.cpu())


def agreement_of_logits(teacher: Tensor, student: Tensor, labels: Tensor | None = None) -> Fidelity:
    """`agreement` from logits, both (n, classes), and labels (n,) where there are any.

    Raises
    ------
    ValueError
        The logits differ in shape, or there are none.
    """
    if teacher.shape != student.shape or teacher.dim() != 2 or not len(teacher):
        raise ValueError(
            f"teacher logits have shape {tuple(teacher.shape)}, student logits {tuple(student.shape)}: "
            "both must be (n, classes), n ≥ 1"
        )
    n = len(teacher)
    same = teacher.argmax(1) == student.argmax(1)
    divergence = forward_kl(student.double(), teacher.double())
    reach = float(stdtrit(n - 1, 0.975) * divergence.std() / n**0.5) if n > 1 else float("inf")
    mean = float(divergence.mean())
    wrong = teacher.argmax(1) != labels if labels is not None else torch.zeros(n, dtype=torch.bool)
    return Fidelity(
        agreement=float(same.double().mean()),
        agreement_interval=wilson(int(same.sum()), n),
        kl=mean,
        kl_interval=(max(0.0, mean - reach), mean + reach),
        agreement_when_wrong=float(same[wrong].double().mean()) if bool(wrong.any()) else float("nan"),
        teacher_accuracy=_accuracy(teacher, labels),
        student_accuracy=_accuracy(student, labels),
        n=n,
    )


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share of `n` independent examples (Wilson 1927); stays inside 0..1.

    Examples
    --------
    >>> low, high = wilson(9, 10)
    >>> round(low, 3), round(high, 3)
    (0.596, 0.982)
    """
    z = float(ndtri((1 + level) / 2))
    share = successes / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _accuracy(logits: Tensor, labels: Tensor | None) -> float:
    return float("nan") if labels is None else float((logits.argmax(1) == labels).double().mean())
