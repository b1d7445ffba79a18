"""Networks of diffusion models: a state and its time (and a class) go in, something of the state's shape comes out."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from workbench.models.norms import activation_layer


def time_features(t: Tensor, octaves: int = 4) -> Tensor:
    """(t, sin 2ʲt, cos 2ʲt), j = 0 … octaves − 1, of times (n,): shape (n, 1 + 2 octaves).

    >>> time_features(torch.zeros(3)).shape
    torch.Size([3, 9])
    """
    angles = t[:, None] * 2.0 ** torch.arange(octaves, device=t.device, dtype=t.dtype)
    return torch.cat([t[:, None], angles.sin(), angles.cos()], 1)


class ClassTable(nn.Module):
    """A vector per class, and a last one for "any class", which ``-1`` and None ask for."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(classes + 1, width)

    def forward(self, condition: Tensor | None, n: int) -> Tensor:
        """Shape (n, width)."""
        last = self.table.num_embeddings - 1
        if condition is None:
            return self.table.weight[last].expand(n, -1)
        return cast("Tensor", self.table(torch.where(condition < 0, last, condition)))


class TimeEmbedding(nn.Module):
    """Time and class as one vector, (n, width): a small MLP of `time_features`, plus a row of a `ClassTable`."""

    def __init__(self, width: int, classes: int, octaves: int = 8) -> None:
        super().__init__()
        self.octaves = octaves
        self.layers = nn.Sequential(nn.Linear(1 + 2 * octaves, width), nn.SiLU(), nn.Linear(width, width))
        self.classes = ClassTable(classes, width) if classes else None

    def forward(self, t: Tensor, condition: Tensor | None) -> Tensor:
        embedded = cast("Tensor", self.layers(time_features(t, self.octaves)))
        return embedded if self.classes is None else embedded + self.classes(condition, len(t))


class DenoiserMLP(nn.Module):
    """For points: hidden layers on the state beside its time, then a linear ``head``.

    Parameters
    ----------
    shape
        Of one example; flattened.
    classes
        How many it can be asked for; 0: none.
    width, depth
        Units of a hidden layer, and how many there are.
    activation
        As for `MLP`.
    """

    def __init__(
        self, shape: Sequence[int], classes: int, *, width: int = 128, depth: int = 3, activation: str = "silu"
    ) -> None:
        super().__init__()
        size = math.prod(shape)
        self.enter = nn.Linear(size + 9, width)
        self.classes = ClassTable(classes, width) if classes else None
        self.act = activation_layer(activation)
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), activation_layer(activation)) for _ in range(depth - 1)
        )
        self.head = nn.Linear(width, size)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Shape of x, (n, *shape), at times (n,), for classes (n,), −1 for any."""
        h = self.enter(torch.cat([x.flatten(1), time_features(t.to(x))], 1))
        if self.classes is not None:
            h = h + self.classes(condition, len(x))
        h = self.act(h)
        for layer in self.hidden:
            h = layer(h)
        return cast("Tensor", self.head(h).view_as(x))
