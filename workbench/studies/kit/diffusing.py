"""The teachers that studies of diffusion share: exact mixtures, the kernel density of images, networks on digits."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workbench import diffusion, records
from workbench.data import Dataset, load
from workbench.diffusion import (
    Denoiser,
    GaussianMixture,
    NetworkDenoiser,
    kernel_density,
    picture_scale,
    sample,
    signed,
)
from workbench.diffusion.teachers.pipelines import from_diffusers
from workbench.records import DiffusionModel

MIXTURES: dict[str, Callable[[], GaussianMixture]] = {
    "ring8": diffusion.ring,
    "cond-ring": partial(diffusion.ring, classes=2),
    "grid25": diffusion.grid,
    "moons": diffusion.moons,
}
NETWORKS = {"digits-unet": "unet", "digits-dit": "dit"}
TIMES = (0.99, 0.25, 0.15, 0.08, 0.0)
"""A four-step grid by when structure is decided: on a ring most of the mode's entropy goes between 0.5 and 0.1."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """What a study starts from.

    Attributes
    ----------
    name
        As it was asked for.
    model
        The denoiser, on rectified flow.
    exact
        The same as a mixture in closed form; None: a trained network.
    data
        The images it is of; None: a mixture of points.
    classes
        Class names; empty without classes.
    mean, std
        For records of images; None for points.
    record
        Of a trained network, which students start from; None: an exact teacher.
    """

    name: str
    model: Denoiser
    exact: GaussianMixture | None = None
    data: Dataset | None = None
    classes: tuple[str, ...] = ()
    mean: Tensor | None = None
    std: Tensor | None = None
    record: DiffusionModel | None = None

    @property
    def modes(self) -> GaussianMixture | None:
        """The mixture where its components are modes to be counted; None for images."""
        return None if self.pictures else self.exact

    @property
    def times(self) -> Tensor:
        """Times of a four-step student, float64, shape (5,)."""
        return torch.tensor(TIMES, dtype=torch.float64)

    @property
    def pictures(self) -> bool:
        """Its examples are images, (channels, height, width)."""
        return len(self.model.shape) == 3

    def identity(self) -> dict[str, Any]:
        """What tells it from other exact teachers, in plain values: a hash of its mixture."""
        assert self.exact is not None
        digest = hashlib.sha256(repr(self.exact.schedule).encode())
        for part in (self.exact.weights, self.exact.means, self.exact.variances, self.exact.axes, self.exact.labels):
            if part is not None:
                digest.update(part.detach().cpu().contiguous().numpy().tobytes())
        return {"mixture": digest.hexdigest(), "shape": list(self.exact.shape)}

    def real(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Examples (n, *shape) of what it models, and the class of each, (n,); −1 without classes.

        Of a trained teacher without data they are its own samples, by 50 steps.
        """
        if self.exact is not None:
            x, component = self.exact.sample(n, generator)
            labels = self.exact.labels
            return x, torch.full((n,), -1) if labels is None else labels[component]
        if self.data is None:
            noise = torch.randn(n, *self.model.shape, generator=generator)
            known = int(getattr(self.model, "classes", 0))
            asked = torch.randint(known, (n,), generator=generator) if known else None
            made = sample(self.model, noise, sampler="dpm-solver++", steps=50, condition=asked)
            return made, torch.full((n,), -1) if asked is None else asked
        split = self.data.train
        images, labels = signed(split) if self.pictures else split.inputs, split.labels
        rows = torch.randint(len(images), (n,), generator=generator)
        return images[rows], labels[rows]

    def noise(self, n: int, seed: int) -> Tensor:
        """Standard normal noise, (n, *shape)."""
        return torch.randn(n, *self.model.shape, generator=torch.Generator().manual_seed(seed))

    def described(self) -> dict[str, Any]:
        """`classes`, `mean` and `std` as records take them."""
        return {"classes": self.classes, "mean": self.mean, "std": self.std}


