"""A run's last state is on disk: a killed process goes on from it to the same bits; nothing is written over unasked."""

import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
import torch

from workbench import records
from workbench.records import Checkpoint
from workbench.training import Ensemble, fit
from workbench.training.checkpoints import Checkpoints, reopened
from workbench.training.iterating import iterate

OPTIONS = {"batch_size": 16, "augment": "shift", "progress": False, "schedule": "constant"}


@pytest.mark.parametrize("length", [{"epochs": 4, "checkpoint_every": 1}, {"steps": 12, "checkpoint_every": 2}])
def test_a_killed_run_goes_on_to_the_same_bits(tiny, make, same_bits, tmp_path, length):
    path = tmp_path / "run.safetensors"
    whole = fit(make("mlp"), tiny, **OPTIONS, **{k: v for k, v in length.items() if k != "checkpoint_every"})

    class KilledError(Exception):
        pass

    def killed_after_seven(outputs, guide, labels):
        calls.append(1)
        if len(calls) == 8:
            raise KilledError
        return torch.nn.functional.cross_entropy(outputs.logits, labels, reduction="none")

    calls = []
    with pytest.raises(KilledError):
        fit(make("mlp"), tiny, loss=killed_after_seven, checkpoint=path, **OPTIONS, **length)
    kept = records.open(path)
    assert kept.checkpoint["step"] == 6
    assert kept.interrupted
    again = fit(make("mlp", seed=5), tiny, resume=path, checkpoint=path, **OPTIONS, **length)
    same_bits(whole, again)
    same_bits(whole, records.open(path))
    assert not records.open(path).interrupted


def test_a_real_kill_leaves_a_file_to_go_on_from(tmp_path):
    script = textwrap.dedent("""
        import os, signal, sys
        import workbench as wb
        data = wb.data.load("digits").subset(100)

        def kill(step, scores):
            if step >= 6:
                os.kill(os.getpid(), signal.SIGKILL)

        wb.training.fit(wb.models.build("mlp", data, width=8), data, epochs=9, progress=False,
                        checkpoint=sys.argv[1], watch=kill)
    """)
    path = tmp_path / "run.safetensors"
    ended = subprocess.run([sys.executable, "-c", script, path], check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    assert records.open(path).checkpoint["step"] == 6


def test_an_ensemble_goes_on_from_one_file(tiny, make, same_bits, tmp_path):
    path = tmp_path / "runs.safetensors"
    whole = Ensemble([make("mlp", seed=s) for s in (0, 1)]).fit(tiny, epochs=4, **OPTIONS)
    Ensemble([make("mlp", seed=s) for s in (0, 1)]).fit(tiny, epochs=2, checkpoint=path, **OPTIONS)
    kept = records.open(path)
    assert isinstance(kept, Checkpoint)
    assert (kept.done, kept.total, kept.interrupted) == (6, 6, False)
    again = Ensemble([make("mlp", seed=s) for s in (5, 6)]).fit(tiny, epochs=4, resume=path, **OPTIONS)
    for one, other in zip(whole, again, strict=True):
        same_bits(one, other)
    with pytest.raises(ValueError, match="resume has 2 records for 1 networks"):
        Ensemble([make("mlp")]).fit(tiny, epochs=4, resume=path, **OPTIONS)


def test_an_ensemble_s_checkpoints_do_not_change_it(tiny, make, same_bits, tmp_path):
    plain = Ensemble([make("batchnorm", seed=s) for s in (0, 1)]).fit(tiny, epochs=2, **OPTIONS)
    kept = Ensemble([make("batchnorm", seed=s) for s in (0, 1)]).fit(
        tiny, epochs=2, checkpoint=tmp_path / "runs", checkpoint_every=1, **OPTIONS
    )
    for one, other in zip(plain, kept, strict=True):
        same_bits(one, other)


def test_other_data_of_the_same_name_and_size_are_refused(tiny, make):
    half = fit(make("mlp"), tiny, epochs=1, **OPTIONS)
    labels = tiny.train.labels.flip(0)
    other = replace(tiny, train=replace(tiny.train, labels=labels))
    with pytest.raises(ValueError, match="resume is a run on other data: the train examples or labels differ"):
        fit(make("mlp"), other, epochs=2, resume=half, **OPTIONS)
    with pytest.raises(ValueError, match="the test examples or labels differ"):
        fit(make("mlp"), replace(tiny, test=tiny.test.take(slice(1, None))), epochs=2, resume=half, **OPTIONS)
    with pytest.raises(ValueError, match="other data"):
        Ensemble([make("mlp")]).fit(other, epochs=2, resume=[half], **OPTIONS)
    copy = replace(tiny, name="renamed", train=replace(tiny.train, inputs=tiny.train.inputs.clone()))
    assert fit(make("mlp"), copy, epochs=2, resume=half, **OPTIONS).epochs == 2


def test_a_record_of_before_fingerprints_still_goes_on(tiny, make):
    half = fit(make("mlp"), tiny, epochs=1, **OPTIONS)
    old = half.replace(settings={k: v for k, v in half.settings.items() if "fingerprint" not in k})
    assert fit(make("mlp"), tiny, epochs=2, resume=old, **OPTIONS).epochs == 2


def test_an_unfinished_run_and_a_stranger_s_file_are_not_written_over(tiny, make, tmp_path):
    def stop(step, scores):
        raise KeyboardInterrupt

    path = tmp_path / "run.safetensors"
    fit(make("mlp"), tiny, epochs=3, checkpoint=path, watch=stop, **OPTIONS)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"holds an unfinished run .*pass resume="):
        fit(make("mlp"), tiny, epochs=3, checkpoint=path, **OPTIONS)
    assert path.read_bytes() == before
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"a picture")
    with pytest.raises(ValueError, match="a file that is no record: name another"):
        fit(make("mlp"), tiny, epochs=1, checkpoint=photo, **OPTIONS)
    assert photo.read_bytes() == b"a picture"


