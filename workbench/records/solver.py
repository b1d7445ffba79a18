"""The record of a distilled solver: one number for each network call of a coarse sampler, and how well it fits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from workbench.records.base import Record


@dataclass(frozen=True, eq=False, kw_only=True)
class DistilledSolver(Record):
    """A D-ODE solver (paper 093): x ← solver(x, D_i) + λ̃_i (D_i − D_{i−1}), D the network's output.

    A step of the solver has one or more *stages*, each with one network call, and each with its own λ̃. Where a step has
    fewer stages than others, the columns left over hold zeros.

    Attributes
    ----------
    name
        What it is called in legends.
    base
        The solver that was distilled, a name of `workbench.diffusion.sampling.sampling.RULES` or
        ``"dpm-solver-2"``.
    kind
        The output that is mixed: ``"noise"``, ``"x0"``, ``"velocity"`` or ``"v"``.
    first
        At the first call the state stands for the output before it; else that call has no λ̃.
    times
        The grid it was fitted on, float64, shape (steps + 1,).
    weights
        λ̃, float64, shape (steps, stages).
    gains
        κ: the solver's coefficient on the output, so that λ̃ = κ λ for the mix O = D_i + λ (D_i − D_{i−1}); float64,
        shape (steps, stages).
    moments
        ⟨Δ, Δ⟩, ⟨Δ, r⟩ and ⟨r, r⟩ of each fit, means over the batch's numbers, where Δ = D_i − D_{i−1} and r is what the
        solver's state lacks to the teacher's; float64, shape (steps, stages, 3). Zeros: not fitted.
    settings
        The arguments of the fit, as plain values.
    """

    name: str = ""
    base: str = "ddim"
    kind: str = "noise"
    first: bool = False
    times: Tensor
    weights: Tensor
    gains: Tensor
    moments: Tensor
    settings: dict[str, Any] = field(default_factory=dict)

    layout: ClassVar[Mapping[str, str]] = {
        "times": "number _",
        "weights": "real steps stages",
        "gains": "real steps stages",
        "moments": "real steps stages 3",
    }

    def __post_init__(self) -> None:
        shape = (self.steps, self.weights.shape[-1])
        if self.weights.shape != shape or self.gains.shape != shape or self.moments.shape != (*shape, 3):
            raise ValueError(
                f"{len(self.times)} times need weights and gains of shape ({self.steps}, stages) and moments of "
                f"({self.steps}, stages, 3), not {tuple(self.weights.shape)}, {tuple(self.gains.shape)} and "
                f"{tuple(self.moments.shape)}"
            )
        if not bool(self.weights.isfinite().all()):
            raise ValueError("weights hold NaN or infinity")

    def __len__(self) -> int:
        return self.steps

    @property
    def steps(self) -> int:
        """Steps of the solver."""
        return len(self.times) - 1

    @property
    def mixes(self) -> Tensor:
        """λ = λ̃ / κ, shape (steps, stages): ½ everywhere is Adams–Bashforth on even steps in the solver's variable."""
        return torch.where(self.weights == 0, 0.0, self.weights / self.gains)

    def error(self, weights: Tensor | None = None) -> Tensor:
        """Mean square distance to the teacher after each stage, shape (..., steps, stages), by what λ̃ is there alone.

        A parabola in each λ̃, whose lowest point was fitted. None: `weights`; zeros: the solver as it was.
        """
        chosen = self.weights if weights is None else weights
        squared, cross, rest = self.moments.unbind(-1)
        return (rest - 2 * chosen * cross + chosen.square() * squared).clamp_min(0)

    def check(self) -> None:
        super().check()
        if not self.weights.numel():
            raise ValueError("there are no steps")

    def summary(self) -> str:
        last = self.steps - 1
        before, after = (float(self.error(w)[last, 0]) ** 0.5 for w in (torch.zeros_like(self.weights), self.weights))
        least, most = float(self.weights.min()), float(self.weights.max())
        return (
            f"{self.name or 'solver on ' + self.base}: {self.steps} steps, λ̃ from {least:.3g} to {most:.3g}; "
            f"the last step misses its teacher by {after:.3g}, without λ̃ by {before:.3g}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per stage: times, λ̃, λ, κ, and the root mean square error without λ̃ and with it."""
        before, after = self.error(torch.zeros_like(self.weights)).sqrt(), self.error().sqrt()
        mixes = self.mixes
        return pd.DataFrame(
            [
                {
                    "step": step + 1,
                    "stage": stage + 1,
                    "from": float(self.times[step]),
                    "to": float(self.times[step + 1]),
                    "weight": float(self.weights[step, stage]),
                    "mix": float(mixes[step, stage]),
                    "gain": float(self.gains[step, stage]),
                    "error before": float(before[step, stage]),
                    "error after": float(after[step, stage]),
                }
                for step in range(self.steps)
                for stage in range(self.weights.shape[1])
                if stage == 0 or float(self.gains[step, stage]) != 0
            ]
        )
