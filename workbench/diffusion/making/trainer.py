"""`distill`: a diffusion model into a few-step student by any method, with progress, stopping and resuming."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from workbench.data import Dataset, Split
from workbench.diffusion.making.making import DistillationError, Distilling, Making
from workbench.diffusion.making.run import Run, examples
from workbench.diffusion.making.starting import Network, denoiser
from workbench.diffusion.sampling.denoiser import Denoiser, Guided, NetworkDenoiser, Rescheduled
from workbench.diffusion.sampling.sampling import RULES, Rule
from workbench.diffusion.teachers.kde import picture_scale
from workbench.records import DiffusionModel
from workbench.training import distributed
from workbench.training.grouping import keep_memory
from workbench.training.iterating import iterate
from workbench.training.settings import plain_settings


def distill(
    teacher: Denoiser | DiffusionModel,
    method: Distilling,
    *,
    network: Network = None,
    data: Dataset | Split | tuple[Tensor, Tensor] | Tensor | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    resume: DiffusionModel | None = None,
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
    steps
        Training iterations; by default the method's own number.
    seed
        Of everything drawn at random: the same seed on the same device gives the same student.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``.
    resume
        An earlier result of the same method and seed to continue from, up to `steps` in all. Interrupted and resumed
        with the same `steps`, a run has the same bits as one in one go.
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
        of another run.
    ValueError
        Names the argument, what it was and what would do.

    Examples
    --------
    >>> import workbench as wb
    >>> student = wb.diffusion.distill(wb.diffusion.ring(), wb.diffusion.Regression(), steps=3, progress=False)
    >>> student.method, student.iterations
    ('regression', 3)
    """
    started = time.perf_counter()
    place = distributed.pick(device)
    last = method.steps if steps is None else steps
    if last < 0:
        raise ValueError(f"steps is {last}; it must be at least 0")
    record, model = (teacher, denoiser(teacher)) if isinstance(teacher, DiffusionModel) else (None, teacher)
    model = moved(model, place)
    run = Run(
        model,
        seed=seed,
        device=place,
        steps=last,
        network=network,
        resuming=resume is not None,
        data=examples(data),
        progress=progress,
    )
    if run.data is not None and tuple(run.data[0].shape[1:]) != run.shape:
        raise ValueError(f"data has examples of shape {tuple(run.data[0].shape[1:])}; the teacher's are {run.shape}")
    title = name or getattr(method, "name", type(method).__name__)
    fields: dict[str, Any] = {
        "name": title,
        "method": getattr(method, "short", type(method).__name__),
        "settings": plain_settings(method)
        | {"steps": last, "seed": seed, "teacher": described(model), "data": getattr(data, "name", "")},
        **_looks(record, run, data, classes),
    }
    keep_memory()
    making = Making(method, run, fields, started)
    if resume is not None:
        making.resume(resume)
        if making.done > last:
            raise DistillationError(f"resume has {making.done} iterations already, more than steps={last}")

    def broken_at(what: str) -> DistillationError:
        advice = "The last finite weights are kept in error.record; a lower learning rate usually helps"
        return DistillationError(f"{what}. {advice}", making.record(interrupted=True, broken=True))

    broken = iterate(making, last, title, broken=broken_at, every=20, progress=progress, watch=watch)
    made = making.record(interrupted=making.done < last, broken=broken)
    if making.done < last:
        how = "it can not be continued" if broken else "resume= continues from there"
        print(f"{title}: stopped after iteration {making.done:,} of {last:,}; {how}")
    return made


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


def moved(model: Any, device: torch.device) -> Any:
    """A denoiser on a device, with what it wraps."""
    if isinstance(model, Guided):
        return Guided(moved(model.model, device), model.scale)
    if isinstance(model, Rescheduled):
        return Rescheduled(moved(model.model, device), model.schedule)
    return model.to(device) if hasattr(model, "to") else model


def described(model: Any) -> str:
    """A teacher in a few words, for settings."""
    if isinstance(model, Guided):
        return f"{described(model.model)} guided by {model.scale:g}"
    if isinstance(model, NetworkDenoiser):
        spec = getattr(model.network, "spec", None) or {}
        return f"{spec.get('name', type(model.network).__name__)} of {model.kind}"
    if isinstance(model, Rescheduled):
        return f"{described(model.model)} on {type(model.schedule).__name__}"
    parts = len(model.means) if hasattr(model, "means") else 0
    return f"{type(model).__name__} of {parts} parts" if parts else type(model).__name__


def _looks(record: DiffusionModel | None, run: Run, data: Any, classes: Sequence[str]) -> dict[str, Any]:
    """Class names and picture scale of the student's record."""
    names = tuple(classes) or (record.classes if record else ()) or tuple(getattr(data, "classes", ()) or ())
    if run.classes and len(names) != run.classes:
        if classes:
            raise ValueError(f"classes are {len(names)} names; the teacher knows {run.classes}")
        names = tuple(map(str, range(run.classes)))
    mean, std = (record.mean, record.std) if record else (None, None)
    if mean is None and len(run.shape) == 3:
        mean, std = picture_scale(run.shape[0])
    return {"classes": names if run.classes else (), "mean": mean, "std": std}
