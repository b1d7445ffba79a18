"""The plane in which expert trajectories move most, to draw them and a student's steps in."""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from workbench.condensation.trajectories.trajectories import Trajectories


@dataclass(frozen=True)
class Plane:
    """Two directions in weight space.

    Attributes
    ----------
    origin
        Mean of the experts' weights over all epochs, shape (P,).
    axes
        Orthonormal directions of largest spread, shape (2, P).
    share
        Of the spread of all trajectories that lies along each, shape (2,), in 0..1.
    """

    origin: Tensor
    axes: Tensor
    share: Tensor

    @classmethod
    def of(cls, trajectories: Trajectories) -> "Plane":
        """The first two principal components of all weights on all trajectories.

        Examples
        --------
        >>> path = torch.tensor([[[0.0, 0.0, 0.0], [3.0, 0.0, 4.0]]])
        >>> plane = Plane.of(Trajectories(path, {"w": (3,)}))
        >>> plane.share.tolist()
        [1.0, 0.0]
        >>> (plane.project(path[0, 1]) - plane.project(path[0, 0])).norm().item()
        5.0
        """
        points = torch.cat([trajectories.of(expert) for expert in range(len(trajectories))]).double()
        origin = points.mean(0)
        # Far fewer points than weights: the small Gram matrix has the same spectrum as the covariance.
        values, vectors = torch.linalg.eigh((points - origin) @ (points - origin).T)
        axes = (vectors[:, -2:].flip(1).T @ (points - origin)).contiguous()
        axes = axes / axes.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        share = values[-2:].flip(0).clamp_min(0) / values.clamp_min(0).sum()
        return cls(origin, axes, share.round(decimals=12))

    def project(self, weights: Tensor) -> Tensor:
        """Coordinates of weights (..., P) in the plane, shape (..., 2)."""
        return (weights.double() - self.origin) @ self.axes.T

    def to_frame(self, trajectories: Trajectories, **paths: Tensor) -> pd.DataFrame:
        """One row per point: `path`, `step` (an expert's epoch), `x`, `y`.

        Parameters
        ----------
        trajectories
            Of the experts; their paths are called ``expert 0``, ``expert 1``, ….
        paths
            Further ones by name, such as a student's steps (N + 1, P); see `Descent.path`.
        """
        named = {f"expert {k}": trajectories.of(k) for k in range(len(trajectories))} | paths
        rows = [
            {"path": name, "step": step, "x": x, "y": y}
            for name, path in named.items()
            for step, (x, y) in enumerate(self.project(path).tolist())
        ]
        return pd.DataFrame(rows)
