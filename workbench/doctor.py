"""What this machine has: versions, devices, a browser, and whether both halves of the widgets are of one version.

Needs no torch to start: torch is imported only to ask it for its devices.
"""

import importlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata, util
from pathlib import Path

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "safetensors",
    "captum",
    "gpytorch",
    "joblib",
    "jupyterlab",
    "ipywidgets",
    "anywidget",
    "plotly",
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
MAC_BROWSERS = ("Google Chrome", "Chromium", "Microsoft Edge")


def report() -> dict[str, dict[str, str]]:
    """Everything `workbench doctor` prints: section → name → finding."""
    return {
        "workbench": {
            "version": version("distillation-workbench"),
            "python": f"{platform.python_version()} ({sys.executable})",
            "system": f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} cores",
        },
        "packages": {name: version(name) for name in PACKAGES},
        "devices": devices(),
        "widgets": widget_halves(),
        "browser": {"chromium": browser()},
    }


def problems(findings: dict[str, dict[str, str]]) -> list[str]:
    """What keeps the workbench from working here, one sentence each; empty when all is well."""
    missing = [name for name, found in findings["packages"].items() if found == "missing"]
    found = [f"{name} is not installed: pip install {name}" for name in missing]
    halves = findings["widgets"]
    if "missing" in halves.values():
        found.append("the widgets are not installed whole: reinstall the workbench")
    elif halves["python"] != halves["javascript"]:
        found.append(
            f"the widgets' Python half speaks protocol {halves['python']}, their JavaScript half "
            f"{halves['javascript']}: reinstall the workbench"
        )
    return found


def version(package: str) -> str:
    """The installed version, or ``"missing"``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def devices() -> dict[str, str]:
    """The devices torch sees, and whether Triton kernels can run."""
    if version("torch") == "missing":
        return {"cpu": "torch is not installed"}
    torch = importlib.import_module("torch")
    found = {"cpu": f"{torch.get_num_threads()} threads"}
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        found[f"cuda:{index}"] = f"{about.name}, {about.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    triton = version("triton")
    if triton == "missing":
        found["triton"] = "not installed; the plain PyTorch kernels run"
    elif torch.cuda.is_available():
        found["triton"] = triton
    else:
        found["triton"] = f"{triton}, idle: no GPU; the plain PyTorch kernels run"
    return found


def widget_halves() -> dict[str, str]:
    """The protocol version of each half of the widgets; read from their files, nothing is imported."""
    spec = util.find_spec("widgets")
    if spec is None or not spec.submodule_search_locations:
        return {"python": "missing", "javascript": "missing"}
    folder = Path(next(iter(spec.submodule_search_locations)))
    return {
        "python": _constant(folder.rglob("*.py"), r"^PROTOCOL = (\d+)$"),
        "javascript": _constant(folder.rglob("*.js"), r"^export const PROTOCOL = (\d+);$"),
    }


def browser() -> str:
    """The Chromium the browser tests would drive, with its version, or what to do for one."""
    path = find_chromium()
    if path is None:
        return "none found: `make test` installs one"
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    return f"{said.strip() or 'version unknown'} ({path})"


def find_chromium() -> str | None:
    """Path of a Chromium: ``$CHROMIUM``, one on the PATH, a Mac's, or the one Playwright has downloaded."""
    if named := os.environ.get("CHROMIUM"):
        return shutil.which(named)
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    for name in MAC_BROWSERS:
        path = f"/Applications/{name}.app/Contents/MacOS/{name}"
        if Path(path).exists():
            return path
    return _playwright_chromium()


def _playwright_chromium() -> str | None:
    default = "~/Library/Caches/ms-playwright" if sys.platform == "darwin" else "~/.cache/ms-playwright"
    root = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or default).expanduser()
    names = ("chrome", "chromium", "headless_shell", "chrome-headless-shell", "Chromium", "Google Chrome for Testing")
    for folder in sorted(root.glob("chromium*-*"), reverse=True):
        for path in sorted(folder.glob("**/*")):
            if path.name in names and path.is_file() and os.access(path, os.X_OK):
                return str(path)
    return None


def _constant(files: Iterable[Path], pattern: str) -> str:
    for path in sorted(files):
        if found := re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE):
            return found[1]
    return "missing"
