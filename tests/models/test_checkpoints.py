"""Weights from files, the public checkpoints included."""

import os
import re
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from workbench.data import image_folder
from workbench.models import CheckpointError, build, load_checkpoint


@pytest.fixture
def model():
    return build("resnet8", ((1, 8, 8), 10), seed=1)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_are_loaded_however_they_are_wrapped(tmp_path, model, wrapped, prefix):
    state = {prefix + name: value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state, "best_prec1": 91.7} if wrapped else state, tmp_path / "x.th")
    other = build("resnet8", ((1, 8, 8), 10), seed=2)
    assert load_checkpoint(other, tmp_path / "x.th") is other
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_safetensors_and_files_without_batch_counts_are_read(tmp_path, model):
    state = {name: value for name, value in model.state_dict().items() if "num_batches" not in name}
    save_file(state, tmp_path / "x.safetensors")
    other = load_checkpoint(build("resnet8", ((1, 8, 8), 10), seed=2), tmp_path / "x.safetensors")
    assert torch.equal(model.linear.weight, other.linear.weight)


def test_weights_that_do_not_fit_are_named_and_nothing_is_loaded(tmp_path, model):
    torch.save(model.state_dict(), tmp_path / "x.th")
    wider = build("resnet8", ((1, 8, 8), 10), width=8)
    before = wider.conv1.weight.clone()
    with pytest.raises(
        CheckpointError, match=r"differs in conv1\.weight \(16, 1, 3, 3\) instead of \(8, 1, 3, 3\).*more"
    ):
        load_checkpoint(wider, tmp_path / "x.th")
    assert torch.equal(before, wider.conv1.weight)
    with pytest.raises(CheckpointError, match=r"it lacks layer1\.1\.conv1\.weight.* more"):
        load_checkpoint(build("resnet14", ((1, 8, 8), 10)), tmp_path / "x.th")
    with pytest.raises(CheckpointError, match="it has besides conv1"):
        load_checkpoint(build("mlp", ((1, 8, 8), 10)), tmp_path / "x.th")


class Runs:
    def __reduce__(self):
        return os.mkdir, ("PROOF",)


def test_a_strangers_checkpoint_runs_no_code(tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Runs()}, "x.th")
    with pytest.raises(CheckpointError, match=r"x\.th is not a file of weights alone"):
        load_checkpoint(model, "x.th")
    assert not Path("PROOF").exists()


def test_damaged_and_foreign_files_are_refused(tmp_path, model):
    torch.save(model.state_dict(), tmp_path / "x.th")
    whole = (tmp_path / "x.th").read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 30):
        (tmp_path / "x.th").write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match=r"x\.th is"):
            load_checkpoint(model, tmp_path / "x.th")
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(model, tmp_path / "x.safetensors")
    torch.save([1, 2], tmp_path / "list.th")
    with pytest.raises(CheckpointError, match="holds no state dict"):
        load_checkpoint(model, tmp_path / "list.th")
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_checkpoint(model, tmp_path / "none.th")


SAMPLES = Path(os.environ.get("WORKBENCH_SAMPLE_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.mark.skipif(not (SAMPLES / "cifar10-12k.zip").is_file(), reason="no sample data (WORKBENCH_SAMPLE_DATA)")
def test_the_public_resnet20_recognises_cifar_images(tmp_path):
    with zipfile.ZipFile(SAMPLES / "cifar10-12k.zip") as archive:
        some = [name for name in archive.namelist() if re.match(r"test/\w+/00[01]", name)]
        archive.extractall(tmp_path, some)
    data = image_folder(tmp_path).renormalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    model = load_checkpoint(build("resnet20", data), SAMPLES / "resnet20-12fca82f.th").eval()
    with torch.inference_mode():
        right = [model(split.inputs).argmax(1) == split.labels for split in (data.train, data.test)]
    assert 0.72 < torch.cat(right).float().mean() < 0.90  # 0.81 on all 2,000 images
