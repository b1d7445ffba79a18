"""The record of a hand-over: what comes out when the base makes some of the steps and the student the others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from workbench.records.base import Record


@dataclass(frozen=True, eq=False, kw_only=True)
class HandOver(Record):
    """Hybrid sampling of a base model and a few-step student from the same noise (paper 096).

    Below, K is the number of the student's steps and n of examples.

    Attributes
    ----------
    name
        What the record is called in legends.
    base, student
        What the two models are called.
    times
        The student's times, falling, float64, shape (K + 1,): 0 is clean, 1 is noise.
    noise
        What went in, shape (n, ...).
    condition
        The class asked for, int64, shape (n,); −1 for none; None where there are no classes.
    classes
        Class names.
    mean, std
        How examples become pictures: ``raw = x * std + mean``, raw in 0..1, shape (channels, 1, 1); None: points.
    switches
        Samples when the base makes the first k steps, k = 0..K, shape (K + 1, n, ...): 0 is the student alone, K the
        base alone.
    positions
        Samples when the base makes only step i, i = 1..K, shape (K, n, ...).
    measures
        What was measured of the samples: name → ``"switches"``, float64 (K + 1,), and ``"positions"``, float64 (K,).
    intervals
        95 % intervals over examples, by the same names: ``"switches"`` (K + 1, 2) and ``"positions"`` (K, 2); NaN where
        a measure has none.
    base_calls, student_calls
        Model evaluations per example for each switch, int64, shape (K + 1,).
    position_base_calls, position_student_calls
        The same for each position, int64, shape (K,).
    settings
        The arguments of the run, as plain values.
    """

    name: str = ""
    base: str = "base"
    student: str = "student"
    times: Tensor
    noise: Tensor
    condition: Tensor | None = None
    classes: tuple[str, ...] = ()
    mean: Tensor | None = None
    std: Tensor | None = None
    switches: Tensor
    positions: Tensor
    measures: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    intervals: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    base_calls: Tensor
    student_calls: Tensor
    position_base_calls: Tensor | None = None
    position_student_calls: Tensor | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    layout: ClassVar[Mapping[str, str]] = {
        "times": "number _",
        "noise": "number n …",
        "condition": "whole n",
        "mean": "float _ 1 1",
        "std": "float _ 1 1",
        "switches": "float …",
        "positions": "float …",
        "measures": "number _",
        "intervals": "number _ 2",
        "base_calls": "number _",
        "student_calls": "number _",
        "position_base_calls": "number steps",
        "position_student_calls": "number steps",
    }

    def __post_init__(self) -> None:
        K, shape = self.steps, tuple(self.noise.shape)
        if K < 1:
            raise ValueError(f"times have shape {tuple(self.times.shape)}; at least two, one more than the steps")
        wanted = {
            "switches": (K + 1, *shape), "positions": (K, *shape), "base_calls": (K + 1,), "student_calls": (K + 1,)
        }  # fmt: skip
        for what, expected in wanted.items():
            found = tuple(getattr(self, what).shape)
            if found != expected:
                raise ValueError(f"{what} have shape {found}; {expected} is needed for {K} steps of {shape}")
        for name, measured in self.measures.items():
            for what, length in (("switches", K + 1), ("positions", K)):
                if tuple(measured[what].shape) != (length,):
                    raise ValueError(
                        f"measure {name!r} has {tuple(measured[what].shape)} {what}; ({length},) is needed"
                    )
        if self.intervals.keys() - self.measures.keys():
            raise ValueError(f"intervals of {sorted(self.intervals.keys() - self.measures.keys())} have no measure")

    def __len__(self) -> int:
        return len(self.noise)

    @property
    def steps(self) -> int:
        """The student's steps K."""
        return len(self.times) - 1

    def check(self) -> None:
        super().check()
        for name, between in self.intervals.items():
            for what, measured in between.items():
                if len(measured) != len(self.measures[name][what]):
                    raise ValueError(f"intervals of {name!r} have {len(measured)} {what}")

    def summary(self) -> str:
        told = "; ".join(
            f"{name} {float(of['switches'][0]):.3g} → {float(of['switches'][1]):.3g}"
            for name, of in self.measures.items()
        )
        return (
            f"{self.student} handed over to by {self.base}: {len(self)} seeds, {self.steps} steps; "
            f"student alone → base first: {told or 'nothing measured'}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per way of sharing the steps and measure.

        `by` (``"switch"``: the base makes the first `at` steps; ``"position"``: only step `at`), `at`, `measure`,
        `value`, `low`, `high`, `base calls`, `student calls`.
        """
        return pd.DataFrame(self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """The rows of `to_frame` as plain values."""
        rows = []
        for by, key, first in (("switch", "switches", 0), ("position", "positions", 1)):
            calls = self._calls(by)
            for name, measured in self.measures.items():
                blank = torch.full((len(measured[key]), 2), float("nan"), dtype=torch.float64)
                between = self.intervals.get(name, {}).get(key, blank)
                rows += [
                    {
                        "by": by, "at": first + i, "measure": name, "value": value, "low": low, "high": high,
                        "base calls": calls[0][i], "student calls": calls[1][i],
                    }
                    for i, (value, (low, high)) in enumerate(zip(measured[key].tolist(), between.tolist(), strict=True))
                ]  # fmt: skip
        return rows

    def _calls(self, by: str) -> tuple[list[Any], list[Any]]:
        if by == "switch":
            return self.base_calls.tolist(), self.student_calls.tolist()
        both = self.position_base_calls, self.position_student_calls
        first, second = ([None] * self.steps if calls is None else calls.tolist() for calls in both)
        return first, second
