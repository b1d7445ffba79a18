"""Distribution matching: synthetic and real images of a class should have the same mean feature in random networks.

    L = Σ_c ‖ mean_i ψ_θ(A(x_ci)) − mean_j ψ_θ(A(s_cj)) ‖²,   θ fresh at every iteration.

Zhao & Bilen, “Dataset Condensation with Distribution Matching”, WACV 2023, Eq. 6; no training of networks, no second
derivatives. ψ is the input of the last layer; the augmentation A is drawn once per class for both sides.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from workbench.condensation.initial import start
from workbench.condensation.run import Run
from workbench.condensation.synthetic import Synthetic
from workbench.models import observe


@dataclass(frozen=True, kw_only=True)
class DistributionMatching:
    """Match the mean feature of each class (DM).

    Attributes
    ----------
    ipc
        Images per class.
    iterations
        Steps of the public code.
    real_batch
        Real images per class and step.
    lr, momentum
        Of SGD on the pixels.
    initial
        What the images start from; see `workbench.condensation.initial.start`.
    network, options
        The networks that features are taken of: a name that `workbench.models.build` knows, and its options.
    """

    short: ClassVar[str] = "DM"

    ipc: int = 10
    iterations: int = 20_000
    real_batch: int = 256
    lr: float = 1.0
    momentum: float = 0.5
    initial: str = "real"
    network: str = "convnet"
    options: dict[str, Any] = field(default_factory=dict)

    def start(self, run: Run) -> Synthetic:
        return start(run, self.ipc, self.initial)

    def optimizers(self, synthetic: Synthetic) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD([synthetic.pixels], self.lr, momentum=self.momentum)]

    def losses(self, run: Run, synthetic: Synthetic) -> Iterator[Tensor]:
        network = run.network(self.network, **self.options)
        ψ = observe(network, network.penultimate)
        with torch.no_grad():
            real = run.real(self.real_batch)
            target = ψ(real.flatten(0, 1)).features[network.penultimate].unflatten(0, real.shape[:2]).mean(1)
        images = synthetic.by_class(run.generator("view"))
        mean = ψ(images.flatten(0, 1)).features[network.penultimate].unflatten(0, images.shape[:2]).mean(1)
        yield (mean - target).square().sum()
