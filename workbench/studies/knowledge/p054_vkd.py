"""Does a projector that can only turn make the student do the learning?

Paper 054, V_kD. A CNN teaches a transformer through its last features, with projectors of growing freedom and with the
teacher's features as they are, standardised or whitened; and a GAN's discriminator learns from such features.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from workbench import models
from workbench.data import Dataset
from workbench.knowledge import KL, VKD, CrossEntropy, Signal
from workbench.knowledge.making.distill import bind
from workbench.knowledge.methods.vkd import Normalisation, Projector
from workbench.models import observe
from workbench.records import StudyResult
from workbench.studies.kit.claims import Estimate, asserted, estimate, reported
from workbench.studies.kit.compare import Comparison, Length, compare
from workbench.studies.kit.setting import Setting
from workbench.studies.survey.ring_gan import modes_covered
from workbench.training import fit

EXAMPLES = 300
STUDENT, TEACHER = "pool", "stage3"
SHRINKAGE = 0.1
FREEDOM: tuple[Projector, ...] = ("orthogonal", "linear", "MLP")
"""Projectors from the least to the most free."""


def run(
    data: Any = None,
    *,
    root: Any = None,
    seeds: int | Sequence[int] | None = None,
    budget: str = "small",
    device: str = "auto",
) -> StudyResult:
    """Ten ways of matching features, from a CNN 64 channels wide to a transformer 24 wide, on 300 images.

    Arguments as for `workbench.studies.run`; the data must be images. In full: longer, more seeds, and every projector
    with every normalisation.
    """
    setting = Setting.of(data, root=root, seeds=seeds, budget=budget, device=device, seeds_small=5, seeds_full=10)
    dataset = setting.data
    if len(dataset.shape) != 3:
        raise ValueError(f"data {dataset.name!r} has inputs of shape {dataset.shape}; this study needs images")
    teacher = fit(
        models.build("convnet", dataset, width=64, depth=3, norm="batch", seed=1000),
        dataset, epochs=8, lr=3e-3, seed=1000, device=device, evaluate_every=0, progress=False, name="teacher",
    )  # fmt: skip
    length = Length(300, 3e-3) if budget == "small" else Length(1500, 3e-3)
    size = min(EXAMPLES, len(dataset.train))
    table = compare(
        _methods(full=budget == "full"),
        dataset,
        teacher=teacher.model,
        student=partial(_student, dataset),
        seeds=setting.seeds,
        sizes=(size,),
        lengths=(length,),
        batch_size=32,
        device=device,
    )
    shares = {
        projector: [
            _projector_share(projector, dataset.subset(size, seed=seed), teacher.model, seed, table, length)
            for seed in setting.seeds
        ]
        for projector in FREEDOM
    }
    rows = [dict(row) for row in table.rows]
    for projector, values in shares.items():
        for seed, share in zip(setting.seeds, values, strict=True):
            rows += [{"method": f"{projector}, projector alone", "seed": seed, "projector share": share}]
    ring = modes_covered(("standardise", "whiten"), setting.seeds, steps=1000 if budget == "small" else 4000)
    rows += [
        {"method": f"ring GAN, {name}", "seed": seed, "modes": modes}
        for name, values in ring.items()
        for seed, modes in zip(setting.seeds, values, strict=True)
    ]
    return setting.result(
        paper=54,
        title="Does a projector that can only turn make the student do the learning?",
        rows=rows,
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
        settings={"length": str(length), "shrinkage of whitening": SHRINKAGE},
        notes="The paper distils RegNetY-160 into DeiT on ImageNet for 300 epochs. The student's features are those "
        "its head reads. “projector share” is the part of the feature loss's decrease that the projector reaches by "
        "itself, on a student frozen at its start; batches are smaller than the teacher is wide, so whitening shrinks "
        "the covariance. Generation, image GANs in the paper, is a GAN on points of the plane here.",
    )  # fmt: skip


def _methods(*, full: bool) -> dict[str, Signal]:
    pairs: list[tuple[Projector, Normalisation]] = [
        ("orthogonal", "none"),
        ("orthogonal", "standardise"),
        ("orthogonal", "whiten"),
        ("linear", "none"),
        ("linear", "standardise"),
        ("linear+BN", "standardise"),
        ("MLP", "standardise"),
        ("none", "standardise"),
    ]
    if full:
        pairs = [
            (projector, normalise)
            for projector in ("orthogonal", "orthogonal (torch)", "linear", "linear+BN", "MLP", "none")
            for normalise in ("none", "standardise", "whiten")
        ]
    methods: dict[str, Signal] = {"soft labels alone": KL(temperature=1)}
    for projector, normalise in pairs:
        methods[f"{projector}, {normalise}"] = KL(temperature=1) + _features(projector, normalise)
    methods["orthogonal, standardise, no soft labels"] = CrossEntropy() + _features("orthogonal", "standardise")
    return methods


def _features(projector: Projector, normalise: Normalisation) -> VKD:
    return VKD(STUDENT, TEACHER, projector=projector, normalise=normalise, shrinkage=SHRINKAGE)


def _student(data: Dataset, seed: int) -> nn.Module:
    patch = {"patch": 4} if min(data.shape[1:]) <= 16 else {}
    return models.build("vit", data, width=24, depth=2, seed=seed, **patch)


def _projector_share(
    projector: Projector, data: Dataset, teacher: nn.Module, seed: int, table: Comparison, length: Length
) -> float:
    """Decrease of the feature loss by training the projector on a frozen student ÷ decrease by training both."""
    student = _student(data, seed).eval()
    signal = _features(projector, "standardise")
    loss = bind(signal, teacher, student, data, seed=seed)
    split = data.train.to("cpu")
    with torch.no_grad():
        s = observe(student, STUDENT)(split.inputs)
        t = observe(teacher.cpu().eval(), TEACHER)(split.inputs)
    start = loss(s, t, split.labels).mean().item()
    optimizer = torch.optim.Adam(loss.parameters(), lr=length.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, length.steps)
    for _ in range(length.steps):
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
