"""Tasks on whatever joblib's backend in force offers, such that a task which ends its worker costs no other its result.

joblib gives up a whole run when a worker process dies, and waits for ever on dask; so a run is taken up again without
what was under way, which then runs task by task, alone.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import joblib
from joblib.parallel import get_active_backend

POLL = 1.0
"""Seconds between a worker's looks at whether its parent still runs."""

_watched: set[int] = set()


def finished(
    run: Callable[..., tuple[int, Any]], tasks: Mapping[int, tuple[Any, ...]], n_jobs: int
) -> Iterator[tuple[int, Any]]:
    """``run(*task)``, which returns (key, result), of every task as it ends; where it broke, a text for the result.

    Parameters
    ----------
    run
        Must raise nothing itself.
    tasks
        Its arguments, by key.
    n_jobs
        As joblib counts them.
    """
    backend, _ = get_active_backend()
    if hasattr(backend, "client"):
        yield from _on_dask(backend.client, run, tasks, backend.effective_n_jobs(n_jobs))
        return
    waiting = dict(tasks)
    while waiting:
        under_way: set[int] = set()
        try:
            for key, result in _parallel(run, waiting, n_jobs, under_way):
                under_way.discard(key)
                waiting.pop(key)
                yield key, result
        except Exception:
            if not under_way:
                raise
        for key in sorted(under_way):
            yield key, _alone(run, waiting.pop(key))


def _parallel(
    run: Callable[..., tuple[int, Any]], tasks: Mapping[int, tuple[Any, ...]], n_jobs: int, under_way: set[int]
) -> Iterator[tuple[int, Any]]:
    """One pass over the tasks; `under_way` gets the key of each that is handed out."""

    def handed_out() -> Iterator[Any]:
        for key, task in list(tasks.items()):
            under_way.add(key)
            yield joblib.delayed(run)(*task)

    # One task at a time: of a batch, none would be known to be done before all are.
    yield from joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1)(handed_out())


def _alone(run: Callable[..., tuple[int, Any]], task: tuple[object, ...]) -> Any:
    """The result of one task in a worker that runs nothing else, or what became of it."""
    try:
        ((_, result),) = joblib.Parallel(n_jobs=2)([joblib.delayed(run)(*task)])
    except Exception as error:  # noqa: BLE001 - as above
        return f"{type(error).__name__}: the worker broke, also when it ran this cell alone: {_reason(error)}"
    return result


def _on_dask(
    client: Any, run: Callable[..., tuple[int, Any]], tasks: Mapping[int, tuple[Any, ...]], n_jobs: int
) -> Iterator[tuple[int, Any]]:
    """The same on a dask cluster, whose scheduler gives up a task after it has ended some workers."""
    from distributed import as_completed  # noqa: PLC0415 - an optional dependency, there where this is called

    crowded = any(worker["nthreads"] > 1 for worker in client.scheduler_info(n_workers=-1)["workers"].values())
    waiting = list(tasks.items())[::-1]
    keys: dict[Any, int] = {}
    suspects: list[int] = []

    def submit() -> Any:
        key, task = waiting.pop()
        future = client.submit(run, *task, pure=False)
        keys[future] = key
        return future

    queue = as_completed([submit() for _ in range(min(n_jobs, len(waiting)))], with_results=True, raise_errors=False)
    try:
        for future, result in queue:
            key = keys.pop(future)
            if waiting:
                queue.add(submit())
            if future.status == "finished":
                yield key, result[1]
            elif crowded:  # what ran beside it in the same process may have ended that
                suspects.append(key)
            else:
                yield key, _cause(future, result)
        for key in suspects:
            future = client.submit(run, *tasks[key], pure=False)
            keys[future] = key
            error = future.exception()
            yield keys.pop(future), future.result()[1] if error is None else _cause(future, (type(error), error))
    finally:
        client.cancel(list(keys))


def _cause(future: Any, result: object) -> str:
    error = result[1] if isinstance(result, tuple) and len(result) > 1 else result
    return f"{type(error).__name__}: the worker broke, again and again: {future.status}, {_reason(error)}"


def _reason(error: object) -> str:
    """The error in a line; of a dead worker the signal too, which joblib tells at the end of several."""
    codes = re.search(r"exit codes of the workers are (\{.*?\})", str(error))
    return str(error).strip().partition("\n")[0] + (f" Exit codes: {codes[1]}" if codes else "")


def end_with(parent: int) -> None:
    """Let this process end soon after its parent `parent` has ended, even if that was killed; in others, do nothing."""
    if os.getpid() == parent or os.getppid() != parent or os.getpid() in _watched:
        return
    _watched.add(os.getpid())

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
