"""What a microphone hears instead of the sound: noise at an exact signal-to-noise ratio, and a room.

    x̃ = x + √(P_x / P_n · 10^(−SNR/10)) n,   P = (1/N) Σ (·)²

over the N samples of the sound, without the zeros behind it. A room convolves: the direct sound stays where it was, and
the first N samples are kept. Nothing is rescaled afterwards: a room changes the power, which is no SNR.

Paper 110, section 2; the cases and their chances are those of its code.
"""

import dataclasses
from dataclasses import dataclass, field

import torch
from torch import Tensor

from workbench.data.sound import lengths

TAIL = 0.3
"""RT60 in seconds at which a room's tail has the energy of the direct sound."""


def mixed(x: Tensor, noise: Tensor, snr: Tensor | float) -> Tensor:
    """Sound with noise at a signal-to-noise ratio.

    Parameters
    ----------
    x, noise
        Shape (n, samples). What is zero up to the end of x is padding: there no noise is added, and power is not
        measured. A noise that is silent there adds nothing.
    snr
        In dB, one or shape (n,); ``inf`` adds nothing.

    Examples
    --------
    >>> x, noise = torch.tensor([[3.0, -3, 3, 0]]), torch.tensor([[1.0, 1, -1, 9]])
    >>> mixed(x, noise, 20.0)
    tensor([[ 3.3000, -2.7000,  2.7000,  0.0000]])
    """
    there = _inside(x)
    n = noise * there
    P_x, P_n = (wave.square().sum(1) / there.sum(1).clamp(min=1) for wave in (x, n))
    SNR = torch.as_tensor(snr, dtype=x.dtype, device=x.device)
    share = torch.where(P_n > 0, P_x / torch.where(P_n > 0, P_n, 1.0) * 10 ** (-SNR / 10), 0.0)
    return x + share.sqrt()[:, None] * n


def reverberated(x: Tensor, response: Tensor) -> Tensor:
    """Sound as it is heard in a room.

    Parameters
    ----------
    x
        Shape (n, samples).
    response
        Impulse responses, shape (n, taps) or (taps,). What comes before the largest one, the direct sound, is cut off:
        otherwise a recorded response would delay the sound against what is learned of it.

    Examples
    --------
    >>> reverberated(torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([0.0, 1.0, 0.5])).round(decimals=4)
    tensor([[1.0000, 2.5000, 0.0000]])
    """
    h = response.expand(len(x), -1) if response.ndim == 1 else response
    direct = h.abs().argmax(1)
    taps = torch.arange(h.shape[1], device=h.device) + direct[:, None]
    h = torch.where(taps < h.shape[1], h.gather(1, taps.clamp(max=h.shape[1] - 1)), 0.0)
    size = 2 ** (x.shape[1] + h.shape[1] - 2).bit_length()  # at least samples + taps − 1, and quick
    heard = torch.fft.irfft(torch.fft.rfft(x, size) * torch.fft.rfft(h.to(x.dtype), size), size)[:, : x.shape[1]]
    return heard * _inside(x)


def room(rt60: Tensor, rate: int, generator: torch.Generator) -> Tensor:
    """Impulse responses of rooms: the direct sound, then noise that decays by 60 dB in RT60.

    Parameters
    ----------
    rt60
        Seconds, shape (n,).
    rate
        Samples per second.

    Returns
    -------
    Tensor
        Shape (n, taps), as many as the longest RT60. At 0.3 s the tail has the energy of the direct sound, else in
        proportion.
    """
    taps = max(2, int(float(rt60.max()) * rate))
    time = torch.arange(taps, device=rt60.device, dtype=rt60.dtype) / rate
    noise = torch.randn(len(rt60), taps, generator=generator, device=generator.device, dtype=rt60.dtype)
    loud = (6 * torch.log(torch.tensor(10.0)) / (TAIL * rate)).sqrt()
    tail = loud * noise.to(rt60.device) * 10 ** (-3 * time / rt60[:, None])
    tail[:, 0] = 1.0
    return tail


