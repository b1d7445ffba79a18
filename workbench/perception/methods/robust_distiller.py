"""RobustDistiller: the student hears noise and rooms and predicts what the teacher's layers say of the clean sound.

    L = L_KD + λ L_enh,   L_KD = mean of 1/D ‖ĥ⁽ˡ⁾(x̃) − h⁽ˡ⁾(x)‖₁ − λ_cos log σ(cos(ĥ⁽ˡ⁾(x̃), h⁽ˡ⁾(x)))

with x̃ a contamination of x, and L_enh the distance of a masked spectrogram of x̃ from that of x. One training gives a
small encoder that bears noise. Without contamination and at λ = 0 it is DistilHuBERT.

Paper 110, Guimarães et al. 2023. From a speech encoder on clean sound, through its layers, into a student in noise.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench.models import Outputs
from workbench.perception.making import enhancing
from workbench.perception.making.contamination import Contamination
from workbench.perception.making.enhancing import Enhancement
from workbench.perception.methods.distilhubert import Heads, block_names, check_layers, heads_for, layers_told
from workbench.signals.numbers import at_least_zero
from workbench.signals.signal import Signal, seeded


@dataclass(frozen=True)
class RobustDistiller(Signal):
    """Layers of the clean sound and its spectrogram, from what the student hears.

    Attributes
    ----------
    layers
        Of the teacher, counted from 1.
    cosine
        λ_cos ≥ 0.
    enhancement
        The second task, with its weight λ.
    contamination
        What the student hears instead of the sound; None: the sound itself.
    distillation
        Weight of L_KD; 0 leaves the second task alone.
    hop
        Samples between two frames of the student: 320 are 20 ms at 16 kHz.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("words", n_train=32, n_test=20, words=4)
    >>> small = {"width": 16, "kernels": [20, 8], "strides": [10, 8]}
    >>> teacher = wb.models.build("speech", data, depth=3, **small)
    >>> student = wb.perception.student_of(teacher, depth=1)
    >>> asked = Enhancement(cell="gru", layers=1, hidden=8, n_fft=256, window=200, hop=80)
    >>> method = RobustDistiller((2, 3), enhancement=asked, contamination=Contamination(rate=8000), hop=80)
    >>> record = wb.perception.distill(teacher, student, data, method, steps=2, progress=False)
    >>> sorted(record.curves)
    ['distillation', 'enhancement', 'learning_rate', 'train_loss']
    """

    layers: tuple[int, ...] = (4, 8, 12)
    cosine: float = 1.0
    enhancement: Enhancement = field(default_factory=Enhancement)
    contamination: Contamination | None = field(default_factory=Contamination)
    distillation: float = 1.0
    hop: int = 320
    complete: ClassVar[bool] = True
    clean_teacher: ClassVar[bool] = True
    """The teacher hears the sound itself, whatever the student hears."""

    def __post_init__(self) -> None:
        check_layers(self.layers)
        at_least_zero(cosine=self.cosine, distillation=self.distillation)
        if not self.distillation and not self.enhancement.weight:
            raise ValueError("distillation is 0 and so is the weight of the enhancement: nothing is left to learn")
        if self.hop % self.enhancement.hop:
            raise ValueError(
                f"hop is {self.hop} and that of the enhancement {self.enhancement.hop}; a frame of the student must be "
                "a whole number of frames of the spectrogram"
            )

    @property
    def student_layers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("wave", "frames", self.enhancement.layer, "context")))

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        return "wave", *block_names(self.layers)

    def bind(self, student: Outputs, teacher: Outputs, labels: Tensor, *, generator: torch.Generator) -> nn.Module:  # noqa: ARG002
        """Makes the heads and the mask."""
        heads = heads_for(student, teacher, self.layers, generator)
        if not self.enhancement.weight:
            return BoundRobustDistiller(self, heads, None)
        with seeded(generator):
            mask = enhancing.Mask(self.enhancement, student.features[self.enhancement.layer].shape[2])
        return BoundRobustDistiller(self, heads, mask)


class BoundRobustDistiller(nn.Module):
    """The loss with its heads, and its mask where one is asked for."""

    def __init__(self, signal: RobustDistiller, heads: Heads, mask: enhancing.Mask | None) -> None:
        super().__init__()
        self.signal, self.heads, self.mask = signal, heads, mask
        self.logged: dict[str, Tensor] = {}

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """L of a batch, shape (); the teacher's outputs are those on the clean sound, which is among them."""
        signal, asked = self.signal, self.signal.enhancement
        self.logged = {}
        loss = student.features["context"].new_zeros(())
        if signal.distillation:
            L_KD = layers_told(self.heads, student, teacher, signal.layers, signal.cosine)
            self.logged["distillation"] = L_KD.detach()
            loss = loss + signal.distillation * L_KD
        if self.mask is not None:
            features, heard = student.features[asked.layer], student.features["wave"]
            S = enhancing.enhanced(self.mask, features, heard, asked, signal.hop)
            L_enh = enhancing.distance(S, teacher.features["wave"], asked)
            self.logged["enhancement"] = L_enh.detach()
            loss = loss + asked.weight * L_enh
        return loss
