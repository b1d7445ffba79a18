"""Flat trajectory distillation: trajectory matching with experts that stay in flat regions, and averaged images.

A student that starts a segment a little off the expert's weights, as it does at evaluation, ends further off the
sharper the loss is there. Experts trained by GSAM (see `workbench.condensation.trajectories.gsam`) keep that error
small; the rest is MTT.

Du et al., “Minimizing the Accumulated Trajectory Error to Improve Dataset Distillation”, CVPR 2023 (paper 028).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import pandas as pd
import torch
from torch import Tensor

from workbench.condensation.methods.mtt import MTT
from workbench.condensation.trajectories.experts import Experts
from workbench.condensation.trajectories.gsam import GSAM
from workbench.condensation.trajectories.trajectories import Trajectories


@dataclass(frozen=True, kw_only=True)
class FTD(MTT):
    """MTT on flat experts; other attributes as in `MTT`, to which a fair comparison gives the same `decay`.

    Attributes
    ----------
    decay
        Of the moving average of the images, as in the released scripts.
    experts
        By default ρ = 0.01 adaptive with a = 0.4, as in the released script. On weights much smaller than one that is
        next to plain SGD: ``GSAM(rho=0.1, adaptive=False)`` is flat there.
    """

    short: ClassVar[str] = "FTD"

    decay: float | None = 0.9995
    experts: Trajectories | Experts = field(default_factory=lambda: Experts(rule=GSAM(rho=0.01, a=0.4, adaptive=True)))


@dataclass(frozen=True)
class AccumulatedError:
    """How far a student on synthetic data drifts from an expert, segment by segment, and why (paper 028, Eq. 8).

    With A_S(θ) the displacement that a segment of training on synthetic data makes from θ, and ε_t = θ_t − θ*_t:

        ε_{t+1} = ε_t + [A_S(θ*_t + ε_t) − A_S(θ*_t)] + [A_S(θ*_t) − (θ*_{t+1} − θ*_t)].

    Attributes
    ----------
    initialisation
        The first bracket of each segment, shape (segments, P): from having started off the expert.
    matching
        The second, shape (segments, P): what trajectory matching makes small.
    error
        ε after each segment, shape (segments + 1, P); the first is the one before.
    """

    initialisation: Tensor
    matching: Tensor
    error: Tensor

    def to_frame(self) -> pd.DataFrame:
        """One row per segment: norms of its `initialisation` and `matching` error and of the `accumulated` one."""
        return pd.DataFrame(
            {
                "segment": range(1, len(self.matching) + 1),
                "initialisation": self.initialisation.norm(dim=1).tolist(),
                "matching": self.matching.norm(dim=1).tolist(),
                "accumulated": self.error[1:].norm(dim=1).tolist(),
            }
        )


def accumulated_error(
    student: Callable[[Tensor], Tensor], expert: Tensor, *, span: int = 1, begin: Tensor | None = None
) -> AccumulatedError:
    """Follow a student over the successive segments of an expert's trajectory.

    Parameters
    ----------
    student
        Trains one segment on synthetic data: from weights (P,) to weights (P,), always the same way.
    expert
        The trajectory, shape (epochs + 1, P); see `Trajectories.of`.
    span
        Epochs per segment.
    begin
        Where the student starts; by default where the expert does.

    Examples
    --------
    A student that always moves by one, an expert that moves by two: each segment adds a matching error of one.

    >>> expert = torch.arange(0.0, 8.0, 2.0)[:, None]
    >>> accumulated_error(lambda w: w + 1, expert).to_frame()["accumulated"].tolist()
    [1.0, 2.0, 3.0]
    """
    targets = expert[::span]
    here = targets[0] if begin is None else begin
    errors, initialisation, matching = [here - targets[0]], [], []
    for start, target in pairwise(targets):
        on_path = student(start)
        after = on_path if bool(torch.equal(here, start)) else student(here)
        initialisation.append((after - here) - (on_path - start))
        matching.append(on_path - target)
        here = after
        errors.append(here - target)
    return AccumulatedError(torch.stack(initialisation), torch.stack(matching), torch.stack(errors))
