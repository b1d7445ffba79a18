"""The plan of a run: how many steps, which examples each sees, at what rate, and when the curves get a point."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.training import doors, randomness, schedules


@dataclass(frozen=True)
class Plan:
    """Everything about a run's course that does not depend on networks or data values.

    Attributes
    ----------
    examples
        Number of training examples n.
    batch_size
        Examples per step; the last batch of a pass is smaller, but never a single example (batch norm
        could make nothing of it): that one joins the batch before it.
    steps
        Optimizer steps in all.
    point
        Steps per point of the curves (a pass when the run is counted in epochs).
    evaluate_every
        Points between evaluations on the test split; the last point is always evaluated; 0: only that.
    schedule, warmup
        See `schedules.factor`; `warmup` in steps.
    in_steps
        The run's length was given in steps.
    snapshot_points
        Points (0 = before training) at which the weights are kept.
    """

    examples: int
    batch_size: int
    steps: int
    point: int
    evaluate_every: int
    schedule: schedules.Schedule
    warmup: int
    in_steps: bool
    snapshot_points: frozenset[int]

    @property
    def pass_steps(self) -> int:
        """Steps in one pass over the training examples."""
        return _pass_steps(self.examples, self.batch_size)

    @property
    def points(self) -> int:
        """Points of the curves when the run is complete."""
        return math.ceil(self.steps / self.point)

    def factor(self, at: int) -> float:
        """Share of the base learning rate at step `at`."""
        return schedules.factor(self.schedule, at, self.steps, self.warmup)

    def order(self, seed: int, sweep: int) -> Tensor:
        """The order of the examples in pass `sweep`: a permutation, shape (n,), on the CPU."""
        return torch.randperm(self.examples, generator=randomness.generator(seed, randomness.ORDER, sweep))

    def bounds(self, at: int) -> tuple[int, int]:
        """Where step `at` starts and ends in its pass's order."""
        within = at % self.pass_steps
        start = within * self.batch_size
        return start, self.examples if within == self.pass_steps - 1 else start + self.batch_size

    def closes_point(self, done: int) -> int | None:
        """The number of the point (1-based) that is complete after `done` steps, if one is."""
        if done % self.point == 0:
            return done // self.point
        return self.points if done == self.steps else None

    def evaluates(self, point: int) -> bool:
        """Whether the test split is evaluated at `point`."""
        return point == self.points or (self.evaluate_every > 0 and point % self.evaluate_every == 0)


def make(
    examples: int,
    *,
    epochs: int,
    steps: int | None,
    batch_size: int,
    schedule: str | Callable[[float], float],
    warmup: float,
    snapshots: int | str | Sequence[int],
    evaluate_every: int | None,
) -> Plan:
    """Check the arguments of `fit` that concern a run's course and lay them out."""
    if examples < 1:
        raise ValueError("data.train is empty: there is nothing to train on")
    batch_size = doors.whole("batch_size", batch_size, 1)
    if steps is None:
        epochs = doors.whole("epochs", epochs, 0)
    else:
        steps = doors.whole("steps", steps, 0)
    if evaluate_every is not None:
        evaluate_every = doors.whole("evaluate_every", evaluate_every, 0)
    warmup = doors.number("warmup", warmup, least=0)
    pass_steps = _pass_steps(examples, batch_size)
    if steps is None:
        total, point = epochs * pass_steps, pass_steps
        every = 1 if evaluate_every is None else evaluate_every
        warm = round(warmup * pass_steps)
    else:
        total, every, warm = steps, 1, round(warmup)
        # Without a wish: at most about twenty points, none shorter than a pass.
        point = evaluate_every or max(min(pass_steps, max(1, steps)), math.ceil(steps / 20), 1)
        if evaluate_every == 0:
            every = 0
    if warm > total:
        raise ValueError(f"warmup takes {warm} steps, but the whole run has {total}: make it shorter")
    points = math.ceil(total / point) if total else 0
    return Plan(
        examples=examples,
        batch_size=batch_size,
        steps=total,
        point=point,
        evaluate_every=every,
        schedule=schedules.resolve(schedule),
        warmup=warm,
        in_steps=steps is not None,
        snapshot_points=_snapshot_points(snapshots, points),
    )


def _pass_steps(examples: int, batch_size: int) -> int:
    full, rest = divmod(examples, batch_size)
    joins = rest == 0 or (rest == 1 and full > 0)
    return full if joins else full + 1


def _snapshot_points(snapshots: int | str | Sequence[int], points: int) -> frozenset[int]:
    if snapshots == "all":
        return frozenset(range(points + 1))
    if isinstance(snapshots, str):
        message = f"snapshots is {snapshots!r}; it can be 'all', every how many epochs, or a list of epochs"
        raise ValueError(message)  # noqa: TRY004 - a string is a right type, this is a wrong value
    if isinstance(snapshots, int):
        doors.whole("snapshots", snapshots, 0)
        return frozenset({*range(0, points + 1, snapshots), points}) if snapshots else frozenset()
    if not isinstance(snapshots, Iterable):
        raise ValueError(f"snapshots is {snapshots!r}; it can be 'all', every how many epochs, or a list of epochs")  # noqa: TRY004
    chosen = frozenset(doors.whole("an epoch of snapshots", point) for point in snapshots)
    outside = sorted(point for point in chosen if not 0 <= point <= points)
    if outside:
        raise ValueError(f"snapshots asks for epoch {outside[0]}; this run has epochs 0 (before training) to {points}")
    return chosen
