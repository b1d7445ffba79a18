"""Two processes under ``torchrun`` train as one does: the same curves for the same global batches."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from workbench import records

SCRIPT = """
import sys
import torch
import workbench as wb

data = wb.data.load("digits", seed=0).subset(130).to(dtype=torch.float64)
model = wb.models.build({network!r}, data, width=8, seed=3).double()
augment = "shift+noise" if {augmented} else None
record = wb.training.fit(model, data, epochs=3, lr=1e-2, batch_size=33, augment=augment, device="cpu", name="run")
rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
record.save(f"{{sys.argv[1]}}/{{rank}}.safetensors")
"""


@pytest.mark.parametrize(("network", "augmented"), [("convnet", False), ("mlp", True)])
def test_two_processes_give_the_curves_of_one(tmp_path, close, network, augmented):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT.format(network=network, augmented=augmented)), encoding="utf-8")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    _run([sys.executable, str(script), str(tmp_path / "one")])
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    shown = _run([*launch, "--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0",
                  str(script), str(tmp_path / "two")])  # fmt: skip

    alone = records.open(tmp_path / "one" / "0.safetensors")
    first, second = (records.open(tmp_path / "two" / f"{rank}.safetensors") for rank in range(2))
    assert len(alone.curves["train_loss"]) == 3
    assert alone.curves["train_loss"][-1] < alone.curves["train_loss"][0]
    close(first, alone)
    close(second, first, tolerance=0.0)
    # A bar is drawn at 0 % when it begins; at 100 % it may be drawn again when it is closed.
    assert shown.count("  0%|") == 1, "only the first process shows a bar"
    assert "100%|" in shown


def _run(command: list[str]) -> str:
    """What the command writes to its error stream, where progress goes; it must succeed."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr
