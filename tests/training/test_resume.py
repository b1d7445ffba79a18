"""A run that was stopped goes on to the same bits; a real SIGINT stops it without losing it."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from torch import nn

from workbench import records
from workbench.models import Outputs
from workbench.training import fit, losses


class Projected(nn.Module):
    """A loss with a trainable part."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.map = nn.Linear(3, 3).double()

    def forward(self, outputs, guide, labels):
        return losses.cross_entropy(Outputs(self.map(outputs.logits)), None, labels)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("name", ["batchnorm", "mlp"])
def test_continues_bit_identically_from_a_file(tiny, make, same_bits, tmp_path, name, optimizer):
    options = {
        "optimizer": optimizer,
        "schedule": "constant",
        "batch_size": 16,
        "augment": "shift+cutout",
        "snapshots": "all",
        "progress": False,
    }
    whole = fit(make(name), tiny, epochs=4, loss=Projected(), **options)
    half = fit(make(name), tiny, epochs=2, loss=Projected(), **options)
    half = records.open(half.save(tmp_path / "half.safetensors"))
    rest = fit(make(name, seed=9), tiny, epochs=4, loss=Projected(), resume=half, **options)
    same_bits(whole, rest)
    assert rest.snapshot_epochs == whole.snapshot_epochs
    for position, state in whole.checkpoint["optimizer"]["state"].items():
        for key, value in state.items():
            assert torch.equal(
                torch.as_tensor(value), torch.as_tensor(rest.checkpoint["optimizer"]["state"][position][key])
            )


@pytest.fixture
def listening():
    """SIGINT as a terminal has it; tests that were started in the background inherit it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("at", [1, 4, 5])
@pytest.mark.usefixtures("listening")
def test_interrupt_in_the_middle_of_an_epoch_loses_nothing(tiny, make, same_bits, capsys, at):
    """Also under a schedule and with dropout, whose position is part of the run."""
    options = {"epochs": 3, "batch_size": 16, "warmup": 1, "progress": False}

    def network():
        body = make("mlp")
        return nn.Sequential(body, nn.Dropout(0.3))

    calls = []

    def loss(outputs, guide, labels):
        calls.append(1)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGINT)
        return losses.cross_entropy(outputs, None, labels)

    handler = signal.getsignal(signal.SIGINT)
    stopped = fit(network(), tiny, loss=loss, **options)
    assert signal.getsignal(signal.SIGINT) is handler
    assert stopped.interrupted
    assert stopped.checkpoint["step"] == at
    assert stopped.epochs == at // 3
    assert f"Interrupted after step {at} of 9" in capsys.readouterr().out
    calls.extend([1] * 100)
    same_bits(fit(network(), tiny, loss=loss, **options), fit(network(), tiny, loss=loss, resume=stopped, **options))


def test_keyboard_interrupt_raised_inside_a_step_keeps_the_step_before(tiny, make):
    calls = []

    def loss(outputs, guide, labels):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return losses.cross_entropy(outputs, None, labels)

    record = fit(make("mlp"), tiny, epochs=3, batch_size=16, loss=loss, progress=False)
    assert record.interrupted
    assert record.checkpoint["step"] == 4


def test_resume_refuses_another_run(tiny, make):
    record = fit(make("mlp"), tiny, epochs=2, progress=False)
    for changed, message in [
        ({"seed": 1}, "seed=0, not 1"),
        ({"batch_size": 8}, "batch_size=64, not 8"),
        ({"optimizer": "sgd"}, "optimizer='adam', not 'sgd'"),
        ({"epochs": 1}, "more than the 1 asked for"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit(make("mlp"), tiny, resume=record, **{"epochs": 4, "progress": False, **changed})
    with pytest.raises(ValueError, match="without a checkpoint"):
        fit(make("mlp"), tiny, epochs=4, resume=record.replace(checkpoint={}), progress=False)


def test_sigint_to_a_process(tmp_path):
    """Ctrl-C in a terminal: one line, a usable record, exit as usual."""
    script = textwrap.dedent(
        f"""
        import signal
        import workbench as wb
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as a terminal has it, wherever these tests run
        data = wb.data.load("digits")
        record = wb.training.fit(wb.models.build("mlp", data, width=8), data, epochs=100_000, evaluate_every=0)
        print("interrupted", record.interrupted, record.epochs > 0, record.calibration is not None)
        record.save({str(tmp_path / "run.safetensors")!r})
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    seen = ""
    until = time.monotonic() + 120
    while time.monotonic() < until and not re.search(r" \d{3,}/\d+ \[", seen):  # 100 steps: some epochs are over
        seen += process.stderr.read(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "Interrupted after step" in out
    assert "interrupted True True True" in out
    assert "Traceback" not in err
    assert records.open(tmp_path / "run.safetensors").interrupted
