"""`condense`: a data set distilled into a few images per class by any method, with progress, stopping and resuming."""

import numbers
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from workbench.condensation.making.checks import check_history, checked_method
from workbench.condensation.making.journal import Journal
from workbench.condensation.making.making import CondensationError, CondensationMaking
from workbench.condensation.making.method import Choosing, Matching
from workbench.condensation.making.run import CondensationRun
from workbench.data import Dataset, Split, fingerprint
from workbench.records import DistilledSet, Provenance
from workbench.training import distributed, doors
from workbench.training.checkpoints import kept_at, reopened
from workbench.training.grouping import keep_memory
from workbench.training.learner import copied
from workbench.training.making import carry_out, short_name, title_of
from workbench.training.settings import plain_settings

__all__ = ["CondensationError", "condense"]


def condense(
    data: Dataset | Split,
    method: Matching | Choosing,
    *,
    iterations: int | None = None,
    snapshots: int | Sequence[int] = 50,
    seed: int = 0,
    device: str | torch.device = "auto",
    resume: DistilledSet | str | os.PathLike | None = None,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int | None = None,
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
        An earlier result of the same method, data and seed to continue from, or the path of its file, up to
        `iterations` in all.
    checkpoint, checkpoint_every
        A file in which the run is kept while it is made, so that a process that dies loses little: what a stopped run
        would return, every so many iterations (by default a hundredth of the run). Go on with ``resume=`` that path.
    progress
        Show a progress bar.
    name
        What the set is called in legends; by default the method's name.
    watch
        Called after each iteration with its number (from 1) and its loss. Raising KeyboardInterrupt there ends the run
        as an interrupt does.

    Returns
    -------
    DistilledSet
        Interrupting (the notebook's stop button, Ctrl-C) ends the run early and keeps what it has.

    Raises
    ------
    TypeError
        `method` is no method.
    ValueError
        A number is none that can be meant, or the history of the run would not fit into memory.
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
    checked_method(method)
    place = distributed.pick(device)
    split = _checked(data.train if isinstance(data, Dataset) else data, method.ipc).to(place)
    run = CondensationRun(split, seed=seed, device=place, progress=progress)
    title = name or title_of(method)
    fields: dict[str, Any] = {
        "name": title,
        "method": short_name(method),
        "classes": split.classes,
        "mean": split.mean.cpu(),
        "std": split.std.cpu(),
        "whitening": {}
        if split.whitening is None
        else {"mean": split.whitening.mean.cpu(), "inverse": split.whitening.inverse.cpu()},
        "settings": plain_settings(method)
        | {
            "seed": seed,
            "data": data.name if isinstance(data, Dataset) else "",
            "train_fingerprint": fingerprint(split),
        },
    }
    if isinstance(method, Choosing):
        chosen = copied(method.choose(run), "cpu")
        made = Provenance.capture(seed=seed, device=place, started=started)
        return DistilledSet(**(fields | chosen | {"provenance": made}))
    last = doors.whole("iterations", method.iterations if iterations is None else iterations, 0)
    if not isinstance(snapshots, Sequence):
        doors.whole("snapshots", snapshots, 0)
    pictures = len(snapshots) if isinstance(snapshots, Sequence) else min(snapshots, last + 1)
    check_history(last, pictures, 2 * method.ipc * len(split.classes) * split.inputs[0].numel())
    saved = kept_at(checkpoint, checkpoint_every, last, resuming=resume is not None)
    earlier = None if resume is None else reopened(resume, DistilledSet)
    keep_memory()
    making = CondensationMaking(method, run, fields, Journal(snapshots, last), started).start(earlier, last)
    return carry_out(making, last, title, saved, progress=progress, watch=watch)


def _checked(split: Split, ipc: int) -> Split:
    if not split.classes or len(split.shape) != 3:
        raise CondensationError(
            f"data has inputs of shape {split.shape} and {len(split.classes)} classes; images with classes are needed"
        )
    if isinstance(ipc, bool) or not isinstance(ipc, numbers.Integral) or ipc < 1:
        raise CondensationError(f"ipc is {ipc!r}; it must be a whole number: at least one image per class is needed")
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
