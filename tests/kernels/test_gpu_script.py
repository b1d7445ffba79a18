"""The script for a GPU machine runs from a bare checkout: here at tiny sizes, in Triton's interpreter."""

import importlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workbench.kernels.dispatch import available

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "kernels_gpu.py"
TARGETS = (
    "a copy of 1 GiB",
    "a bf16 product",
    "divergence: forward KL",
    "share of copy bandwidth",
    "peak memory over eager's",
    "linear_divergence",
    "peak memory, inputs included",
    "hsic",
    "kernel_sums",
    "characteristic",
    "mixture_score",
    "augment",
    "ensemble: 32 ConvNets as one: times faster than one by one",
    "times faster for replaying its steps",
)


@pytest.mark.slow
@pytest.mark.skipif(not available(), reason="Triton exists for Linux only")
def test_a_dry_run_checks_everything_and_measures_nothing(tmp_path):
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    command = [sys.executable, str(SCRIPT), "--dry", "--out", str(tmp_path)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rows = json.loads((tmp_path / "BENCHMARKS-GPU.json").read_text())["rows"]
    names = [row["name"] for row in rows]
    assert [target for target in TARGETS if not any(target in name for name in names)] == []
    assert {row["value"] for row in rows} == {"agrees", "not measured"}
    assert sum(row["value"] == "agrees" for row in rows) >= 10
    assert "nothing here is a measurement" in (tmp_path / "BENCHMARKS-GPU.md").read_text()


@pytest.mark.slow
def test_without_a_gpu_it_says_so(tmp_path):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "0"}
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no GPU" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def script():
    """The script as a module, in a process where nothing is interpreted."""
    pytest.importorskip("triton")
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        return importlib.import_module("kernels_gpu")
    finally:
        sys.path.remove(str(SCRIPT.parent))


def process(script, code, seconds=60.0):
    line = "import json, sys, time; give = lambda name: print('row: ' + json.dumps({'name': name}), flush=True)\n"
    return [one["name"] for one in script.apart("part", [sys.executable, "-c", line + code], seconds)]


def test_what_a_process_gave_is_kept_when_it_is_out_of_time(script):
    code = "give('one'); print('[KeOps] building'); give('two'); print('row: {\"half', flush=True); time.sleep(600)"
    *kept, why = process(script, code, 3.0)
    assert kept == ["one", "two"]
    assert re.match(r"part: out of time after [3-9] s", why)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise RuntimeError('no such kernel')", "exit code 1: RuntimeError: no such kernel"),
        ("import warnings; sys.stderr.write('Warning: careful'); sys.exit(3)", "exit code 3"),
        ("import os; os.kill(os.getpid(), 11)", "signal SIGSEGV"),
        (
            "import faulthandler, ctypes; faulthandler.enable(); ctypes.string_at(0)",
            "signal SIGSEGV: Fatal Python error",
        ),
    ],
)
def test_why_a_process_died_is_told_after_what_it_gave(script, code, told, capsys):
    *kept, why = process(script, "give('one')\n" + code)
    assert kept == ["one"]
    assert why.startswith(f"check of part: {told}")


def test_checks_run_at_once_and_what_is_only_compiled_gives_no_rows(script, monkeypatch):
    code = 'print(\'row: {{"name": "{}"}}\', flush=True); import time; time.sleep({})'

    def command(job, *options):
        slow = job.part == "hsic"
        return [sys.executable, "-c", code.format(job.part + "".join(options), 600 if slow else 0)]

    monkeypatch.setattr(script.Job, "command", command)
    checks = [script.Job(part, "checks") for part in ("linear", "augment", "hsic")]
    found = script._at_once(checks, [script.Job("linear", "figures")], time.monotonic() + 3)
    names = {job.part: [one["name"] for one in rows] for job, rows in found.items()}
    assert names["linear"] == ["linear"]
    assert names["augment"] == ["augment"]
    assert names["hsic"][0] == "hsic"
    assert names["hsic"][1].startswith("checks of hsic: out of time")
