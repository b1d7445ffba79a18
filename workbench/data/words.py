"""Spoken words without a voice: twenty of them, from eight speakers, made of formants and noise by seed.

A voiced sound is a sum of the pitch's harmonics, each as loud as the resonances of a vocal tract (the formants) make
it; a hiss is noise in a band. Speakers differ in pitch and in the length of their vocal tract, which scales all
formants. It is no speech that one would listen to, but what tells its words apart is what tells words apart: which
formants and hisses come, in which order.
"""

import math

import torch
from torch import Tensor

from workbench.data.assemble import Part
from workbench.data.dataset import Dataset
from workbench.data.sampling import DataError
from workbench.data.sound import of_waves

WORDS = (
    "sami", "misa", "tofu", "futo", "nisu", "suni", "mato", "toma", "sefo", "fose",
    "nuta", "tanu", "fime", "mefi", "note", "teno", "musi", "simu", "fana", "nafa",
)  # fmt: skip
"""Ten pairs of the same two syllables: what comes when matters."""

SPEAKERS = 8
SAMPLE_RATE = 8000
VOWELS = {
    "a": (730.0, 1090.0, 2440.0),
    "e": (530.0, 1840.0, 2480.0),
    "i": (270.0, 2290.0, 3010.0),
    "o": (570.0, 840.0, 2410.0),
    "u": (300.0, 870.0, 2240.0),
}
"""Formants in Hz (Peterson & Barney 1952)."""
NASALS = {"m": (250.0, 1000.0, 2200.0), "n": (250.0, 1700.0, 2600.0)}
HISSES = {"s": (2600.0, 3900.0, 0.13), "f": (900.0, 3600.0, 0.11), "t": (1800.0, 3600.0, 0.05)}
"""Band in Hz and seconds; "t" begins with a silence."""
_BANDWIDTHS = (90.0, 110.0, 170.0)
_FRAME = 40
"""Samples from one point of the amplitudes to the next."""


