"""Names of this family whose code stands below all families: what a student is told, and mixing of examples."""

from workbench.signals.adversarial import Adversarial
from workbench.signals.attention_transfer import AttentionTransfer
from workbench.signals.crd import CRD
from workbench.signals.cross_entropy import CrossEntropy
from workbench.signals.dist import DIST
from workbench.signals.dkd import DKD
from workbench.signals.fsp import FSP
from workbench.signals.hint import Hint
from workbench.signals.kl import KL
from workbench.signals.logit_regression import LogitRegression
from workbench.signals.memory_crd import MemoryCRD
from workbench.signals.mlkd import MLKD
from workbench.signals.nst import NST
from workbench.signals.pkt import PKT
from workbench.signals.review_kd import ReviewKD
from workbench.signals.rkd import RKDAngle, RKDDistance
from workbench.signals.signal import Signal
from workbench.signals.similarity_preserving import SimilarityPreserving
from workbench.signals.simkd import SimKD, reuse
from workbench.signals.vid import VID
from workbench.signals.weighted import Weighted
from workbench.training.mixing import CutMix, Identity, Mixup, OneOf

__all__ = [
    "CRD",
    "DIST",
    "DKD",
    "FSP",
    "KL",
    "MLKD",
    "NST",
    "PKT",
    "VID",
    "Adversarial",
    "AttentionTransfer",
    "CrossEntropy",
    "CutMix",
    "Hint",
    "Identity",
    "LogitRegression",
    "MemoryCRD",
    "Mixup",
    "OneOf",
    "RKDAngle",
    "RKDDistance",
    "ReviewKD",
    "Signal",
    "SimKD",
    "SimilarityPreserving",
    "Weighted",
    "reuse",
]
