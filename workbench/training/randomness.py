"""Random numbers of a run as a function of (seed, purpose, position), so that any step can be repeated on its own.

Nothing is carried from one step to the next: order, augmentation and dropout of step t are drawn from generators seeded
by (seed, purpose, t). A resumed run therefore needs no generator state, and what a loss or a teacher does can never
shift the draws of the data.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

ORDER, AUGMENT, LAYERS, SAMPLING = 1, 2, 3, 4
_MASK = (1 << 64) - 1


def mix(seed: int, purpose: int, position: int) -> int:
    """One 63-bit seed from three integers (the finaliser of splitmix64).

    >>> mix(0, ORDER, 0) != mix(0, AUGMENT, 0) != mix(0, AUGMENT, 1)
    True
    """
    z = (seed * 0x9E3779B97F4A7C15 + purpose * 0xBF58476D1CE4E5B9 + position * 0x94D049BB133111EB + 1) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return (z ^ (z >> 31)) >> 1


def generator(seed: int, purpose: int, position: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on `device` for one purpose at one position of a run."""
    return torch.Generator(device).manual_seed(mix(seed, purpose, position))


@contextmanager
def fenced(device: torch.device) -> Iterator[None]:
    """What happens inside leaves the global random state as it was (layers like dropout draw from nothing else)."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def seed_layers(seed: int, step: int, device: torch.device) -> None:
    """Point the global generator, the only one dropout knows, at step `step`; use inside `fenced`."""
    value = mix(seed, LAYERS, step)
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.manual_seed(value)
