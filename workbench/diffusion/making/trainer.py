"""`distill`: a diffusion model into a few-step student by any method, with progress, stopping and resuming."""

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from workbench.data import Dataset, Split
from workbench.data.identity import tensors_fingerprint
from workbench.diffusion.making.identity import teacher_fingerprint
from workbench.diffusion.making.making import DiffusionMaking, Distilling
from workbench.diffusion.making.regression import Regression
from workbench.diffusion.making.run import DiffusionRun, examples
from workbench.diffusion.making.starting import Network, denoiser
from workbench.diffusion.sampling.denoiser import Denoiser, Guided, NetworkDenoiser, Rescheduled
from workbench.diffusion.sampling.sampling import RULES, Rule
from workbench.diffusion.teachers.kde import picture_scale
from workbench.records import DiffusionModel
from workbench.training import distributed, doors
from workbench.training.checkpoints import kept_at, reopened
from workbench.training.grouping import keep_memory
from workbench.training.making import Specified, carry_out, short_name, title_of
from workbench.training.settings import plain_settings


def distill(
    teacher: Denoiser | DiffusionModel,
    method: Distilling,
    *,
    network: Network = None,
    data: Dataset | Split | tuple[Tensor, Tensor] | Tensor | None = None,
    iterations: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    resume: DiffusionModel | str | os.PathLike | None = None,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int | None = None,
    progress: bool = True,
    watch: Callable[[int, float], None] | None = None,
    name: str = "",
    classes: Sequence[str] = (),
) -> DiffusionModel:
    """Distil a diffusion model into a student.

    Parameters
    ----------
    teacher
        What to learn from: an exact mixture, a network, either guided, or a record of one.
    method
        How, such as ``TDD()``.
    network
        What the student starts from: a record or `NetworkDenoiser` (with its weights), a name that
        `workbench.models.build` knows or a module (fitted to the teacher first; see `regress`). Default: the teacher's
        own network; for an exact teacher ``"denoiser-mlp"``, of images ``"unet"``.
    data
        Real examples, for methods that use some: images of a `Dataset` are taken from −1 to 1. Default: samples of an
        exact teacher, or of a pool that the teacher makes.
    iterations
        Of training; by default the method's own number.
    steps
        The same; an older name.
    seed
        Of everything drawn at random: the same seed on the same device gives the same student.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``.
    resume
        An earlier result of the same method, data, teacher and seed to continue from, or the path of its file, up to
        `iterations` in all. Interrupted and resumed with the same `iterations`, a run has the same bits as one in one
        go.
    checkpoint, checkpoint_every
        A file in which the run is kept while it is made, so that a process that dies loses little: what a stopped run
        would return, every so many iterations (by default a hundredth of the run). Go on with ``resume=`` that path.
    progress
        Show a progress bar.
    watch
        Called after each iteration with its number (from 1) and the student's loss.
    name
        What the student is called in legends; by default the method's name.
    classes
        Class names; by default those of the record or data, or numbers.

    Returns
    -------
    DiffusionModel
        Interrupting (the notebook's stop button, Ctrl-C) ends the run early and keeps what it has, the moving average
        of the weights included.

    Raises
    ------
    DistillationError
        A loss or gradient became NaN or infinite (``error.record`` holds the last finite weights), or `resume` is
        of another run, on other data or from another teacher.
    ValueError
        Names the argument, what it was and what would do.

    Examples
    --------
    >>> import workbench as wb
    >>> student = wb.diffusion.distill(wb.diffusion.ring(), wb.diffusion.Regression(), iterations=3, progress=False)
    >>> student.method, student.iterations
    ('regression', 3)
    """
    started = time.perf_counter()
    place = distributed.pick(device)
    last = _length(method, iterations, steps)
    saved = kept_at(checkpoint, checkpoint_every, last, resuming=resume is not None)
    earlier = None if resume is None else reopened(resume, DiffusionModel)
    record, model = (teacher, denoiser(teacher)) if isinstance(teacher, DiffusionModel) else (None, teacher)
    model = moved(model, place)
    run = DiffusionRun(
        model,
        seed=seed,
        device=place,
        steps=last,
        network=network,
        resuming=resume is not None,
        data=examples(data),
        progress=progress,
        fit=fitted,
    )
    if run.data is not None and tuple(run.data[0].shape[1:]) != run.shape:
        raise ValueError(f"data has examples of shape {tuple(run.data[0].shape[1:])}; the teacher's are {run.shape}")
    title = name or title_of(method)
    fields: dict[str, Any] = {
        "name": title,
        "method": short_name(method),
        "settings": plain_settings(method)
        | {
            "steps": last,
            "seed": seed,
            "teacher": described(model),
            "teacher_fingerprint": teacher_fingerprint(model),
            "data": data.name if isinstance(data, Dataset) else "",
            "train_fingerprint": "" if run.data is None else tensors_fingerprint(run.data),
        },
        **_looks(record, run, data, classes),
    }
    keep_memory()
    making = DiffusionMaking(method, run, fields, started).start(earlier, last)
    return carry_out(making, last, title, saved, every=20, progress=progress, watch=watch)


