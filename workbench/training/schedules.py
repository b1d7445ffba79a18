"""Learning-rate schedules: the share of the base rate as a function of how far training is."""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]


def cosine(progress: float) -> float:
    """From 1 to 0 along half a cosine (Loshchilov & Hutter 2017, SGDR, Eq. 5 without restarts).

    >>> cosine(0.0), round(cosine(0.5), 6)
    (1.0, 0.5)
    """
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def constant(progress: float) -> float:  # noqa: ARG001 - every schedule takes the progress
    """Always 1."""
    return 1.0


def step(progress: float) -> float:
    """Divided by ten at half and at three quarters of training (He et al. 2016, section 4.2, for CIFAR-10).

    >>> [step(p) for p in (0.0, 0.5, 0.75)]
    [1.0, 0.1, 0.01]
    """
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01


def thrice(progress: float) -> float:
    """Divided by ten at 5/8, 3/4 and 7/8 of training: 150, 180 and 210 of 240 epochs (Tian et al. 2020, for CIFAR-100).

    >>> [thrice(p) for p in (0.0, 0.625, 0.75, 0.875)]
    [1.0, 0.1, 0.01, 0.001]
    """
    return 1.0 if progress < 0.625 else 0.1 if progress < 0.75 else 0.01 if progress < 0.875 else 0.001


SCHEDULES: dict[str, Schedule] = {"cosine": cosine, "constant": constant, "step": step, "thrice": thrice}


def resolve(schedule: str | Schedule) -> Schedule:
    """The schedule by its name, or a callable as it is.

    Raises
    ------
    ValueError
        No schedule has this name.
    """
    if callable(schedule):
        return schedule
    if not isinstance(schedule, str) or schedule not in SCHEDULES:
        raise ValueError(
            f"schedule is {schedule!r}; it can be {', '.join(map(repr, SCHEDULES))}, "
            "or a function from progress (0..1) to the share of lr"
        )
    return SCHEDULES[schedule]


def factor(schedule: Schedule, at: int, total: int, warmup: int) -> float:
    """Share of the base learning rate that optimizer step `at` (0-based) of `total` takes.

    During the first `warmup` steps it rises linearly to 1; the schedule runs over the remaining ones.

    >>> [factor(constant, t, 10, 4) for t in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    if at < warmup:
        return (at + 1) / warmup
    return float(schedule((at - warmup) / max(1, total - warmup)))
