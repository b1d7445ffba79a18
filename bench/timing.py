"""Timing two ways of doing the same in turn, so that a machine whose speed drifts treats both alike."""

import gc
import time
from collections.abc import Callable
from statistics import median

import torch


def in_turn(one: Callable[[], object], other: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median seconds of both, in turn, after a first run of each that does not count."""
    one(), other()
    taken = [(seconds(one), seconds(other)) for _ in range(rounds)]
    return median(pair[0] for pair in taken), median(pair[1] for pair in taken)


def seconds(run: Callable[[], object]) -> float:
    """Seconds of one run, until the device has done it; garbage of earlier runs is collected before."""
    gc.collect()
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started
