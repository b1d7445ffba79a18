"""A JupyterLab of the tests' own on loopback, with folders of its own for everything that it writes."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import psutil

from harness import guard

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180_000  # milliseconds; the other core may be somebody else's


class Server:
    """JupyterLab on loopback, with folders of its own for everything it writes; `stop` ends it and its kernels."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.work = home / "work"
        self.token = secrets.token_hex(16)
        self.network_log = home / "network.log"
        self._fill()
        environment = os.environ | {
            "HOME": str(home),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "IPYTHONDIR": str(home / "ipython"),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "offline"), str(ROOT)]),
            "WORKBENCH_NETWORK_LOG": str(self.network_log),
            "OMP_NUM_THREADS": "1",  # the browser needs the other core, and torch threads that share one are slow
        }
        settings = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.work,
            "ServerApp.allow_root": True,
            "IdentityProvider.token": self.token,
            "LabApp.expose_app_in_browser": True,
            "LabApp.workspaces_dir": home / "workspaces",
            "LabApp.user_settings_dir": home / "settings",
        }
        self.log = (home / "server.log").open("w", encoding="utf-8")
        for _ in range(3):  # somebody else may take the port before the server does
            self.port = _free_port()
            self.process = self._start(environment, settings | {"ServerApp.port": self.port})
            if self._answers():
                return
        raise RuntimeError(f"JupyterLab did not start:\n{(self.home / 'server.log').read_text()[-3000:]}")

    def _start(self, environment: dict[str, str], settings: dict[str, object]) -> subprocess.Popen:
        return subprocess.Popen(
            [
                *(sys.executable, str(Path(guard.__file__))),  # a killed test run takes its server along
                *(sys.executable, "-m", "jupyterlab", "--no-browser"),
                *(f"--{key}={value}" for key, value in settings.items()),
            ],
            env=environment,
            cwd=self.work,
            stdin=subprocess.PIPE,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def url(self, path: str = "") -> str:
        """Address of the page, or of a notebook in it; the workspace is emptied on the way."""
        tree = f"/tree/{path}" if path else ""
        return f"http://127.0.0.1:{self.port}/lab{tree}?reset&token={self.token}"

    def write(self, name: str, *cells: str) -> str:
        """Put a notebook of code cells into the server's folder."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.work / name)
        return name

    def read(self, name: str) -> nbformat.NotebookNode:
        return nbformat.read(self.work / name, as_version=4)

    def reset(self) -> None:
        """As it was at first: no kernel of an earlier test, none of its notebooks, none of its settings."""
        for session in json.loads(self._ask("sessions")):
            self._ask(f"sessions/{session['id']}", method="DELETE")
        for folder in (self.home / "settings", self.home / "workspaces"):
            shutil.rmtree(folder, ignore_errors=True)
        for left in self.work.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()
        self._fill()

    def stop(self) -> list[psutil.Process]:
        """End the server; returns what of it would not end by itself (and is ended now)."""
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        self.process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=20)
        for process in alive:
            process.kill()
        self.log.close()
        return alive

    def _fill(self) -> None:
        ignored = shutil.ignore_patterns(".ipynb_checkpoints")
        shutil.copytree(ROOT / "notebooks", self.work, ignore=ignored, dirs_exist_ok=True)

    def _ask(self, what: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/{what}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=0.001 * PATIENCE) as answer:
            return answer.read()

    def _answers(self) -> bool:
        """Wait until the server answers; False if it ends instead."""
        address = f"http://127.0.0.1:{self.port}/api/status?token={self.token}"
        end = time.monotonic() + 0.001 * PATIENCE
        while self.process.poll() is None:
            try:
                urllib.request.urlopen(address, timeout=5).close()
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                assert time.monotonic() < end, f"JupyterLab does not answer: {(self.home / 'server.log').read_text()}"
                time.sleep(0.1)
            else:
                return True
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
