"""How long each notebook runs from top to bottom, and how much memory its kernel takes."""

import threading
import time
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent / "notebooks"


def rows(quick: bool = False) -> list[dict]:
    """Rows of the table that `make bench` prints."""
    notebooks = sorted(path for path in ROOT.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    found = []
    for path in notebooks[:1] if quick else notebooks:
        seconds, peak = run(nbformat.read(path, as_version=4), path.parent)
        name = path.relative_to(ROOT).as_posix()
        found += [
            {"name": f"{name}, time", "value": seconds, "unit": "s", "target": "≤ 60 s", "met": seconds <= 60},
            {"name": f"{name}, memory", "value": peak, "unit": "GiB", "target": "≤ 1.5 GiB", "met": peak <= 1.5},
        ]
    return found


def run(notebook: nbformat.NotebookNode, folder: Path) -> tuple[float, float]:
    """Execute a notebook in its folder; returns seconds, and the most GiB that its kernel held resident."""
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.2):
            for kernel in psutil.Process().children(recursive=True):
                try:
                    peak = max(peak, kernel.memory_info().rss)
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
    return time.perf_counter() - started, peak / 2**30
