"""A file that always holds the last state of a long run, so that a killed process or machine costs little.

A checkpoint is a record like any other: what the run would have returned had it been stopped there, or, where that is
no single record, a `workbench.records.Checkpoint`. The run takes ``checkpoint=PATH``, and ``resume=PATH`` goes on.

>>> import tempfile
>>> from workbench.records import Checkpoint
>>> path = Path(tempfile.mkdtemp()) / "count.safetensors"
>>> kept = Checkpoints(path, every=10)
>>> for done in range(1, 26):
...     kept.reached(done, lambda: Checkpoint(what="counting", done=done, total=30))
>>> reopened(path, Checkpoint).done
20
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from workbench import records
from workbench.records import Record
from workbench.records.writing import check_writable

Made = TypeVar("Made", bound=Record)


class Checkpoints:
    """Writes a run's state to one file every so many steps; each state replaces the one before, whole or not at all.

    Parameters
    ----------
    path
        The file; None: nothing is ever due, and nothing written.
    every
        Steps (in the run's own unit) from one to the next.
    resuming
        The run continues an earlier one, whose file may be replaced.

    Raises
    ------
    ValueError
        `every` is no whole number of at least 1; `path` holds an unfinished run that is not being continued, or
        something that is no record.
    OSError
        Nothing can be written at `path`.
    """

    def __init__(self, path: str | os.PathLike | None, every: int = 1, *, resuming: bool = False) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"checkpoint_every is {every!r}; it must be a whole number of at least 1")
        self.path = None if path is None else check_writable(path, "checkpoint")
        self.every = every
        self._warned = False
        if self.path is not None and self.path.exists() and not resuming:
            _refuse_unfinished(self.path)

    def due(self, done: int) -> bool:
        """A state is to be kept after `done` steps."""
        return self.path is not None and done > 0 and done % self.every == 0

    def reached(self, done: int, make: Callable[[], Record]) -> None:
        """Keep what `make` gives, if a state is due after `done` steps."""
        if self.due(done):
            self.save(make())

    def save(self, record: Record) -> None:
        """Keep this state. A disk that is full costs the checkpoint and is warned of once, but not the run."""
        if self.path is None:
            return
        try:
            record.save(self.path)
        except OSError as error:
            if not self._warned:
                warnings.warn(
                    f"the checkpoint {self.path} could not be written ({error}); the run goes on", stacklevel=2
                )
            self._warned = True


def kept_at(checkpoint: str | os.PathLike | None, every: int | None, iterations: int, *, resuming: bool) -> Checkpoints:
    """What the arguments ``checkpoint`` and ``checkpoint_every`` of a run of so many iterations ask for.

    By default a state is kept each hundredth of the run.

    Raises
    ------
    ValueError, OSError
        As for `Checkpoints`; or there is a number, but no file.
    """
    if checkpoint is None and every is not None:
        raise ValueError(f"checkpoint_every is {every!r}, but no checkpoint is written: pass checkpoint= a path")
    return Checkpoints(checkpoint, max(1, iterations // 100) if every is None else every, resuming=resuming)


def reopened(resume: Made | str | os.PathLike, kind: type[Made]) -> Made:
    """The record to continue from: as it is, or opened from its file.

    Raises
    ------
    TypeError
        It is something else.
    FileNotFoundError, workbench.records.RecordError
        There is no such file, or it is no record.
    """
    found = records.open(resume) if isinstance(resume, str | os.PathLike) else resume
    if not isinstance(found, kind):
        raise TypeError(f"resume is a {type(found).__name__}; it must be a {kind.__name__}, or the path of one's file")
    return found


def _refuse_unfinished(path: Path) -> None:
    try:
        there = records.open(path)
    except records.RecordError:
        raise ValueError(f"checkpoint is {str(path)!r}, a file that is no record: name another") from None
    if getattr(there, "interrupted", False):
        raise ValueError(
            f"checkpoint is {str(path)!r}, which holds an unfinished run ({there.summary()}): "
            f"pass resume={str(path)!r} too to go on with it, or remove the file"
        )
