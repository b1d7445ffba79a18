"""Contrastive distillation: a student's view of an image must pick out the teacher's view of the same image.

    L = ½ [ CE(S, identity) + CE(Sᵀ, identity) ],   S_ij = ⟨g_s(F_s,i), g_t(F_t,j)⟩ / τ,   g linear, of unit length

InfoNCE with the rest of the batch as negatives; the paper draws its negatives from a memory bank of the whole training
set. The minimum is not 0: τ bounds how sharply a match can be picked out. Tian, Krishnan & Isola 2020; paper 037,
method 9.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from workbench.models import Outputs
from workbench.signals.features import FeatureSignal, as_maps, pooled
from workbench.signals.hint import Regressor
from workbench.signals.numbers import positive


@dataclass(frozen=True)
class CRD(FeatureSignal):
    """In-batch contrastive signal on features averaged over positions.

    Attributes
    ----------
    dimensions
        Length of the embeddings that are compared.
    temperature
        τ > 0; the paper's 0.07.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> student = Outputs(torch.zeros(4, 3), {"stage2": torch.randn(4, 5, 2, 2)})
    >>> teacher = Outputs(torch.zeros(4, 3), {"stage3": torch.randn(4, 9)})
    >>> labels = torch.zeros(4, dtype=torch.int64)
    >>> loss = CRD("stage2", "stage3").bind(student, teacher, labels, generator=torch.Generator().manual_seed(0))
    >>> loss(student, teacher, labels).shape
    torch.Size([4])
    """

    dimensions: int = 128
    temperature: float = 0.07

    def __post_init__(self) -> None:
        positive(dimensions=self.dimensions, temperature=self.temperature)

    def bind(self, student: Outputs, teacher: Outputs, labels: Tensor, *, generator: torch.Generator) -> nn.Module:  # noqa: ARG002
        """Makes an embedding of each side of each pair; both are trained."""
        embeddings = [
            Regressor(as_maps(feature).shape[1], self.dimensions, feature, generator)
            for pair in self.pairs(student, teacher)
            for feature in pair
        ]
        return BoundCRD(self, embeddings)


class BoundCRD(nn.Module):
    """The contrastive signal with its embeddings, student and teacher in turn."""

    def __init__(self, signal: CRD, embeddings: list[Regressor]) -> None:
        super().__init__()
        self.signal = signal
        self.embeddings = nn.ModuleList(embeddings)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,)."""
        losses = []
        for index, pair in enumerate(self.signal.pairs(student, teacher)):
            g_s, g_t = (
                functional.normalize(self.embeddings[2 * index + side](pooled(feature)[:, :, None, None]).flatten(1))
                for side, feature in enumerate(pair)
            )
            losses.append(contrast(g_s, g_t, self.signal.temperature))
        return sum(losses[1:], losses[0])


def contrast(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """InfoNCE both ways between rows of unit length (n, d): how badly row i of one finds row i of the other; (n,)."""
    scores = a @ b.mT / temperature
    matches = scores.diagonal()
    return 0.5 * (scores.logsumexp(1) + scores.logsumexp(0)) - matches
