"""Does a projector that can only turn make the student do the learning?

Paper 054, V_kD. A CNN teaches a transformer through its last features, with projectors of growing freedom and with the
teacher's features as they are, standardised or whitened; and a GAN's discriminator learns from such features.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from workbench.data import Dataset
from workbench.knowledge import KL, VKD, CrossEntropy, Signal
from workbench.knowledge.making.distill import bind
from workbench.knowledge.methods.vkd import Normalisation, Projector
from workbench.models import observe
from workbench.studies.kit.claims import Estimate, asserted, estimate, reported
from workbench.studies.kit.compare import Comparison, Length, compare
from workbench.studies.kit.recipes import EPOCH, FILLED, PUBLIC, Network
from workbench.studies.kit.study import Outcome, Setting, study
from workbench.studies.knowledge.ring_gan import modes_covered

SHRINKAGE = 0.1
MOST = 2000
"""Examples and steps by which a projector is trained alone, at most."""
FREEDOM: tuple[Projector, ...] = ("orthogonal", "linear", "MLP")
"""Projectors from the least to the most free."""
PROJECTIONS: tuple[tuple[Projector, Normalisation], ...] = (
    ("orthogonal", "none"),
    ("orthogonal", "standardise"),
    ("orthogonal", "whiten"),
    ("linear", "none"),
    ("linear", "standardise"),
    ("linear+BN", "standardise"),
    ("MLP", "standardise"),
    ("none", "standardise"),
)


@dataclass(frozen=True)
class Scale:
    """How large everything is; features are the teacher's layer `seen` and what the student's head reads."""

    teacher: Network
    student: Network
    seen: str
    length: Length
    examples: int | None
    gan_steps: int
    projections: tuple[tuple[Projector, Normalisation], ...] = PROJECTIONS


STUDENT = "pool"
ADAMW: dict[str, Any] = {"optimizer": "adamw", "weight_decay": 0.05, "batch_size": 64, "augment": "shift+flip"}
EVERY: tuple[Projector, ...] = ("orthogonal", "orthogonal (torch)", "linear", "linear+BN", "MLP", "none")
NORMALISATIONS: tuple[Normalisation, ...] = ("none", "standardise", "whiten")


@study(
    seeds=(5, 3),
    small=Scale(
        Network("convnet", {"width": 64, "depth": 3, "norm": "batch"}, {"epochs": 8, "lr": 3e-3}),
        Network("vit", {"width": 24, "depth": 2, "patch": 4}),
        seen="stage3",
        length=Length(300, 3e-3, {"batch_size": 32}),
        examples=300,
        gan_steps=1000,
    ),
    full=Scale(
        Network("resnet32x4", training={"epochs": 240, "lr": 0.05, **PUBLIC}),
        Network("vit", {"width": 192, "depth": 12, "heads": 3, "patch": 4}),
        seen="layer3",
        length=Length(300 * EPOCH, 5e-4, ADAMW),
        examples=None,
        gan_steps=4000,
        projections=tuple((projector, normalise) for projector in EVERY for normalise in NORMALISATIONS),
    ),
    data_full="cifar100",
    deviates=(
        "small: a CNN 64 channels wide teaches a transformer 24 wide on 300 images",
        "whitening shrinks the covariance: small batches hold fewer examples than the teacher has channels",
        "full: ResNet-32x4 → DeiT-Ti on CIFAR-100 instead of RegNetY-160 → DeiT-Ti on ImageNet, without mixing; "
        + FILLED,
        "soft labels are matched by the student's one head; there is no distillation head",
        "generation, image GANs in the paper, is a GAN on points of the plane; detection is left out",
    ),
    cost="measured: 2.3 s of one CPU core for a step of 64 images (ResNet-32x4 teaching DeiT-Ti: `python -m "
    "workbench.studies.kit.cost vit --options width=192 depth=12 heads=3 patch=4 --teacher resnet32x4`); "
    "234,600 steps, 20 methods and 3 seeds are about 370 days of a core; no GPU was measured",
)
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """Ten ways of matching features, from a CNN to a narrower transformer; in full every projector with every
    normalisation. The data must be images.
    """
    scale, data = s.scale, s.data
    if len(data.shape) != 3:
        raise ValueError(f"data {data.name!r} has inputs of shape {data.shape}; this study needs images")
    teacher = scale.teacher.trained(data, seed=1000, device=s.device)
    s.tell("a teacher is trained")
    size = min(scale.examples or len(data.train), len(data.train))
    table = compare(
        _methods(scale),
        data,
        teacher=teacher.model,
        student=partial(scale.student, data),
        seeds=s.seeds,
        sizes=(size,),
        lengths=(scale.length,),
        device=s.device,
    )
    s.tell("students are trained and judged")
    shares = {
        projector: [
            _projector_share(projector, data.subset(size, seed=seed), teacher.model, seed, table, scale)
            for seed in s.seeds
        ]
        for projector in FREEDOM
    }
    s.tell("projectors are trained alone")
    rows = [dict(row) for row in table.rows]
    for projector, values in shares.items():
        for seed, share in zip(s.seeds, values, strict=True):
            rows += [{"method": f"{projector}, projector alone", "seed": seed, "projector share": share}]
    ring = modes_covered(("standardise", "whiten"), s.seeds, steps=scale.gan_steps)
    rows += [
        {"method": f"ring GAN, {name}", "seed": seed, "modes": modes}
        for name, values in ring.items()
        for seed, modes in zip(s.seeds, values, strict=True)
    ]
    return Outcome(
        rows,
        claims=(
            asserted(
                "An orthogonal projector can do less of the feature loss's decrease by itself than a linear one",
                _difference(shares, "linear", "orthogonal"), ">", 0.0,
            ),
            asserted("… and a linear one less than an MLP", _difference(shares, "MLP", "linear"), ">", 0.0),
            reported(
                "Orthogonal with a standardised teacher beats linear with none (accuracy)",
                table.paired("orthogonal, standardise", "linear, none"), ">=", 0.003,
                "Expected: 0.3 to 1 point.",
            ),
            asserted(
                "An MLP projector reaches a lower feature loss than an orthogonal one",
                table.paired("MLP, standardise", "orthogonal, standardise", "feature loss"), "<", 0.0,
            ),
            reported(
                "… and is no better for it (accuracy)",
                table.paired("MLP, standardise", "orthogonal, standardise"), "<=", 0.0,
            ),
            reported(
                "Standardising the teacher helps the orthogonal projector (accuracy)",
                table.paired("orthogonal, standardise", "orthogonal, none"), ">=", 0.0,
            ),
            reported(
                "Matching features helps beside soft labels (accuracy)",
                table.paired("orthogonal, standardise", "soft labels alone"), ">=", 0.0,
            ),
            reported(
                "A GAN whose discriminator follows whitened features covers as many modes of a ring of eight Gaussians "
                "as with standardised ones",
                estimate([w - s for w, s in zip(ring["whiten"], ring["standardise"], strict=True)]), ">=", 0.0,
            ),
        ),
        teacher=teacher,
        records=table.records,
        settings={"length": str(scale.length), "shrinkage of whitening": SHRINKAGE},
        notes="“projector share” is the part of the feature loss's decrease that the projector reaches by itself, on a "
        "student frozen at its start.",
    )  # fmt: skip


def _methods(scale: Scale) -> dict[str, Signal]:
    methods: dict[str, Signal] = {"soft labels alone": KL(temperature=1)}
    for projector, normalise in scale.projections:
        methods[f"{projector}, {normalise}"] = KL(temperature=1) + _features(projector, normalise, scale.seen)
    methods["orthogonal, standardise, no soft labels"] = CrossEntropy() + _features(
        "orthogonal", "standardise", scale.seen
    )
    return methods


def _features(projector: Projector, normalise: Normalisation, seen: str) -> VKD:
    return VKD(STUDENT, seen, projector=projector, normalise=normalise, shrinkage=SHRINKAGE)


def _projector_share(
    projector: Projector, data: Dataset, teacher: nn.Module, seed: int, table: Comparison, scale: Scale
) -> float:
    """Decrease of the feature loss by training the projector on a frozen student ÷ decrease by training both."""
    student, length = scale.student(data, seed).eval(), scale.length
    signal = _features(projector, "standardise", scale.seen)
    loss = bind(signal, teacher, student, data, seed=seed)
    split = data.subset(min(MOST, len(data.train))).train.to("cpu")
    with torch.no_grad():
        s = observe(student, STUDENT)(split.inputs)
        t = observe(teacher.cpu().eval(), scale.seen)(split.inputs)
    start = loss(s, t, split.labels).mean().item()
    steps = min(length.steps, MOST)
    optimizer = torch.optim.Adam(loss.parameters(), lr=length.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(s, t, split.labels).mean().backward()
        optimizer.step()
        schedule.step()
    alone = loss(s, t, split.labels).mean().item()
    at = {"seed": seed, "steps": length.steps}
    (both,) = table.values(f"{projector}, standardise", "feature loss", **at).values()
    return (start - alone) / (start - both)


def _difference(shares: dict[Projector, list[float]], left: Projector, right: Projector) -> Estimate:
    return estimate([a - b for a, b in zip(shares[left], shares[right], strict=True)])
