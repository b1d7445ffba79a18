"""What a method sees of the run it is part of: real batches by class, fresh networks, random numbers, its memory."""

import zlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench import models
from workbench.data import Split
from workbench.training import randomness


class Run:
    """One run of `condense`, as its method sees it.

    Attributes
    ----------
    split
        The real training examples, on the run's device.
    seed, device, progress
        As given to `condense`.
    iteration
        Of the step being made, from 0.
    memory
        What a method carries from one iteration to the next, such as the weights of a network it trains: tensors and
        plain values in dicts and lists. Saved with a checkpoint; all else is drawn anew from seed, purpose, iteration.
    made
        What a method makes once at its start and could make again, such as expert trajectories: not saved.
    logged
        Further values of this iteration, by the name of their curve; see `log`.
    """

    def __init__(self, split: Split, *, seed: int, device: torch.device, progress: bool = False) -> None:
        self.split = split
        self.seed = seed
        self.device = device
        self.progress = progress
        self.iteration = 0
        self.memory: dict[str, Any] = {}
        self.made: dict[str, Any] = {}
        self.logged: dict[str, float] = {}
        labels = split.labels
        self.rows = [(labels == c).nonzero().flatten() for c in range(len(split.classes))]

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

    def generator(self, purpose: str, at: int | None = None) -> torch.Generator:
        """Random numbers for one purpose at one position (by default this iteration); on the CPU, so that every device
        draws the same.
        """
        position = self.iteration if at is None else at
        return randomness.generator(self.seed, zlib.crc32(purpose.encode()), position)

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

    def log(self, **values: float | Tensor) -> None:
        """Add values of this iteration to curves of their own."""
        self.logged |= {name: float(value) for name, value in values.items()}


def _pick(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` of the rows in random order; where there are fewer, all of them over and over."""
    passes: Sequence[Tensor] = [
        rows[torch.randperm(len(rows), generator=generator).to(rows.device)] for _ in range(-(-count // len(rows)))
    ]
    return torch.cat(list(passes))[:count]