def test_refusals(tiny, make, tmp_path):
    with pytest.raises(OSError, match=r"checkpoint is .*nothing can be written"):
        fit(make("mlp"), tiny, epochs=1, checkpoint=tmp_path, **OPTIONS)
    with pytest.raises(ValueError, match="checkpoint_every is 0; it must be a whole number"):
        fit(make("mlp"), tiny, epochs=1, checkpoint=tmp_path / "a", checkpoint_every=0, **OPTIONS)
    with pytest.raises(ValueError, match="checkpoint_every is 2, but no checkpoint is written"):
        fit(make("mlp"), tiny, epochs=1, checkpoint_every=2, **OPTIONS)
    with pytest.raises(FileNotFoundError, match="there is no record at"):
        fit(make("mlp"), tiny, epochs=1, resume=tmp_path / "none", **OPTIONS)
    with pytest.raises(TypeError, match="resume is a int; it must be a TrainingRecord"):
        fit(make("mlp"), tiny, epochs=1, resume=3, **OPTIONS)
    other = Checkpoint(what="counting", done=1, total=2).save(tmp_path / "other")
    with pytest.raises(ValueError, match="resume is a checkpoint of counting"):
        Ensemble([make("mlp")]).fit(tiny, epochs=1, resume=other, **OPTIONS)
    assert reopened(other, Checkpoint).summary() == "checkpoint of counting: 1 of 2; pass it as resume= to go on"


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(tiny, make, tmp_path, monkeypatch):
    def full(self, path):
        raise OSError("no space left on device")

    monkeypatch.setattr(records.TrainingRecord, "save", full)
    with pytest.warns(UserWarning, match="could not be written .no space left on device.; the run goes on") as told:
        assert fit(make("mlp"), tiny, epochs=3, checkpoint=tmp_path / "run", **OPTIONS).epochs == 3
    assert len(told) == 1


class Counting:
    done = 0

    def advance(self) -> float:
        self.done += 1
        return 0.0


@pytest.mark.parametrize("at", [3, 5])
def test_an_interrupt_inside_watch_keeps_an_iterated_run(tmp_path, at):
    counting = Counting()
    kept = Checkpoints(tmp_path / "count", every=2)

    def watch(done, loss):
        if done == at:
            raise KeyboardInterrupt

    def keep(done):
        kept.reached(done, lambda: Checkpoint(what="counting", done=done, total=5))

    torn = iterate(counting, 5, "counting", broken=ValueError, progress=False, watch=watch, keep=keep)
    assert (torn, counting.done) == (False, at)
    assert records.open(tmp_path / "count").done == at // 2 * 2


def test_an_interrupt_inside_the_last_watch_leaves_a_complete_run(tiny, make):
    def watch(step, scores):
        if step == 6:
            raise KeyboardInterrupt

    assert not fit(make("mlp"), tiny, epochs=2, watch=watch, **OPTIONS).interrupted
