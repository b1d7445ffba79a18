"""Networks to networks: knowledge distillation. `distill` trains a student on a signal; signals add up with weights.

Response       `CrossEntropy` `KL` `LogitRegression` `DIST` `PLD` `ListMLE` `PListMLE` `BornAgain` `CWTM` `DKPP`
               `OFA` (exits at every stage) `BalancedKL` `AugmentedKD` (with `OnViews`, `Views`)
Feature        `Hint` `AttentionTransfer` `NST` `Adversarial` `VKD`
Relation       `FSP` `RKDDistance` `RKDAngle` `SimilarityPreserving` `CRD`
Online, self   `train_together` (`Mutual`, `BDKD`, `KDCL`), `generations`, `OwnTeacher`
Teachers       `Committee` (several as one), `assistants` (a chain), `OldClasses` (the network of yesterday)

`taxonomy` is the survey's map of them: what knowledge, when, how, and which changes each signal does not see.
"""

from workbench.knowledge import taxonomy
from workbench.knowledge.adversarial import Adversarial
from workbench.knowledge.attention_transfer import AttentionTransfer
from workbench.knowledge.augmentation import AugmentedKD, CutMixPick, OnViews, Views, risk_variance, teacher_stddev
from workbench.knowledge.bdkd import BDKD, KDCL, BalancedKL
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
from workbench.knowledge.ofa import OFA, adaptive_target_loss, ideal_student
from workbench.knowledge.own_teacher import OwnTeacher
from workbench.knowledge.pld import PLD, ListMLE, PListMLE
from workbench.knowledge.rkd import RKDAngle, RKDDistance
from workbench.knowledge.signal import Signal
from workbench.knowledge.similarity_preserving import SimilarityPreserving
from workbench.knowledge.teacher_assistant import assistants
from workbench.knowledge.vkd import VKD
from workbench.training.mixing import CutMix, Identity, Mixup, OneOf

__all__ = [
    "BDKD",
    "CRD",
    "CWTM",
    "DIST",
    "DKPP",
    "FSP",
    "KDCL",
    "KL",
    "NST",
    "OFA",
    "PLD",
    "VKD",
    "Adversarial",
    "AttentionTransfer",
    "AugmentedKD",
    "BalancedKL",
    "BornAgain",
    "Committee",
    "CrossEntropy",
    "CutMix",
    "CutMixPick",
    "Hint",
    "Identity",
    "ListMLE",
    "LogitRegression",
    "Mixup",
    "Mutual",
    "OldClasses",
    "OnViews",
    "OneOf",
    "OwnTeacher",
    "PListMLE",
    "Peers",
    "RKDAngle",
    "RKDDistance",
    "Signal",
    "SimilarityPreserving",
    "Views",
    "adaptive_target_loss",
    "assistants",
    "distill",
    "distill_many",
    "generations",
    "ideal_student",
    "risk_variance",
    "taxonomy",
    "teacher_stddev",
    "train_together",
]
