"""The loop in which every condensation method runs: steps, snapshots, progress, interruption, resuming."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from workbench.condensation.method import Choosing, Finishing, Matching
from workbench.condensation.run import Run
from workbench.condensation.synthetic import Synthetic
from workbench.data import Dataset, Split
from workbench.records import DistilledSet, Provenance
from workbench.training import distributed
from workbench.training.fit import plain
from workbench.training.interrupting import Interruptible


class CondensationError(ValueError):
    """A run that cannot go on. `record` holds the last sound state, or None when there is none."""

    def __init__(self, message: str, record: DistilledSet | None = None) -> None:
        super().__init__(message)
        self.record = record


def condense(
    data: Dataset | Split,
    method: Matching | Choosing,
    *,
    iterations: int | None = None,
    snapshots: int | Sequence[int] = 50,
    seed: int = 0,
    device: str | torch.device = "auto",
    resume: DistilledSet | None = None,
    progress: bool = True,
    name: str = "",
    watch: Callable[[int, float], None] | None = None,
) -> DistilledSet:
    """Distil a data set into a few images per class.

    Parameters
    ----------
    data
        What to distil; of a `Dataset` its training split. Images with classes.
    method
        How, such as ``DistributionMatching(ipc=10)``.
    iterations
        Steps; by default the method's own number.
    snapshots
        How many states of the images to keep, evenly spaced from before the first step to after the last; or at which
        iterations; 0: none.
    seed
        Of everything drawn at random: the same seed on the same device gives the same images.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``.
    resume
        An earlier result of the same method and seed to continue from, up to `iterations` in all.
    progress
        Show a progress bar.
    name
        What the set is called in legends; by default the method's name.
    watch
        Called after each iteration with its number (from 1) and its loss.

    Returns
    -------
    DistilledSet
        Interrupting (the notebook's stop button, Ctrl-C) ends the run early and keeps what it has.

    Raises
    ------
    CondensationError
        The data has no images or a class has none; `ipc` is larger than a class where images are taken from it; the
        loss or a gradient became NaN or infinite (``error.record`` holds the last finite images).

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> method = wb.condensation.DistributionMatching(ipc=1, real_batch=16)
    >>> tiny = wb.condensation.condense(data, method, iterations=2, progress=False)
    >>> tiny.images.shape, tiny.iterations
    (torch.Size([10, 1, 8, 8]), 2)
    """
    started = time.perf_counter()
    place = distributed.pick(device)
    split = _checked(data.train if isinstance(data, Dataset) else data, method.ipc).to(place)
    run = Run(split, seed=seed, device=place)
    title = name or getattr(method, "name", type(method).__name__)
    settings = plain_settings(method) | {"seed": seed, "data": getattr(data, "name", "")}
    shared: dict[str, Any] = {
        "name": title,
        "method": getattr(method, "short", type(method).__name__),
        "classes": split.classes,
        "mean": split.mean.cpu(),
        "std": split.std.cpu(),
        "settings": settings,
    }
    if isinstance(method, Choosing):
        chosen = {key: _to_cpu(value) for key, value in method.choose(run).items()}
        made = Provenance.capture(seed=seed, device=place, started=started)
        return DistilledSet(**(shared | chosen | {"provenance": made}))
    last = method.iterations if iterations is None else iterations
    if last < 0:
        raise ValueError(f"iterations is {last}; it must be at least 0")
    journal = Journal(_moments(snapshots, last))
    synthetic = method.start(run)
    optimizers = method.optimizers(synthetic)
    first = 0
    if resume is not None:
        first = _restore(resume, settings, run, synthetic, optimizers, journal, last)
    elif 0 in journal.moments:
        journal.picture(0, synthetic)
    before = resume.provenance.wall_time if resume is not None else 0.0

    def record(done: int, *, interrupted: bool) -> DistilledSet:
        journal.picture(done, synthetic, ending=True)
        more = dict(method.finish(run, synthetic)) if isinstance(method, Finishing) else {}
        made = Provenance.capture(seed=seed, device=place, started=started)
        fields = {
            "images": synthetic.kept,
            "labels": synthetic.labels.detach(),
            "view": {key: value for view in synthetic.views for key, value in view.spec.items()},
            "source": synthetic.source,
            "checkpoint": {
                "iteration": done,
                "synthetic": synthetic.state(),
                "optimizers": [plain_state(optimizer) for optimizer in optimizers],
                "memory": run.memory,
            },
            "interrupted": interrupted,
            "provenance": dataclasses.replace(made, wall_time=before + made.wall_time),
            **journal.fields(),
            **more,
        }
        return DistilledSet(**(shared | {key: _to_cpu(value) for key, value in fields.items()}))

    done = first
    with (
        Interruptible() as stop,
        tqdm(total=last, initial=first, desc=title, disable=not progress, leave=False, unit="it") as bar,
    ):
        for iteration in range(first, last):
            run.iteration, run.logged = iteration, {}
            kept = synthetic.state()
            values = []
            for loss in method.losses(run, synthetic):
                problem = _step(loss, synthetic, optimizers)
                if problem:
                    synthetic.load(kept)
                    raise CondensationError(
                        f"{title}: the {problem} became NaN or infinite at iteration {iteration + 1} of {last}. The "
                        "images before it are kept in error.record; a lower learning rate usually helps",
                        record(done, interrupted=True),
                    )
                values.append(loss.detach())
            done = iteration + 1
            value = float(torch.stack(values).sum()) if values else math.nan
            journal.note(value, run.logged)
            if done in journal.moments:
                journal.picture(done, synthetic)
            bar.update()
            if progress and (done % 10 == 0 or done == last):
                bar.set_postfix(loss=f"{value:.4g}", refresh=False)
            if watch is not None:
                watch(done, value)
            if stop.requested:
                break
    if done < last:
        print(f"{title}: stopped after iteration {done} of {last}; resume= continues from there")
    return record(done, interrupted=done < last)


class Journal:
    """The history of a run: the loss at each iteration, and pictures of the images at some."""

    def __init__(self, moments: Sequence[int]) -> None:
        self.moments = set(moments)
        self.loss: list[float] = []
        self.curves: dict[str, list[float]] = {}
        self.at: list[int] = []
        self.images: list[Tensor] = []
        self.labels: list[Tensor] = []

    def note(self, loss: float, logged: dict[str, float]) -> None:
        """Add one iteration; a curve without a value at an iteration has NaN there."""
        for name in logged.keys() | self.curves.keys():
            curve = self.curves.setdefault(name, [math.nan] * len(self.loss))
            curve.append(logged.get(name, math.nan))
        self.loss.append(loss)

    def picture(self, iteration: int, synthetic: Synthetic, *, ending: bool = False) -> None:
        """Keep the images as they are; the end of a run is kept once, and only where there are other moments."""
        if iteration in self.at or (ending and not self.moments):
            return
        self.at.append(iteration)
        self.images.append(synthetic.kept.to(torch.float16).cpu().clone())
        if "label_logits" in synthetic.leaves:
            self.labels.append(synthetic.labels.detach().to(torch.float16).cpu())

    def fields(self) -> dict[str, Any]:
        """The fields of `DistilledSet` that tell the history."""
        return {
            "loss": torch.tensor(self.loss),
            "curves": {name: torch.tensor(curve) for name, curve in self.curves.items()},
            "snapshots": torch.stack(self.images) if self.images else None,
            "snapshot_iterations": tuple(self.at),
            "snapshot_labels": torch.stack(self.labels) if self.labels else None,
        }

    def continue_from(self, record: DistilledSet, done: int) -> None:
        """Take over the history of an earlier run."""
        self.loss = record.loss.tolist()
        self.curves = {name: curve.tolist() for name, curve in record.curves.items()}
        for k, iteration in enumerate(record.snapshot_iterations):
            if record.snapshots is not None and (iteration in self.moments or iteration == done):
                self.at.append(iteration)
                self.images.append(record.snapshots[k])
                if record.snapshot_labels is not None:
                    self.labels.append(record.snapshot_labels[k])


def plain_settings(method: Any) -> dict[str, Any]:
    """A method's hyperparameters as plain values, with the methods inside it."""
    return {field.name: plain(getattr(method, field.name)) for field in dataclasses.fields(method)}


def plain_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's state as tensors and plain values."""
    return {str(key): value for key, value in optimizer.state_dict()["state"].items()}


def _step(loss: Tensor, synthetic: Synthetic, optimizers: Sequence[torch.optim.Optimizer]) -> str:
    """One step down the gradient of `loss`; what was not finite, if anything."""
    if not bool(torch.isfinite(loss)):
        return "loss"
    leaves = list(synthetic.leaves.values())
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients if gradient is not None):
        return "gradient"
    for leaf, gradient in zip(leaves, gradients, strict=True):
        leaf.grad = gradient
    for optimizer in optimizers:
        optimizer.step()
    synthetic.settle()
    return ""


