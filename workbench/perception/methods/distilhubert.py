"""DistilHuBERT: a few frames' worth of layers learn to predict several layers of a speech encoder, each from one head.

    L_KD = mean over layers and frames of  1/D ‖ĥ⁽ˡ⁾ − h⁽ˡ⁾‖₁ − λ_cos log σ(cos(ĥ⁽ˡ⁾, h⁽ˡ⁾)),   ĥ = heads(z)

Teacher and student hear the same. The heads ("expand last": linear to a part for each layer, GELU, a linear layer for
each) are thrown away after training. Chang, Yang & Lee 2022; paper 110 starts from it.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.models import Outputs
from workbench.perception.making.contamination import Contamination
from workbench.signals.numbers import at_least_zero
from workbench.signals.signal import Signal, seeded


class Heads(nn.Module):
    """Predictions of several layers from the last one: (n, frames, width) → (n, layers, frames, teacher's width)."""

    def __init__(self, width: int, told: int, layers: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, told * layers)
        self.each = nn.ModuleList(nn.Linear(told, told) for _ in range(layers))

    def forward(self, z: Tensor) -> Tensor:
        parts = F.gelu(self.expand(z)).chunk(len(self.each), -1)
        return torch.stack([head(part) for head, part in zip(self.each, parts, strict=True)], 1)


def layer_loss(guess: Tensor, told: Tensor, frames: Tensor, cosine: float) -> Tensor:
    """L_KD, a number.

    Parameters
    ----------
    guess, told
        ĥ and h, shape (n, layers, frames, D).
    frames
        Which frames are no padding, bool, shape (n, frames).
    cosine
        λ_cos.

    Examples
    --------
    >>> h = torch.randn(2, 3, 5, 8)
    >>> layer_loss(h, h, torch.ones(2, 5, dtype=torch.bool), cosine=1.0)
    tensor(0.3133)
    """
    losses = (guess - told).abs().mean(-1) - cosine * F.logsigmoid(F.cosine_similarity(guess, told, dim=-1))
    there = frames[:, None].expand_as(losses)
    return (losses * there).sum() / there.sum()


@dataclass(frozen=True)
class DistilHuBERT(Signal):
    """The teacher's layers from heads on the student's last one.

    Attributes
    ----------
    layers
        Of the teacher, counted from 1.
    cosine
        λ_cos ≥ 0.
    contamination
        Both hear the sound through it (plain augmentation); None: clean, as in the paper.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("words", n_train=32, n_test=20, words=4)
    >>> small = {"width": 16, "kernels": [20, 8], "strides": [10, 8]}
    >>> teacher = wb.models.build("speech", data, depth=3, **small)
    >>> student = wb.perception.student_of(teacher, depth=1)
    >>> record = wb.perception.distill(teacher, student, data, DistilHuBERT((2, 3)), steps=2, progress=False)
    >>> sorted(record.curves)
    ['distillation', 'learning_rate', 'train_loss']
    """

    layers: tuple[int, ...] = (4, 8, 12)
    cosine: float = 1.0
    contamination: Contamination | None = None
    complete: ClassVar[bool] = True
    clean_teacher: ClassVar[bool] = False
    """The teacher hears what the student hears."""

    def __post_init__(self) -> None:
        check_layers(self.layers)
        at_least_zero(cosine=self.cosine)

    @property
    def student_layers(self) -> tuple[str, ...]:
        return "frames", "context"

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        return block_names(self.layers)

    def bind(self, student: Outputs, teacher: Outputs, labels: Tensor, *, generator: torch.Generator) -> nn.Module:  # noqa: ARG002
        """Makes the heads."""
        return BoundDistilHuBERT(self, heads_for(student, teacher, self.layers, generator))


class BoundDistilHuBERT(nn.Module):
    """The loss with its heads."""

    def __init__(self, signal: DistilHuBERT, heads: Heads) -> None:
        super().__init__()
        self.signal, self.heads = signal, heads
        self.logged: dict[str, Tensor] = {}

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """L_KD of a batch, shape ()."""
        loss = layers_told(self.heads, student, teacher, self.signal.layers, self.signal.cosine)
        self.logged = {"distillation": loss.detach()}
        return loss


def block_names(layers: tuple[int, ...]) -> tuple[str, ...]:
    """What the encoder calls its layers, counted from 1."""
    return tuple(f"blocks.{layer - 1}" for layer in layers)


def check_layers(layers: tuple[int, ...]) -> None:
    """Refuse layers that cannot be meant."""
    if not layers or min(layers) < 1 or len(set(layers)) < len(layers):
        raise ValueError(f"layers is {layers}; it names layers of the teacher, counted from 1, none twice")


def heads_for(student: Outputs, teacher: Outputs, layers: tuple[int, ...], generator: torch.Generator) -> Heads:
    """Heads that fit the two networks' features."""
    z, h = student.features["context"], teacher.features[block_names(layers)[0]]
    if z.shape[1] != h.shape[1]:
        raise ValueError(
            f"the student has {z.shape[1]} frames where the teacher has {h.shape[1]}: both need the same kernels and "
            "strides"
        )
    with seeded(generator):
        return Heads(z.shape[2], h.shape[2], len(layers))


def layers_told(heads: nn.Module, student: Outputs, teacher: Outputs, layers: tuple[int, ...], cosine: float) -> Tensor:
    """L_KD of what the heads make of the student's last layer, against the teacher's layers."""
    told = torch.stack([teacher.features[name] for name in block_names(layers)], 1).detach()
    return layer_loss(heads(student.features["context"]), told, student.features["frames"], cosine)
