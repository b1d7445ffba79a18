"""How long `make lab` takes on an installed environment until JupyterLab's page can be used."""

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil
from playwright.sync_api import sync_playwright

from workbench.doctor import find_chromium

ROOT = Path(__file__).resolve().parent.parent


def rows(quick: bool = False) -> list[dict]:
    """Rows of the table that `make bench` prints."""
    runs = [until_usable() for _ in range(1 if quick else 3)]
    server, page = (median(run[i] for run in runs) for i in range(2))
    return [
        {"name": "make lab, until the server answers", "value": server, "unit": "s", "target": "", "met": None},
        {
            "name": "make lab, until the page with start.ipynb is usable",
            "value": page,
            "unit": "s",
            "target": "≤ 10 s",
            "met": page <= 10,
        },
    ]


def until_usable() -> tuple[float, float]:
    """Seconds from `make lab` to the server's address, and to a notebook on the page with an idle kernel."""
    with tempfile.TemporaryDirectory() as home, socket.socket() as probe, sync_playwright() as driver:
        # The browser is there before, as it is for a person.
        browser = driver.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        folders = {f"JUPYTER_{name}_DIR": f"{home}/{name}" for name in ("CONFIG", "RUNTIME")}
        log = Path(home) / "log"
        started = time.perf_counter()
        with log.open("w") as output:
            process = subprocess.Popen(
                ["make", "lab", f"ARGS=--no-browser --port {port} --ServerApp.port_retries=0"],
                cwd=ROOT,
                env=os.environ | folders,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            address = None
            while address is None and time.perf_counter() - started < 60:
                found = re.search(rf"http://127\.0\.0\.1:{port}/\S+token=\w+", log.read_text())
                address = found and found[0]
                time.sleep(0.02)
            if address is None:
                raise RuntimeError(f"make lab did not start:\n{log.read_text()}")
            server = time.perf_counter() - started
            page.goto(address)
            page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
            page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
            return server, time.perf_counter() - started
        finally:
            family = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, signal.SIGTERM)
            psutil.wait_procs(family, timeout=20)
            browser.close()
