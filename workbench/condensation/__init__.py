"""Datasets → datasets: a data set distilled into a few images, how they came to be, and what they teach."""

from workbench.condensation.condense import CondensationError, condense
from workbench.condensation.dm import DistributionMatching
from workbench.condensation.method import Choosing, Matching
from workbench.condensation.networks import Fresh, Interpolated, NetworkPool, Trained, pretrain
from workbench.condensation.run import Run
from workbench.condensation.siamese import Siamese
from workbench.condensation.synthetic import Mirror, Synthetic, Tiles

__all__ = [
    "Choosing",
    "CondensationError",
    "DistributionMatching",
    "Fresh",
    "Interpolated",
    "Matching",
    "Mirror",
    "NetworkPool",
    "Run",
    "Siamese",
    "Synthetic",
    "Tiles",
    "Trained",
    "condense",
    "pretrain",
]
