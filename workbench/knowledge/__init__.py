"""Networks to networks: knowledge distillation. `distill` trains a student on a signal; signals add up with weights.

Response       `CrossEntropy` `KL` `LogitRegression` `DIST` `PLD` `ListMLE` `PListMLE` `BornAgain` `CWTM` `DKPP`
Feature        `Hint` `AttentionTransfer` `NST` `Adversarial`
Relation       `FSP` `RKDDistance` `RKDAngle` `SimilarityPreserving` `CRD`
Online, self   `train_together` (`Mutual`), `generations`, `OwnTeacher`
Teachers       `Committee` (several as one), `assistants` (a chain), `OldClasses` (the network of yesterday)
"""

from workbench.knowledge.adversarial import Adversarial
from workbench.knowledge.attention_transfer import AttentionTransfer
from workbench.knowledge.born_again import CWTM, DKPP, BornAgain, generations
from workbench.knowledge.committee import Committee
from workbench.knowledge.crd import CRD
from workbench.knowledge.cross_entropy import CrossEntropy
from workbench.knowledge.dist import DIST
from workbench.knowledge.distill import distill, distill_many
from workbench.knowledge.fsp import FSP
from workbench.knowledge.hint import Hint
from workbench.knowledge.kl import KL
from workbench.knowledge.lifelong import OldClasses
from workbench.knowledge.logit_regression import LogitRegression
from workbench.knowledge.mutual import Mutual, Peers, train_together
from workbench.knowledge.nst import NST
from workbench.knowledge.own_teacher import OwnTeacher
from workbench.knowledge.pld import PLD, ListMLE, PListMLE
from workbench.knowledge.rkd import RKDAngle, RKDDistance
from workbench.knowledge.signal import Signal
from workbench.knowledge.similarity_preserving import SimilarityPreserving
from workbench.knowledge.teacher_assistant import assistants

__all__ = [
    "CRD",
    "CWTM",
    "DIST",
    "DKPP",
    "FSP",
    "KL",
    "NST",
    "PLD",
    "Adversarial",
    "AttentionTransfer",
    "BornAgain",
    "Committee",
    "CrossEntropy",
    "Hint",
    "ListMLE",
    "LogitRegression",
    "Mutual",
    "OldClasses",
    "OwnTeacher",
    "PListMLE",
    "Peers",
    "RKDAngle",
    "RKDDistance",
    "Signal",
    "SimilarityPreserving",
    "assistants",
    "distill",
    "distill_many",
    "generations",
    "train_together",
]
