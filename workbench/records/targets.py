"""The record of a sampling run: where the state was at each step, and what the model believed the final image to be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from workbench.records.base import Record


@dataclass(frozen=True, eq=False, kw_only=True)
class TargetTrajectories(Record):
    """One model's run from noise to samples, with its diffusion targets x̂₀ along the way (paper 096).

    Attributes
    ----------
    name
        What the model is called in legends.
    role
        ``"teacher"``, ``"student"`` or ``"other"``.
    times
        The time of each recorded step, falling, float64, shape (steps,): 0 is clean, 1 is noise.
    states
        x_t at those times, shape (steps, n, ...).
    targets
        x̂₀ believed at those states, before the step is made, shape (steps, n, ...).
    samples
        What came out, shape (n, ...).
    noise
        What went in, shape (n, ...): two records of the same noise can be compared seed by seed.
    condition
        The class asked for, int64, shape (n,); −1 for none; None where the model has no classes.
    classes
        Class names.
    schedule
        Name and parameters of the noise schedule.
    sampler
        The rule that made the steps.
    guidance
        Scale of classifier-free guidance; 1: none.
    calls
        Model evaluations per example.
    mean, std
        How examples become pictures: ``raw = x * std + mean``, raw in 0..1, shape (channels, 1, 1); None: points.
    settings
        The arguments of the run, as plain values.
    """

    name: str = ""
    role: str = "other"
    times: Tensor
    states: Tensor
    targets: Tensor
    samples: Tensor
    noise: Tensor
    condition: Tensor | None = None
    classes: tuple[str, ...] = ()
    schedule: dict[str, Any] = field(default_factory=dict)
    sampler: str = "ddim"
    guidance: float = 1.0
    calls: int = 0
    mean: Tensor | None = None
    std: Tensor | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    layout: ClassVar[Mapping[str, str]] = {
        "times": "number steps_",
        "states": "number steps_ n _ …",
        "targets": "number steps_ n _ …",
        "samples": "number n _ …",
        "noise": "number n _ …",
        "condition": "whole n",
        "mean": "float _ 1 1",
        "std": "float _ 1 1",
    }

    def __post_init__(self) -> None:
        steps, whole = len(self.times), (len(self.times), *self.samples.shape)
        if steps == 0:
            raise ValueError("times is empty: a run has at least one recorded step")
        for what in ("states", "targets"):
            if tuple(getattr(self, what).shape) != whole:
                raise ValueError(f"{what} have shape {tuple(getattr(self, what).shape)}; {whole} is needed")
        if self.noise.shape != self.samples.shape:
            raise ValueError(f"noise has shape {tuple(self.noise.shape)}, samples {tuple(self.samples.shape)}")
        if self.role not in ("teacher", "student", "other"):
            raise ValueError(f"role is {self.role!r}; it can be 'teacher', 'student' or 'other'")

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def steps(self) -> int:
        """Recorded steps."""
        return len(self.times)

    @property
    def commitment(self) -> Tensor:
        """How much of the sample is decided, shape (steps,): 1 − E‖x̂₀ − sample‖² / (2 tr Var sample) (paper 096)."""
        samples = self.samples.flatten(1).double()
        gap = self._by_step(lambda target: (target - samples).square().sum(1).mean())
        return 1 - gap / (2 * samples.var(0, correction=0).sum())

    @property
    def spread(self) -> Tensor:
        """Trace of the variance over seeds of x̂₀ at each step, shape (steps,)."""
        return self._by_step(lambda target: target.var(0, correction=0).sum())

    @property
    def distance(self) -> Tensor:
        """Mean distance of x̂₀ to the final sample at each step, shape (steps,)."""
        samples = self.samples.flatten(1).double()
        return self._by_step(lambda target: (target - samples).norm(dim=1).mean())

    def _by_step(self, measure: Callable[[Tensor], Tensor]) -> Tensor:
        """A number for the targets of each step, (n, d) in double precision: all steps at once may not fit."""
        return torch.stack([measure(target.flatten(1).double()) for target in self.targets])

    def summary(self) -> str:
        shape = "×".join(map(str, self.samples.shape[1:]))
        return (
            f"{self.name or self.role}: {len(self)} seeds of {shape}, {self.steps} steps by {self.sampler}, "
            f"{self.calls} calls, first target committed to {float(self.commitment[0]):.0%}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per step: `step`, `time`, `commitment`, `spread`, `distance`."""
        return pd.DataFrame(
            {
                "step": range(1, self.steps + 1),
                "time": self.times.tolist(),
                "commitment": self.commitment.tolist(),
                "spread": self.spread.tolist(),
                "distance": self.distance.tolist(),
            }
        )

    def seeds(self, rows: object) -> "TargetTrajectories":
        """The run of some of the seeds."""
        rows = torch.as_tensor(rows)
        return self.replace(
            states=self.states[:, rows],
            targets=self.targets[:, rows],
            samples=self.samples[rows],
            noise=self.noise[rows],
            condition=None if self.condition is None else self.condition[rows],
        )