def teacher(data: Any = "ring8", root: Any = None, budget: str = "small") -> Teacher:
    """A teacher by name.

    Parameters
    ----------
    data
        A mixture, ``"ring8"``, ``"cond-ring"``, ``"grid25"`` or ``"moons"``, or a `GaussianMixture`; or images (a
        `Dataset`, a name or path that `workbench.data.load` takes): the exact teacher of their kernel density; or a
        network on the digits, ``"digits-unet"`` or ``"digits-dit"``, trained once and then kept in the cache folder.
    budget
        ``"small"`` or ``"full"``: how many images a density keeps, 2,000 or all.
    root
        Where data files lie.

    Raises
    ------
    ValueError
        Not a known name; data without images.

    Examples
    --------
    >>> teacher("grid25").modes.means.shape
    torch.Size([25, 2])
    >>> teacher("digits").model.shape
    (1, 8, 8)
    """
    chosen = data
    if isinstance(chosen, GaussianMixture):
        return Teacher("mixture", chosen, chosen, classes=_numbers(chosen))
    if isinstance(chosen, str) and chosen in MIXTURES:
        mixture = MIXTURES[chosen]()
        return Teacher(chosen, mixture, mixture, classes=_numbers(mixture))
    if isinstance(chosen, str) and chosen in NETWORKS:
        images, (mean, std) = load("digits"), picture_scale()
        made = diffusion.digits_teacher(NETWORKS[chosen], progress=False)
        return Teacher(chosen, diffusion.denoiser(made), None, images, images.classes, mean, std, made)
    images = chosen if isinstance(chosen, Dataset) else load(chosen, root)
    kept = images.train.subset(2_000) if budget == "small" and len(images.train) > 2_000 else images.train
    density = kernel_density(kept)
    mean, std = picture_scale(images.shape[0])
    return Teacher(images.name, density, density, images, images.classes, mean, std)


def trained(model: Any, data: Any = None, root: Any = None, budget: str = "small") -> Teacher:
    """A teacher that was trained elsewhere: ``--teacher`` of the studies.

    Parameters
    ----------
    model
        A `DiffusionModel`, the file of one, or a folder of a `diffusers` pipeline.
    data
        What it was trained on, for what needs examples and for what judges; as `workbench.data.load` takes it. None:
        samples of the teacher stand for them.
    root
        Where data files lie.
    budget
        As for `teacher`.

    Raises
    ------
    ValueError
        It is none of these, or the data have examples of another shape.

    Examples
    --------
    >>> made = diffusion.regress(diffusion.ring(), steps=1, batch=8, progress=False)
    >>> trained(made).model.shape
    (2,)
    """
    record: DiffusionModel | None = None
    asked: Denoiser
    name = "teacher"
    if isinstance(model, str | Path) and Path(model).is_dir():
        asked, name = from_diffusers(str(model)), Path(model).name
    else:
        opened = records.open(model) if isinstance(model, str | Path) else model
        if not isinstance(opened, DiffusionModel):
            raise ValueError(
                f"teacher is a {type(opened).__name__}; a DiffusionModel, its file, or a folder of a diffusers pipeline"
            )
        record, asked, name = opened, diffusion.denoiser(opened), opened.name or opened.method
    images = None
    if data is not None:
        images = data if isinstance(data, Dataset) else load(data, root, seed=0)
        images = images.subset(2_000) if budget == "small" and len(images.train) > 2_000 else images
        if tuple(images.train.shape) != tuple(asked.shape):
            raise ValueError(f"data has examples of shape {tuple(images.train.shape)}; the teacher's are {asked.shape}")
    mean, std = picture_scale(asked.shape[0]) if len(asked.shape) == 3 else (None, None)
    known = int(getattr(asked, "classes", 0))
    names = () if record is None else record.classes
    return Teacher(
        name, asked, None, images, names or tuple(map(str, range(known))), mean, std,
        record if record is not None else started(asked, name),
    )  # fmt: skip


def started(model: NetworkDenoiser, name: str) -> DiffusionModel:
    """A network as a record that students start from."""
    return diffusion.distill(model, diffusion.Regression(), steps=0, progress=False, name=name)


def _numbers(mixture: GaussianMixture) -> tuple[str, ...]:
    return tuple(map(str, range(mixture.classes)))
