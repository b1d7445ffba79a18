"""The loop: same bits from the same seed, resumed or not; stopped, broken and wrongly called runs end well."""

import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from workbench import records
from workbench.condensation import (
    DD,
    FYI,
    MTT,
    NCFM,
    RDED,
    CondensationError,
    DataDAM,
    DistributionMatching,
    Experts,
    GradientMatching,
    InnerTraining,
    Run,
    Siamese,
    Synthetic,
    condense,
)
from workbench.condensation.making.initial import start
from workbench.data import Split

SMALL = {"width": 4, "depth": 1}


def dm(**options) -> DistributionMatching:
    return DistributionMatching(**{"ipc": 2, "real_batch": 6, "lr": 0.1, "options": SMALL} | options)


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """Several losses an iteration, two optimizers, memory, learned labels and an average: all that a run carries."""

    short: ClassVar[str] = "pulled"
    ipc: int = 2
    iterations: int = 8
    breaks_at: int = -1
    how: str = "loss"

    def start(self, run: Run) -> Synthetic:
        logits = torch.zeros(self.ipc * run.classes, run.classes, dtype=torch.float64)
        return start(
            run, self.ipc, "noise", decay=0.9, label_logits=logits, step_size=torch.ones((), dtype=torch.float64)
        )

    def optimizers(self, synthetic: Synthetic) -> list[torch.optim.Optimizer]:
        leaves = synthetic.leaves
        return [
            torch.optim.Adam([leaves["pixels"]], lr=0.05),
            torch.optim.SGD([leaves["label_logits"], leaves["step_size"]], lr=0.1, momentum=0.9),
        ]

    def losses(self, run: Run, synthetic: Synthetic) -> Iterator[Tensor]:
        state = run.memory.setdefault("mean", torch.zeros(run.shape, dtype=torch.float64))
        for part in range(2):
            images, labels = synthetic.examples(run.generator("view"))
            goal = run.real(3, f"part{part}").mean(1).repeat_interleave(self.ipc, 0)
            loss = (
                synthetic.leaves["step_size"] * (images - goal + state).square().mean() + labels[:, 0].square().mean()
            )
            if run.iteration == self.breaks_at and part == 1:
                loss = self._broken(loss, images)
            yield loss
        run.memory["mean"] = 0.9 * state + 0.1 * synthetic.pixels.detach().mean(0)
        run.log(drift=run.memory["mean"].abs().mean(), **({"late": 1.0} if run.iteration > 2 else {}))

    def _broken(self, loss: Tensor, images: Tensor) -> Tensor:
        if self.how == "interrupt":
            raise KeyboardInterrupt
        zero = (images - images.detach()).sum()
        return loss * torch.nan if self.how == "loss" else loss + zero.abs().sqrt()


