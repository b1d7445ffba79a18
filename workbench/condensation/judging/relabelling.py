"""Students of a distilled set that hear the teacher on every view: soft labels that are made while training.

    L = KL(softmax(f(v)/τ) ‖ softmax(g(v)/τ)),   v = CutMix(flip(RandomResizedCrop(ShufflePatches(x)))),

teacher f and student g on the same mixed view, without the factor τ²; AdamW, half a half-cosine. The protocol of RDED
(paper 011, public code), fit for any set and any teacher.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from workbench.condensation.judging.examples import examples
from workbench.condensation.making.crops import RandomResizedCrop, ShufflePatches
from workbench.data import Dataset, Split
from workbench.kernels import divergence
from workbench.models import Outputs
from workbench.records import DistilledSet, TrainingRecord
from workbench.training import Augmentation, Ensemble, Flip, Guide
from workbench.training.mixing import CutMix


class Softened:
    """KL(teacher ‖ student) of logits divided by `temperature`, per example, not multiplied by its square."""

    def __init__(self, temperature: float) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}; it must be positive")
        self.temperature = temperature

    def __repr__(self) -> str:
        return f"Softened({self.temperature})"

    def __call__(self, outputs: Outputs, guide: Outputs | None, labels: Tensor) -> Tensor:  # noqa: ARG002 - the protocol
        assert guide is not None
        T = self.temperature
        return divergence.forward_kl(outputs.logits, guide.logits, student_temperature=T, teacher_temperature=T)


def views(factor: int = 1, *, area: float | None = None, flip: bool = True, mix: bool = True) -> Augmentation:
    """What the public code does to a mosaic of `factor` × `factor` cells, in its order.

    `area` is the least share of the image that a crop shows, by default 1/`factor`.
    """
    least = 1 / factor if area is None else area
    steps: list[Augmentation] = [ShufflePatches(factor), RandomResizedCrop((least, 1.0))]
    steps += [Flip()] * flip + [CutMix()] * mix
    chain = steps[0]
    for step in steps[1:]:
        chain = chain + step
    return chain


def half_cosine(progress: float) -> float:
    """From 1 to ½: the cosine schedule's first half, at whose end training stops.

    >>> half_cosine(0.0), half_cosine(1.0)
    (1.0, 0.5)
    """
    return 0.5 * (1 + math.cos(math.pi * progress / 2))


def train_relabelled(
    students: Sequence[nn.Module],
    distilled: DistilledSet | Sequence[DistilledSet],
    teacher: nn.Module | Sequence[nn.Module] | None,
    *,
    test: Split | None = None,
    factor: int = 1,
    area: float | None = None,
    epochs: int = 300,
    steps: int | None = None,
    batch_size: int = 50,
    temperature: float = 20.0,
    lr: float = 1e-3,
    weight_decay: float = 0.01,
    flip: bool = True,
    seeds: Sequence[int] | None = None,
    device: str | torch.device = "auto",
    progress: bool = True,
    name: str | Sequence[str] = "student",
) -> list[TrainingRecord]:
    """Train students on distilled images under the teacher's word on every view; all of them at once, in place.

    Parameters
    ----------
    students
        Networks of one architecture.
    distilled
        What they learn from: one set for all, or one each (of equal size).
    teacher
        Says the labels: one for all, or one each. None: the stored classes under cross-entropy, without CutMix (a mixed
        picture has no single class).
    test
        Real examples to be judged on.
    factor
        Cells along a side of the images, as in `RDED`.
    area
        Least share of the image that a view shows; by default 1/`factor`. A comparison between sets of different
        factors must give it, or else the views differ too.
    epochs, steps, batch_size
        As for `workbench.training.fit`. The paper: 300 epochs; 50 examples at 10 images of 10 classes.
    temperature
        τ: 20 in the paper.
    lr, weight_decay
        Of AdamW; biases and what else has one axis (normalisation) do not decay.
    flip
        Mirror views left and right half of the time. Not for digits or letters.
    seeds
        Of order and views, one per student.
    device, progress, name
        As for `workbench.training.Ensemble.fit`.

    Returns
    -------
    list of TrainingRecord
        One per student.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> teacher = wb.models.build("mlp", data, seed=1)
    >>> tiny = wb.condensation.condense(data, wb.condensation.RDED(teacher=teacher, ipc=1, factor=1))
    >>> student = wb.models.build("mlp", data, width=16)
    >>> records = train_relabelled([student], tiny, teacher, test=data.test, epochs=2, flip=False, progress=False)
    >>> records[0].epochs
    2
    """
    sets = [distilled] * len(students) if isinstance(distilled, DistilledSet) else list(distilled)
    if len(sets) != len(students):
        raise ValueError(f"distilled has {len(sets)} sets for {len(students)} students: give one for all, or one each")
    if teacher is not None and not isinstance(teacher, nn.Module) and len(teacher) != len(students):
        raise ValueError(f"teacher has {len(teacher)} networks for {len(students)} students")
    known: dict[int, Split] = {}
    train = [known.setdefault(id(one), examples(one)) for one in sets]
    guides: Guide | list[Guide] | None = None
    if teacher is not None:
        guides = Guide(teacher) if isinstance(teacher, nn.Module) else [Guide(one) for one in teacher]

    def decaying(parameters: object) -> torch.optim.Optimizer:
        every = list(parameters)  # type: ignore[call-overload]
        groups = [
            {"params": [p for p in every if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in every if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr)

    return Ensemble(students).fit(
        train if test is None else [Dataset("distilled", one, test) for one in train],
        epochs,
        steps=steps,
        optimizer=decaying,
        schedule=half_cosine,
        batch_size=batch_size,
        augment=views(factor, area=area, flip=flip, mix=teacher is not None),
        loss=None if teacher is None else Softened(temperature),
        guide=guides,
        device=device,
        seeds=seeds,
        evaluate_every=0,
        progress=progress,
        name=name,
    )