@dataclass(frozen=True, eq=False)
class Contamination:
    """One of four equally likely cases for every sound: noise; a room; noise, then a room; nothing.

    A function of (waves, generator), as ``augment=`` of `workbench.training.fit` is.

    Attributes
    ----------
    low, high
        SNR in dB, a whole number drawn from low..high.
    clips
        Recorded noises, shape (k, samples), of any length: tiled or cut out at random; None: white noise only.
    recorded
        Probability of a clip instead of white noise.
    rt60
        Seconds, the shortest and the longest; drawn evenly.
    rooms
        Recorded impulse responses instead, shape (k, taps).
    rate
        Samples per second.
    curriculum
        Steps over which contaminations grow: the lowest SNR falls from `high` to `low`, the probability that a room is
        applied rises from 0 to 1. 0: none, as in the paper.
    chance
        Probability that a room that was drawn is applied.

    Examples
    --------
    >>> waves = torch.randn(6, 800, generator=torch.Generator().manual_seed(0))
    >>> heard = Contamination(rate=8000)(waves, torch.Generator().manual_seed(3))
    >>> (heard == waves).all(1).tolist()
    [False, False, False, True, False, False]
    """

    low: int = 0
    high: int = 20
    clips: Tensor | None = field(default=None, repr=False)
    recorded: float = 0.7
    rt60: tuple[float, float] = (0.1, 0.6)
    rooms: Tensor | None = field(default=None, repr=False)
    rate: int = 16_000
    curriculum: int = 0
    chance: float = 1.0

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"low is {self.low} and high {self.high} dB; low must not be above high")
        if not 0 <= self.recorded <= 1 or not 0 <= self.chance <= 1:
            raise ValueError(f"recorded is {self.recorded} and chance {self.chance}; both must lie in 0..1")
        if not 0 < self.rt60[0] <= self.rt60[1] <= 5:
            raise ValueError(f"rt60 is {self.rt60}; it must be (shortest, longest) in seconds, above 0 and at most 5")
        if self.curriculum < 0 or self.rate < 1:
            raise ValueError(f"curriculum is {self.curriculum} and rate {self.rate}; at least 0 and at least 1")
        for what, waves in (("clips", self.clips), ("rooms", self.rooms)):
            if waves is not None and (waves.ndim != 2 or not waves.numel() or not bool(waves.isfinite().all())):
                raise ValueError(f"{what} have shape {tuple(waves.shape)}; finite numbers (k, samples) are needed")

    def __call__(self, waves: Tensor, generator: torch.Generator) -> Tensor:
        """Each sound (n, samples) in its case."""
        n, place = len(waves), waves.device
        case = torch.randint(4, (n,), generator=generator, device=generator.device)
        snr = torch.randint(self.low, self.high + 1, (n,), generator=generator, device=generator.device)
        case, snr = case.to(place), snr.to(waves)
        applied = torch.rand(n, generator=generator, device=generator.device).to(place) < self.chance
        noisy, inside = (case == 0) | (case == 2), ((case == 1) | (case == 2)) & applied
        heard = waves.clone()
        if bool(noisy.any()):
            heard[noisy] = mixed(waves[noisy], self._noise(waves[noisy], generator), snr[noisy])
        if bool(inside.any()):
            heard[inside] = reverberated(heard[inside], self._response(heard[inside], generator))
        return heard

    def at(self, step: int) -> "Contamination":
        """What it is at a step, counted from 0, of the curriculum."""
        if not self.curriculum or step >= self.curriculum:
            return self
        share = step / max(1, self.curriculum - 1)
        low = round(self.high + share * (self.low - self.high))
        return dataclasses.replace(self, low=low, chance=share * self.chance)

    def _noise(self, waves: Tensor, generator: torch.Generator) -> Tensor:
        n, samples = waves.shape
        device = generator.device
        white = torch.randn(n, samples, generator=generator, device=device).to(waves)
        if self.clips is None:
            return white
        clips = self.clips.to(waves)
        if clips.shape[1] < samples:
            clips = clips.repeat(1, -(-samples // clips.shape[1]))
        which = torch.randint(len(clips), (n,), generator=generator, device=device).to(waves.device)
        latest = clips.shape[1] - samples if self.clips.shape[1] > samples else 0
        start = torch.randint(latest + 1, (n,), generator=generator, device=device).to(waves.device)
        cut = clips[which[:, None], start[:, None] + torch.arange(samples, device=waves.device)]
        chosen = torch.rand(n, generator=generator, device=device).to(waves.device) < self.recorded
        return torch.where(chosen[:, None], cut, white)

    def _response(self, waves: Tensor, generator: torch.Generator) -> Tensor:
        device = generator.device
        if self.rooms is not None:
            which = torch.randint(len(self.rooms), (len(waves),), generator=generator, device=device)
            return self.rooms[which.to(self.rooms.device)].to(waves)
        shortest, longest = self.rt60
        seconds = shortest + (longest - shortest) * torch.rand(len(waves), generator=generator, device=device)
        return room(seconds, self.rate, generator).to(waves)


def _inside(x: Tensor) -> Tensor:
    """1 within each sound, 0 in the padding behind it."""
    return (torch.arange(x.shape[1], device=x.device) < lengths(x)[:, None]).to(x.dtype)
