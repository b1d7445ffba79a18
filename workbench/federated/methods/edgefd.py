"""EdgeFD: each client decides by itself, from a few k-means centroids of its own data, for which proxy points it
speaks; the server only averages.

    stage 1   x ∈ P_c (the client's own donation)            → m_c(x) = 1
    stage 2   d_c(x) = min_k ‖x − K_c,k‖₂ ≤ τ_c              → m_c(x) = 1, else 0
    server    p̄(x) = Σ_c m_c(x) p_c(x) / Σ_c m_c(x);  points that nobody claims are dropped

τ_c is a quantile of d_c on a part of the client's data that k-means has not seen: on data it was fitted to, distances
are too small. The distance is a test of support, not a ratio of densities. Paper 045.
"""

from dataclasses import dataclass
from typing import Any

import torch
from sklearn.cluster import KMeans
from torch import Tensor

from workbench.signals.numbers import positive, share
from workbench.training import doors


@dataclass(frozen=True)
class EdgeFD:
    """The filter by centroids.

    Attributes
    ----------
    centroids
        Per class that a client holds, at least 1.
    quantile
        Of held-out distances, 0..1: τ_c.
    tau
        τ itself, ≥ 0, for every client instead of the quantile; infinity keeps all points.
    own
        Stage 1: keep one's own donations at once.
    held_out
        Share of a client's data for τ_c, in 0..1, both excluded.
    """

    centroids: int = 3
    quantile: float = 0.95
    tau: float | None = None
    own: bool = True
    held_out: float = 0.2

    def __post_init__(self) -> None:
        doors.whole("centroids", self.centroids, 1)
        share(quantile=self.quantile)
        positive(held_out=self.held_out)
        if not self.held_out < 1:
            raise ValueError(f"held_out is {self.held_out}; it must be below 1")
        if self.tau is not None and not self.tau >= 0:
            raise ValueError(f"tau is {self.tau}; it must be 0 or more")

    def fit(self, inputs: Tensor, labels: Tensor, *, seed: int = 0) -> "Centroids":
        """K_c and τ_c of one client's data, (n, …) and (n,).

        Raises
        ------
        ValueError
            There are fewer than two examples.
        """
        if len(inputs) < 2:
            raise ValueError(f"a client has {len(inputs)} examples; centroids and their threshold need 2")
        points = inputs.flatten(1)
        order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed)).to(points.device)
        held = min(max(1, round(self.held_out * len(points))), len(points) - 1)
        fitted, apart = points[order[held:]], points[order[:held]]
        count = min(self.centroids * len(labels.unique()), len(fitted))
        found: Any = KMeans(count, n_init=1, random_state=seed).fit(fitted.cpu().numpy())
        K = torch.as_tensor(found.cluster_centers_).to(points)
        if self.tau is not None:
            return Centroids(K, float(self.tau), own=self.own)
        return Centroids(K, float(distance(apart, K).quantile(self.quantile)), own=self.own)


@dataclass(frozen=True)
class Centroids:
    """What a client keeps of its data: K_c (k, d) and τ_c; k d floats, and k d multiply-adds a query."""

    K: Tensor
    tau: float
    own: bool = True

    def __call__(self, proxy: Tensor, own: Tensor) -> Tensor:
        """m_c of each proxy point, (n,) bool.

        Parameters
        ----------
        proxy
            Points (n, …).
        own
            Which are this client's donations, (n,) bool.
        """
        near = distance(proxy.flatten(1), self.K) <= self.tau
        return near | own if self.own else near

    @property
    def floats(self) -> int:
        """That it stores; as many multiply-adds it takes a query."""
        return self.K.numel()


def distance(x: Tensor, K: Tensor) -> Tensor:
    """d(x) = min_k ‖x − K_k‖₂ of points (n, d), shape (n,)."""
    return torch.cdist(x, K, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