def fitted(run: DiffusionRun, kind: str, steps: int | None) -> NetworkDenoiser:
    """The network that a run starts from, fitted to its teacher: a run of its own."""
    made = distill(
        run.teacher, Regression(kind=kind), network=run.network, iterations=steps, data=run.data, seed=run.seed,
        device=run.device, progress=run.progress, name="start of the student",
    )  # fmt: skip
    return denoiser(made)


def _length(method: Distilling, iterations: int | None, steps: int | None) -> int:
    """The number of iterations that is asked for."""
    if iterations is not None and steps is not None:
        raise ValueError(f"iterations is {iterations} and steps {steps}: they are the same, pass one of them")
    name, asked = ("steps", steps) if iterations is None else ("iterations", iterations)
    return doors.whole(name, method.steps if asked is None else asked, 0)


def usage(record: DiffusionModel, steps: int = 50) -> dict[str, Any]:
    """How a model is to be sampled from, as arguments of `sample` and `target_trajectories`: its rule, its times.

    Parameters
    ----------
    record
        Of a student, or of a teacher, which makes `steps` steps.

    Examples
    --------
    >>> import workbench as wb
    >>> teacher = wb.diffusion.regress(wb.diffusion.ring(), steps=1, progress=False)
    >>> usage(teacher, steps=20)
    {'sampler': DDIM(churn=0.0), 'steps': 20}
    """
    rule: Rule = RULES[record.sampler]
    if record.sampling:
        rule = dataclasses.replace(rule, **record.sampling)  # type: ignore[type-var]  # every rule in RULES is one
    return {"sampler": rule, "steps": steps if record.times is None else record.times}


@runtime_checkable
class Movable(Protocol):
    """A model that can be on a device."""

    def to(self, device: torch.device) -> Any:
        """It there."""


@runtime_checkable
class Parted(Protocol):
    """A model that is a mixture of parts."""

    @property
    def means(self) -> Tensor:
        """Of the parts, shape (parts, ...)."""


def moved(model: Any, device: torch.device) -> Any:
    """A denoiser on a device, with what it wraps."""
    if isinstance(model, Guided):
        return Guided(moved(model.model, device), model.scale)
    if isinstance(model, Rescheduled):
        return Rescheduled(moved(model.model, device), model.schedule)
    return model.to(device) if isinstance(model, Movable) else model


def described(model: Any) -> str:
    """A teacher in a few words, for settings."""
    if isinstance(model, Guided):
        return f"{described(model.model)} guided by {model.scale:g}"
    if isinstance(model, NetworkDenoiser):
        spec = (model.network.spec if isinstance(model.network, Specified) else None) or {}
        return f"{spec.get('name', type(model.network).__name__)} of {model.kind}"
    if isinstance(model, Rescheduled):
        return f"{described(model.model)} on {type(model.schedule).__name__}"
    parts = len(model.means) if isinstance(model, Parted) else 0
    return f"{type(model).__name__} of {parts} parts" if parts else type(model).__name__


def _looks(record: DiffusionModel | None, run: DiffusionRun, data: Any, classes: Sequence[str]) -> dict[str, Any]:
    """Class names and picture scale of the student's record."""
    names = (
        tuple(classes)
        or (record.classes if record else ())
        or (tuple(data.classes) if isinstance(data, Dataset | Split) else ())
    )
    if run.classes and len(names) != run.classes:
        if classes:
            raise ValueError(f"classes are {len(names)} names; the teacher knows {run.classes}")
        names = tuple(map(str, range(run.classes)))
    mean, std = (record.mean, record.std) if record else (None, None)
    if mean is None and len(run.shape) == 3:
        mean, std = picture_scale(run.shape[0])
    return {"classes": names if run.classes else (), "mean": mean, "std": std}
