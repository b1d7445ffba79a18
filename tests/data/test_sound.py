"""WAV files of every plain kind are read to their numbers, others refused by name; words are made by seed."""

import random
import struct
import zipfile

import numpy as np
import pytest
import torch

import workbench as wb
from tests.data.fuzzing import damaged
from workbench.data import DataError, SoundSplit, sounds
from workbench.data.sound import lengths
from workbench.data.wav_files import EXTENSIBLE, FLOAT, PCM, read_wav
from workbench.data.words import VOWELS, _voice

GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


def wav(numbers, *, tag=PCM, bits=16, rate=8000, channels=1, extensible=False, before=b""):
    """A WAV file, written here chunk by chunk from its description."""
    numbers = np.asarray(numbers, dtype=np.float64)
    if tag == FLOAT:
        data = numbers.astype(f"<f{bits // 8}").tobytes()
    elif bits == 8:
        data = (numbers * 128 + 128).astype(np.uint8).tobytes()
    else:
        whole = np.round(numbers * 2.0 ** (bits - 1)).astype("<i8")
        data = b"".join(int(n).to_bytes(8, "little", signed=True)[: bits // 8] for n in whole)
    align = channels * bits // 8
    kind = EXTENSIBLE if extensible else tag
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * align, align, bits)
    if extensible:
        form += struct.pack("<HHIH", 22, bits, 0, tag) + GUID_TAIL
    chunks = before + b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    chunks += b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


EXACT = [0.0, 0.5, -0.25, -1.0, 0.75]


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(("tag", "bits"), [(PCM, 8), (PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32), (FLOAT, 64)])
def test_every_plain_kind_is_read_to_the_same_numbers(tag, bits, extensible):
    content = wav(EXACT, tag=tag, bits=bits, rate=11025, extensible=extensible, before=b"LIST\x03\0\0\0abc\0")
    numbers, rate = read_wav(content, "x.wav")
    assert (numbers.tolist(), rate) == (EXACT, 11025)
    assert numbers.dtype == np.float32


def test_channels_become_their_mean():
    numbers, _ = read_wav(wav([0.5, 0.0, -1.0, -0.5], channels=2), "x.wav")
    assert numbers.tolist() == [0.25, -0.75]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"RIFF", "no WAV file"),
        (b"RIFX" + wav(EXACT)[4:], "no WAV file"),
        (wav(EXACT)[:-1], r"cut off: its chunk b'data' should have 10 bytes and has 9"),
        (wav(EXACT)[:36], "holds no sound"),
        (wav([]), "0 bytes of sound"),
        (wav(EXACT).replace(struct.pack("<HH", 1, 1), struct.pack("<HH", 7, 1), 1), "µ-law of 16 bits: save it as PCM"),
        (wav(EXACT, rate=500), "at 500 samples per second"),
        (wav(EXACT, channels=2), "no whole number of 2 × 2"),
        (wav([np.nan], tag=FLOAT, bits=32), "not finite"),
        (wav([1e9], tag=FLOAT, bits=32), "beyond ±16"),
        (wav(EXACT, extensible=True).replace(GUID_TAIL, b"x" * 14), "extended format"),
    ],
)
def test_what_is_no_plain_sound_is_refused_by_name(content, message):
    with pytest.raises(DataError, match=message):
        read_wav(content, "here/x.wav")


def test_no_damage_brings_out_anything_but_a_refusal():
    rng = random.Random(0)
    whole = [
        wav(np.linspace(-1, 0.9, 20), tag=tag, bits=bits, extensible=extensible)
        for tag, bits, extensible in [(PCM, 8, False), (PCM, 16, True), (PCM, 24, False), (FLOAT, 32, False)]
    ]
    refused = 0
    for _ in range(1500):
        try:
            numbers, rate = read_wav(damaged(rng.choice(whole), rng), "x")
            assert np.isfinite(numbers).all()
            assert 1000 <= rate <= 384_000
        except DataError:
            refused += 1
    assert 300 < refused < 1500


@pytest.fixture
def folder(tmp_path):
    """Two classes of tones of different lengths."""
    for i in range(8):
        kind = ("low", "high")[i % 2]
        (tmp_path / kind).mkdir(exist_ok=True)
        tone = 0.5 * np.sin(np.arange(1, 101 + i) * (0.1, 0.6)[i % 2])
        (tmp_path / kind / f"{i}.wav").write_bytes(wav(tone))
    return tmp_path


def test_a_folder_of_sounds_is_loaded_by_its_path(folder):
    data = wb.data.load(folder, test_fraction=0.25)
    assert isinstance(data.train, SoundSplit)
    assert (data.train.rate, data.shape, data.classes) == (8000, (107,), ("high", "low"))
    whole = torch.cat([data.train.inputs, data.test.inputs])
    index = torch.cat([data.train.index, data.test.index])
    assert lengths(whole)[index.argsort()].tolist() == [101, 103, 105, 107, 100, 102, 104, 106]
    assert data.train.take([0]).rate == data.subset(4).test.rate == 8000
    inside = data.train.inputs[data.train.inputs != 0].double()
    assert float(inside.square().sum() / lengths(data.train.inputs).sum()) == pytest.approx(1, abs=1e-5)
    assert float(data.mean) == 0


