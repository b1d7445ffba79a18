"""Contamination is exact: the signal-to-noise ratio, the identity, the length, the cases' chances; noises and rooms."""

import pytest
import torch

from workbench.data.sound import lengths
from workbench.perception import Contamination, babble, hum, mixed, pink, reverberated, room
from workbench.training.augment import at_step


def g(seed=0):
    return torch.Generator().manual_seed(seed)


def waves(n=6, samples=700, seed=0, dtype=torch.float64):
    """Sounds of different lengths and loudness, padded behind."""
    x = torch.randn(n, samples, generator=g(seed), dtype=dtype) * torch.logspace(-3, 2, n, dtype=dtype)[:, None]
    for row, wave in enumerate(x):
        wave[samples - 60 * row :] = 0
    return x


def measured_snr(x, heard):
    """10 log10 P_x / P_(x̃ − x), each over the sound's own samples."""
    found = []
    for one, other, length in zip(x, heard, lengths(x).tolist(), strict=True):
        signal, noise = one[:length], (other - one)[:length]
        found.append(10 * torch.log10(signal.square().mean() / noise.square().mean()))
    return torch.stack(found)


@pytest.mark.parametrize("snr", [-5.0, 0.0, 3.0, 20.0])
def test_the_snr_is_exact(snr):
    x = waves()
    heard = mixed(x, 37 * torch.randn(6, 700, generator=g(1), dtype=torch.float64), snr)
    torch.testing.assert_close(measured_snr(x, heard), torch.full((6,), snr, dtype=torch.float64), rtol=0, atol=1e-5)


def test_each_sound_has_its_own_snr_and_infinity_is_silence():
    x = waves()
    snr = torch.tensor([0.0, 5.0, 10.0, 15.0, 20.0, torch.inf], dtype=torch.float64)
    heard = mixed(x, torch.randn(6, 700, generator=g(1), dtype=torch.float64), snr)
    torch.testing.assert_close(measured_snr(x, heard)[:5], snr[:5], rtol=0, atol=1e-5)
    assert torch.equal(heard[5], x[5])


def test_padding_stays_padding_and_is_not_measured():
    x = waves()
    loud_behind = torch.randn(6, 700, generator=g(1), dtype=torch.float64)
    loud_behind[:, 300:] *= 100
    heard = mixed(x, loud_behind, 10.0)
    assert torch.equal(lengths(heard), lengths(x))
    torch.testing.assert_close(measured_snr(x, heard), torch.full((6,), 10.0, dtype=torch.float64), rtol=0, atol=1e-5)


def test_silent_noise_adds_nothing():
    x = waves()
    assert torch.equal(mixed(x, torch.zeros_like(x), 0.0), x)


def test_a_unit_impulse_is_the_identity_also_with_a_delay():
    x = waves()
    for delay in (0, 1, 40):
        impulse = torch.zeros(50, dtype=torch.float64)
        impulse[delay] = 1
        torch.testing.assert_close(reverberated(x, impulse), x, rtol=0, atol=1e-12)


def test_a_room_is_a_convolution_aligned_to_the_direct_sound():
    x = waves(n=2, samples=120)
    h = torch.tensor([0.1, -0.2, 1.0, 0.5, 0.0, -0.25], dtype=torch.float64)
    heard = reverberated(x, h)
    for wave, found, length in zip(x, heard, lengths(x).tolist(), strict=True):
        expected = torch.zeros_like(wave)
        for t in range(length):
            expected[t] = sum(h[2 + k] * wave[t - k] for k in range(4) if t >= k)
        torch.testing.assert_close(found, expected)


def test_a_room_decays_by_60_db_in_its_rt60():
    rate = 8000
    h = room(torch.full((200,), 0.3), rate, g())
    power = h[:, 1:].square().mean(0)
    early, late = power[:80].mean(), power[1190:1270].mean()
    slope = 10 * torch.log10(early / late) / (1190 / rate)
    assert float(slope) == pytest.approx(60 / 0.3, rel=0.03)
    assert (h[:, 0] == 1).all()
    tail = h[:, 1:].square().sum(1).mean()
    assert float(tail) == pytest.approx(1, rel=0.05)


def test_the_four_cases_are_equally_likely():
    x = torch.ones(4000, 40)
    always = Contamination(rate=8000, rooms=torch.tensor([[1.0, 0.0, -1.0]]))
    heard = always(x, g(3))
    dull = (heard[:, :2] - 1).abs().amax(1) > 1e-3  # noise is in the first two samples
    echo = torch.tensor([1.0, 1.0, *[0.0] * 38])
    clean, only_room = (heard == x).all(1), (heard - echo).abs().amax(1) < 1e-5
    shares = [float(case.double().mean()) for case in (clean, only_room, dull)]
    assert shares == pytest.approx([0.25, 0.25, 0.5], abs=0.03)
    # Noise, then the room: it is convolved as well, so the second differences of both halves differ in spread.
    spread = (heard[dull][:, 2:] - heard[dull][:, 2:].mean(1, keepdim=True)).abs().amax(1)
    mean = heard[dull][:, 2:].mean(1)
    assert float((mean < 0.5).double().mean()) == pytest.approx(0.5, abs=0.05)
    assert (spread > 0).all()


