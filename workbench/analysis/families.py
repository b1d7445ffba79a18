"""Whose predictions do these resemble? Agreement of classifiers with families of others, at matched accuracy."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["MatchedAgreement", "agreement_at_matched_accuracy", "agreement_matrix"]


@dataclass(frozen=True)
class MatchedAgreement:
    """Agreement of each of N classifiers with a family of others that are as often right.

    Attributes
    ----------
    agreement
        Share of equal predictions, mean over the matching members, in 0..1, shape (N,); NaN where none matches.
    when_wrong
        The same over the examples on which the classifier is wrong; NaN where it never is, or none matches.
    matches
        Number of matching members, shape (N,).
    """

    agreement: Tensor
    when_wrong: Tensor
    matches: Tensor


def agreement_matrix(predictions: Tensor) -> Tensor:
    """Share of equal predictions of every pair, float64, shape (N, N): symmetric, 1 on the diagonal.

    Two classifiers of accuracies a and b agree on at least max(0, a + b − 1) of the examples.

    Parameters
    ----------
    predictions
        Predicted classes, shape (N, n).

    Examples
    --------
    >>> agreement_matrix(torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0]])).tolist()
    [[1.0, 0.75], [0.75, 1.0]]
    """
    return torch.stack([(predictions == one).double().mean(1) for one in predictions])


def agreement_at_matched_accuracy(
    predictions: Tensor, family: Tensor, labels: Tensor, *, within: float = 0.01
) -> MatchedAgreement:
    """Agreement with the members of a family whose accuracy differs by at most `within` (paper 009, B3).

    Without the matching, agreement mostly tells which of two families is more often right.

    Parameters
    ----------
    predictions
        Predicted classes, shape (N, n).
    family
        Those of the family, shape (M, n).
    labels
        True classes, shape (n,).
    within
        In 0..1.

    Raises
    ------
    ValueError
        The numbers of examples differ.

    Examples
    --------
    >>> labels = torch.tensor([0, 1, 1, 0])
    >>> one, family = torch.tensor([[0, 1, 1, 1]]), torch.tensor([[0, 1, 1, 1], [1, 1, 1, 0], [0, 1, 1, 0]])
    >>> agreement_at_matched_accuracy(one, family, labels).agreement.tolist()
    [0.75]
    """
    if predictions.ndim != 2 or family.ndim != 2 or not predictions.shape[1] == family.shape[1] == len(labels):
        raise ValueError(
            f"predictions {tuple(predictions.shape)}, family {tuple(family.shape)} and labels {tuple(labels.shape)} "
            "must be (N, n), (M, n) and (n,)"
        )
    right, theirs = (predictions == labels).double(), (family == labels).double()
    matched = (right.mean(1)[:, None] - theirs.mean(1)).abs() <= within + 1e-9  # (N, M)
    same = torch.stack([(family == one).double().mean(1) for one in predictions])
    wrong = predictions != labels
    both = torch.stack([(family == one).double() @ miss.double() for one, miss in zip(predictions, wrong, strict=True)])
    when_wrong = both / wrong.sum(1, keepdim=True)

    def mean(values: Tensor) -> Tensor:
        return torch.where(matched, values, 0.0).sum(1) / matched.sum(1)

    return MatchedAgreement(mean(same), mean(when_wrong), matched.sum(1))
