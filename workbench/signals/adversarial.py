"""Adversarial distillation: a discriminator tells the student's features from the teacher's, the student fools it.

    min over D, max over student:   L = −log D(F_t) − log(1 − D(r(F_s)))

One loss trains both: the discriminator sees r(F_s) with its gradient turned round (Ganin et al. 2016). After
Belagiannis et al. 2018; paper 037's adversarial algorithm.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from workbench.models import Outputs
from workbench.signals.features import FeatureSignal, as_maps, pooled
from workbench.signals.hint import Regressor


@dataclass(frozen=True)
class Adversarial(FeatureSignal):
    """Feature discriminator on features averaged over positions.

    Attributes
    ----------
    width
        Hidden units of the discriminator.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> student = Outputs(torch.zeros(4, 3), {"stage2": torch.randn(4, 5, 2, 2)})
    >>> teacher = Outputs(torch.zeros(4, 3), {"stage3": torch.randn(4, 9)})
    >>> labels = torch.zeros(4, dtype=torch.int64)
    >>> generator = torch.Generator().manual_seed(0)
    >>> game = Adversarial("stage2", "stage3").bind(student, teacher, labels, generator=generator)
    >>> game(student, teacher, labels).shape
    torch.Size([4])
    """

    width: int = 32

    def bind(self, student: Outputs, teacher: Outputs, labels: Tensor, *, generator: torch.Generator) -> nn.Module:  # noqa: ARG002
        """Makes a regressor (student to teacher channels) and a two-layer discriminator for each pair."""
        layers = []
        for F_s, F_t in self.pairs(student, teacher):
            channels = as_maps(F_t).shape[1]
            sizes = ((as_maps(F_s).shape[1], channels), (channels, self.width), (self.width, 1))
            layers += [Regressor(inputs, outputs, F_s, generator) for inputs, outputs in sizes]
        return BoundAdversarial(self, layers)


class BoundAdversarial(nn.Module):
    """The game's loss with regressor, hidden and output layer of each pair."""

    def __init__(self, signal: Adversarial, layers: list[Regressor]) -> None:
        super().__init__()
        self.signal = signal
        self.layers = nn.ModuleList(layers)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,)."""
        losses = []
        for index, (F_s, F_t) in enumerate(self.signal.pairs(student, teacher)):
            regress, hidden, output = self.layers[3 * index : 3 * index + 3]

            def judge(maps: Tensor, hidden: nn.Module = hidden, output: nn.Module = output) -> Tensor:
                return output(functional.leaky_relu(hidden(maps), 0.2)).flatten()

            faked = judge(reversed_gradient(regress(pooled(F_s)[:, :, None, None])))
            real = judge(pooled(F_t)[:, :, None, None])
            losses.append(functional.softplus(-real) + functional.softplus(faked))
        return sum(losses[1:], losses[0])


def reversed_gradient(value: Tensor) -> Tensor:
    """The value itself, through which gradients pass with their sign changed."""
    return 2 * value.detach() - value
