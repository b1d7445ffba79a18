"""Datasets → datasets: a data set distilled into a few images, how they came to be, and what they teach."""

from workbench.condensation.condense import CondensationError, condense
from workbench.condensation.dm import DistributionMatching
from workbench.condensation.evaluate import evaluate
from workbench.condensation.method import Choosing, Matching
from workbench.condensation.networks import Fresh, Interpolated, NetworkPool, Trained, pretrain
from workbench.condensation.rded import RDED, RandomCrops
from workbench.condensation.relabelling import train_relabelled
from workbench.condensation.run import Run
from workbench.condensation.siamese import Siamese
from workbench.condensation.synthetic import Mirror, Synthetic, Tiles

__all__ = [
    "RDED",
    "Choosing",
    "CondensationError",
    "DistributionMatching",
    "Fresh",
    "Interpolated",
    "Matching",
    "Mirror",
    "NetworkPool",
    "RandomCrops",
    "Run",
    "Siamese",
    "Synthetic",
    "Tiles",
    "Trained",
    "condense",
    "evaluate",
    "pretrain",
    "train_relabelled",
]
