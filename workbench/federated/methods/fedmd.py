"""FedMD: every client speaks for every proxy point, m_c ≡ 1, and the server averages. A baseline of paper 045."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FedMD:
    """No filter."""

    def fit(self, inputs: Tensor, labels: Tensor, *, seed: int = 0) -> "FedMD":  # noqa: ARG002
        """Nothing is fitted."""
        return self

    def __call__(self, proxy: Tensor, own: Tensor) -> Tensor:  # noqa: ARG002
        """True for all, (n,)."""
        return torch.ones(len(proxy), dtype=torch.bool, device=proxy.device)
