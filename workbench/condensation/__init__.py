"""Datasets → datasets: a data set distilled into a few images, how they came to be, and what they teach."""

from workbench.condensation.batches import Batches, RandomBatches, RepresentativeBatches
from workbench.condensation.condense import CondensationError, condense
from workbench.condensation.datadam import DataDAM
from workbench.condensation.dc import GradientMatching
from workbench.condensation.dd import DD
from workbench.condensation.dm import DistributionMatching
from workbench.condensation.dream import DREAM, idc
from workbench.condensation.evaluate import evaluate
from workbench.condensation.examples import examples
from workbench.condensation.experts import Experts
from workbench.condensation.exporting import export
from workbench.condensation.flat import FlatNetwork
from workbench.condensation.ftd import FTD, AccumulatedError, accumulated_error
from workbench.condensation.fyi import FYI, asymmetry, evaluate_mirrored
from workbench.condensation.gsam import GSAM
from workbench.condensation.history import score_history
from workbench.condensation.influence import leave_one_out
from workbench.condensation.inner import InnerTraining
from workbench.condensation.look import look
from workbench.condensation.masking import MDT
from workbench.condensation.method import Choosing, Matching
from workbench.condensation.mtt import MTT
from workbench.condensation.ncfm import NCFM
from workbench.condensation.networks import Fresh, Interpolated, NetworkPool, Trained, pretrain
from workbench.condensation.opening import open_images
from workbench.condensation.plane import Plane
from workbench.condensation.rded import RDED, RandomCrops
from workbench.condensation.relabelling import train_relabelled
from workbench.condensation.replay import Replay, replay
from workbench.condensation.run import Run
from workbench.condensation.scaling import calibrate, masked_temperature
from workbench.condensation.selection import EL2N, ClassMeans, Forgetting, Herding, KCentre, Random
from workbench.condensation.siamese import Siamese
from workbench.condensation.synthetic import Mirror, Synthetic, Tiles
from workbench.condensation.trajectories import Trajectories, TrajectoryError
from workbench.condensation.unroll import Descent, unroll

__all__ = [
    "DD",
    "DREAM",
    "EL2N",
    "FTD",
    "FYI",
    "GSAM",
    "MDT",
    "MTT",
    "NCFM",
    "RDED",
    "AccumulatedError",
    "Batches",
    "Choosing",
    "ClassMeans",
    "CondensationError",
    "DataDAM",
    "Descent",
    "DistributionMatching",
    "Experts",
    "FlatNetwork",
    "Forgetting",
    "Fresh",
    "GradientMatching",
    "Herding",
    "InnerTraining",
    "Interpolated",
    "KCentre",
    "Matching",
    "Mirror",
    "NetworkPool",
    "Plane",
    "Random",
    "RandomBatches",
    "RandomCrops",
    "Replay",
    "RepresentativeBatches",
    "Run",
    "Siamese",
    "Synthetic",
    "Tiles",
    "Trained",
    "Trajectories",
    "TrajectoryError",
    "accumulated_error",
    "asymmetry",
    "calibrate",
    "condense",
    "evaluate",
    "evaluate_mirrored",
    "examples",
    "export",
    "idc",
    "leave_one_out",
    "look",
    "masked_temperature",
    "open_images",
    "pretrain",
    "replay",
    "score_history",
    "train_relabelled",
    "unroll",
]
