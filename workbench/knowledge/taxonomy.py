"""The survey's map of distillation: what knowledge, by which scheme, through which algorithm (paper 037).

`METHODS` lists what is built here; `invariances` finds out, by trying, which changes of the student's outputs a signal
does not see.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from workbench.knowledge.methods.born_again import CWTM, DKPP, BornAgain
from workbench.knowledge.methods.lifelong import OldClasses
from workbench.knowledge.methods.mutual import Mutual
from workbench.knowledge.methods.own_teacher import OwnTeacher
from workbench.knowledge.methods.pld import PLD
from workbench.models import Outputs
from workbench.signals.adversarial import Adversarial
from workbench.signals.attention_transfer import AttentionTransfer
from workbench.signals.crd import CRD
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
from workbench.signals.simkd import SimKD
from workbench.signals.vid import VID

Knowledge = Literal["response", "feature", "relation"]
Scheme = Literal["offline", "online", "self"]


@dataclass(frozen=True)
class Entry:
    """A method's place in the taxonomy.

    Attributes
    ----------
    name
        As in the literature.
    knowledge
        What is passed on.
    scheme
        When the teacher is trained: before (``"offline"``), together with the student (``"online"``), or as a copy or
        part of the student (``"self"``).
    algorithm
        How it is passed on; empty for plain matching.
    formula
        The loss, s student, t teacher.
    signal
        What to pass to `distill`.
    """

    name: str
    knowledge: Knowledge
    scheme: Scheme
    algorithm: str
    formula: str
    signal: Signal


EARLY, LATE = "early", "late"
METHODS: tuple[Entry, ...] = (
    Entry("Soft labels", "response", "offline", "", "T² KL(softmax(t/T) ‖ softmax(s/T))", KL(4.0)),
    Entry("Logit regression", "response", "offline", "", "‖s − t‖²", LogitRegression()),
    Entry("DIST", "response", "offline", "correlation", "β (1 − ρ rows) + γ (1 − ρ columns)", DIST()),
    Entry("DKD", "response", "offline", "", "α TCKD + β NCKD: the label against the rest, and the rest", DKD()),
    Entry("MLKD", "response", "offline", "correlation", "KL + ‖P_sP_sᵀ − P_tP_tᵀ‖² + ‖P_sᵀP_s − P_tᵀP_t‖²", MLKD()),
    Entry("PLD", "response", "offline", "ranking", "Σ αₖ (log Σ_{l≥k} exp s_πl − s_πk)", PLD()),
    Entry("FitNet hint", "feature", "offline", "", "‖r(F_s) − F_t‖²", Hint(LATE, LATE)),
    Entry(
        "Attention transfer",
        "feature",
        "offline",
        "attention",
        "‖Q_s/‖Q_s‖ − Q_t/‖Q_t‖‖², Q = Σ_c F_c²",
        AttentionTransfer(LATE, LATE),
    ),
    Entry("VID", "feature", "offline", "", "½ (log σ² + (F_t − μ(F_s))² / σ²), μ and σ learned", VID(LATE, LATE)),
    Entry(
        "Knowledge review",
        "feature",
        "offline",
        "attention",
        "Σₖ HCL(fuse(F_s,k, deeper), F_t,k)",
        ReviewKD((EARLY, LATE), (EARLY, LATE)),
    ),
    # The student is one that `reuse` made; its projector is what stands for LATE.
    Entry("SimKD", "feature", "offline", "", "‖P(F_s) − F_t‖², then the teacher's classifier", SimKD(LATE, LATE)),
    Entry("NST", "feature", "offline", "", "MMD² of channels, k(x, y) = (xᵀy)²", NST(LATE, LATE)),
    Entry("Adversarial", "feature", "offline", "adversarial", "−log D(F_t) − log(1 − D(F_s))", Adversarial(LATE, LATE)),
    Entry("FSP", "relation", "offline", "", "‖G_s − G_t‖², G = F₁F₂ᵀ / hw", FSP((EARLY, LATE), (EARLY, LATE))),
    Entry("RKD distance", "relation", "offline", "graph", "huber(ψ_s − ψ_t), ψ distance", RKDDistance(LATE, LATE)),
    Entry("RKD angle", "relation", "offline", "graph", "huber(cos∠_s − cos∠_t)", RKDAngle(LATE, LATE)),
    Entry(
        "Similarity preserving",
        "relation",
        "offline",
        "graph",
        "‖Ĝ_s − Ĝ_t‖² / B², G = F Fᵀ",
        SimilarityPreserving(LATE, LATE),
    ),
    Entry("PKT", "relation", "offline", "graph", "Σⱼ p log(p/q), p ∝ (1 + cos∠)/2 of the others", PKT(LATE, LATE)),
    Entry("Contrastive (CRD)", "relation", "offline", "contrastive", "InfoNCE(g(F_s), g(F_t))", CRD(LATE, LATE)),
    Entry(
        "Contrastive with a memory",
        "relation",
        "offline",
        "contrastive",
        "NCE(g(F_s), memory of g(F_t)) and the other way round",
        MemoryCRD(LATE, LATE, examples=50_000),  # as many as there are in CIFAR
    ),
    Entry("Mutual learning", "response", "online", "", "CE + KL(p_other ‖ p_self), both ways", Mutual()),
    Entry("Own teacher", "feature", "self", "", "deep exit teaches shallow exits", OwnTeacher(EARLY, LATE)),
    Entry("Born-again", "response", "self", "", "CE(softmax(t), softmax(s)), a chain of generations", BornAgain()),
    Entry("CWTM", "response", "self", "", "labels weighted by the teacher's confidence", CWTM()),
    Entry("DKPP", "response", "self", "", "CE(shuffled softmax(t), softmax(s))", DKPP()),
    Entry("Old classes (LwF)", "response", "offline", "lifelong", "KL over the old classes", OldClasses((0, 1, 2))),
)


def invariances(signal: Signal, *, seed: int = 0) -> dict[str, bool] | None:
    """Which changes of a student that equals its teacher leave the signal where it was, found by trying in float64.

    Returns
    -------
    dict or None
        Transformation (of the features or of the logits, whichever the signal reads) → whether the loss stays at its
        value for equal outputs, to 1e-10; None for signals whose trainable parts or online partners make the question
        moot.

    Examples
    --------
    >>> [change for change, blind in invariances(SimilarityPreserving("late", "late")).items() if blind]
    ['scale', 'rotation', 'permutation of channels']
    """
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    n, classes, channels, side = 6, 5, 4, 3
    features = {name: torch.randn(n, channels, side, side, **draw) for name in (EARLY, LATE)}  # type: ignore[call-overload]
    same = Outputs(torch.randn(n, classes, **draw), features)  # type: ignore[call-overload]
    labels = torch.arange(n) % classes
    if not signal.needs_teacher or type(signal).__call__ is Signal.__call__:
        return None
    rest = signal(same, same, labels)
    rotation = torch.linalg.qr(torch.randn(channels * side**2, channels * side**2, **draw)).Q  # type: ignore[call-overload]

    def of_features(change: Callable[[Tensor], Tensor]) -> Outputs:
        return Outputs(same.logits, {name: change(value) for name, value in features.items()})

    order = torch.randperm(channels, generator=generator)
    changed = {
        "scale": of_features(lambda F: 3 * F),
        "translation": of_features(lambda F: F + 1.5),
        "rotation": of_features(lambda F: (F.flatten(1) @ rotation).view_as(F)),
        "permutation of channels": of_features(lambda F: F[:, order]),
    }
    if not signal.student_layers:
        changed = {
            "constant added": Outputs(same.logits + 2.0, features),
            "scale": Outputs(same.logits * 1.7, features),
            "permutation of classes": Outputs(same.logits.roll(1, 1), features),
        }
    return {name: bool((signal(out, same, labels) - rest).abs().max() < 1e-10) for name, out in changed.items()}
