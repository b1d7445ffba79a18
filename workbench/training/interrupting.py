"""Stopping a run without losing it: an interrupt, or a stop asked for, ends it after the step under way."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType, TracebackType
from typing import Any, Self

_asked: ContextVar[Callable[[], bool] | None] = ContextVar("asked", default=None)


@contextmanager
def stopping_when(asked: Callable[[], bool]) -> Iterator[None]:
    """Whatever runs inside, in this thread, stops as by SIGINT after the step in which ``asked()`` became true.

    Examples
    --------
    >>> with stopping_when(lambda: True), Interruptible() as stop:
    ...     stop.requested
    True
    """
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)


class Interruptible:
    """Context in which the first SIGINT (the notebook's stop button, Ctrl-C) only makes `requested` true.

    A second one does what it would have done outside, so that a run that hangs can still be stopped. In a thread other
    than the main one no signal arrives, and nothing is changed: there `stopping_when` is what stops a run.
    """

    def __init__(self) -> None:
        self._signalled = False
        self._previous: Any = None

    @property
    def requested(self) -> bool:
        """The run is to end after the step under way."""
        asked = _asked.get()
        return self._signalled or (asked is not None and asked())

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):  # SIG_IGN and SIG_DFL are the caller's decision
                self._previous = previous
                signal.signal(signal.SIGINT, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._signalled:
            self._previous(number, frame)
        self._signalled = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
