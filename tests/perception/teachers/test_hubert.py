"""Masked prediction: only hidden frames count, clusters come from the sound, the encoder is what is kept."""

import pytest
import torch
import torch.nn.functional as F

import workbench as wb
from workbench.models import Outputs
from workbench.perception import pretrain
from workbench.perception.making.distill import unlabelled
from workbench.perception.teachers.hubert import HiddenFrames, Masked, clustered, log_mel, mel_filters

FRONT = {"width": 16, "kernels": [20, 8], "strides": [10, 8]}


@pytest.fixture(scope="module")
def data():
    return wb.data.load("words", n_train=40, n_test=12, words=4, seconds=0.3)


@pytest.fixture
def encoder(data):
    return wb.models.build("speech", data, depth=1, **FRONT)


def test_only_hidden_frames_count():
    g = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 6, 5, generator=g, dtype=torch.float64)
    clusters = torch.randint(5, (2, 6), generator=g)
    hidden = torch.tensor([[0, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 1]], dtype=torch.bool)
    loss = HiddenFrames()
    value = loss(Outputs(scores, {"hidden": hidden}), Outputs(clusters), torch.zeros(2))
    torch.testing.assert_close(value, F.cross_entropy(scores[hidden], clusters[hidden]))
    right = (scores.argmax(-1) == clusters)[hidden].double().mean()
    assert float(loss.logged["hidden_accuracy"]) == pytest.approx(float(right))


def test_spans_are_hidden_and_what_they_hide_is_not_seen(encoder, data):
    g = torch.Generator().manual_seed(0)
    whole = Masked(encoder.double(), 5, start=0.1, span=4, generator=g).double().eval()
    waves = data.train.inputs[:8].double()
    torch.manual_seed(3)
    hidden = wb.models.observe(whole, "hidden")(waves).features["hidden"]
    frames = encoder.frames(waves)
    assert not (hidden & ~frames).any()
    assert 0.1 < float(hidden[frames].double().mean()) < 0.6  # 1 − 0.9⁴ = 0.34
    runs = [len(run) for row in hidden.int().tolist() for run in "".join(map(str, row)).split("0") if run]
    assert sorted(runs)[len(runs) // 2] >= 4
    every = Masked(encoder, 5, start=1.0, span=1, generator=g).double().eval()
    same = [every(waves * scale * (1 + torch.rand_like(waves))) for scale in (1, 7)]
    torch.testing.assert_close(*same)


def test_clusters_tell_vowels_apart(encoder, data):
    ids = clustered(unlabelled(data), encoder, 6, seed=0)
    frames = encoder.frames(data.train.inputs)
    assert ids.shape == frames.shape
    assert len(ids[frames].unique()) == 6
    assert torch.equal(ids, clustered(unlabelled(data), encoder, 6, seed=0))


def test_log_mel_of_a_tone_peaks_in_its_band():
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(4000) / 8000)[None]
    filters = mel_filters(8000, 256, 24)
    assert int(log_mel(tone, 8000, 80)[0, 20].argmax()) == int(filters[:, 32].argmax())  # 1,000 Hz is bin 32
    assert filters.max() <= 1


def test_the_encoder_is_what_is_kept(encoder, data, tmp_path):
    head = encoder.head.weight.clone()
    record = pretrain(encoder, data, clusters=6, steps=12, lr=3e-3, batch_size=8, progress=False, device="cpu")
    assert record.model is encoder
    assert set(record.state) == set(encoder.state_dict())
    assert torch.equal(encoder.head.weight, head)
    again = wb.records.open(record.save(tmp_path / "t.safetensors")).model
    torch.testing.assert_close(again(data.test.inputs), encoder(data.test.inputs))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"clusters": 1}, "clusters=1"), ({"start": 0}, "start=0"), ({"clusters": 10**6}, "only .* frames of sound")],
)
def test_what_cannot_be_meant_is_named(encoder, data, options, message):
    with pytest.raises(ValueError, match=message):
        pretrain(encoder, data, steps=1, **options)
    with pytest.raises(ValueError, match="encoder is a Linear"):
        pretrain(torch.nn.Linear(2, 2), data)
