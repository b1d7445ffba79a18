"""A matching method whose synthetic images are seen through one more view; everything else is the method's own."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workbench.condensation.making.checks import checked_method
from workbench.condensation.making.method import Finishing, Matching, Paced
from workbench.condensation.making.run import CondensationRun
from workbench.condensation.making.synthetic import Synthetic, View
from workbench.training.making import short_name, title_of


@dataclass(frozen=True)
class Viewed:
    """Base of the methods that change what a host sees of its own images: wherever the host asks for examples, in its
    outer objective and in every inner step, the view comes last, before any augmentation.

    Attributes
    ----------
    host
        The method whose objective, networks, real batches, optimizers and hyperparameters are kept.
    """

    host: Matching

    def __post_init__(self) -> None:
        checked_method(self.host)

    @property
    def view(self) -> View:
        raise NotImplementedError

    @property
    def short(self) -> str:
        return f"{type(self).__name__}-{short_name(self.host)}"

    @property
    def name(self) -> str:
        return f"{type(self).__name__}({title_of(self.host)})"

    @property
    def ipc(self) -> int:
        return self.host.ipc

    @property
    def iterations(self) -> int:
        return self.host.iterations

    def start(self, run: CondensationRun) -> Synthetic:
        synthetic = self.host.start(run)
        synthetic.views = (*synthetic.views, self.view)
        return synthetic

    def optimizers(self, synthetic: Synthetic) -> list[torch.optim.Optimizer]:
        return self.host.optimizers(synthetic)

    def losses(self, run: CondensationRun, synthetic: Synthetic) -> Iterator[Tensor]:
        return self.host.losses(run, synthetic)

    def pace(self, run: CondensationRun) -> float:
        return self.host.pace(run) if isinstance(self.host, Paced) else 1.0

    def finish(self, run: CondensationRun, synthetic: Synthetic) -> Mapping[str, Any]:
        return self.host.finish(run, synthetic) if isinstance(self.host, Finishing) else {}
