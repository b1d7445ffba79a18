"""A method under way, whatever the family: its iterations, its curves, its checkpoint, and how an earlier run goes on.

`Making` is the state of a run. `carry_out` makes its iterations, with progress, stopping and a file that is kept.
"""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, runtime_checkable

import torch

from workbench.records import Provenance, Record
from workbench.training.checkpoints import Checkpoints
from workbench.training.iterating import changed_setting, iterate
from workbench.training.learner import copied
from workbench.training.resuming import Identity, other_source
from workbench.training.running import Run


class Resumable(Protocol):
    """A record that holds what going on with its run needs."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def settings(self) -> dict[str, Any]:
        """The method's hyperparameters and the arguments of the run, as plain values."""

    @property
    def checkpoint(self) -> dict[str, Any]:
        """What `Making.checkpoint` gave; empty: it cannot be continued."""

    @property
    def provenance(self) -> Provenance:
        """With the time that was spent so far."""


Seen = TypeVar("Seen", bound=Run)
Kept = TypeVar("Kept", bound=Resumable)
SeenBy_contra = TypeVar("SeenBy_contra", bound=Run, contravariant=True)


@runtime_checkable
class Paced(Protocol[SeenBy_contra]):
    """A method whose optimizers do not keep their learning rates."""

    def pace(self, run: SeenBy_contra) -> float:
        """What they are multiplied with at this iteration; a function of the iteration and of the run's memory."""


@runtime_checkable
class Titled(Protocol):
    """A method that says what it is called in legends."""

    @property
    def name(self) -> str:
        """Such as ``"DREAM(DC)"``."""


@runtime_checkable
class Abbreviated(Protocol):
    """A method that has a short name."""

    @property
    def short(self) -> str:
        """Such as ``"dmd"``."""


@runtime_checkable
class Specified(Protocol):
    """A network that `workbench.models.build` made."""

    spec: dict[str, Any] | None
    """From which it makes it again."""


class RunError(ValueError):
    """A run that cannot go on. `record` holds the last sound state, or None when there is none."""

    def __init__(self, message: str, record: Any = None) -> None:
        super().__init__(message)
        self.record = record


class Making(ABC, Generic[Seen, Kept]):
    """A method under way.

    A family's own says what one iteration is, what is noted after it, what beside the optimizers a checkpoint holds,
    and which record is left behind.

    Parameters
    ----------
    run
        What the method sees.
    optimizers
        By name.
    fields
        Fields of the record that stand from the beginning, among them ``settings``.
    started
        The ``time.perf_counter()`` at which the run began.

    Attributes
    ----------
    done
        Iterations completed.
    """

    error: ClassVar[type[RunError]]
    """What is raised where the run cannot go on."""

    can_go_on: ClassVar[str]
    """Which records can be continued, for the message about one that cannot."""

    alike: ClassVar[str]
    """With what a run must be continued, for the same purpose."""

    advice: ClassVar[str]
    """What helps where something became NaN or infinite."""

    lengths: ClassVar[tuple[str, ...]] = ()
    """Settings in which a run that is continued may differ from its beginning: those that say how long it is."""

    sources: ClassVar[Mapping[str, Identity]] = {}
    """Settings that are fingerprints, and what they are of."""

    def __init__(
        self, run: Seen, optimizers: Mapping[str, torch.optim.Optimizer], fields: dict[str, Any], started: float
    ) -> None:
        self.run, self.optimizers, self.fields, self.started = run, dict(optimizers), fields, started
        self.done = 0
        self._rates = {name: [group["lr"] for group in one.param_groups] for name, one in self.optimizers.items()}
        self._before = 0.0

    @abstractmethod
    def iteration(self) -> float:
        """Make one; its loss.

        Raises
        ------
        NotFiniteError
            A loss or gradient was not finite: nothing has made the step that it was for.
        """

    @abstractmethod
    def note(self, loss: float) -> None:
        """Add to the history what the iteration that is now done had."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What a checkpoint holds beside the number of iterations, the optimizers' states and the run's memory."""

    @abstractmethod
    def load(self, record: Kept) -> None:
        """Take over the state and history of a record that `resume` has let through."""

    @abstractmethod
    def so_far(self, *, interrupted: bool, broken: bool = False) -> Kept:
        """The state as a record; of a run that broke within an iteration, without what continuing it would need."""

    def begin(self) -> None:
        """What comes before the first iteration of a run that continues none."""

    def record(self, *, interrupted: bool = False, broken: bool = False) -> Kept:
        """The same at the end of the run."""
        return self.so_far(interrupted=interrupted, broken=broken)

    def start(self, earlier: Kept | None, last: int) -> Self:
        """Begin, or set everything to where an earlier run ended.

        Raises
        ------
        RunError
            That was another run, cannot be continued, or has more than `last` iterations already.
        """
        if earlier is None:
            self.begin()
            return self
        self.resume(earlier)
        if self.done > last:
            raise self.error(f"resume has {self.done} iterations already, more than iterations={last}")
        return self

    def resume(self, record: Kept) -> None:
        """Set everything to where `record` ended.

        Raises
        ------
        RunError
            The record is of another run, or cannot be continued.
        """
        if not record.checkpoint:
            raise self.error(f"resume={record.name!r} has no checkpoint: {self.can_go_on}")
        self.check(record)
        self.load(record)
        self.run.memory = copied(record.checkpoint["memory"], self.run.device)
        self.done = int(record.checkpoint["iteration"])
        self._before = record.provenance.wall_time

    def check(self, record: Kept) -> None:
        """Refuse the record of another run: on other data or from another teacher, or with other settings."""
        now = self.fields["settings"]
        wrong, known = other_source(record.settings, now, self.sources)
        beside = {key: value for key, value in now.items() if key not in known and key not in self.lengths}
        if wrong := wrong or changed_setting(record.settings, beside):
            raise self.error(f"{wrong}: continue with the same {self.alike}")

    def advance(self) -> float:
        """One iteration; its loss.

        Raises
        ------
        NotFiniteError
            A loss or gradient was not finite.
        """
        self.run.begin(self.done)
        loss = self.iteration()
        self.done += 1
        self.note(loss)
        return loss

    def pace(self, method: object) -> None:
        """Multiply the optimizers' learning rates as a method says that has something to say."""
        if not isinstance(method, Paced):
            return
        factor = method.pace(self.run)
        for name, optimizer in self.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self._rates[name], strict=True):
                group["lr"] = factor * rate

    def checkpoint(self) -> dict[str, Any]:
        """What continuing the run needs, on the CPU."""
        kept = {"iteration": self.done, "memory": self.run.memory} | self.state()
        copy: dict[str, Any] = copied(kept, "cpu")
        return copy

    def provenance(self) -> Provenance:
        """Where and with what the run was made, with the time of what it continues."""
        made = Provenance.capture(seed=self.run.seed, device=self.run.device, started=self.started)
        return dataclasses.replace(made, wall_time=self._before + made.wall_time)


