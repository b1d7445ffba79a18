"""DREAM: match representative real images, not random ones, and start from them; whatever is matched.

Every `interval` iterations each class is clustered in the features of the current network, and the real images nearest
to the centres are the batch. Liu et al., “DREAM: Efficient Dataset Distillation by Representative Matching”, ICCV 2023
(paper 059); its host is IDC, gradient matching along real training with tiled images (Kim et al., “Dataset
Condensation via Efficient Synthetic-Data Parameterization”, ICML 2022).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from workbench.condensation.making.batches import RepresentativeBatches, representative
from workbench.condensation.making.inner import InnerTraining
from workbench.condensation.making.method import Finishing, Paced
from workbench.condensation.making.networks import embedding
from workbench.condensation.making.run import CondensationRun
from workbench.condensation.making.synthetic import Synthetic
from workbench.condensation.methods.dc import GradientMatching
from workbench.condensation.methods.dm import DistributionMatching
from workbench.condensation.methods.dsa import Siamese
from workbench.condensation.methods.mtt import MTT
from workbench.condensation.trajectories.experts import Experts

Host = GradientMatching | DistributionMatching | MTT


def idc(**changes: Any) -> GradientMatching:
    """IDC, the host of DREAM's public code, with its settings for CIFAR-10; `changes` replace some.

    The public rate, 0.005 (1e-4 with the absolute distance on MNIST), is for pixels in 0..1. Normalised pixels have it
    divided by the variance of the data, here (¼)². Not taken over: CutMix in the network's own training.

    Examples
    --------
    >>> idc(ipc=1).distance, idc(ipc=1).matches, idc(ipc=1, factor=1).factor
    ('squared', 100, 1)
    """
    settings: dict[str, Any] = {
        "iterations": 200_000,
        "matches": 100,
        "training": InnerTraining(on="real", steps=31, batch=64, momentum=0.9, weight_decay=5e-4),
        "real_batch": 128,
        "distance": "squared",
        "head": False,
        "lr": 0.08,
        "clamp": True,
        "factor": 2,
        "augment": Siamese("color+crop+cutout", mode="all"),
    }
    return GradientMatching(**(settings | changes))


@dataclass(frozen=True, kw_only=True)
class DREAM:
    """A matching method with representative real batches.

    Attributes
    ----------
    host
        What is matched, and how many images per class; its own `batches` and `initial` are replaced. Trajectory
        matching has no batches of real images: there the start is chosen, and what the experts learn from; see
        `expert_images`.
    interval, per_cluster
        See `RepresentativeBatches`.
    initial
        What the images start from: by default the real images nearest to cluster centres of a fresh network's features.
    expert_images
        Representative real images per class that the experts of trajectory matching are trained on, where they are
        trained at the start of the run; None: all there are.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> host = GradientMatching(ipc=1, matches=5, real_batch=16, network="mlp", options={"width": 16})
    >>> wb.condensation.condense(data, DREAM(host=host), iterations=2, progress=False).summary()
    'DREAM: 10 images 1×8×8 of 10 classes, hard labels, ... 2 iterations, ...'
    """

    short: ClassVar[str] = "DREAM"

    host: Host = field(default_factory=idc)
    interval: int = 10
    per_cluster: int = 1
    initial: str = "kmeans"
    expert_images: int | None = None

    def __post_init__(self) -> None:
        trained_here = isinstance(self.host, MTT) and isinstance(self.host.experts, Experts)
        if self.expert_images is not None and not (trained_here and self.expert_images >= 1):
            raise ValueError(
                f"expert_images is {self.expert_images}; it can be a number of images from 1 on where host is "
                "trajectory matching with experts that are yet to be trained (experts=Experts(…)), and None elsewhere"
            )

    @property
    def matching(self) -> Host:
        """The host with representative batches."""
        if isinstance(self.host, MTT):
            return replace(self.host, initial=self.initial)
        batches = RepresentativeBatches(self.interval, self.per_cluster)
        return replace(self.host, batches=batches, initial=self.initial)

    @property
    def ipc(self) -> int:
        return self.host.ipc

    @property
    def iterations(self) -> int:
        return self.host.iterations

    def start(self, run: CondensationRun) -> Synthetic:
        host = self.matching
        if isinstance(host, MTT) and isinstance(host.experts, Experts) and self.expert_images is not None:
            features = embedding(run.network(host.experts.network, **host.experts.options))
            rows = representative(run, self.expert_images, features, purpose="experts' images").rows
            chosen = run.split.take(rows.unique())
            experts = host.experts.train(chosen, seed=run.seed, device=run.device, progress=run.progress)
            host = replace(host, experts=experts)
        return host.start(run)

    def optimizers(self, synthetic: Synthetic) -> list[torch.optim.Optimizer]:
        return self.matching.optimizers(synthetic)

    def losses(self, run: CondensationRun, synthetic: Synthetic) -> Iterator[Tensor]:
        return self.matching.losses(run, synthetic)

    def pace(self, run: CondensationRun) -> float:
        host = self.matching
        return host.pace(run) if isinstance(host, Paced) else 1.0

    def finish(self, run: CondensationRun, synthetic: Synthetic) -> Mapping[str, Any]:
        host = self.matching
        return host.finish(run, synthetic) if isinstance(host, Finishing) else {}
