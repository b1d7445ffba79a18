"""Expert trajectories are what each expert's own training passes through, and are read from a file piece by piece."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from workbench import models
from workbench.condensation import Experts, Trajectories, TrajectoryError
from workbench.condensation.trajectories.trajectory_file import HEADER, TrajectoryWriter, described
from workbench.training import fit

SMALL = {"network": "mlp", "options": {"width": 4, "depth": 1}}


@pytest.fixture(scope="module")
def experts():
    return Experts(count=3, epochs=2, lr=0.1, batch_size=16, momentum=0.5, **SMALL)


@pytest.fixture(scope="module")
def found(tiny, experts):
    return experts.train(tiny, seed=5, progress=False, device="cpu")


def test_each_trajectory_is_that_of_one_network_trained_alone(tiny, experts, found, monkeypatch):
    seeds = []
    monkeypatch.setattr(
        "workbench.condensation.trajectories.experts.Ensemble.fit", lambda self, *_, seeds, **__: seeds_of(seeds)
    )

    def seeds_of(given):
        seeds.extend(given)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experts.train(tiny, seed=5, progress=False, device="cpu")
    for expert, seed in enumerate(seeds):
        network = models.build("mlp", tiny, seed=seed, width=4, depth=1).double()
        options = {"epochs": 2, "optimizer": "sgd", "lr": 0.1, "momentum": 0.5, "schedule": "constant"}
        record = fit(network, tiny, batch_size=16, seed=seed, snapshots="all", progress=False, **options)
        alone = torch.cat([record.snapshots[name].flatten(1) for name in found.shapes], 1)
        torch.testing.assert_close(found.of(expert), alone)
        torch.testing.assert_close(found.accuracy[expert], record.curves["test_accuracy"])
    assert not torch.equal(found.at(0, 0), found.at(1, 0))


def test_experts_in_groups_are_the_same_experts(tiny, experts, found, tmp_path):
    few = replace(experts, together=2).train(tiny, seed=5, progress=False, path=tmp_path / "e.safetensors")
    assert (len(few), few.epochs, few.size) == (3, 2, found.size)
    assert few.path is not None
    for expert in range(3):
        torch.testing.assert_close(few.of(expert), found.of(expert))
    torch.testing.assert_close(few.accuracy, found.accuracy)
    assert few.settings["together"] == 2


def test_file_gives_back_what_was_saved(found, tmp_path):
    path = found.save(tmp_path / "deep" / "experts.safetensors")
    opened = Trajectories.open(path)
    assert (
        repr(opened) == f"Trajectories(3 experts × 2 epochs × {found.size} weights, streamed from experts.safetensors)"
    )
    assert (opened.shapes, opened.spec, opened.settings) == (found.shapes, found.spec, found.settings)
    assert torch.equal(opened.accuracy, found.accuracy)
    for expert in range(3):
        assert torch.equal(opened.of(expert), found.of(expert))
        for epoch in range(3):
            assert torch.equal(opened.at(expert, epoch), found.of(expert)[epoch])
    assert [file.name for file in path.parent.iterdir()] == ["experts.safetensors"]


def test_what_is_read_is_a_copy(found, tmp_path):
    for one in (found, Trajectories.open(found.save(tmp_path / "e.safetensors"))):
        before = one.at(0, 1)
        one.at(0, 1).zero_()
        one.of(0).zero_()
        assert torch.equal(one.at(0, 1), before)


def test_network_has_the_weights_of_its_epoch(tiny, found):
    network = found.network(1, 2)
    right = (network(tiny.test.inputs).argmax(1) == tiny.test.labels).double().mean()
    assert right.item() == pytest.approx(found.accuracy[1, 1].item())
    assert found.network().spec == found.spec


def test_one_slice_of_a_file_larger_than_memory_is_read_alone(tmp_path):
    """64 GiB by its length, of which the file system holds only what was written."""
    size, last = 2**20, 255
    path = tmp_path / "large.safetensors"
    with TrajectoryWriter(path, (64, size)) as writer:
        header = described({"w": (size,)}, spec=None, accuracy=None, settings={})
        writer._file.seek(4 * size * 64 * last, 1)
        writer._file.seek(4 * size * 63, 1)
        writer._file.write(torch.arange(size, dtype=torch.float32).numpy().data)
        writer.experts = 256
        writer.finish(header)
    assert path.stat().st_size > 2**36
    large = Trajectories.open(path)
    assert torch.equal(large.at(last, 63), torch.arange(size, dtype=torch.float32))
    assert not large.at(0, 0).any()


def test_damage_and_strangers_are_named(found, tmp_path):
    path = found.save(tmp_path / "e.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TrajectoryError, match=r"cut\.safetensors is cut short, damaged"):
        Trajectories.open(cut)
    (tmp_path / "no.safetensors").write_bytes(b"\x80\x04K\x01.")  # a pickle
    with pytest.raises(TrajectoryError, match="is cut short, damaged"):
        Trajectories.open(tmp_path / "no.safetensors")
    save_file({"weights": torch.zeros(2, 2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(TrajectoryError, match="holds no trajectories"):
        Trajectories.open(tmp_path / "other.safetensors")
    with pytest.raises(FileNotFoundError, match="no trajectories at"):
        Trajectories.open(tmp_path / "none.safetensors")
    newer = json.dumps({"schema": 99, "shapes": {}})
    save_file({"weights": torch.zeros(2, 2, 2)}, tmp_path / "new.safetensors", metadata={HEADER: newer})
    with pytest.raises(TrajectoryError, match="newer workbench"):
        Trajectories.open(tmp_path / "new.safetensors")


def test_wrong_shapes_are_named(tmp_path):
    with pytest.raises(TrajectoryError, match=r"shape \(2, 3\); trajectories need"):
        Trajectories(torch.zeros(2, 3), {"w": (3,)})
    with pytest.raises(TrajectoryError, match=r"vectors of 4, but the network has 3 weights"):
        Trajectories(torch.zeros(2, 3, 4), {"w": (3,)})
    with (
        TrajectoryWriter(tmp_path / "e.safetensors", (2, 3)) as writer,
        pytest.raises(ValueError, match=r"shape \(2, 4\); this file holds \(2, 3\)"),
    ):
        writer.add(torch.zeros(2, 4))
    assert not list(tmp_path.iterdir())


def test_outside_is_refused(found):
    with pytest.raises(IndexError, match=r"expert is 3; there are experts 0\.\.2"):
        found.at(3, 0)
    with pytest.raises(IndexError, match=r"epoch is -1; there are epochs 0 \(before training\) to 2"):
        found.at(0, -1)
    with pytest.raises(ValueError, match="count is 0"):
        Experts(count=0)


def test_interrupted_training_keeps_the_groups_that_were_complete(tiny, experts, tmp_path, monkeypatch):
    from workbench.training import Ensemble

    real, calls = Ensemble.fit, []

    def sometimes(self, *arguments, **options):
        calls.append(1)
        return [r.replace(interrupted=len(calls) > 1) for r in real(self, *arguments, **options)]

    monkeypatch.setattr(Ensemble, "fit", sometimes)
    few = replace(experts, together=1).train(tiny, seed=5, progress=False, path=tmp_path / "e.safetensors")
    assert len(few) == 1
    with pytest.raises(KeyboardInterrupt, match="before any expert"):
        experts.train(tiny, seed=5, progress=False, path=tmp_path / "f.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["e.safetensors"]


class KilledError(Exception):
    """A process that dies."""


def dies_at(monkeypatch, calls: int):
    """The checkpoint of an ensemble in training is written so often, and then no more."""
    from workbench.training.checkpoints import Checkpoints

    real, written = Checkpoints.save, []

    def save(self, record):
        if self.path is not None and len(written) == calls:
            raise KilledError
        written.extend([1] * (self.path is not None))
        real(self, record)

    monkeypatch.setattr(Checkpoints, "save", save)


@pytest.mark.parametrize("writes", [1, 4])
def test_killed_training_goes_on_from_its_folder(tiny, experts, found, tmp_path, monkeypatch, writes):
    one_by_one = replace(experts, together=1)
    with monkeypatch.context() as patched:
        dies_at(patched, writes)
        with pytest.raises(KilledError):
            one_by_one.train(tiny, seed=5, device="cpu", progress=False, checkpoint=tmp_path / "kept")
    with pytest.raises(ValueError, match="holds an unfinished training: pass resume="):
        one_by_one.train(tiny, seed=5, device="cpu", progress=False, checkpoint=tmp_path / "kept")
    with pytest.raises(ValueError, match="resume holds experts with seed=5, not 6"):
        one_by_one.train(tiny, seed=6, device="cpu", progress=False, resume=tmp_path / "kept")
    rest = one_by_one.train(tiny, seed=5, device="cpu", progress=False, resume=tmp_path / "kept")
    for expert in range(len(found)):
        torch.testing.assert_close(rest.of(expert), found.of(expert))


def test_interrupted_experts_are_kept_up_to_their_last_epoch(tiny, experts, found, monkeypatch, capsys):
    from workbench.training import Ensemble

    real = Ensemble.fit

    def stopped(self, *arguments, **options):
        return [r.replace(interrupted=True) for r in real(self, *arguments, **{**options, "epochs": 1})]

    monkeypatch.setattr(Ensemble, "fit", stopped)
    kept = experts.train(tiny, seed=5, device="cpu", progress=False)
    assert (len(kept), kept.epochs, kept.accuracy.shape[1]) == (len(found), 1, 1)
    torch.testing.assert_close(kept.at(1, 1), found.at(1, 1))
    assert f"kept {len(found)} of {len(found)}, after 1 of {experts.epochs} epochs" in capsys.readouterr().out


def test_experts_of_several_seeds_trained_together_are_those_of_each_seed(tiny, experts, found):
    each = experts.train_each(tiny, [4, 5], progress=False, device="cpu")
    assert list(each) == [4, 5]
    for expert in range(3):
        torch.testing.assert_close(each[5].of(expert), found.of(expert))
    assert each[5].settings == found.settings
    assert torch.equal(each[4].take([2, 0]).of(1), each[4].of(0))


def test_plane_holds_most_of_the_spread_and_keeps_distances_in_it(found):
    from workbench.condensation import Plane

    plane = Plane.of(found)
    points = torch.cat([found.of(k) for k in range(3)])
    _, values, rows = torch.linalg.svd(points - points.mean(0), full_matrices=False)
    torch.testing.assert_close(plane.share, values[:2] ** 2 / (values**2).sum(), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close((plane.axes @ rows[:2].T).abs(), torch.eye(2).double(), rtol=1e-7, atol=1e-7)
    student = plane.origin + torch.tensor([[3.0], [-2.0]]).double() * plane.axes
    torch.testing.assert_close(plane.project(student), torch.diag(torch.tensor([3.0, -2.0])).double())
    frame = plane.to_frame(found, student=student)
    assert frame["path"].unique().tolist() == ["expert 0", "expert 1", "expert 2", "student"]
    assert len(frame) == 11
