"""Attention transfer: the student looks where the teacher looks, whatever it sees there.

    L = ‖ Q_s / ‖Q_s‖ − Q_t / ‖Q_t‖ ‖²,   Q = vec(Σ_c F_c²)

Blind to a positive factor on F and to the order and number of its channels. Zagoruyko & Komodakis 2017 (Eq. 2, p = 2,
squared); paper 037, method 4.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from workbench.models import Outputs
from workbench.signals.features import FeatureSignal, as_maps, same_size


@dataclass(frozen=True)
class AttentionTransfer(FeatureSignal):
    """Spatial attention signal. Maps of different size are pooled to the smaller one, as in the authors' code.

    Vectors have a single position, so that the loss on them is always 0.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> maps = torch.randn(2, 4, 5, 5)
    >>> signal = AttentionTransfer("stage1", "stage1")
    >>> labels = torch.zeros(2, dtype=torch.int64)
    >>> small, large = (Outputs(torch.zeros(2, 3), {"stage1": scale * maps}) for scale in (1, 2))
    >>> signal(small, large, labels)
    tensor([0., 0.])
    """

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,), in 0..2 per pair."""
        losses = []
        for pair in self.pairs(student, teacher):
            F_s, F_t = same_size(*map(as_maps, pair))
            losses.append((attention(F_s) - attention(F_t)).square().sum(1))
        return sum(losses[1:], losses[0])


def attention(maps: Tensor) -> Tensor:
    """Where maps (n, c, h, w) are active: Σ_c F_c², flattened and of unit length, shape (n, h·w)."""
    return functional.normalize(maps.square().sum(1).flatten(1), dim=1)
