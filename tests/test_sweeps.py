"""Grids of runs: order, errors kept, resuming, clusters."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import psutil
import pytest
import torch

from workbench import records, sweeps


def product(base: int, exponent: int = 1) -> int:
    if base < 0:
        raise ValueError(f"base {base} is negative")
    return base**exponent


def eye(size: int) -> records.SimilarityMap:
    names = tuple(map(str, range(size)))
    return records.SimilarityMap(values=torch.eye(size), layers_a=names, layers_b=names, measure="cka", n=size)


def quietly(*args, **kwargs):
    return sweeps.grid(*args, n_jobs=1, progress=False, **kwargs)


def test_the_last_axis_runs_fastest_and_constants_stay():
    cells = quietly(product, base=[2, 3], exponent=(1, 2))
    assert [cell.result for cell in cells] == [2, 4, 3, 9]
    assert [cell.settings for cell in quietly(product, base=2, exponent=range(2))] == [
        {"base": 2, "exponent": 0},
        {"base": 2, "exponent": 1},
    ]


def test_points_meet_every_combination():
    cells = quietly(product, [{"base": 2}, {"base": 5}], exponent=[1, 2])
    assert [cell.result for cell in cells] == [2, 4, 5, 25]


def test_one_failing_cell_leaves_the_others():
    good, bad, fine = quietly(product, base=[1, -1, 2])
    assert (good.result, fine.result) == (1, 2)
    assert bad.failed
    assert "base -1 is negative" in bad.error
    table = sweeps.frame([good, bad, fine])
    assert table["error"].tolist() == ["", "ValueError: base -1 is negative", ""]


def test_worker_processes_give_the_same():
    assert [c.result for c in sweeps.grid(product, base=[1, 2, 3], n_jobs=2, progress=False)] == [1, 2, 3]


def test_a_second_call_runs_only_what_is_missing(tmp_path):
    calls = []

    def counted(base: int) -> int:
        calls.append(base)
        return product(base)

    quietly(counted, base=[1, -1, 2], folder=tmp_path)
    assert calls == [1, -1, 2]
    again = quietly(counted, base=[1, -1, 2, 3], folder=tmp_path)
    assert calls[3:] == [-1, 3]  # a failure is tried again
    assert [cell.result for cell in again] == [1, None, 2, 3]


def test_records_are_kept_as_records(tmp_path):
    quietly(eye, size=[2, 3], folder=tmp_path)
    kept = quietly(eye, size=[2, 3], folder=tmp_path)
    assert [type(cell.result) for cell in kept] == [records.SimilarityMap] * 2
    assert torch.equal(kept[1].result.values, torch.eye(3))
    assert len(sweeps.frame(kept)) == 4 + 9


def test_functions_do_not_share_saved_cells(tmp_path):
    quietly(product, base=[2], folder=tmp_path)

    def other(base: int) -> str:
        return f"other {base}"

    assert quietly(other, base=[2], folder=tmp_path)[0].result == "other 2"


def test_a_cell_cut_off_while_writing_is_run_again(tmp_path, monkeypatch):
    def broken_dump(*_args):
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(sweeps.json, "dump", broken_dump)
        assert "disk full" in quietly(product, base=[2], folder=tmp_path)[0].error
    assert not list(tmp_path.iterdir())
    assert quietly(product, base=[2], folder=tmp_path)[0].result == 2


def test_mistakes_are_refused_at_the_door(tmp_path):
    with pytest.raises(ValueError, match="axis 'base' is empty"):
        quietly(product, base=[])
    with pytest.raises(ValueError, match="base is both"):
        quietly(product, [{"base": 1}], base=[1])
    with pytest.raises(TypeError, match="'base' holds a object"):
        quietly(product, base=[object()], folder=tmp_path)


def test_a_dask_cluster_takes_the_same_call():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        cells = sweeps.grid(product, base=[1, -1, 3], progress=False)
    assert [cell.result for cell in cells] == [1, None, 3]


def fragile(kind: str) -> str:
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "leaves":
        sys.exit("no such model")
    if kind == "cannot travel":
        return (step for step in range(3))  # type: ignore[return-value]
    return f"{kind} is done"


KINDS = ["first", "killed", "leaves", "cannot travel", "second"]


@pytest.mark.slow
def test_a_cell_that_kills_its_worker_costs_itself_and_is_named():
    cells = sweeps.grid(fragile, kind=KINDS, n_jobs=2, progress=False)
    by_kind = {cell.settings["kind"]: cell for cell in cells}
    assert list(by_kind) == KINDS
    assert [kind for kind, cell in by_kind.items() if not cell.failed] == ["first", "second"]
    assert by_kind["second"].result == "second is done"
    assert by_kind["leaves"].error.strip().endswith("SystemExit: no such model")
    assert "pickle" in by_kind["cannot travel"].error
    assert "SIGKILL" in by_kind["killed"].error
    assert sweeps.frame(cells)["error"][1].startswith("TerminatedWorkerError: the worker broke, also when it ran this")


@pytest.mark.slow
def test_what_a_dying_worker_had_written_is_not_run_again(tmp_path):
    cells = sweeps.grid(counted_then_killed, place=str(tmp_path), number=[0, 1, 2, 3], n_jobs=2, progress=False,
                        folder=tmp_path / "cells")  # fmt: skip
    assert [cell.failed for cell in cells] == [False, True, False, False]
    assert len(list(tmp_path.glob("1-*"))) == 2  # once among others, once alone


def counted_then_killed(place: str, number: int) -> int:
    Path(place, f"{number}-{time.time_ns()}").touch()
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_task_that_leaves_costs_its_own_cell_in_this_process_too():
    cells = quietly(fragile, kind=["first", "leaves", "second"])
    assert [cell.failed for cell in cells] == [False, True, False]


def test_tuples_and_keys_come_back_as_they_were(tmp_path):
    result = {"shape": (1, (2, 3)), "by class": {0: 0.5, 1: [0.25, (1,)]}, "$odd": {("a", 2): None}, "n": np.int64(3)}
    wanted = result | {"n": 3}
    calls = []

    def give(what: int) -> Any:
        calls.append(what)
        return result

    quietly(give, what=[0], folder=tmp_path)
    (kept,) = quietly(give, what=[0], folder=tmp_path)
    assert calls == [0]
    assert kept.result == wanted
    assert isinstance(kept.result["shape"][1], tuple)
    assert list(kept.result["by class"]) == [0, 1]


def test_settings_that_differ_in_the_type_of_a_key_are_two_cells(tmp_path):
    def first(of: dict) -> str:
        return repr(next(iter(of)))

    cells = quietly(first, of=[{1: "a"}, {"1": "a"}], folder=tmp_path)
    assert [cell.result for cell in cells] == ["1", "'1'"]
    assert [cell.result for cell in quietly(first, of=[{1: "a"}, {"1": "a"}], folder=tmp_path)] == ["1", "'1'"]


def test_a_damaged_cell_is_run_again(tmp_path):
    quietly(product, base=[2], folder=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text('{"value": 4')
    assert quietly(product, base=[2], folder=tmp_path)[0].result == 2


def test_a_result_that_cannot_be_written_is_not_lost(tmp_path):
    (cell,) = quietly(fragile, kind=["cannot travel"], folder=tmp_path)
    assert "not JSON serializable" in cell.error
    assert list(cell.result) == [0, 1, 2]


def test_an_interrupt_returns_what_is_finished(capsys):
    cells = quietly(interrupted_at, number=[0, 1, 2])
    assert [cell.result for cell in cells] == [0, None, None]
    assert cells[2].error.startswith("Interrupted")
    assert "Interrupted after 1 of 3 cells" in capsys.readouterr().out


def interrupted_at(number: int) -> int:
    if number == 1:
        raise KeyboardInterrupt
    return number


@pytest.mark.slow
def test_workers_end_with_their_parent(tmp_path):
    script = (
        "import sys\nfrom pathlib import Path\nfrom workbench import sweeps\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_sweeps import sleeps\n"
        "sweeps.grid(sleeps, place=sys.argv[1], number=[0, 1], n_jobs=2, progress=False)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    try:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2, "both workers run")
        workers = [int(path.name) for path in tmp_path.iterdir()]
        assert all(psutil.pid_exists(worker) for worker in workers)
        parent.kill()
        parent.wait()
        wait_until(lambda: not any(running(worker) for worker in workers), "both workers have ended")
    finally:
        parent.kill()


def sleeps(place: str, number: int) -> int:
    Path(place, str(os.getpid())).touch()
    time.sleep(300)
    return number


def running(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(true: Callable[[], bool], what: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds:.0f} s until {what}"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_on_a_dask_cluster_a_cell_that_kills_its_worker_costs_itself(threads):
    distributed = pytest.importorskip("distributed")
    import dask

    quick = {"distributed.scheduler.allowed-failures": 1, "distributed.comm.retry.count": 0}
    with (
        dask.config.set(quick),
        distributed.LocalCluster(n_workers=2, threads_per_worker=threads, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        kinds = [kind for kind in KINDS if kind != "cannot travel"]
        cells = sweeps.grid(fragile, kind=kinds, progress=False)
    by_kind = {cell.settings["kind"]: cell for cell in cells}
    assert list(by_kind) == kinds
    assert [kind for kind, cell in by_kind.items() if cell.failed] == ["killed", "leaves"]
    assert "KilledWorker: the worker broke" in by_kind["killed"].error
    assert "SystemExit: no such model" in by_kind["leaves"].error
    assert by_kind["second"].result == "second is done"
