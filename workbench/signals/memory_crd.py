"""Contrastive distillation with a memory of the whole training set, as its authors' code has it.

    h(a, b) = exp(⟨a, b⟩ / τ) / Z,    D(a, b) = h / (h + K / n)
    L = −log D(g_t, m_s(i)) − Σ_k log(1 − D(g_t, m_s(j_k))) + the same with the roles of student and teacher changed

n training examples, K negatives j_k drawn from them; m_s, m_t hold every example's last embedding, of unit length:
m ← unit(½ m + ½ g) after each batch. Z is n times the mean of exp(⟨·,·⟩/τ) in the first batch and stays. It is
noise-contrastive estimation instead of a softmax over n examples; memory and time do not grow with training. Tian,
Krishnan & Isola 2020 (Eq. 10, 17 to 19); negatives are drawn from all examples here, from those of other classes in the
code. `CRD` is the plainer form whose negatives are the batch.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from workbench.models import Outputs
from workbench.signals.features import FeatureSignal, as_maps, pooled
from workbench.signals.hint import Regressor
from workbench.signals.numbers import positive, share

ROWS = "training rows"
"""Under this name `distill` puts the positions of the batch in the training split among the teacher's features."""

EPSILON = 1e-7


@dataclass(frozen=True)
class MemoryCRD(FeatureSignal):
    """Contrastive signal against a memory; for one student at a time (`distill`, not `distill_many`).

    Attributes
    ----------
    examples
        n: the training examples, ``len(data.train)``.
    negatives
        K.
    dimensions
        Length of the embeddings.
    temperature
        τ > 0.
    momentum
        How much of an example's old embedding stays, in 0..1.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(100)
    >>> teacher, student = wb.models.build("mlp", data, seed=1), wb.models.build("mlp", data, width=16)
    >>> told = MemoryCRD("hidden.1", "hidden.1", examples=100, negatives=32)
    >>> record = wb.knowledge.distill(teacher, student, data, 0.02 * told, steps=5, progress=False)
    """

    examples: int = 0
    negatives: int = 16384
    dimensions: int = 128
    temperature: float = 0.07
    momentum: float = 0.5
    static: ClassVar[bool] = False
    needs_rows: ClassVar[bool] = True
    """It reads `ROWS`."""

    def __post_init__(self) -> None:
        for name in ("examples", "negatives", "dimensions"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                more = ": pass examples=len(data.train)" if name == "examples" else ""
                raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1{more}")
        positive(temperature=self.temperature)
        share(momentum=self.momentum)

    def bind(self, student: Outputs, teacher: Outputs, labels: Tensor, *, generator: torch.Generator) -> nn.Module:  # noqa: ARG002
        """Makes the embeddings and the memories of each pair."""
        return BoundMemoryCRD(self, [
            Contrast(self, as_maps(F_s).shape[1], as_maps(F_t).shape[1], F_s, generator)
            for F_s, F_t in self.pairs(student, teacher)
        ])  # fmt: skip


class BoundMemoryCRD(nn.Module):
    """The signal with its memories."""

    def __init__(self, signal: MemoryCRD, contrasts: "list[Contrast]") -> None:
        super().__init__()
        self.signal = signal
        self.contrasts = nn.ModuleList(contrasts)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,)."""
        rows = teacher.features[ROWS]
        losses = [
            contrast(pooled(F_s), pooled(F_t), rows)
            for contrast, (F_s, F_t) in zip(self.contrasts, self.signal.pairs(student, teacher), strict=True)
        ]
        return sum(losses[1:], losses[0])


class Contrast(nn.Module):
    """Embeddings, memories and normalisers of one pair of layers; index 0 student, 1 teacher."""

    memories: Tensor
    normalisers: Tensor

    def __init__(
        self, signal: MemoryCRD, channels: int, targets: int, like: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.signal = signal
        self.embeddings = nn.ModuleList(
            Regressor(width, signal.dimensions, like, generator) for width in (channels, targets)
        )
        drawn = torch.rand(2, signal.examples, signal.dimensions, generator=generator)
        self.register_buffer("memories", functional.normalize(2 * drawn - 1, dim=2).to(like))
        self.register_buffer("normalisers", torch.zeros(2).to(like))

    def forward(self, student: Tensor, teacher: Tensor, rows: Tensor) -> Tensor:
        """Per-example loss of features (n, channels), (n, targets) at training rows (n,)."""
        g = [
            functional.normalize(embed(feature[:, :, None, None]).flatten(1))
            for embed, feature in zip(self.embeddings, (student, teacher), strict=True)
        ]
        # drawn from the global state, which `fit` seeds for every step as it does for dropout
        drawn = torch.randint(self.signal.examples, (len(rows), self.signal.negatives), device=rows.device)
        loss = self.losses(g, torch.cat([rows[:, None], drawn], 1))
        with torch.no_grad():
            for side, mine in enumerate(g):
                old = self.memories[side, rows]
                new = self.signal.momentum * old + (1 - self.signal.momentum) * mine.detach()
                self.memories[side, rows] = functional.normalize(new, dim=1)
        return loss

    def losses(self, g: list[Tensor], chosen: Tensor) -> Tensor:
        """Both directions; `chosen` (n, 1 + K): each example's own row, then its negatives."""
        total = torch.zeros_like(g[0][:, 0])
        for side, anchor in enumerate(g):
            memory = self.memories[1 - side, chosen].clone()
            h = ((memory @ anchor[:, :, None])[:, :, 0] / self.signal.temperature).exp()
            with torch.no_grad():
                if self.normalisers[side] == 0:
                    self.normalisers[side] = h.mean() * self.signal.examples
            h = h / self.normalisers[side].clone()
            noise = self.signal.negatives / self.signal.examples
            match, others = h[:, 0], h[:, 1:]
            total = total - (match / (match + noise + EPSILON)).log()
            total = total - (noise / (others + noise + EPSILON)).log().sum(1)
        return total
