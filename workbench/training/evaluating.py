"""How good networks are on a split: loss, accuracy and accuracy per class, for one network or many at once."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.analysis.calibration import calibration
from workbench.data import Split, as_split
from workbench.models import observe


@dataclass(frozen=True)
class Scores:
    """Scores of N networks on one split.

    Attributes
    ----------
    loss
        Mean negative log-likelihood in nats (regression: mean squared error), shape (N,).
    accuracy
        Shape (N,), in 0..1; None for regression.
    per_class
        Accuracy within each class, shape (N, classes); NaN for an empty class; None for regression.
    logits
        Shape (N, n, outputs), on the CPU.
    labels
        Shape (N, n), on the CPU.
    """

    loss: Tensor
    accuracy: Tensor | None
    per_class: Tensor | None
    logits: Tensor
    labels: Tensor


def score(logits: Tensor, labels: Tensor, classes: int) -> Scores:
    """Scores from logits (N, n, outputs) and labels (N, n); `classes` = 0 means regression."""
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    if not classes:
        loss = squared_error(logits.flatten(0, 1), labels.flatten()).view(labels.shape).mean(1)
        return Scores(loss.double().cpu(), None, None, logits.cpu(), labels.cpu())
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape).mean(1)
    right = (logits.argmax(2) == labels).double()
    zeros = right.new_zeros(len(right), classes)
    counts = zeros.scatter_add(1, labels, torch.ones_like(right))
    return Scores(
        loss.double().cpu(),
        right.mean(1).cpu(),
        (zeros.scatter_add(1, labels, right) / counts).cpu(),
        logits.cpu(),
        labels.cpu(),
    )


def squared_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Squared error of each example, shape (n,): logits (n, 1), labels (n,)."""
    return (logits - labels.view(logits.shape)).square().flatten(1).mean(1)


@torch.no_grad()
def logits_of(model: nn.Module, inputs: Tensor, batch_size: int = 512) -> Tensor:
    """Logits in eval mode, shape (n, outputs), where the inputs lie; the network's mode is put back afterwards."""
    own = next(model.parameters(), inputs)
    training = model.training
    model.eval()
    observer = observe(model)
    try:
        return torch.cat([observer(batch.to(own.device)).logits for batch in inputs.split(batch_size)]).to(
            inputs.device
        )
    finally:
        model.train(training)


def evaluate(model: nn.Module, split: Any, *, batch_size: int = 512) -> dict[str, float]:
    """Score a network on a split, on the device and in the floating point type that the network has.

    Parameters
    ----------
    model
        Any network.
    split
        A `Split` such as ``data.test``, or what `workbench.data.as_split` makes one of: ``(x, y)``, a torch data set
        or loader, a dict of tensors.
    batch_size
        Examples per forward pass; the result does not depend on it.

    Returns
    -------
    dict
        Classification: ``accuracy`` (0..1), ``nll`` (nats), ``ece`` (0..1), ``brier`` (0..2); regression: ``mse``,
        ``rmse`` and ``r2``.

    Raises
    ------
    ValueError, TypeError
        The split is empty, or is none.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> sorted(evaluate(wb.models.build("mlp", data), data.test))
    ['accuracy', 'brier', 'ece', 'nll']
    """
    found = as_split(split, "split")
    if len(found) == 0:
        raise ValueError("split is empty: there is nothing to evaluate on")
    inputs, labels = placed(found, model)
    return metrics(score(logits_of(model, inputs, batch_size)[None], labels[None], len(found.classes)))[0]


def metrics(scores: Scores) -> list[dict[str, float]]:
    """What `evaluate` returns, for each of the N networks."""
    results: list[dict[str, float]] = []
    for member, loss in enumerate(scores.loss.tolist()):
        if scores.accuracy is None:
            spread = scores.labels[member].double().var(correction=0).item()
            results.append({"mse": loss, "rmse": loss**0.5, "r2": 1 - loss / spread if spread else float("nan")})
            continue
        shape: Any = calibration(scores.logits[member], scores.labels[member])
        results.append(
            {"accuracy": scores.accuracy[member].item(), "nll": loss, "ece": shape.ece, "brier": shape.brier}
        )
    return results


def placed(split: Split, model: nn.Module) -> tuple[Tensor, Tensor]:
    """The split's inputs and labels where the model is, in its floating point type."""
    own = next(model.parameters(), None)
    moved = split if own is None else split.to(own.device, own.dtype if own.is_floating_point() else None)
    return moved.inputs, moved.labels
