"""What a condensation method is: images to start from, and a loss per iteration; or a choice made at once."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from workbench.condensation.making.run import CondensationRun
from workbench.condensation.making.synthetic import Synthetic
from workbench.training.making import Paced

__all__ = ["Choosing", "Finishing", "Matching", "Paced"]


@runtime_checkable
class Matching(Protocol):
    """A method that improves synthetic images step by step; a frozen dataclass of the paper's hyperparameters."""

    @property
    def ipc(self) -> int:
        """Images per class."""

    @property
    def iterations(self) -> int:
        """Steps that `condense` makes unless told otherwise."""

    def start(self, run: CondensationRun) -> Synthetic:
        """The images before the first step."""

    def optimizers(self, synthetic: Synthetic) -> list[torch.optim.Optimizer]:
        """What moves the leaves; all step after each loss."""

    def losses(self, run: CondensationRun, synthetic: Synthetic) -> Iterator[Tensor]:
        """The losses of one iteration, one after the other: each is a scalar, and the images are moved a step down its
        gradient before the next is asked for. What follows the last ``yield`` sees the moved images.
        """


@runtime_checkable
class Finishing(Protocol):
    """A method with more to put into the record than the images: fields of `DistilledSet` by name."""

    def finish(self, run: CondensationRun, synthetic: Synthetic) -> Mapping[str, Any]:
        """Fields such as ``step_size``, ``start`` or ``spec``."""


@runtime_checkable
class Choosing(Protocol):
    """A method that makes its images at once, without a loop: a selection, or a mosaic of crops."""

    @property
    def ipc(self) -> int:
        """Images per class."""

    def choose(self, run: CondensationRun) -> Mapping[str, Any]:
        """Fields of `DistilledSet`: at least ``images`` and ``labels``."""