def _restore(
    resume: DistilledSet,
    settings: dict[str, Any],
    run: Run,
    synthetic: Synthetic,
    optimizers: Sequence[torch.optim.Optimizer],
    journal: Journal,
    last: int,
) -> int:
    """Set everything to where `resume` ended; returns its number of iterations."""
    if not resume.checkpoint:
        raise CondensationError(
            f"resume={resume.name!r} has no checkpoint: only what condense returned can be continued, not a part of it"
        )
    changed = sorted(key for key in settings if resume.settings.get(key) != settings[key])
    if changed:
        key = changed[0]
        raise CondensationError(
            f"resume was made with {key}={resume.settings.get(key)!r}, now it is {settings[key]!r}: "
            "continue with the same method, data and seed"
        )
    kept = resume.checkpoint["synthetic"]
    if kept["pixels"].shape != synthetic.pixels.shape:
        raise CondensationError(
            f"resume holds images of shape {tuple(kept['pixels'].shape)}, this run has {tuple(synthetic.pixels.shape)}: "
            "it was made from other data"
        )
    done = int(resume.checkpoint["iteration"])
    if done > last:
        raise CondensationError(f"resume has {done} iterations already, more than iterations={last}")
    synthetic.load({name: value.to(run.device) for name, value in kept.items()})
    for optimizer, state in zip(optimizers, resume.checkpoint["optimizers"], strict=True):
        optimizer.load_state_dict(
            {**optimizer.state_dict(), "state": {int(key): _clone(value) for key, value in state.items()}}
        )
    run.memory = _to(resume.checkpoint["memory"], run.device)
    journal.continue_from(resume, done)
    return done


