"""The script for a GPU machine runs from a bare checkout: here at tiny sizes, in Triton's interpreter."""

import json
import os
import subprocess
import sys
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
