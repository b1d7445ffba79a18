"""Neuron selectivity transfer: the student's channels are distributed like the teacher's, as patterns over positions.

    L = MMD²({f_s}, {f_t}) = mean k(f_t, f_t') + mean k(f_s, f_s') − 2 mean k(f_t, f_s),   k(x, y) = (xᵀy)²

over the channels' activation maps f, each flattened and of unit length. Huang & Wang 2017 (Eq. 7, polynomial kernel
with d = 2, c = 0); paper 037, method 5.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from workbench.models import Outputs
from workbench.signals.features import FeatureSignal, as_maps, same_size


@dataclass(frozen=True)
class NST(FeatureSignal):
    """Maximum mean discrepancy between the two sets of channels.

    The number and the order of channels do not matter. Maps of different size are pooled to the smaller one.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> maps = torch.randn(2, 4, 5, 5)
    >>> out = Outputs(torch.zeros(2, 3), {"stage1": maps})
    >>> NST("stage1", "stage1")(out, out, torch.zeros(2, dtype=torch.int64))
    tensor([0., 0.])
    """

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,), ≥ 0."""
        losses = []
        for pair in self.pairs(student, teacher):
            f_s, f_t = (functional.normalize(maps.flatten(2), dim=2) for maps in same_size(*map(as_maps, pair)))
            losses.append(_kernel_mean(f_t, f_t) + _kernel_mean(f_s, f_s) - 2 * _kernel_mean(f_t, f_s))
        return sum(losses[1:], losses[0])


def _kernel_mean(a: Tensor, b: Tensor) -> Tensor:
    """Mean of (xᵀy)² over channels x of `a` and y of `b`, shape (n,)."""
    return torch.einsum("ncp,nkp->nck", a, b).square().mean((1, 2))
