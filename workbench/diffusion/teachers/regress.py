"""Regression: a network learns to say, at every state and time, what a teacher says there, or what the data were.

    L = E ‖u_θ(x_t, t) − u(x_t, t)‖²,   x_t = α x₀ + σ ε,

with u the teacher's answer in the network's own terms (a velocity, x̂₀, …), or, without a teacher, that of the very x₀
and ε (denoising score matching, Vincent 2011; flow matching, Lipman et al. 2023). Both have the same minimum if the
teacher is exact; its answers have no variance. Students start from such a fit, as they would from a teacher's weights.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from workbench.diffusion.making.making import adam
from workbench.diffusion.making.run import Run, examples
from workbench.diffusion.making.starting import Network
from workbench.diffusion.making.trainer import distill
from workbench.diffusion.making.weighting import time_weight
from workbench.diffusion.sampling.denoiser import Denoiser
from workbench.diffusion.sampling.predictions import Prediction, write
from workbench.diffusion.sampling.schedules import RectifiedFlow, Schedule
from workbench.records import DiffusionModel
from workbench.training.schedules import cosine


@dataclass(frozen=True, kw_only=True)
class Regression:
    """Fit a network to a teacher's answers.

    Attributes
    ----------
    kind
        What the network predicts, where it does not say so itself.
    weight
        Of the times, by name: see `time_weight`.
    unconditional
        Share of examples whose class is not told, so that both branches of guidance are learned.
    """

    short: ClassVar[str] = "regression"

    kind: str = "velocity"
    steps: int = 1000
    batch: int = 512
    lr: float = 3e-3
    weight: str = "even"
    unconditional: float = 0.2
    decay: float = 0.0

    def networks(self, run: Run) -> dict[str, Any]:
        return {"student": run.blank(self.kind)}

    def optimizers(self, networks: dict[str, Any]) -> dict[str, torch.optim.Optimizer]:
        return adam(networks, self.lr)

    def pace(self, run: Run) -> float:
        return cosine(run.iteration / max(run.steps, 1))

    @property
    def sampling(self) -> dict[str, Any]:
        return {}

    def losses(self, run: Run) -> Iterator[tuple[str, Tensor]]:
        student, schedule = run.student, run.teacher.schedule
        x0, condition = run.real(self.batch)
        noise, t = run.noise(self.batch), 1e-3 + (1 - 2e-3) * run.uniform(self.batch)
        if condition is not None:
            hidden = run.uniform(self.batch, "hidden") < self.unconditional
            condition = torch.where(hidden, -1, condition)
        x = schedule.diffuse(x0, noise, t)
        wanted = write(self.answer(run, x, t, condition, Prediction(x0, noise)), student.kind, t, schedule)
        gap = (student.output(x, t, condition) - wanted).square().flatten(1).mean(1)
        yield "student", (time_weight(self.weight, t, schedule) * gap).mean()

    def answer(self, run: Run, x: Tensor, t: Tensor, condition: Tensor | None, truth: Prediction) -> Prediction:  # noqa: ARG002 - `Denoising` answers by the truth
        """What the network shall say."""
        with torch.no_grad():
            return run.teacher(x, t, condition)


@dataclass(frozen=True, kw_only=True)
class Denoising(Regression):
    """Fit a network to data: how a teacher is trained. `steps` and `lr` are those of small images."""

    short: ClassVar[str] = "denoising"

    steps: int = 1500
    batch: int = 128
    lr: float = 2e-3
    unconditional: float = 0.1
    decay: float = 0.995

    def answer(self, run: Run, x: Tensor, t: Tensor, condition: Tensor | None, truth: Prediction) -> Prediction:  # noqa: ARG002 - a `Regression`
        return truth


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
    names = tuple(getattr(data, "classes", ()) or ())
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
