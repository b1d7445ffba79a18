"""Be your own teacher: a network's last exit teaches exits at its earlier layers, within one training run.

    L = CE(y, z_C) + Σ_i [ (1 − α) CE(y, z_i) + α KL(softmax(z_C / T) ‖ softmax(z_i / T)) + λ mean (r_i(F_i) − F_C)² ]

z_C and F_C are the network's own logits and deepest features, without gradient where they teach; exit i is a linear
head on the averaged features F_i and is dropped after training. Zhang et al. 2019 (Eq. 4 to 6; there a bottleneck of
convolutions stands before each head); paper 037's self-distillation scheme.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench.kernels import divergence
from workbench.models import Outputs
from workbench.signals.cross_entropy import CrossEntropy
from workbench.signals.features import Layers, as_maps, as_tuple, pooled, same_size, select
from workbench.signals.hint import Regressor
from workbench.signals.numbers import at_least_zero, positive, share
from workbench.signals.signal import Signal


@dataclass(frozen=True)
class OwnTeacher(Signal):
    """Self-distillation through depth; needs no teacher.

    Attributes
    ----------
    exits
        The layers that get an exit.
    deepest
        The layer whose features they imitate.
    temperature
        T > 0.
    alpha
        α in 0..1: share of the soft label in an exit's loss.
    feature_weight
        λ ≥ 0.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> features = {"stage1": torch.randn(4, 5, 4, 4), "stage2": torch.randn(4, 8, 2, 2)}
    >>> out, labels = Outputs(torch.zeros(4, 3), features), torch.zeros(4, dtype=torch.int64)
    >>> signal = OwnTeacher("stage1", "stage2")
    >>> signal.bind(out, None, labels, generator=torch.Generator().manual_seed(0))(out, None, labels).shape
    torch.Size([4])
    """

    exits: Layers
    deepest: str
    temperature: float = 3.0
    alpha: float = 0.3
    feature_weight: float = 0.03
    needs_teacher: ClassVar[bool] = False
    complete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive(temperature=self.temperature)
        share(alpha=self.alpha)
        at_least_zero(feature_weight=self.feature_weight)

    @property
    def student_layers(self) -> tuple[str, ...]:
        return (*as_tuple(self.exits), self.deepest)

    def bind(
        self,
        student: Outputs,
        teacher: Outputs | None,  # noqa: ARG002
        labels: Tensor,  # noqa: ARG002
        *,
        generator: torch.Generator,
    ) -> nn.Module:
        """Makes a head and a feature regressor for each exit."""
        (F_C,) = select(student.features, (self.deepest,))
        classes, channels = student.logits.shape[1], as_maps(F_C).shape[1]
        exits = select(student.features, as_tuple(self.exits))
        heads = [Regressor(as_maps(F_i).shape[1], classes, F_i, generator) for F_i in exits]
        regressors = [Regressor(as_maps(F_i).shape[1], channels, F_i, generator) for F_i in exits]
        return BoundOwnTeacher(self, heads, regressors)


class BoundOwnTeacher(nn.Module):
    """The loss with its exits."""

    def __init__(self, signal: OwnTeacher, heads: list[Regressor], regressors: list[Regressor]) -> None:
        super().__init__()
        self.signal = signal
        self.heads = nn.ModuleList(heads)
        self.regressors = nn.ModuleList(regressors)

    def forward(self, student: Outputs, teacher: Outputs | None, labels: Tensor) -> Tensor:
        """Per-example loss, shape (n,)."""
        signal, T = self.signal, self.signal.temperature
        (F_C,) = (as_maps(feature).detach() for feature in select(student.features, (signal.deepest,)))
        z_C = student.logits.detach()
        loss = CrossEntropy()(student, teacher, labels)
        exits = select(student.features, as_tuple(signal.exits))
        for head, regress, F_i in zip(self.heads, self.regressors, exits, strict=True):
            z_i = head(pooled(F_i)[:, :, None, None]).flatten(1)
            soft = divergence.forward_kl(z_i, z_C, student_temperature=T, teacher_temperature=T)
            hard = CrossEntropy()(Outputs(z_i), teacher, labels)
            guess, target = same_size(regress(as_maps(F_i)), F_C)
            feature = (guess - target).square().mean((1, 2, 3))
            loss = loss + (1 - signal.alpha) * hard + signal.alpha * soft + signal.feature_weight * feature
        return loss
