"""Noises by seed, where there are no recorded ones: pink, a mains hum, and the babble of other voices."""

import math

import torch
from torch import Tensor


def pink(n: int, samples: int, generator: torch.Generator) -> Tensor:
    """Noise whose power falls as 1/f, shape (n, samples), of standard deviation 1.

    >>> pink(2, 1000, torch.Generator().manual_seed(0)).std(1, correction=0)
    tensor([1., 1.])
    """
    spectrum = torch.fft.rfft(torch.randn(n, samples, generator=generator))
    place = torch.arange(spectrum.shape[1]).clamp(min=1)
    noise = torch.fft.irfft(spectrum / place.sqrt(), samples)
    return noise / noise.std(1, keepdim=True, correction=0)


def hum(n: int, samples: int, rate: int, generator: torch.Generator) -> Tensor:
    """Mains hum at 50 Hz ± 2 % with its harmonics in random phases, shape (n, samples), of power 1."""
    base = 50 * (1 + 0.02 * (2 * torch.rand(n, generator=generator) - 1))
    harmonics = torch.arange(1, int(0.45 * rate / 51) + 1)
    loud = torch.rand(n, len(harmonics), generator=generator) / harmonics.sqrt()
    phase = 2 * math.pi * torch.rand(n, len(harmonics), generator=generator)
    time = torch.arange(samples) / rate
    angle = 2 * math.pi * base[:, None, None] * harmonics[:, None] * time + phase[..., None]
    noise = (loud[..., None] * angle.sin()).sum(1)
    return noise / noise.square().mean(1, keepdim=True).sqrt()


def babble(waves: Tensor, n: int, generator: torch.Generator, voices: int = 6) -> Tensor:
    """Several voices at once, each shifted around: sums of `voices` of the sounds (m, samples); shape (n, samples)."""
    if len(waves) < voices:
        raise ValueError(f"waves has {len(waves)} sounds; babble of {voices} voices needs as many")
    found = []
    for _ in range(n):
        some = waves[torch.randperm(len(waves), generator=generator)[:voices]]
        shifts = torch.randint(waves.shape[1], (voices,), generator=generator).tolist()
        found.append(torch.stack([wave.roll(shift) for wave, shift in zip(some, shifts, strict=True)]).sum(0))
    noise = torch.stack(found)
    return noise / noise.square().mean(1, keepdim=True).sqrt()
