"""How far a classifier's confidence can be believed: reliability bins, ECE, negative log-likelihood and Brier score."""

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.records import Calibration


def calibration(logits: Tensor, labels: Tensor, bins: int = 15) -> Calibration:
    """Calibration of a classifier on labelled examples (Guo et al. 2017, Eqs. 1–3: equal-width confidence bins).

    Parameters
    ----------
    logits
        Shape (n, classes).
    labels
        True classes, int64, shape (n,).
    bins
        Number of equal bins of the confidence, 0..1.

    Raises
    ------
    ValueError
        There are no examples, shapes do not fit, or `bins` is below 1.

    Examples
    --------
    >>> import torch
    >>> sure = calibration(torch.tensor([[9.0, -9.0], [9.0, -9.0]]), torch.tensor([0, 1]))
    >>> round(sure.ece, 3)
    0.5
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and labels {tuple(labels.shape)}; "
            "(n, classes) and (n,) are needed"
        )
    if len(logits) == 0:
        raise ValueError("there are no examples to calibrate on")
    if bins < 1:
        raise ValueError(f"bins={bins} must be at least 1")
    logits, labels = logits.detach().double().cpu(), labels.cpu()
    probabilities = logits.softmax(1)
    confidence, predicted = probabilities.max(1)
    right = (predicted == labels).double()
    bin_of = (confidence * bins).long().clamp(max=bins - 1)
    count = torch.bincount(bin_of, minlength=bins)
    mean_confidence = torch.bincount(bin_of, confidence, minlength=bins) / count
    mean_accuracy = torch.bincount(bin_of, right, minlength=bins) / count
    gap = (mean_confidence - mean_accuracy).abs().nan_to_num(nan=0.0)
    one_hot = F.one_hot(labels, logits.shape[1])
    return Calibration(
        confidence=mean_confidence.float(),
        accuracy=mean_accuracy.float(),
        count=count,
        ece=(gap * count).sum().item() / len(labels),
        nll=F.cross_entropy(logits, labels).item(),
        brier=(probabilities - one_hot).square().sum(1).mean().item(),
    )
