"""What a method sees of the run it is part of: real batches by class, fresh networks, random numbers, its memory."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from workbench import models
from workbench.data import Split
from workbench.training import running


@dataclass(eq=False)
class CondensationRun(running.Run):
    """One run of `condense`, as its method sees it; with all that every `workbench.training.running.Run` has.

    Attributes
    ----------
    split
        The real training examples, on the run's device.
    seed, device, progress
        As given to `condense`.
    rows
        Which examples are of each class.
    """

    split: Split
    _: KW_ONLY
    seed: int
    device: torch.device
    rows: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        labels = self.split.labels
        self.rows = [(labels == c).nonzero().flatten() for c in range(len(self.split.classes))]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.split.classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image, (c, h, w)."""
        return self.split.shape

    @property
    def pixel_range(self) -> tuple[Tensor, Tensor]:
        """Least and greatest normalised value that a pixel of an image, raw 0..1, can have; each (c, 1, 1)."""
        if self.split.whitening is not None:  # any value can belong to an image
            infinite = torch.full_like(self.split.mean, torch.inf)
            return -infinite, infinite
        mean, std = (value.to(self.split.inputs) for value in (self.split.mean, self.split.std))
        return -mean / std, (1 - mean) / std

    def draw(self, per_class: int, generator: torch.Generator) -> Tensor:
        """Rows of `per_class` real examples of each class, shape (classes, per_class), none twice where a class has
        enough.
        """
        return torch.stack([_pick(rows, per_class, generator) for rows in self.rows])

    def real(self, per_class: int, purpose: str = "real") -> Tensor:
        """`per_class` real images of each class, drawn for this iteration: shape (classes, per_class, c, h, w)."""
        return self.split.inputs[self.draw(per_class, self.generator(purpose))]

    def network(self, name: str, purpose: str = "network", at: int | None = None, **options: Any) -> nn.Module:
        """A network with fresh weights drawn for this iteration (or position `at`), in training mode, on the device.

        Its parameters ask for no gradient: methods that need one pass parameters through ``torch.func``.
        """
        seed = int(torch.randint(2**62, (), generator=self.generator(purpose, at)))
        built = models.build(name, self.split, seed=seed, **options)
        return built.to(self.device, self.split.inputs.dtype).requires_grad_(False)


Run = CondensationRun
"""Its public name: `workbench.condensation.Run`."""


def _pick(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` of the rows in random order; where there are fewer, all of them over and over."""
    passes: Sequence[Tensor] = [
        rows[torch.randperm(len(rows), generator=generator).to(rows.device)] for _ in range(-(-count // len(rows)))
    ]
    return torch.cat(list(passes))[:count]
