"""Students that lose variety in one known step, and are exact in all others: what an instrument must find in them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from workbench.diffusion import (
    FlowMap,
    GaussianMixture,
    Measure,
    Prediction,
    class_measures,
    coverage_measures,
    hand_over,
)
from workbench.diffusion.sampling.schedules import Schedule
from workbench.records import HandOver
from workbench.studies.kit.diffusing import Teacher


class Planted:
    """A student that is exact at every step but one, where it knows only some components: its collapse is known.

    What it believes is where the flow ends: of the whole mixture, at time `at` of the components `half` alone.
    """

    def __init__(self, exact: GaussianMixture, half: Tensor, at: float, steps: int = 30) -> None:
        self.full, self.half, self.at = FlowMap(exact, steps), FlowMap(exact.only(half), steps), at

    @property
    def schedule(self) -> Schedule:
        return self.full.schedule

    @property
    def shape(self) -> tuple[int, ...]:
        return self.full.shape

    @property
    def classes(self) -> int:
        return 0

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
        return (self.half if float(t) == self.at else self.full)(x, t, condition)


def planted_collapse(teacher: Teacher, times: Tensor, j: int, noise: Tensor, seed: int = 0) -> HandOver:
    """Hand-over from an exact base to a re-noising student whose step `j`, from 1, knows half the modes or classes."""
    assert teacher.exact is not None
    return hand_over(
        teacher.exact,
        planted(teacher, float(times[j - 1])),
        noise,
        times=times,
        measures=measures_of(teacher),
        seed=seed,
        name=f"collapse planted at step {j}",
        names=("base", f"student, step {j} collapsed"),
        **teacher.described(),
    )


def planted(teacher: Teacher, at: float) -> Planted:
    """A student that at time `at` knows half of the modes, or of images those of half of the classes."""
    exact = teacher.exact
    assert exact is not None
    if teacher.modes is None and exact.labels is not None:
        return Planted(exact, (exact.labels < exact.classes // 2).nonzero()[:, 0], at, steps=12)
    return Planted(exact, torch.arange(len(exact.weights) // 2), at)


def measures_of(teacher: Teacher) -> Mapping[str, Measure]:
    """Variety by modes, or, of images, by the class of the nearest one."""
    assert teacher.exact is not None
    return coverage_measures(teacher.exact) if teacher.modes is not None else class_measures(teacher.exact)
