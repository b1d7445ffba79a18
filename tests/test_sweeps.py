"""Grids of runs: order, errors kept, resuming, clusters."""

import joblib
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