def test_snrs_are_whole_numbers_of_the_range():
    x = torch.randn(3000, 50, generator=g(), dtype=torch.float64)
    heard = Contamination(low=3, high=6, rooms=torch.ones(1, 1))(x, g(1))
    noisy = (heard - x).abs().amax(1) > 1e-9
    found = measured_snr(x[noisy], heard[noisy])
    assert torch.allclose(found, found.round(), atol=1e-5)
    assert found.round().unique().tolist() == [3, 4, 5, 6]
    assert 0.45 < float(noisy.double().mean()) < 0.55


@pytest.mark.parametrize("length", [20, 300])
def test_clips_are_tiled_or_cut_and_used_with_their_probability(length):
    clip = torch.arange(1.0, length + 1, dtype=torch.float64)[None]
    x = torch.randn(2000, 50, generator=g(), dtype=torch.float64)
    heard = Contamination(clips=clip, recorded=0.7, rooms=torch.ones(1, 1))(x, g(1))
    added = (heard - x)[(heard - x).abs().amax(1) > 1e-9]
    step = added.diff(dim=1)
    straight = (step[:, :10] - step[:, :1]).abs().amax(1) < 1e-6 * added.abs().amax(1)
    assert float(straight.double().mean()) == pytest.approx(0.7, abs=0.05)
    first = (added / step[:, :1])[straight][:, 0]
    starts = first.round().unique()
    assert len(starts) == 1 if length == 20 else len(starts) > 100


def test_it_depends_on_its_generator_alone_and_keeps_padding():
    x = waves(n=40, dtype=torch.float32)
    always = Contamination(rate=8000)
    assert torch.equal(always(x, g(5)), always(x, g(5)))
    assert not torch.equal(always(x, g(5)), always(x, g(6)))
    assert always(x, g(5)).shape == x.shape
    behind = torch.arange(700) >= lengths(x)[:, None]
    assert not always(x, g(5))[behind].any()


def test_the_curriculum_widens_and_ends_at_the_whole():
    grown = Contamination(low=0, high=20, curriculum=11)
    stages = [grown.at(step) for step in (0, 5, 10, 11)]
    assert [stage.low for stage in stages] == [20, 10, 0, 0]
    assert [stage.chance for stage in stages] == [0, 0.5, 1, 1]
    assert at_step(grown, 5).low == 10
    assert at_step(Contamination(), 5).low == 0
    x = torch.randn(400, 100, generator=g(), dtype=torch.float64)
    heard = at_step(grown, 0)(x, g(1))
    changed = (heard - x).abs().amax(1) > 1e-9
    found = measured_snr(x[changed], heard[changed])
    torch.testing.assert_close(found, torch.full_like(found, 20.0), rtol=0, atol=1e-5)


def test_noises_are_what_they_are_called():
    pinks = pink(20, 4096, g())
    power = torch.fft.rfft(pinks).abs().square().mean(0)
    ratio = power[100:200].mean() / power[1000:2000].mean()
    assert float(ratio) == pytest.approx(10, rel=0.2)  # 1/f
    hums = torch.fft.rfft(hum(4, 8000, 8000, g())).abs()
    peaks = hums.argsort(1, descending=True)[:, :3]
    base = peaks / (peaks / 50).round()
    assert ((base > 48.9) & (base < 51.1)).all()
    assert len(base[:, 0].round(decimals=2).unique()) > 1
    voices = torch.eye(8)[:, :, None].expand(8, 8, 50).reshape(8, 400)
    mixture = babble(voices, 3, g(), voices=6)
    assert mixture.square().mean(1).tolist() == pytest.approx([1, 1, 1])
    with pytest.raises(ValueError, match="babble of 9 voices"):
        babble(voices, 1, g(), voices=9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 5, "high": 0}, "low is 5"),
        ({"recorded": 2}, "recorded is 2"),
        ({"rt60": (0.5, 0.1)}, "rt60 is"),
        ({"clips": torch.zeros(3)}, "clips have shape"),
        ({"rooms": torch.full((1, 2), torch.nan)}, "rooms have shape"),
        ({"curriculum": -1}, "curriculum is -1"),
    ],
)
def test_what_cannot_be_meant_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        Contamination(**options)