def same(a, b) -> None:
    for name in ("images", "labels", "loss"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert a.curves.keys() == b.curves.keys()
    for name, curve in a.curves.items():
        assert torch.equal(curve.nan_to_num(-1), b.curves[name].nan_to_num(-1)), name


@pytest.mark.parametrize(
    "method", [dm(), dm(augment=Siamese()), dm(initial="kmeans", network="mlp", options={"width": 8}), Pulled()]
)
def test_same_seed_same_bits_and_another_seed_another_set(tiny, method):
    before = torch.random.get_rng_state()
    first, again, other = (condense(tiny, method, iterations=4, seed=s, progress=False) for s in (1, 1, 2))
    same(first, again)
    assert not torch.equal(first.images, other.images)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("method", [dm(augment=Siamese()), Pulled()])
def test_resumed_from_a_file_is_bit_identical_to_a_run_in_one_go(tiny, tmp_path, method):
    whole = condense(tiny, method, iterations=8, snapshots=[0, 2, 4, 6, 8], progress=False)
    half = condense(tiny, method, iterations=4, snapshots=[0, 2, 4], progress=False)
    half = records.open(half.save(tmp_path / "half.safetensors"))
    rest = condense(tiny, method, iterations=8, snapshots=[0, 2, 4, 6, 8], resume=half, progress=False)
    same(whole, rest)
    assert torch.equal(whole.snapshots, rest.snapshots)
    assert whole.snapshot_iterations == rest.snapshot_iterations == (0, 2, 4, 6, 8)
    if whole.snapshot_labels is not None:
        assert torch.equal(whole.snapshot_labels, rest.snapshot_labels)
    assert rest.provenance.wall_time > half.provenance.wall_time
    again = condense(tiny, method, iterations=8, resume=rest, progress=False)
    same(whole, again)


def test_a_curve_that_begins_late_has_nan_before(tiny):
    made = condense(tiny, Pulled(), iterations=5, progress=False)
    assert made.curves["late"].isnan().tolist() == [True, True, True, False, False]
    assert made.labels.shape == (6, 3)
    torch.testing.assert_close(made.labels.sum(1), torch.ones(6, dtype=torch.float64))


@pytest.fixture
def listening():
    """SIGINT as a terminal has it; tests that were started in the background inherit it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
def test_interrupted_it_keeps_what_it_has_and_can_go_on(tiny, capsys):
    def watch(iteration, loss):
        if iteration == 3:
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    stopped = condense(tiny, Pulled(), snapshots=[0, 8], progress=False, watch=watch)
    assert signal.getsignal(signal.SIGINT) is handler
    assert stopped.interrupted
    assert stopped.iterations == 3
    assert stopped.snapshot_iterations == (0, 3)
    assert "stopped after iteration 3 of 8; resume= continues" in capsys.readouterr().out
    rest = condense(tiny, Pulled(), resume=stopped, progress=False)
    assert not rest.interrupted
    same(condense(tiny, Pulled(), progress=False), rest)


def test_torn_out_of_an_iteration_it_keeps_the_one_before(tiny, capsys):
    torn = condense(tiny, Pulled(breaks_at=3, how="interrupt"), progress=False)
    whole = condense(tiny, Pulled(), iterations=3, progress=False)
    same(torn, whole)
    assert torn.interrupted
    assert "it can not be continued" in capsys.readouterr().out
    with pytest.raises(CondensationError, match="has no checkpoint"):
        condense(tiny, Pulled(breaks_at=3, how="interrupt"), resume=torn, progress=False)


@pytest.mark.parametrize("how", ["loss", "gradient"])
def test_nan_stops_with_the_last_finite_images_and_says_where(tiny, tmp_path, how):
    with pytest.raises(CondensationError, match=rf"the {how} became NaN or infinite at iteration 4 of 8") as caught:
        condense(tiny, Pulled(breaks_at=3, how=how), progress=False)
    kept = caught.value.record
    same(kept, condense(tiny, Pulled(), iterations=3, progress=False))
    assert kept.interrupted
    assert bool(kept.images.isfinite().all())
    assert records.open(kept.save(tmp_path / "kept.safetensors")).iterations == 3


def test_nan_at_the_first_iteration_leaves_the_images_it_began_with(tiny):
    with pytest.raises(CondensationError, match="at iteration 1 of 8") as caught:
        condense(tiny, Pulled(breaks_at=0), progress=False)
    assert caught.value.record.iterations == 0


def test_a_learning_rate_that_is_too_large_is_noticed(tiny):
    with pytest.raises(CondensationError, match="a lower learning rate usually helps"):
        condense(tiny, dm(lr=1e300), iterations=5, progress=False)


def test_resume_refuses_another_run(tiny):
    made = condense(tiny, dm(), iterations=2, progress=False)
    with pytest.raises(CondensationError, match=r"resume was made with lr=0.1, now it is 0.2"):
        condense(tiny, dm(lr=0.2), iterations=4, resume=made, progress=False)
    with pytest.raises(CondensationError, match="resume was made with seed=0, now it is 1"):
        condense(tiny, dm(), iterations=4, seed=1, resume=made, progress=False)
    with pytest.raises(CondensationError, match="has 2 iterations already, more than iterations=1"):
        condense(tiny, dm(), iterations=1, resume=made, progress=False)
    with pytest.raises(CondensationError, match="has no checkpoint"):
        condense(tiny, dm(), iterations=4, resume=made.take([0, 1]), progress=False)
    same(
        condense(tiny, dm(), iterations=4, progress=False),
        condense(tiny, dm(iterations=7), iterations=4, resume=made, progress=False),
    )


def test_resume_refuses_another_method_and_a_damaged_checkpoint(tiny):
    made = condense(tiny, dm(), iterations=2, progress=False)
    with pytest.raises(CondensationError, match="resume was made by DM, now it is pulled"):
        condense(tiny, Pulled(), iterations=4, resume=made, progress=False)
    for part in made.checkpoint:
        damaged = made.replace(checkpoint={key: value for key, value in made.checkpoint.items() if key != part})
        with pytest.raises(CondensationError, match=f"lacks {part}: it is damaged"):
            condense(tiny, dm(), iterations=4, resume=damaged, progress=False)
    fewer = made.replace(checkpoint=made.checkpoint | {"optimizers": []})
    with pytest.raises(CondensationError, match="lacks optimizers"):
        condense(tiny, dm(), iterations=4, resume=fewer, progress=False)


def test_resume_refuses_a_checkpoint_of_another_shape(tiny):
    made = condense(tiny, dm(), iterations=1, progress=False)
    padded = [replace(s, inputs=torch.nn.functional.pad(s.inputs, (1, 1, 1, 1))) for s in (tiny.train, tiny.test)]
    larger = replace(tiny, train=padded[0], test=padded[1])
    older = {key: value for key, value in made.settings.items() if key != "train_fingerprint"}
    with pytest.raises(CondensationError, match=r"pixels of shape \(6, 1, 6, 6\), this run has shape \(6, 1, 8, 8\)"):
        condense(larger, dm(), iterations=2, resume=made.replace(settings=older), progress=False)


def test_bad_input_is_refused_at_the_door(tiny):
    train = tiny.train
    with pytest.raises(CondensationError, match="ipc is 17, but class 'b' has only 15 training images"):
        condense(tiny, dm(ipc=17), progress=False)
    with pytest.raises(ValueError, match="ipc is 0; it must be a whole number of at least 1"):
        condense(tiny, dm(ipc=0), progress=False)
    with pytest.raises(CondensationError, match=r"ipc is 1\.5; it must be a whole number"):
        condense(tiny, Pulled(ipc=1.5), progress=False)
    without = train.take(train.labels != 1)
    with pytest.raises(CondensationError, match="class 'b' has no training images"):
        condense(without, dm(ipc=1), progress=False)
    flat = Split(train.inputs.flatten(1), train.labels, train.classes, torch.zeros(36), torch.ones(36))
    with pytest.raises(CondensationError, match=r"inputs of shape \(36,\)"):
        condense(flat, dm(), progress=False)
    targets = replace(train, labels=train.labels.double(), classes=())
    with pytest.raises(CondensationError, match="0 classes; images with classes are needed"):
        condense(targets, dm(), progress=False)
    with pytest.raises(ValueError, match="initial is 'reel'"):
        condense(tiny, dm(initial="reel"), progress=False)
    with pytest.raises(ValueError, match="iterations is -1"):
        condense(tiny, dm(), iterations=-1, progress=False)
    with pytest.raises(ValueError, match="snapshots is 1"):
        condense(tiny, dm(), iterations=1, snapshots=1, progress=False)
    with pytest.raises(ValueError, match=r"snapshots has iteration 9, outside 0\.\.1"):
        condense(tiny, dm(), iterations=1, snapshots=[0, 9], progress=False)


def test_a_class_that_is_smaller_than_the_real_batch_is_used_over_and_over(tiny):
    run = Run(tiny.train, seed=0, device=torch.device("cpu"))
    rows = run.draw(40, run.generator("real"))
    assert rows.shape == (3, 40)
    for c in range(3):
        assert (tiny.train.labels[rows[c]] == c).all()
        assert rows[c].bincount().max() <= 3


@pytest.mark.parametrize("kind", ["real", "noise", "mean", "kmeans"])
def test_where_images_begin(tiny, kind):
    made = condense(tiny, dm(initial=kind), iterations=0, progress=False)
    assert made.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert made.iterations == 0
    assert made.snapshot_iterations == (0,)
    if kind in ("real", "kmeans"):
        assert len(set(made.source.tolist())) == 6
        assert torch.equal(made.images, tiny.train.inputs[made.source])
        assert torch.equal(made.labels, tiny.train.labels[made.source])
    else:
        assert made.source.tolist() == [-1] * 6


def test_kmeans_representatives_are_nearest_to_the_centres_of_two_clusters():
    generator = torch.Generator().manual_seed(0)
    places = torch.tensor([0.0, 10.0]).repeat_interleave(9)
    inputs = places[:, None, None, None] + torch.randn(18, 1, 4, 4, generator=generator)
    split = Split(inputs, torch.zeros(18, dtype=torch.int64), ("a",), torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
    made = start(Run(split, seed=0, device=torch.device("cpu")), 2, "kmeans")
    halves = [(0, inputs[:9]), (9, inputs[9:])]
    expected = [first + int((x - x.mean(0)).flatten(1).norm(dim=1).argmin()) for first, x in halves]
    assert sorted(made.source.tolist()) == expected


def test_sigint_to_a_process(tmp_path):
    """Ctrl-C in a terminal: one line, a usable record, exit as usual."""
    script = textwrap.dedent(
        f"""
        import signal
        import workbench as wb
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as a terminal has it, wherever these tests run
        data = wb.data.load("digits")
        method = wb.condensation.DistributionMatching(ipc=1, real_batch=8, options={{"width": 4}})
        tiny = wb.condensation.condense(data, method, iterations=1_000_000, device="cpu")
        tiny.save({str(tmp_path / "tiny.safetensors")!r})
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
    while time.monotonic() < until and "loss=" not in seen:
        seen += process.stderr.read(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "stopped after iteration" in out
    assert "Traceback" not in err
    kept = records.open(tmp_path / "tiny.safetensors")
    assert kept.interrupted
    assert kept.iterations >= 10


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"ipc": 1.5}, r"ipc is 1\.5; it must be a whole number of at least 1"),
        ({"real_batch": 0}, "real_batch is 0; it must be a whole number of at least 1"),
        ({"iterations": math.nan}, "iterations is nan; it must be a whole number"),
        ({"lr": math.nan}, "lr is nan; it must be a positive number"),
        ({"lr": "0.1"}, r"lr is '0\.1'; it must be a positive number"),
        ({"momentum": -1}, "momentum is -1; it must be a finite number of at least 0"),
    ],
)
@pytest.mark.parametrize("method", [DistributionMatching, DataDAM, GradientMatching])
def test_settings_that_cannot_be_meant_are_refused_where_they_are_made(method, setting, message):
    with pytest.raises(ValueError, match=message):
        method(**setting)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NCFM(frequencies=0), "frequencies is 0"),
        (lambda: NCFM(lr=0.0), r"lr is 0\.0; it must be a positive number"),
        (lambda: MTT(steps=1.5), r"steps is 1\.5; it must be a whole number of at least 0"),
        (lambda: MTT(batch=0), "batch is 0; it must be a whole number of at least 1"),
        (lambda: MTT(lr_images=math.inf), "lr_images is inf"),
        (lambda: DD(passes=-1), "passes is -1"),
        (lambda: DD(step_size=math.nan), "step_size is nan"),
        (lambda: InnerTraining(batch=0), "batch is 0"),
        (lambda: Experts(lr=math.nan), "lr is nan"),
        (lambda: Experts(together=0), "together is 0"),
        (lambda: RDED(teacher=torch.nn.Identity(), factor=0), "factor is 0"),
    ],
)
def test_every_method_refuses_them(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_no_method_is_told_what_would_do(tiny):
    with pytest.raises(TypeError, match=r"method is 'dm'; pass the method itself: DistributionMatching\(ipc=10\)"):
        condense(tiny, "dm")
    with pytest.raises(
        TypeError, match=r"method is 'best'; pass the method itself: one of DistributionMatching, .*MTT"
    ):
        condense(tiny, "best")
    with pytest.raises(TypeError, match=r"method is the class MTT; call it: MTT\(ipc=10\)"):
        condense(tiny, MTT)
    with pytest.raises(TypeError, match="method is a int; it must be a method such as"):
        condense(tiny, 3)
    with pytest.raises(TypeError, match="method is 'dc'"):
        FYI("dc")
    with pytest.raises(TypeError, match="teacher is a str; it must be a trained network"):
        RDED(teacher="resnet20")


def test_no_run_outgrows_the_memory(tiny):
    with pytest.raises(ValueError, match=r"iterations is 1,000,000,000; the losses .* would take 37 GiB"):
        condense(tiny, dm(), iterations=10**9, snapshots=0, progress=False)
    with pytest.raises(ValueError, match=r"snapshots would keep 100,000,001 states of the images, 40\.2 GiB"):
        condense(tiny, dm(), iterations=10**8, snapshots=10**9, progress=False)
    with pytest.raises(ValueError, match=r"snapshots is 1\.5; it must be a whole number"):
        condense(tiny, dm(), iterations=2, snapshots=1.5, progress=False)


def test_resume_knows_the_data_by_what_they_hold(tiny):
    made = condense(tiny, dm(), iterations=2, progress=False)
    again = condense(replace(tiny, name="another name"), dm(), iterations=3, resume=made, progress=False)
    assert again.iterations == 3
    swapped = replace(tiny, train=replace(tiny.train, labels=tiny.train.labels.roll(1)))
    with pytest.raises(CondensationError, match="resume was made from other data: its images or labels differ"):
        condense(swapped, dm(), iterations=3, resume=made, progress=False)


def test_a_checkpoint_on_disk_continues_to_the_same_bits(tiny, tmp_path):
    path = tmp_path / "run.safetensors"
    whole = condense(tiny, dm(), iterations=8, snapshots=3, progress=False)

    class KilledError(Exception):
        pass

    def kill(iteration, loss):
        if iteration == 5:
            raise KilledError

    with pytest.raises(KilledError):
        condense(tiny, dm(), iterations=8, snapshots=3, checkpoint=path, checkpoint_every=2, watch=kill, progress=False)
    kept = records.open(path)
    assert kept.interrupted
    assert kept.iterations == 4
    with pytest.raises(ValueError, match=r"holds an unfinished run .*pass resume="):
        condense(tiny, dm(), iterations=8, checkpoint=path, progress=False)
    rest = condense(tiny, dm(), iterations=8, snapshots=3, resume=path, checkpoint=path, progress=False)
    assert torch.equal(rest.images, whole.images)
    assert rest.snapshot_iterations == whole.snapshot_iterations
    assert not records.open(path).interrupted
    with pytest.raises(ValueError, match="no checkpoint is written: pass checkpoint= a path"):
        condense(tiny, dm(), iterations=8, checkpoint_every=2, progress=False)


def test_an_interrupt_inside_watch_keeps_the_run(tiny):
    def stop(iteration, loss):
        if iteration == 3:
            raise KeyboardInterrupt

    kept = condense(tiny, dm(), iterations=8, watch=stop, progress=False)
    assert kept.interrupted
    assert kept.iterations == 3
    whole = condense(tiny, dm(), iterations=8, progress=False)
    rest = condense(tiny, dm(), iterations=8, resume=kept, progress=False)
    assert torch.equal(rest.images, whole.images)
