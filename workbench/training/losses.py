"""The loss protocol: what `fit` minimises, called with a network's outputs, its teacher's, and the labels."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.data import UNLABELLED
from workbench.models import Outputs
from workbench.training.evaluating import squared_error

Loss = Callable[[Outputs, Outputs | None, Tensor], Tensor]


def cross_entropy(outputs: Outputs, guide: Outputs | None, labels: Tensor) -> Tensor:  # noqa: ARG001 - the protocol
    """Cross-entropy of each example in nats, shape (n,): the default for classification."""
    return F.cross_entropy(outputs.logits, labels, reduction="none")


def mean_squared_error(outputs: Outputs, guide: Outputs | None, labels: Tensor) -> Tensor:  # noqa: ARG001
    """Squared error of each example, shape (n,): the default for regression."""
    return squared_error(outputs.logits, labels)


def resolve(loss: Loss | None, task: str) -> Loss:
    """The loss, or the task's default."""
    if loss is None:
        return cross_entropy if task == "classification" else mean_squared_error
    if not callable(loss):
        raise TypeError(f"loss is a {type(loss).__name__}; it must be callable as loss(outputs, guide, labels)")
    return loss


def reduced(losses: Tensor) -> Tensor:
    """The mean of per-example losses (n,), or a batch's single loss () as it is.

    Raises
    ------
    ValueError
        The loss has another shape.
    """
    if losses.ndim > 1:
        raise ValueError(f"loss returned shape {tuple(losses.shape)}; it must be (n,), one per example, or ()")
    return losses.mean() if losses.ndim else losses


def logged(loss: Loss, reserved: Mapping[str, object]) -> dict[str, Tensor]:
    """What a loss wants drawn beside it: its attribute `logged`, name → number or one-element tensor, if it has one."""
    values = getattr(loss, "logged", None) or {}
    taken = [name for name in values if name in reserved]
    if taken:
        raise ValueError(f"loss logs {taken[0]!r}, which is the name of a curve that fit draws itself: rename it")
    return {name: torch.as_tensor(value).detach() for name, value in values.items()}


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """Which predictions are right, shape (..., n), as numbers; NaN where there is no label to know it by."""
    return (logits.argmax(-1) == labels).to(logits.dtype).masked_fill(labels == UNLABELLED, float("nan"))
