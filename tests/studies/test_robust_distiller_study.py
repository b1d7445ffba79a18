"""The study of RobustDistiller at a tiny scale on recordings of one's own, and what it refuses."""

import wave
from dataclasses import replace

import numpy as np
import pytest
import torch

import widgets
from workbench import data as datasets
from workbench import records, studies
from workbench.data.sound import lengths
from workbench.studies.perception import p110_robust_distiller as p110

TINY = replace(
    p110.run.scales["small"], network={"width": 16, "channels": 8}, depth=3, layers=(2, 3), teacher_steps=2, clusters=4,
    steps=2, batch=4, train=24, test=8, mask={"cell": "gru", "layers": 1, "hidden": 4},
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Recordings of three classes at 16 kHz, named as spoken digits are."""
    draw = np.random.default_rng(0)
    for i in range(36):
        time = np.arange(4800 + 100 * i) / 16000
        tone = np.sin(2 * np.pi * (200, 500, 900)[i % 3] * time) + 0.1 * draw.standard_normal(len(time))
        with wave.open(str(tmp_path / f"{'abc'[i % 3]}_me_{i}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes((8000 * tone).astype("<i2").tobytes())
    return tmp_path


def test_it_runs_on_recordings_of_ones_own_and_survives_a_file(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    result = studies.run(110, data=folder, seeds=[7, 8], device="cpu", scale=TINY)
    assert result.settings["data"] == folder.name
    assert not any(claim.asserted for claim in result.claims)
    assert all(claim.seeds == 2 for claim in result.claims)
    table = result.to_frame()
    assert len(table) == 2 * 6 * 8
    assert table["accuracy"].between(0, 1).all()
    assert (table[table["condition"] == "clean"]["drift"] == 0).all()
    again = records.open(result.save(tmp_path / "study.safetensors"))
    assert again.summary() == result.summary()
    seen = again.records["layers of teacher and student"]
    assert seen.values.shape == (3, 1)
    assert type(widgets.explore(seen)).__name__ == "FeatureSimilarityExplorer"


def test_conditions_are_exact_and_leave_the_clean_sounds(folder):
    data = p110.sound(folder, None, "small")
    assert data.train.rate == 8000
    clips = p110.noises(data.test, 0)
    assert clips.shape == (60, data.shape[0])
    found = p110.heard(data.test, clips, 0)
    assert list(found) == ["clean", "20 dB", "10 dB", "5 dB", "0 dB", "RT60 0.2 s", "RT60 0.4 s", "RT60 0.6 s"]
    x = found["clean"]
    assert torch.equal(x, data.test.inputs)
    for snr in p110.SNRS:
        noise = found[f"{snr} dB"] - x
        ratio = 10 * torch.log10(x.double().square().sum(1) / noise.double().square().sum(1))
        assert ratio.tolist() == pytest.approx([snr] * len(x), abs=1e-3)
    assert all(torch.equal(lengths(waves), lengths(x)) for waves in found.values())


@pytest.mark.parametrize("budget", ["small", "full"])
def test_both_budgets_ask_for_layers_that_are_there(budget):
    scale = p110.run.scales[budget]
    assert max(scale.layers) <= scale.depth
    assert scale.student < scale.depth
    p110.methods(scale, torch.zeros(1, 100) + 1)


def test_what_is_no_sound_is_refused(folder):
    with pytest.raises(ValueError, match="'digits' is no sound that this study can read"):
        studies.run(110, data="digits", seeds=1)
    with pytest.raises(ValueError, match="is no sound; this study"):
        studies.run(110, data=datasets.load("digits"), seeds=1)
    with pytest.raises(ValueError, match="has 16,000 samples per second; load it with rate=8000"):
        studies.run(110, data=datasets.load(folder), seeds=1)
