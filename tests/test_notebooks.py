"""Every notebook runs from top to bottom, in a minute and in 1.5 GiB, and is committed without outputs."""

import threading
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(p for p in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
SECONDS, BYTES = 60, 1.5 * 2**30

EVERY_QUESTION = """
import ipywidgets, widgets
_questions = [one for one in ipywidgets.Widget.widgets.values() if isinstance(one, widgets.Question)]
assert len(_questions) == {count}, _questions
_wrong = [one.text for one in _questions if one.borne_out is not True]
assert not _wrong, f"the notebook's own records do not bear out what it calls right: {{_wrong}}"
"""
"""Run after a notebook: its records must show the answer that each of its questions calls right."""

each_notebook = pytest.mark.parametrize(
    "path", NOTEBOOKS, ids=lambda path: path.relative_to(ROOT / "notebooks").as_posix()
)


@pytest.mark.notebook
@pytest.mark.slow
@each_notebook
def test_it_runs_within_its_limits(path):
    notebook = nbformat.read(path, as_version=4)
    count = sum(cell.source.count("widgets.Question(") for cell in notebook.cells)
    notebook.cells.append(nbformat.v4.new_code_cell(EVERY_QUESTION.format(count=count)))
    seconds, peak = run(notebook, path.parent)
    assert seconds <= SECONDS, f"took {seconds:.0f} s"
    assert peak <= BYTES, f"took {peak / 2**30:.2f} GiB"


def run(notebook, folder):
    """Execute a notebook; returns the seconds it took and the most memory its kernel held.

    Where others have the cores too, what counts are the seconds in which its kernel had one.
    """
    client = NotebookClient(notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    peak, busy = 0, 0.0
    done = threading.Event()

    def watch():
        nonlocal peak, busy
        while not done.wait(0.2):
            for kernel in psutil.Process().children(recursive=True):
                try:
                    peak = max(peak, kernel.memory_info().rss)
                    busy = max(busy, sum(kernel.cpu_times()[:2]))
                except psutil.NoSuchProcess:
                    continue

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    started = time.perf_counter()
    try:
        client.execute()
    finally:
        done.set()
        watcher.join()
    return min(time.perf_counter() - started, busy), peak


@each_notebook
def test_it_is_committed_bare(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@each_notebook
def test_it_reads_well(path):
    """Prose before code, and a cell is at most a screen."""
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    assert max(len(cell.source.splitlines()) for cell in cells) <= 40
    assert sum(cell.cell_type == "markdown" for cell in cells) >= 4


def test_links_between_notebooks_lead_somewhere():
    import re

    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                for target in re.findall(r"\]\((?!\w+:)([^)#]+)", cell.source):
                    assert (path.parent / target).exists(), f"{path.name} links to {target}"


@each_notebook
def test_every_question_is_settled_by_a_record(path):
    """Where it is asked, or in the cell that makes the record; whether the record agrees is seen when it runs."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    for number, source in enumerate(cells):
        if "widgets.Question(" in source:
            later = "\n".join(cells[number + 1 :])
            assert "shows={" in source or "asked.settle(" in later, source
