"""Do mosaics of the crops that a classifier recognises teach more than random images or crops?

Paper 011, RDED, where it belongs: scenes in which a digit has to be found. Students hear the classifier's word on every
view (dynamic relabelling), or the stored class. On bare digits only the selection itself is checked.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from workbench import data as datasets
from workbench import models
from workbench.condensation import RDED, Choosing, Random, RandomCrops, condense, train_relabelled
from workbench.condensation.making.crops import PaddedCrops
from workbench.data import Dataset
from workbench.records import CropChoices, DistilledSet, Record, TrainingRecord
from workbench.studies.kit.claims import Estimate, asserted, estimate, reported
from workbench.studies.kit.distilling import at_most
from workbench.studies.kit.study import Outcome, Setting, study
from workbench.training import Shift, fit

MOSAIC, UNTILED, IMAGES, CROPS = "RDED, q=2", "RDED, q=1", "random images", "random crops"
FACTOR = {MOSAIC: 2, UNTILED: 1, IMAGES: 1, CROPS: 2}
AREA = 0.5
"""Least share of an image that a view shows: the same for all sets, or else the views would make the difference."""


@dataclass(frozen=True)
class Scale:
    """What a budget buys."""

    options: dict[str, Any]
    teacher_epochs: int
    steps: int
    lr: float
    sizes: tuple[int, ...]
    hard: tuple[str, ...]
    examples: int | None
    digits_epochs: int = 15


@study(
    data="digit-scenes",
    seeds=(5, 5),
    small=Scale(
        options={"norm": "batch", "width": 16, "depth": 3},
        teacher_epochs=40,
        steps=240,
        lr=3e-3,
        sizes=(1, 10),
        hard=(),
        examples=2000,
    ),
    full=Scale(
        options={"norm": "batch", "width": 128, "depth": 3},
        teacher_epochs=100,
        steps=6000,
        lr=1e-3,
        sizes=(1, 10, 50),
        hard=tuple(FACTOR),
        examples=None,
    ),
    deviates=(
        "16×16 scenes and a ConvNet with batch norm, not ImageNet and ResNets",
        "small: students take 240 steps at a rate of 3e-3, not 300 epochs at 1e-3, and hear soft labels only",
        "views show at least half of an image for every set, or the views would make the difference",
        "images are mirrored where they are in colour only: scenes hold digits",
        "RDED's time is not compared with SRe2L's, which is not built",
    ),
    cost="measured: 0.11 s of one CPU core for a step of 100 views of 16×16 pixels, the teacher's answer with it; "
    "6,000 steps, 4 sets, 3 sizes, soft and hard labels and 5 seeds are about 22 hours, the teachers' "
    "training besides; no GPU was measured",
)
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """RDED with 2 × 2 crops and with one, random images and random crops, under soft and under hard labels.

    One teacher scores and labels for all; each seed draws its own images and crops, and trains its own student. On the
    default data, also the selection on bare digits. For images with at least 8 pixels a side.
    """
    scale, dataset, device = s.scale, at_most(s.data, s.scale.examples), s.device
    s.tell("teacher")
    teacher = taught(dataset, scale, scale.teacher_epochs, factor=2, device=device)
    rows: list[dict[str, Any]] = []
    records: dict[str, Record] = {}
    for ipc in scale.sizes:
        s.tell(f"{ipc} images per class")
        sets = {
            (name, seed): condense(dataset, method, seed=seed, device=device, progress=False, name=name)
            for name, method in methods(teacher.model, ipc).items()
            if ipc > 1 or name != UNTILED
            for seed in s.seeds
        }
        rows += learned(sets, teacher.model, dataset, scale, ipc, device)
        shown = s.seeds[-1]
        records |= {f"{name}, ipc {ipc}": sets[name, shown] for name in FACTOR if (name, shown) in sets}
    largest = 10 if 10 in scale.sizes else scale.sizes[-1]

    def margin(over: str, ipc: int = largest, labels: str = "soft") -> Estimate:
        at = {
            (row["method"], row["seed"]): row["accuracy"]
            for row in rows
            if (row["ipc"], row["labels"]) == (ipc, labels)
        }
        return estimate([at[MOSAIC, seed] - at[over, seed] for seed in s.seeds])

    claims = [
        asserted(
            f"Mosaics of recognised crops teach more than those of random ones (accuracy, soft labels, ipc {largest})",
            margin(CROPS), ">=", 0.02,
        ),
        asserted("… also at one image per class", margin(CROPS, 1), ">=", 0.02),
        reported(
            "At one image per class they teach more than a random image (soft labels)", margin(IMAGES, 1), ">=", 0.01
        ),
        reported(
            f"… and at {largest} images per class than {largest} random ones",
            margin(IMAGES), ">=", 0.01,
            note="Here 40 of 120 images of a class must be used; the paper's pool has 300 of 1,300.",
        ),
        reported("Four crops to an image teach more than one", margin(UNTILED), ">", 0.0),
    ]  # fmt: skip
    if scale.hard:
        claims.append(
            reported("Under hard labels they teach more than random images", margin(IMAGES, labels="hard"), ">=", 0.0)
        )
    if s.default:
        lowered, extra = on_digits(s)
        records["bare digits"] = extra
        claims.append(
            asserted("On bare digits (q=1) the selection lowers the mean cross-entropy (nats)", lowered, "<", 0.0)
        )
    return Outcome(
        rows,
        claims,
        teacher=teacher,
        records=records,
        settings={"students": scale.options, "steps": scale.steps, "least share of a view": AREA},
        notes="Only mosaics are shuffled. “seconds” is what making the set took, “realism” the teacher's mean "
        "cross-entropy on the crops shown. On bare digits no claim of accuracy is made: the easiest of them are nearly "
        "alike.",
    )


def taught(data: Dataset, scale: Scale, epochs: int, *, factor: int, device: str) -> TrainingRecord:
    """The classifier that scores and labels; half of what it sees are small crops amid mean grey."""
    network = models.build("convnet", data, seed=1000, **scale.options)
    return fit(
        network,
        data,
        epochs=epochs,
        lr=1e-2,
        augment=PaddedCrops(factor) + Shift(0.25),
        seed=1000,
        device=device,
        evaluate_every=0,
        progress=False,
        name="teacher",
    )


def methods(teacher: nn.Module, ipc: int) -> dict[str, Choosing]:
    """The sets that are compared."""
    return {
        MOSAIC: RDED(teacher=teacher, ipc=ipc, factor=2),
        UNTILED: RDED(teacher=teacher, ipc=ipc, factor=1),
        IMAGES: Random(ipc=ipc),
        CROPS: RandomCrops(ipc=ipc, factor=2),
    }


def learned(
    sets: dict[tuple[str, int], DistilledSet],
    teacher: nn.Module,
    data: Dataset,
    scale: Scale,
    ipc: int,
    device: str,
) -> list[dict[str, Any]]:
    """One row per set and kind of labels: a student of each, all sets of as many cells trained as one."""
    rows = []
    for labels in ("soft", "hard") if ipc > 1 and scale.hard else ("soft",):
        for factor in (2, 1):
            keys = [key for key in sets if FACTOR[key[0]] == factor and (labels == "soft" or key[0] in scale.hard)]
            students = [models.build("convnet", data, seed=seed, **scale.options) for _, seed in keys]
            trained = train_relabelled(
                students,
                [sets[key] for key in keys],
                teacher if labels == "soft" else None,
                test=data.test,
                factor=factor,
                area=AREA,
                steps=scale.steps,
                lr=scale.lr,
                flip=mirrors(data),
                seeds=[seed for _, seed in keys],
                device=device,
                progress=False,
            )
            for (name, seed), record in zip(keys, trained, strict=True):
                one = sets[name, seed]
                choices = one.choices
                rows.append(
                    {
                        "labels": labels,
                        "ipc": ipc,
                        "method": name,
                        "seed": seed,
                        "accuracy": record.accuracy,
                        "realism": float("nan") if choices is None else choices.realism,
                        "seconds": one.provenance.wall_time,
                    }
                )
    return rows


def mirrors(data: Dataset) -> bool:
    """Whether left and right are alike in the data: in photographs, which are in colour; not in digits or letters."""
    return data.shape[0] == 3


def on_digits(s: Setting[Dataset, Scale]) -> tuple[Estimate, DistilledSet]:
    """How much lower than random crops' the mean cross-entropy of the crops chosen of bare digits is, and one set.

    Random crops: the first of each image looked at.
    """
    digits = datasets.load("digits")
    teacher = taught(digits, s.scale, s.scale.digits_epochs, factor=1, device=s.device).model
    made = [
        condense(digits, RDED(teacher=teacher, ipc=10, factor=1), seed=seed, device=s.device, name="bare digits")
        for seed in s.seeds
    ]
    return estimate([_lowered(one.choices) for one in made if one.choices is not None]), made[-1]


def _lowered(choices: CropChoices) -> float:
    return choices.realism - choices.score[:, 0].double().mean().item()