def words(
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    n_train: int = 400,
    n_test: int = 200,
    words: int = 20,
    seconds: float = 0.5,
) -> Dataset:
    """Spoken words by seed: 20 classes of two syllables, 8 kHz.

    Parameters
    ----------
    seed
        Of speakers, tempo, pitch and loudness of every example.
    n_train, n_test
        Examples; words and speakers in turn.
    words
        How many words, 2 to 20: they come in pairs of the same two syllables.
    seconds
        Of each sound, 0.3 to 2; the last of it may be padding.

    Raises
    ------
    DataError
        An argument out of its range.

    Examples
    --------
    >>> data = words(n_train=40, n_test=20)
    >>> data, data.train.rate
    (Dataset('words', 40 train + 20 test × 4000, 20 classes, cpu), 8000)
    """
    if not 2 <= words <= len(WORDS) or not 0.3 <= seconds <= 2 or n_train < words or n_test < 1:
        raise DataError(
            f"words={words} must be in 2..{len(WORDS)}, seconds={seconds} in 0.3..2, n_train={n_train} at least "
            f"{words} and n_test={n_test} at least 1"
        )
    generator = torch.Generator().manual_seed(seed)
    samples = round(seconds * SAMPLE_RATE)

    def part(n: int) -> Part:
        labels = torch.arange(n) % words
        speakers = (torch.arange(n) // words + torch.arange(n) % words) % SPEAKERS
        waves = [_spoken(WORDS[c], s, samples, generator) for c, s in zip(labels.tolist(), speakers, strict=True)]
        return Part(torch.stack(waves), labels, torch.arange(n))

    return of_waves("words", part(n_train), part(n_test), WORDS[:words], SAMPLE_RATE, device=device)


def _spoken(word: str, speaker: int, samples: int, generator: torch.Generator) -> Tensor:
    """One utterance, (samples,), of peak 0.2 to 0.8."""

    def between(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    share = (speaker % SPEAKERS) / (SPEAKERS - 1)
    tract = 0.88 + 0.3 * share  # a shorter one has higher formants
    pitch = (95 + 115 * ((5 * int(speaker)) % SPEAKERS) / (SPEAKERS - 1)) * between(0.94, 1.06)
    tempo = between(0.85, 1.0) * samples / (0.5 * SAMPLE_RATE)
    pieces = [_segment(phone, tempo * between(0.9, 1.1)) for phone in word]
    total = min(samples, sum(length for length, *_ in pieces))
    frames = math.ceil(total / _FRAME) + 1
    ends = torch.tensor([0, *[length for length, *_ in pieces]]).cumsum(0) / _FRAME
    places = torch.bucketize(torch.arange(frames) + 0.5, ends[1:-1])
    tracks = torch.tensor([formants for _, formants, _, _ in pieces])[places]
    voiced = torch.tensor([loud for _, _, loud, _ in pieces])[places]
    formants = _smooth(tracks.T).T * tract * between(0.97, 1.03)
    voice = _voice(formants, _smooth(voiced[None])[0], pitch, total)
    hiss = torch.zeros(total)
    for start, (length, _, _, band) in zip((ends[:-1] * _FRAME).int().tolist(), pieces, strict=True):
        if band is not None and start < total:
            noise = _hiss(band, length, generator)[: total - start]
            hiss[start : start + len(noise)] += noise
    wave = torch.zeros(samples)
    wave[:total] = voice + hiss
    return wave * (between(0.2, 0.8) / wave.abs().max())


def _segment(phone: str, tempo: float) -> tuple[int, tuple[float, ...], float, tuple[float, float, float] | None]:
    """Samples, formants, loudness of the voice, and the band of the hiss, or None."""
    if phone in VOWELS:
        return round(0.13 * tempo * SAMPLE_RATE), VOWELS[phone], 1.0, None
    if phone in NASALS:
        return round(0.08 * tempo * SAMPLE_RATE), NASALS[phone], 0.45, None
    low, high, seconds = HISSES[phone]
    return round((seconds if phone != "t" else 0.09) * tempo * SAMPLE_RATE), (500.0, 1500.0, 2500.0), 0.0, (
        low, high, seconds,
    )  # fmt: skip


def _smooth(tracks: Tensor) -> Tensor:
    """Rows (k, frames) as a mouth moves: a mean over five frames, 25 ms."""
    padded = torch.nn.functional.pad(tracks[:, None], (2, 2), mode="replicate")
    return torch.nn.functional.avg_pool1d(padded, 5, 1)[:, 0]


def _voice(formants: Tensor, loud: Tensor, pitch: float, samples: int) -> Tensor:
    """Harmonics of a falling pitch, each as loud as three resonances make it: (samples,)."""
    time = torch.arange(samples, dtype=torch.float64) / SAMPLE_RATE
    falling = pitch * (1.08 - 0.16 * time / time[-1])
    phase = 2 * math.pi * (falling / SAMPLE_RATE).cumsum(0)
    harmonics = torch.arange(1, int(0.95 * SAMPLE_RATE / 2 / (1.08 * pitch)) + 1)
    at_frames = pitch * (1.08 - 0.16 * torch.arange(len(formants)) / (len(formants) - 1))
    frequency = harmonics[:, None] * at_frames
    widths = torch.tensor(_BANDWIDTHS)
    gains = 1 / (1 + ((frequency[:, None] - formants.T) / widths[:, None]).square())
    amplitude = (gains * torch.tensor([1.0, 0.6, 0.3])[:, None]).sum(1) * loud / harmonics[:, None].sqrt()
    amplitude = torch.nn.functional.interpolate(
        amplitude[None], size=len(formants) * _FRAME, mode="linear", align_corners=False
    )[0, :, :samples]
    return (amplitude * (harmonics[:, None] * phase).float().sin()).sum(0)


def _hiss(band: tuple[float, float, float], length: int, generator: torch.Generator) -> Tensor:
    """Noise in a band, which swells and fades; of a "t" only its last part."""
    low, high, seconds = band
    spectrum = torch.fft.rfft(torch.randn(length, generator=generator))
    frequency = torch.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    spectrum = spectrum * ((frequency > low) & (frequency < high))
    noise = torch.fft.irfft(spectrum, length)
    sounding = min(length, round(seconds * SAMPLE_RATE))
    swell = torch.zeros(length)
    swell[length - sounding :] = torch.hann_window(sounding, periodic=False)
    return 0.35 * noise / noise.std() * swell
