"""FitNet hint: a regressor on the student's features predicts the teacher's.

    L = mean over elements of (r(F_s) − F_t)²,   r a 1×1 convolution

For vectors r is a linear map, for tokens a linear map of each token. Romero et al. 2015 (Eq. 3, there a sum with factor
½); paper 037, method 3. The mean makes the loss comparable across layer sizes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workbench.models import Outputs
from workbench.signals.features import FeatureSignal, as_maps, same_size


@dataclass(frozen=True)
class Hint(FeatureSignal):
    """Feature regression with one trainable regressor per pair of layers.

    Maps of different size are brought to the smaller one by average pooling; FitNets uses a larger valid convolution,
    which fixes the sizes it can be used with.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> narrow = Outputs(torch.zeros(2, 3), {"stage2": torch.randn(2, 4, 5, 5)})
    >>> wide = Outputs(torch.zeros(2, 3), {"stage3": torch.randn(2, 16, 5, 5)})
    >>> labels = torch.zeros(2, dtype=torch.int64)
    >>> loss = Hint("stage2", "stage3").bind(narrow, wide, labels, generator=torch.Generator().manual_seed(0))
    >>> loss(narrow, wide, labels).shape
    torch.Size([2])
    """

    def bind(self, student: Outputs, teacher: Outputs, labels: Tensor, *, generator: torch.Generator) -> nn.Module:  # noqa: ARG002
        """Makes the regressors, initialised as `torch.nn.Linear` is."""
        regressors = [
            Regressor(as_maps(F_s).shape[1], as_maps(F_t).shape[1], F_s, generator)
            for F_s, F_t in self.pairs(student, teacher)
        ]
        return BoundHint(self, regressors)


class Regressor(nn.Module):
    """A linear map of channels, the same at every position: a 1×1 convolution.

    Parameters
    ----------
    channels, targets
        Channels in and out.
    like
        A tensor of the dtype and device to use.
    generator
        Initialises weight and bias, uniform in ±1/√channels.
    """

    def __init__(self, channels: int, targets: int, like: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        bound = channels**-0.5
        weight = (2 * torch.rand(targets, channels, generator=generator) - 1) * bound
        bias = (2 * torch.rand(targets, generator=generator) - 1) * bound
        self.weight = nn.Parameter(weight.to(like))
        self.bias = nn.Parameter(bias.to(like))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (n, channels, h, w) to (n, targets, h, w)."""
        return torch.einsum("oc,nchw->nohw", self.weight, maps) + self.bias[:, None, None]


class BoundHint(nn.Module):
    """The hint with its regressors."""

    def __init__(self, signal: Hint, regressors: list[Regressor]) -> None:
        super().__init__()
        self.signal = signal
        self.regressors = nn.ModuleList(regressors)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,)."""
        losses = []
        for regressor, (F_s, F_t) in zip(self.regressors, self.signal.pairs(student, teacher), strict=True):
            guess, target = same_size(regressor(as_maps(F_s)), as_maps(F_t))
            losses.append((guess - target).square().mean((1, 2, 3)))
        return sum(losses[1:], losses[0])
