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

from workbench.condensation.making.batches import Batches, Features, RandomBatches
from workbench.condensation.making.checks import check
from workbench.condensation.making.initial import start
from workbench.condensation.making.networks import NetworkPool, embedding, pool
from workbench.condensation.making.run import CondensationRun
from workbench.condensation.making.synthetic import Synthetic
from workbench.condensation.methods.dsa import Siamese


@dataclass(frozen=True, kw_only=True)
class DistributionMatching:
    """Match the mean feature of each class (DM).

    Attributes
    ----------
    ipc
        Images per class.
    iterations
        Steps of the public code.
    real_batch, batches
        Real images per class and step, and how they are chosen.
    lr, momentum
        Of SGD on the pixels.
    initial
        What the images start from; see `workbench.condensation.making.initial.start`. k-means clusters the features of
        the first network.
    augment
        The augmentation that both sides share; None: none. The paper's ``Siamese()`` mirrors images, which digits and
        letters do not survive: take ``Siamese("color+crop+cutout+scale+rotate")`` there, as its authors do.
    network, options
        What features are taken of: an architecture that `workbench.models.build` knows, with fresh weights at every
        step, and its options; or a pool of networks.
    """

    short: ClassVar[str] = "DM"

    ipc: int = 10
    iterations: int = 20_000
    real_batch: int = 256
    batches: Batches = field(default_factory=RandomBatches)
    lr: float = 1.0
    momentum: float = 0.5
    initial: str = "real"
    augment: Siamese | None = None
    network: str | NetworkPool = "convnet"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self, whole={"ipc": 1, "iterations": 0, "real_batch": 1}, positive=["lr"], least=["momentum"])

    def start(self, run: CondensationRun) -> Synthetic:
        features = embedding(pool(self.network, self.options).draw(run)) if self.initial == "kmeans" else None
        return start(run, self.ipc, self.initial, features=features)

    def optimizers(self, synthetic: Synthetic) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD([synthetic.pixels], self.lr, momentum=self.momentum)]

    def losses(self, run: CondensationRun, synthetic: Synthetic) -> Iterator[Tensor]:
        psi = embedding(pool(self.network, self.options).draw(run))
        batch = self.batches.draw(run, self.real_batch, psi)
        real, images = run.split.inputs[batch.rows], synthetic.by_class(run.generator("view"))
        if self.augment is not None:
            change = self.augment.by_class(run.classes, run.generator("augment"))
            real, images = change(real), change(images)
        with torch.no_grad():
            target = batch.mean(by_class(psi, real))
        yield (by_class(psi, images).mean(1) - target).square().sum()


def by_class(psi: Features, images: Tensor) -> Tensor:
    """Features (classes, m, d) of images (classes, m, c, h, w), in one forward pass."""
    return psi(images.flatten(0, 1)).unflatten(0, images.shape[:2])