def carry_out(
    making: Making[Any, Kept],
    last: int,
    title: str,
    checkpoints: Checkpoints,
    *,
    every: int = 10,
    progress: bool = True,
    watch: Callable[[int, float], None] | None = None,
) -> Kept:
    """Make the iterations up to `last`, or until a stop is asked for, and give what the run leaves behind.

    Parameters
    ----------
    making, last, title
        What runs, how far, and what it is called.
    checkpoints
        Where it is kept meanwhile.
    every
        How often the progress bar tells the loss.
    progress, watch
        As for `iterate`.

    Raises
    ------
    RunError
        Of the family, with the last sound state as its `record`: something became NaN or infinite.
    """

    def broken_at(what: str) -> RunError:
        return making.error(f"{what}. {making.advice}", making.record(interrupted=True, broken=True))

    def so_far() -> Record:
        made = making.so_far(interrupted=making.done < last)
        assert isinstance(made, Record)
        return made

    broken = iterate(
        making, last, title, broken=broken_at, every=every, progress=progress, watch=watch,
        keep=lambda done: checkpoints.reached(done, so_far),
    )  # fmt: skip
    made = making.record(interrupted=making.done < last, broken=broken)
    assert isinstance(made, Record)
    if not broken:
        checkpoints.save(made)
    if making.done < last:
        how = "it can not be continued" if broken else "resume= continues from there"
        print(f"{title}: stopped after iteration {making.done:,} of {last:,}; {how}")
    return made


def title_of(method: object) -> str:
    """What a method is called in legends.

    >>> title_of(3)
    'int'
    """
    return method.name if isinstance(method, Titled) else type(method).__name__


def short_name(method: object) -> str:
    """What a method is called for short, in records."""
    return method.short if isinstance(method, Abbreviated) else type(method).__name__


def note(curves: dict[str, list[float]], values: Mapping[str, float], before: int, missing: float = math.nan) -> None:
    """Add a value to each curve, `missing` to one that has none; one that is new had none `before` times.

    >>> curves = {"loss": [3.0]}
    >>> note(curves, {"drift": 1.0}, before=1)
    >>> curves
    {'loss': [3.0, nan], 'drift': [nan, 1.0]}
    """
    for name in [*curves, *(name for name in values if name not in curves)]:
        curves.setdefault(name, [missing] * before).append(values.get(name, missing))


def packed(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's state as a record can hold it."""
    return {str(key): value for key, value in optimizer.state_dict()["state"].items()}


def unpack(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Give an optimizer the state that `packed` made of it."""
    numbered = {int(key): copied(value) for key, value in state.items()}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": numbered})
