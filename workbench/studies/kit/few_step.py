"""What the studies of few-step students share: what a student starts from, how it is trained, what it is judged by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from workbench import models
from workbench.diffusion import (
    Denoiser,
    denoiser,
    distill,
    mode_coverage,
    regress,
    sample,
    sliced_wasserstein,
)
from workbench.diffusion.making.making import Distilling
from workbench.records import DiffusionModel
from workbench.studies.kit.diffusing import Teacher
from workbench.training import sources
from workbench.training.grouping import Threads

Part = TypeVar("Part")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Size:
    """A student's network, its training, and how many samples judge it.

    Attributes
    ----------
    network, options
        As `workbench.models.build` takes them; of a trained teacher its own network is taken instead.
    start
        Steps of the fit to the teacher that students start from.
    steps, batch
        Of the students' training.
    samples
        That judge.
    method
        Further settings of the methods, by name, such as the paper's learning rate.
    heldout
        Seed of the noise that judges, apart from all that trains.
    """

    network: str
    options: dict[str, Any]
    start: int
    steps: int
    batch: int
    samples: int
    method: dict[str, Any] = field(default_factory=dict)
    heldout: int = 1_000_000

    @property
    def training(self) -> dict[str, Any]:
        """What the methods are given: steps, batch and further settings."""
        return {"steps": self.steps, "batch": self.batch, **self.method}

    def described(self) -> dict[str, Any]:
        """As a study's settings tell it."""
        return {"network": self.network, **self.options, "start": self.start} | self.training


@dataclass(frozen=True)
class Scale:
    """What a budget buys, by what the teacher models."""

    points: Size
    images: Size

    def of(self, teacher: Teacher) -> Size:
        """The size of students of this teacher."""
        return self.images if teacher.pictures else self.points


POINTS = Size("denoiser-mlp", {"width": 96}, start=1000, steps=1000, batch=256, samples=2000)
IMAGES = Size("unet", {"width": 16}, start=300, steps=300, batch=64, samples=200)
"""Of a small budget."""
MORE_POINTS = Size("denoiser-mlp", {"width": 128}, start=1000, steps=1500, batch=512, samples=4000)
MORE_IMAGES = Size("unet", {"width": 32}, start=3000, steps=20_000, batch=64, samples=2000)
"""Of a full budget."""


def side_by_side(function: Callable[[Part], Made], parts: Sequence[Part]) -> list[Made]:
    """Every part's result, computed in as many threads as there are cores: small networks do not fill them."""
    count = max(1, min(len(parts), torch.get_num_threads()))
    results: dict[int, Made] = {}
    with Threads(count) as threads:

        def work(first: int) -> None:
            for at in range(first, len(parts), count):
                results[at] = function(parts[at])

        threads.map(work, range(count))
    return [results[at] for at in range(len(parts))]


def starts(
    teacher: Teacher, size: Size, seeds: Sequence[int], device: str, kind: str = "velocity"
) -> dict[int, DiffusionModel]:
    """What the students of each seed start from: a trained teacher's own network, or a fit to an exact one.

    Fits are kept in the cache of trained sources, which all studies share.
    """
    if teacher.record is not None:
        return dict.fromkeys(seeds, teacher.record)
    classes = int(getattr(teacher.model, "classes", 0))

    def fit(seed: int) -> DiffusionModel:
        training: dict[str, Any] = {"kind": kind, "steps": size.start, "batch": size.batch, "seed": seed}

        def make() -> DiffusionModel:
            blank = models.build(size.network, (teacher.model.shape, classes), seed=seed, **size.options)
            return regress(teacher.model, blank, device=device, progress=False, **training)

        recipe = {"teacher": teacher.identity(), "network": size.network, "options": size.options, **training}
        what = f"start of {size.network} for {teacher.name}"
        return sources.source(make, what=what, recipe=recipe, device=device)

    return dict(zip(seeds, side_by_side(fit, seeds), strict=True))


def students(
    teacher: Teacher,
    methods: dict[str, Distilling],
    begun: dict[int, DiffusionModel],
    device: str,
) -> dict[tuple[str, int], DiffusionModel]:
    """One student for each method and seed."""
    parts = [(name, seed) for seed in begun for name in methods]

    def train(part: tuple[str, int]) -> DiffusionModel:
        name, seed = part
        return distill(
            teacher.model, methods[name], network=begun[seed], seed=seed, device=device, progress=False, name=name,
            classes=teacher.classes,
        )  # fmt: skip

    return dict(zip(parts, side_by_side(train, parts), strict=True))


@dataclass
class HeldOut:
    """Held-out noises, where the teacher's path from each ends, and samples of the data.

    Attributes
    ----------
    noise, ends
        Shape (n, ...).
    real
        Samples of what the teacher models, as many.
    condition
        Their classes, which the noises are asked for; None: the teacher has none.
    """

    teacher: Teacher
    size: Size
    noise: Tensor = field(init=False)
    ends: Tensor = field(init=False)
    real: Tensor = field(init=False)
    condition: Tensor | None = field(init=False)

    def __post_init__(self) -> None:
        n = self.size.samples
        self.noise = self.teacher.noise(n, self.size.heldout)
        self.real, labels = self.teacher.real(n, torch.Generator().manual_seed(self.size.heldout + 1))
        self.condition = labels if getattr(self.teacher.model, "classes", 0) else None
        self.ends = sample(self.teacher.model, self.noise, sampler="heun", steps=150, condition=self.condition)

    @property
    def floor(self) -> float:
        """Sliced Wasserstein distance of two sets of exact samples: no student can be told to be better."""
        again, _ = self.teacher.real(len(self.real), torch.Generator().manual_seed(self.size.heldout + 2))
        return sliced_wasserstein(again, self.real).value

    def samples(self, model: Denoiser | DiffusionModel, times: Tensor, sampler: Any = "ddim") -> Tensor:
        """What comes out of the held-out noises."""
        asked = denoiser(model) if isinstance(model, DiffusionModel) else model
        return sample(asked, self.noise, sampler=sampler, steps=times, condition=self.condition)

    def paired(self, samples: Tensor) -> float:
        """Root mean square distance to where the teacher's path from the same noise ends."""
        return float((samples - self.ends).square().flatten(1).sum(1).mean().sqrt())

    def row(self, model: Denoiser | DiffusionModel, times: Tensor, sampler: Any = "ddim") -> dict[str, float]:
        """What is told of the samples that come out of the held-out noises."""
        return self.told(self.samples(model, times, sampler))

    def told(self, samples: Tensor) -> dict[str, float]:
        """`paired error`, `sliced W2` and, of points, `quality` (the share near a mode), `entropy` and `modes`."""
        told = {"paired error": self.paired(samples), "sliced W2": sliced_wasserstein(samples, self.real).value}
        if self.teacher.modes is not None:
            found = mode_coverage(samples, self.teacher.modes, self.condition)
            told |= {
                "quality": found.quality.value, "entropy": found.entropy.value, "modes": found.modes.value
            }  # fmt: skip
        return told
