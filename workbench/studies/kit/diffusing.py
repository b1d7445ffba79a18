"""The teachers that studies of diffusion share: exact mixtures, the kernel density of images, networks on digits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from workbench import diffusion
from workbench.data import Dataset, load
from workbench.diffusion import Denoiser, GaussianMixture, kernel_density, picture_scale, signed
from workbench.studies.kit.setting import Setting

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
    """

    name: str
    model: Denoiser
    exact: GaussianMixture | None = None
    data: Dataset | None = None
    classes: tuple[str, ...] = ()
    mean: Tensor | None = None
    std: Tensor | None = None

    @property
    def modes(self) -> GaussianMixture | None:
        """The mixture where its components are modes to be counted; None for images."""
        return self.exact if self.data is None else None

    @property
    def times(self) -> Tensor:
        """Times of a four-step student, float64, shape (5,)."""
        return torch.tensor(TIMES, dtype=torch.float64)

    def real(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Examples (n, *shape) of what it models, and the class of each, (n,); −1 without classes."""
        if self.exact is not None:
            x, component = self.exact.sample(n, generator)
            labels = self.exact.labels
            return x, torch.full((n,), -1) if labels is None else labels[component]
        assert self.data is not None
        images, labels = signed(self.data.train), self.data.train.labels
        rows = torch.randint(len(images), (n,), generator=generator)
        return images[rows], labels[rows]

    def noise(self, n: int, seed: int) -> Tensor:
        """Standard normal noise, (n, *shape)."""
        return torch.randn(n, *self.model.shape, generator=torch.Generator().manual_seed(seed))

    def described(self) -> dict[str, Any]:
        """`classes`, `mean` and `std` as records take them."""
        return {"classes": self.classes, "mean": self.mean, "std": self.std}


def teacher(data: Any = None, budget: str = "small", *, default: str = "ring8", root: Any = None) -> Teacher:
    """A teacher by name.

    Parameters
    ----------
    data
        A mixture, ``"ring8"``, ``"cond-ring"``, ``"grid25"`` or ``"moons"``, or a `GaussianMixture`; or images (a
        `Dataset`, a name or path that `workbench.data.load` takes): the exact teacher of their kernel density; or a
        network on the digits, ``"digits-unet"`` or ``"digits-dit"``, trained once and then kept in the cache folder.
        None: `default`.
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
    chosen = default if data is None else data
    if isinstance(chosen, GaussianMixture):
        return Teacher("mixture", chosen, chosen, classes=_numbers(chosen))
    if isinstance(chosen, str) and chosen in MIXTURES:
        mixture = MIXTURES[chosen]()
        return Teacher(chosen, mixture, mixture, classes=_numbers(mixture))
    if isinstance(chosen, str) and chosen in NETWORKS:
        images, (mean, std) = load("digits"), picture_scale()
        trained = diffusion.denoiser(diffusion.digits_teacher(NETWORKS[chosen], progress=False))
        return Teacher(chosen, trained, None, images, images.classes, mean, std)
    images = chosen if isinstance(chosen, Dataset) else load(chosen, root)
    kept = images.train.subset(2_000) if budget == "small" and len(images.train) > 2_000 else images.train
    density = kernel_density(kept)
    mean, std = picture_scale(images.shape[0])
    return Teacher(images.name, density, density, images, images.classes, mean, std)


def setting(
    data: Any = None,
    *,
    root: Any,
    seeds: int | Sequence[int] | None,
    budget: str,
    device: str,
    seeds_small: int,
    seeds_full: int,
    default: str = "ring8",
) -> Setting[Teacher]:
    """The arguments of a study of diffusion, checked and filled in; its ``data`` is the `teacher`."""
    return Setting.around(
        lambda: teacher(data, budget, default=default, root=root),
        seeds=seeds,
        budget=budget,
        device=device,
        seeds_small=seeds_small,
        seeds_full=seeds_full,
        usual=None if data is None or data == default else default,
    )


def _numbers(mixture: GaussianMixture) -> tuple[str, ...]:
    return tuple(map(str, range(mixture.classes)))
