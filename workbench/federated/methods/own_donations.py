"""Each client speaks for what it donated, and for nothing else: stage 1 of EdgeFD alone, its oracle (paper 045)."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class OwnDonations:
    """Stage 1 alone."""

    def fit(self, inputs: Tensor, labels: Tensor, *, seed: int = 0) -> "OwnDonations":  # noqa: ARG002
        """Nothing is fitted."""
        return self

    def __call__(self, proxy: Tensor, own: Tensor) -> Tensor:  # noqa: ARG002
        """The client's donations, (n,)."""
        return own