def test_names_say_the_class_where_files_lie_side_by_side(folder, tmp_path):
    packed = tmp_path / "speech.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.glob("*/*.wav")):
            archive.writestr(f"{path.parent.name}_{path.name}", path.read_bytes())
    data = wb.data.load(packed)
    assert (data.name, data.classes, len(data.train) + len(data.test)) == ("speech", ("high", "low"), 8)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("nobody.wav", wav(EXACT))
    with pytest.raises(DataError, match=r"nobody\.wav is of no class: put the sounds into a folder"):
        wb.data.load(packed)


def test_sounds_are_cut_and_brought_to_one_rate(folder):
    assert sounds(folder, seconds=0.01).shape == (80,)
    assert sounds(folder, rate=4000).train.rate == 4000
    assert sounds(folder, rate=4000).shape == (54,)
    (folder / "low" / "0.wav").write_bytes(wav(np.full(50, 0.25), rate=16000))
    with pytest.raises(DataError, match=r"0\.wav has 16,000 samples per second, .* has 8,000: pass rate="):
        sounds(folder)
    sounds(folder, rate=8000)


def test_a_tone_keeps_its_pitch_at_another_rate(folder):
    tone = np.sin(2 * np.pi * 500 * np.arange(4000) / 16000)
    (folder / "low" / "0.wav").write_bytes(wav(0.5 * tone, rate=16000))
    data = sounds(folder, rate=8000, test_fraction=0.25)
    split = data.train if (data.train.index == 4).any() else data.test
    wave = split.inputs[split.index == 4][0]
    assert int(torch.fft.rfft(wave[:2000]).abs().argmax()) == 125  # 500 Hz · 2000 / 8000


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rate": 10}, "rate=10"), ({"seconds": 0}, "seconds=0"), ({"loud": 1}, "no option 'loud'")],
)
def test_options_out_of_range_are_named(folder, options, message):
    with pytest.raises(DataError, match=message):
        wb.data.load(folder, **options)


def test_silence_and_single_classes_are_refused(folder):
    (folder / "low" / "0.wav").write_bytes(wav([0.0] * 40))
    with pytest.raises(DataError, match=r"0\.wav is silent"):
        sounds(folder)
    for path in (folder / "low").glob("*"):
        path.unlink()
    with pytest.raises(DataError, match="underscore"):
        sounds(folder)
    with pytest.raises(DataError, match=r"there are no sounds in .*; these are read: \.wav"):
        sounds(folder / "low")


def test_a_long_recording_asks_for_seconds(folder):
    (folder / "low" / "0.wav").write_bytes(wav(np.full(31 * 8000, 0.5)))
    with pytest.raises(DataError, match="31 s: pass seconds="):
        sounds(folder)


def test_pictures_beside_sounds_are_still_pictures(folder):
    assert wb.data.load(folder).train.rate == 8000
    (folder / "low" / "cover.png").write_bytes(b"x")
    with pytest.raises(DataError, match="image"):
        wb.data.load(folder)


def test_a_sound_split_holds_waveforms_only():
    one = torch.ones(1)
    with pytest.raises(DataError, match="waveforms"):
        SoundSplit(torch.zeros(2, 1, 4), torch.tensor([0, 1]), ("a", "b"), one, one)
    with pytest.raises(DataError, match="rate=3"):
        SoundSplit(torch.zeros(2, 4), torch.tensor([0, 1]), ("a", "b"), one, one, rate=3)


@pytest.fixture(scope="module")
def spoken():
    return wb.data.load("words", n_train=60, n_test=20, seed=3)


def test_words_are_made_by_seed(spoken):
    again = wb.data.load("words", n_train=60, n_test=20, seed=3)
    other = wb.data.load("words", n_train=60, n_test=20, seed=4)
    assert torch.equal(spoken.train.inputs, again.train.inputs)
    assert not torch.equal(spoken.train.inputs, other.train.inputs)
    assert spoken.train.counts.tolist() == [3] * 20


def test_what_follows_a_word_is_padding(spoken):
    found = lengths(spoken.train.inputs)
    assert 2000 < int(found.min()) < int(found.max()) <= 4000


def test_the_same_syllables_in_another_order_are_another_word(spoken):
    for one, other in zip(spoken.classes[::2], spoken.classes[1::2], strict=True):
        assert one[:2] + one[2:] == other[2:] + other[:2]


def test_vowels_have_their_formants():
    """The second formant of "i" lies at 2,290 Hz, that of "u" at 870."""

    def ratio(vowel):
        wave = _voice(torch.tensor(VOWELS[vowel]).expand(51, 3), torch.ones(51), 120.0, 2000)
        power, frequency = torch.fft.rfft(wave).abs().square(), torch.fft.rfftfreq(2000, 1 / 8000)
        high, low = ((frequency > a) & (frequency < b) for a, b in ((2100, 2500), (680, 1080)))
        return float(power[high].sum() / power[low].sum())

    assert ratio("i") > 2
    assert ratio("u") < 0.5


@pytest.mark.parametrize("options", [{"words": 21}, {"seconds": 5}, {"n_train": 3}, {"n_test": 0}])
def test_options_of_words_out_of_range_are_named(options):
    with pytest.raises(DataError, match=next(iter(options))):
        wb.data.load("words", **options)