def _moments(snapshots: int | Sequence[int], last: int) -> list[int]:
    if not isinstance(snapshots, int):
        wrong = [moment for moment in snapshots if not 0 <= moment <= last]
        if wrong:
            raise ValueError(f"snapshots has iteration {wrong[0]}, outside 0..{last}")
        return sorted(set(snapshots))
    if snapshots < 0 or snapshots == 1:
        raise ValueError(f"snapshots is {snapshots}; it can be 0 (none), at least 2 (evenly spaced), or iterations")
    return sorted({round(k * last / (snapshots - 1)) for k in range(snapshots)}) if snapshots else []


def _checked(split: Split, ipc: int) -> Split:
    if not split.classes or len(split.shape) != 3:
        raise CondensationError(
            f"data has inputs of shape {split.shape} and {len(split.classes)} classes; images with classes are needed"
        )
    if ipc < 1:
        raise CondensationError(f"ipc is {ipc}; at least one image per class is needed")
    counts = split.counts
    if bool((counts == 0).any()):
        empty = split.classes[int((counts == 0).nonzero()[0])]
        raise CondensationError(f"class {empty!r} has no training images: leave it out of the data, or add some")
    if ipc > int(counts.min()):
        smallest = int(counts.argmin())
        raise CondensationError(
            f"ipc is {ipc}, but class {split.classes[smallest]!r} has only {int(counts[smallest])} training images"
        )
    return split


def _to_cpu(value: Any) -> Any:
    return _to(value, torch.device("cpu"))


def _to(value: Any, device: torch.device) -> Any:
    match value:
        case Tensor():
            return value.detach().to(device, copy=True)
        case dict():
            return {key: _to(item, device) for key, item in value.items()}
        case list() | tuple():
            return type(value)(_to(item, device) for item in value)
    return value


def _clone(value: Any) -> Any:
    return _to(value, torch.device("cpu")) if not isinstance(value, Tensor) else value.clone()
