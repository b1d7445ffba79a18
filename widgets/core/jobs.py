"""Computing on demand: a button in the widget, work in a thread, progress on the way, a stop that stops."""

import threading
import traceback
from collections.abc import Callable
from typing import Any


class JobStopped(Exception):  # noqa: N818 - not an error: the reader pressed "stop"
    """Raised inside a job, by `Job.progress`, once the reader has stopped it or asked for something newer."""


class Job:
    """What a computation that a reader asked for is given: report progress, learn that it may stop.

    Parameters
    ----------
    identity
        The request's id; answers carry it, so that a view takes only the last one it asked for.
    send
        Sends a message to the browser.
    details
        What the request asks for beyond its name; plain values from the browser, to be checked before use.
    """

    def __init__(
        self, identity: str, send: Callable[[dict[str, Any]], None], details: dict[str, Any] | None = None
    ) -> None:
        self.identity = identity
        self.details = details or {}
        self._send = send
        self._stop = threading.Event()

    @property
    def stopped(self) -> bool:
        """The reader does not want the result any more."""
        return self._stop.is_set()

    def progress(self, fraction: float | None = None, text: str = "") -> None:
        """Show how far the job is: `fraction` in 0..1, or None where nobody knows.

        Raises
        ------
        JobStopped
            The reader pressed stop. Let it pass: nothing needs to be cleaned up for the widget's sake.
        """
        if self.stopped:
            raise JobStopped
        self._send({"type": "progress", "id": self.identity, "fraction": fraction, "text": text})


class Jobs:
    """The jobs of one explorer; each runs in a thread, so that the kernel still hears "stop" while it computes."""

    def __init__(self, send: Callable[[dict[str, Any]], None], failed: Callable[[str], None]) -> None:
        self._send = send
        self._failed = failed
        self._running: dict[str, Job] = {}

    def start(
        self,
        identity: str,
        work: Callable[[Job], Any],
        *,
        name: str = "job",
        details: dict[str, Any] | None = None,
    ) -> threading.Thread:
        """Run ``work(job)``; its result (a plain value) goes to the view that asked."""
        job = Job(identity, self._send, details)
        self._running[identity] = job

        def run() -> None:
            try:
                job.progress()
                result = work(job)
                self._send({"type": "stopped" if job.stopped else "result", "id": identity, "result": result})
                self._failed("")
            except JobStopped:
                self._send({"type": "stopped", "id": identity})
            except BaseException:  # noqa: BLE001 - also SystemExit: the reader must see it, the thread has nobody else to tell
                text = traceback.format_exc()
                self._send({"type": "failed", "id": identity, "traceback": text})
                self._failed(text)
            finally:
                self._running.pop(identity, None)

        thread = threading.Thread(target=run, name=f"explorer-{name}", daemon=True)
        thread.start()
        return thread

    def stop(self, identity: str) -> None:
        """Ask a job to stop; one that has ended already is no mistake."""
        if job := self._running.get(identity):
            job._stop.set()  # noqa: SLF001 - both halves of one mechanism
