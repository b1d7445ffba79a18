"""Masked distillation: in every inner step some pixels of the synthetic images are missing, and others must say it too.

    x ← m ⊙ x,   m_ij = 1[u_ij > r],  u ~ U(0, 1), fresh at every step, per pixel and channel; not rescaled.

Zhu et al., “Rethinking Data Distillation: Do Not Overlook Calibration”, ICCV 2023 (paper 112): networks trained on the
unmasked images afterwards are meant to be better calibrated. The outer objective is the host's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workbench.condensation.making.method import Matching
from workbench.condensation.making.synthetic import View
from workbench.condensation.making.viewed import Viewed


def masked(images: Tensor, ratio: float, generator: torch.Generator) -> Tensor:
    """Images with each value put to 0, the mean grey, with probability `ratio`, one by one; others stay as they are.

    Parameters
    ----------
    images
        Normalised, any shape.
    ratio
        In 0..1; with 0 nothing is drawn.

    Raises
    ------
    ValueError
        `ratio` is outside 0..1.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio is {ratio}; it must be in 0..1")
    if ratio == 0:
        return images
    drawn = torch.rand(images.shape, generator=generator, device=generator.device)
    return images * (drawn >= ratio).to(images)  # draws are in [0, 1): a ratio of 1 leaves nothing


@dataclass(frozen=True)
class Masks:
    """A `View` through fresh random masks; for the making only, so a record does not name it."""

    ratio: float

    @property
    def spec(self) -> Mapping[str, Any]:
        return {}

    @property
    def copies(self) -> int:
        return 1

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return masked(images, self.ratio, generator), labels


@dataclass(frozen=True)
class MDT(Viewed):
    """A host that sees its images through a fresh random mask at every step.

    Attributes
    ----------
    host
        The method, such as ``GradientMatching(ipc=1)``.
    ratio
        r: share of the pixels that are missing, small. With 0 the host makes exactly what it makes alone.

    Raises
    ------
    ValueError
        `ratio` is outside 0..1.

    Examples
    --------
    >>> import workbench as wb
    >>> method = MDT(wb.condensation.DistributionMatching(ipc=1, real_batch=16), ratio=0.2)
    >>> tiny = wb.condensation.condense(wb.data.load("digits"), method, iterations=2, progress=False)
    >>> tiny.name, tiny.view, tiny.settings["ratio"]
    ('MDT(DistributionMatching)', {}, 0.2)
    """

    host: Matching
    ratio: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.ratio < 1:
            raise ValueError(f"ratio is {self.ratio}; it must be in 0..1, and at 1 nothing of the images is left")

    @property
    def view(self) -> View:
        return Masks(self.ratio)
