"""Augmentations that mix examples (Mixup, CutMix) or choose among others; for ``augment=`` of any training.

They change inputs only. What the mixed example is called is the signal's business: in paper 064 the teacher says it.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from workbench.training.augment import Augmentation


@dataclass(frozen=True)
class Identity(Augmentation):
    """No augmentation."""

    draws: ClassVar[int] = 0

    def draw(self, shape: torch.Size, generator: torch.Generator) -> tuple[Tensor, ...]:  # noqa: ARG002
        return ()

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:  # noqa: ARG002
        return x


@dataclass(frozen=True)
class Mixup(Augmentation):
    """Every example fades into another: λ x_i + (1 − λ) x_j, with one λ ~ Beta(α, α) per batch (Zhang et al. 2018)."""

    alpha: float = 1.0
    draws: ClassVar[int] = 2
    separable: ClassVar[bool] = False

    def draw(self, shape: torch.Size, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The partner j of each example, and λ for each, both of shape (n,)."""
        return _order(shape[0], generator), _beta(self.alpha, generator).expand(shape[0])

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:
        order, lam = draws
        lam = lam.to(x.dtype).view(-1, *[1] * (x.ndim - 1))
        return lam * x + (1 - lam) * x[order]


@dataclass(frozen=True)
class CutMix(Augmentation):
    """A box of every example is another's, 1 − λ of the image before clipping, λ ~ Beta(α, α) (Yun et al. 2019).

    Examples
    --------
    >>> import torch
    >>> x, cutmix = torch.rand(4, 1, 8, 8), CutMix()
    >>> draws = cutmix.draw(x.shape, torch.Generator().manual_seed(0))
    >>> mixed, lam = cutmix.apply(x, *draws), cutmix.kept(x.shape, *draws)[0]
    >>> bool(((mixed == x).float().mean((1, 2, 3)) >= lam).all())
    True
    """

    alpha: float = 1.0
    draws: ClassVar[int] = 3
    separable: ClassVar[bool] = False

    def draw(self, shape: torch.Size, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The partner of each example (n,), λ before clipping (n,), and the box's centre in 0..1 (n, 2)."""
        if len(shape) != 4:
            raise ValueError(
                f"CutMix is for images (n, channels, height, width), but the inputs have shape {tuple(shape)}"
            )
        n = shape[0]
        centre = torch.rand(2, generator=generator, device=generator.device)
        return _order(n, generator), _beta(self.alpha, generator).expand(n), centre.expand(n, 2)

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:
        inside = self._box(x.shape, *draws[1:])
        return torch.where(inside[:, None], x[draws[0]], x)

    def kept(self, shape: torch.Size, *draws: Tensor) -> Tensor:
        """λ after clipping: the share of each image that is its own, shape (n,)."""
        return 1 - self._box(shape, *draws[1:]).double().mean((1, 2))

    def _box(self, shape: torch.Size, lam: Tensor, centre: Tensor) -> Tensor:
        """Where the other image shows, shape (n, height, width)."""
        sides = []
        for axis, side in enumerate(shape[-2:]):
            half = ((1 - lam).sqrt() * side).floor().div(2, rounding_mode="floor")
            middle = (centre[:, axis] * side).floor()
            at = torch.arange(side, device=lam.device)
            sides.append((at >= (middle - half)[:, None]) & (at < (middle + half)[:, None]))
        return sides[0][:, :, None] & sides[1][:, None, :]


@dataclass(frozen=True)
class OneOf(Augmentation):
    """Each example gets one of several augmentations at random: what a learned policy comes down to on small images."""

    choices: tuple[Augmentation, ...]

    @property
    def draws(self) -> int:  # type: ignore[override]
        return 1 + sum(choice.draws for choice in self.choices)

    @property
    def separable(self) -> bool:  # type: ignore[override]
        return all(choice.separable for choice in self.choices)

    def draw(self, shape: torch.Size, generator: torch.Generator) -> tuple[Tensor, ...]:
        which = torch.randint(len(self.choices), shape[:1], generator=generator, device=generator.device)
        return which, *[tensor for choice in self.choices for tensor in choice.draw(shape, generator)]

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:
        which, position, result = draws[0].view(-1, *[1] * (x.ndim - 1)), 1, x
        for index, choice in enumerate(self.choices):
            changed = choice.apply(x, *draws[position : position + choice.draws])
            result = torch.where(which == index, changed, result)
            position += choice.draws
        return result


def _order(n: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(n, generator=generator, device=generator.device)


def _beta(alpha: float, generator: torch.Generator) -> Tensor:
    """One draw from Beta(α, α). Torch draws it from its global generator only; NumPy's is seeded from ours."""
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    return torch.tensor([np.random.default_rng(seed).beta(alpha, alpha)], device=generator.device)
