"""PM: a trained network is quantised after the fact, and nothing is trained any more.

The baseline of paper 046 (post-mortem quantisation), with and without buckets.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from workbench.compression.making.quantising import uniform
from workbench.training import doors


@dataclass(frozen=True)
class PM:
    """Uniform quantisation of a trained network.

    Attributes
    ----------
    bits
        Of a weight, at least 1: s = 2^bits levels.
    bucket
        k, weights that share α and β; None: the whole tensor.
    tensors, keep
        Which parameters: ``"weights"`` or ``"all"``, but those that a name or glob in `keep` fits.
    """

    bits: int = 4
    bucket: int | None = 256
    tensors: str = "weights"
    keep: tuple[str, ...] = ()

    trains: ClassVar[str] = ""

    def __post_init__(self) -> None:
        doors.whole("bits", self.bits, 1)
        if self.bucket is not None:
            doors.whole("bucket", self.bucket, 1)

    @property
    def s(self) -> int:
        """Levels."""
        return 2**self.bits

    def quantisers(self, tensors: list[Tensor]) -> list[nn.Module]:
        """One per tensor."""
        return [Rounded(self.s, self.bucket) for _ in tensors]


class Rounded(nn.Module):
    """w ↦ Q(w)."""

    def __init__(self, s: int, bucket: int | None) -> None:
        super().__init__()
        self.s, self.bucket = s, bucket

    def forward(self, w: Tensor) -> Tensor:
        return uniform(w, self.s, self.bucket)
