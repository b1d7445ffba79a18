"""A multilayer perceptron: the smallest network that distillation is shown on."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from workbench.models.norms import activation_layer


class MLP(nn.Module):
    """``flatten``, then hidden layers ``hidden.0``, ``hidden.1``, … (linear, activation), then the linear ``head``.

    Parameters
    ----------
    shape
        Shape of one input; flattened.
    outputs
        Number of logits.
    width
        Units of every hidden layer, or of each.
    depth
        Number of hidden layers.
    activation
        ``"relu"``, ``"tanh"``, ``"gelu"`` or ``"silu"``.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        *,
        width: int | Sequence[int] = 128,
        depth: int = 2,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        widths = [width] * depth if isinstance(width, int) else list(width)
        self.flatten = nn.Flatten()
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), activation_layer(activation))
            for a, b in pairwise([math.prod(shape), *widths])
        )
        self.head = nn.Linear(widths[-1], outputs)
        self.penultimate = f"hidden.{len(widths) - 1}"

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of inputs (n, *shape)."""
        x = self.flatten(x)
        for layer in self.hidden:
            x = layer(x)
        return cast("Tensor", self.head(x))
