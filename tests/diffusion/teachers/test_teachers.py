"""Trained teachers of digits are made once: found in the cache, made again when damaged, not kept when interrupted."""

import pytest
import torch

from workbench.diffusion import denoiser, digits_teacher
from workbench.diffusion.teachers import digits as teachers


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(teachers, "BATCH", 4)
    return tmp_path / "teachers"


def test_a_teacher_is_made_once(folder, monkeypatch):
    made = digits_teacher("dit", steps=1, progress=False)
    (kept,) = folder.iterdir()
    assert kept.stat().st_size < 2**21
    assert made.checkpoint  # what was just made can be continued; what is kept is small
    monkeypatch.setattr(teachers, "denoise", lambda *_, **__: pytest.fail("trained again"))
    found = digits_teacher("dit", steps=1, progress=False)
    assert all(torch.equal(value, made.state[key]) for key, value in found.state.items())
    assert found.classes == tuple("0123456789")
    x = torch.zeros(2, 1, 8, 8)
    assert denoiser(found)(x, torch.tensor(0.5), torch.tensor([3, -1])).x0.shape == x.shape
    assert float(found.std) == float(found.mean) == 0.5


def test_other_steps_seeds_and_networks_are_other_teachers(folder):
    for options in ({}, {"steps": 2}, {"seed": 1}):
        digits_teacher(**{"network": "dit", "steps": 1, "progress": False} | options)
    digits_teacher("unet", steps=1, progress=False)
    assert len(list(folder.iterdir())) == 4


def test_a_damaged_file_is_made_again_and_an_interrupted_run_is_not_kept(folder, monkeypatch):
    digits_teacher("dit", steps=1, progress=False)
    (kept,) = folder.iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    digits_teacher("dit", steps=1, progress=False)
    assert kept.stat().st_size > 1000
    kept.unlink()
    real = teachers.denoise
    monkeypatch.setattr(teachers, "denoise", lambda *a, **o: real(*a, **o).replace(interrupted=True))
    digits_teacher("dit", steps=1, progress=False)
    assert not list(folder.iterdir())
    digits_teacher("dit", steps=1, cache=False, progress=False)
    assert not list(folder.iterdir())


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="network is 'mlp'; it can be unet, dit"):
        digits_teacher("mlp")
