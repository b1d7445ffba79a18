"""Files appear whole or not at all, and what a killed process left is cleared away."""

import subprocess
import sys

import pytest
import torch

from workbench.records import SimilarityMap
from workbench.records.writing import check_writable, leftovers, written


def similarity() -> SimilarityMap:
    return SimilarityMap(values=torch.eye(2), layers_a=("a", "b"), layers_b=("a", "b"), measure="cka", n=9)


def test_what_was_there_stays_when_writing_fails(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")

    def write_half() -> None:
        with written(path) as unfinished:
            unfinished.write_text("half of it")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_next_save_clears_what_a_killed_process_left(tmp_path):
    path = tmp_path / "record.safetensors"
    script = (
        "import os, sys\nfrom workbench.records.writing import written\n"
        "with written(sys.argv[1]) as unfinished:\n    unfinished.write_text('half')\n    os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, path], check=False).returncode == 9
    assert len(leftovers(tmp_path)) == len(list(tmp_path.iterdir())) == 1
    with written(tmp_path / "other") as mine:
        mine.write_text("of a process that runs")
        similarity().save(path)
        assert mine.is_file()
    assert {each.name for each in tmp_path.iterdir()} == {"record.safetensors", "other"}


def test_names_as_long_as_the_system_allows_are_written(tmp_path):
    path = tmp_path / ("a" * 250)
    similarity().save(path)
    assert path.is_file()


@pytest.mark.parametrize("bad", ["file/below.html", "folder", "n" * 300])
def test_a_place_where_nothing_can_be_written_is_named_before_the_work(tmp_path, bad):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"^\[Errno \d+\] save is '.*', where nothing can be written \(.*\): name a file"):
        check_writable(tmp_path / bad, "save")


def test_a_good_place_stays_as_it_is(tmp_path):
    assert check_writable(tmp_path / "new" / "record", "save").parent.is_dir()
    kept = tmp_path / "kept"
    kept.write_text("before")
    check_writable(kept, "save")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["kept", "new"]
    assert kept.read_text() == "before"
