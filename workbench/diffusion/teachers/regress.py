"""`regress`: a network fitted to a teacher, where students start from; `denoise`: one trained on data."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from workbench.data import Dataset, Split
from workbench.diffusion.making.regression import Denoising, Regression
from workbench.diffusion.making.run import examples
from workbench.diffusion.making.starting import Network
from workbench.diffusion.making.trainer import distill
from workbench.diffusion.sampling.denoiser import Denoiser
from workbench.diffusion.sampling.predictions import Prediction
from workbench.diffusion.sampling.schedules import RectifiedFlow, Schedule
from workbench.records import DiffusionModel


def regress(
    teacher: Denoiser | DiffusionModel, network: Network = None, *, steps: int | None = None, **options: Any
) -> DiffusionModel:
    """Fit a network to a teacher: where students start from.

    Parameters
    ----------
    teacher, network
        As for `distill`, but that a network chosen with its weights is fitted from there on.
    steps
        Training iterations; by default 1,000 of batch 512.
    options
        Of `Regression` (`kind`, `batch`, `lr`, `weight`, `unconditional`, `decay`) and of `distill`.

    Examples
    --------
    >>> from workbench.diffusion import ring
    >>> fitted = regress(ring(), steps=5, batch=64, progress=False)
    >>> fitted.kind, fitted.iterations
    ('velocity', 5)
    """
    return _fitted(Regression, teacher, network, steps, options)


def denoise(
    data: Any,
    network: Network = None,
    *,
    schedule: Schedule | None = None,
    conditional: bool = True,
    steps: int | None = None,
    **options: Any,
) -> DiffusionModel:
    """Train a diffusion model on data.

    Parameters
    ----------
    data
        Images of a `Dataset` or `Split`, taken from −1 to 1; points with labels, or without.
    network
        A name that `workbench.models.build` knows, a module, or a record to train further. Default: ``"unet"`` for
        images, ``"denoiser-mlp"`` for points.
    schedule
        Default: rectified flow.
    conditional
        Whether classes can be asked for.
    steps
        Training iterations.
    options
        Of `Denoising` (`kind`, `batch`, `lr`, `weight`, `unconditional`, `decay`) and of `distill`.

    Examples
    --------
    >>> from workbench.data import load
    >>> made = denoise(load("digits"), steps=1, batch=4, progress=False)
    >>> made.shape, len(made.classes)
    ((1, 8, 8), 10)
    """
    held = examples(data)
    if held is None:
        raise ValueError("data is None; a diffusion model is trained on examples")
    x, labels = held
    known = int(labels.max()) + 1 if conditional else 0
    names = tuple(data.classes) if isinstance(data, Dataset | Split) else ()
    source = Unknown(schedule or RectifiedFlow(), tuple(x.shape[1:]), len(names) if names and conditional else known)
    options = {"data": data, "classes": names if source.classes else ()} | options
    return _fitted(Denoising, source, network, steps, options)


@dataclass(frozen=True)
class Unknown:
    """The model that data have in common, which nobody can ask: it tells schedule, shape and number of classes."""

    schedule: Schedule
    shape: tuple[int, ...]
    classes: int = 0

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:  # noqa: ARG002 - a `Denoiser`
        raise TypeError("this stands for data that a network is to be trained on; it answers nothing")


def _fitted(
    kind: type[Regression], teacher: Denoiser | DiffusionModel, network: Network, steps: int | None, options: Any
) -> DiffusionModel:
    own = {field.name for field in dataclasses.fields(kind)}
    method = kind(**{key: value for key, value in options.items() if key in own})
    rest = {key: value for key, value in options.items() if key not in own}
    return distill(teacher, method, network=network, steps=steps, **rest)
