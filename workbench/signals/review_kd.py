"""Knowledge review: each stage of the student, joined with the deeper ones, matches the teacher's stage.

From the deepest stage up, a fusion takes over what the deeper stages have (their upsampled residual r):

    x = conv₁(F_k),   (a, b) = σ(conv([x; up(r)])),   r = a x + b up(r),   f_k = conv₂(r)           (deepest: r = x)
    L = Σ_k HCL(f_k, F_k of the teacher),   HCL(f, F) = Σ_l w_l mse(pool_l f, pool_l F) / Σ_l w_l

with l the whole map and 4×4, 2×2, 1×1 where that is smaller, w = 1, ½, ¼, ⅛. Chen et al. 2021 (section 3.3 and 3.4).
The student's own features get no loss by themselves.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from workbench.models import Outputs
from workbench.signals.features import FeatureSignal, as_maps
from workbench.signals.signal import seeded


@dataclass(frozen=True)
class ReviewKD(FeatureSignal):
    """Review of several stages; `student` and `teacher` name equally many layers, from shallow to deep.

    Attributes
    ----------
    most
        Channels in which stages are joined, at most.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> of_student = Outputs(torch.zeros(2, 3), {"a": torch.randn(2, 4, 8, 8), "b": torch.randn(2, 6, 4, 4)})
    >>> of_teacher = Outputs(torch.zeros(2, 3), {"a": torch.randn(2, 8, 8, 8), "b": torch.randn(2, 9, 4, 4)})
    >>> labels, generator = torch.zeros(2, dtype=torch.int64), torch.Generator().manual_seed(0)
    >>> ReviewKD(("a", "b"), ("a", "b")).bind(of_student, of_teacher, labels, generator=generator)(
    ...     of_student, of_teacher, labels
    ... ).shape
    torch.Size([2])
    """

    most: int = 512

    def bind(self, student: Outputs, teacher: Outputs, labels: Tensor, *, generator: torch.Generator) -> nn.Module:  # noqa: ARG002
        """Makes the fusions."""
        pairs = [(as_maps(F_s), as_maps(F_t)) for F_s, F_t in self.pairs(student, teacher)]
        middle = min(self.most, pairs[-1][0].shape[1])
        with seeded(generator):
            fusions = [
                Fusion(F_s.shape[1], middle, F_t.shape[1], joins=k < len(pairs) - 1)
                for k, (F_s, F_t) in enumerate(pairs)
            ]
        return BoundReviewKD(self, fusions).to(device=student.logits.device, dtype=student.logits.dtype)


class Fusion(nn.Module):
    """One stage joined with the deeper ones. Batch statistics are never accumulated: it lives only in training."""

    def __init__(self, channels: int, middle: int, out: int, *, joins: bool) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(channels, middle, 1, bias=False), nn.BatchNorm2d(middle, track_running_stats=False)
        )
        self.last = nn.Sequential(
            nn.Conv2d(middle, out, 3, padding=1, bias=False), nn.BatchNorm2d(out, track_running_stats=False)
        )
        self.attention = nn.Sequential(nn.Conv2d(2 * middle, 2, 1), nn.Sigmoid()) if joins else None

    def forward(self, maps: Tensor, deeper: Tensor | None) -> tuple[Tensor, Tensor]:
        """f_k (n, out, h, w) and r (n, middle, h, w)."""
        x = self.first(maps)
        if self.attention is not None and deeper is not None:
            above = functional.interpolate(deeper, size=x.shape[2:], mode="nearest")
            a, b = self.attention(torch.cat([x, above], 1)).split(1, 1)
            x = a * x + b * above
        return self.last(x), x


class BoundReviewKD(nn.Module):
    """The signal with its fusions, shallow first."""

    def __init__(self, signal: ReviewKD, fusions: list[Fusion]) -> None:
        super().__init__()
        self.signal = signal
        self.fusions = nn.ModuleList(fusions)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,)."""
        loss, deeper = student.logits.new_zeros(len(student.logits)), None
        pairs = self.signal.pairs(student, teacher)
        for fusion, (F_s, F_t) in zip(reversed(self.fusions), reversed(pairs), strict=True):
            fused, deeper = fusion(as_maps(F_s), deeper)
            target = as_maps(F_t)
            if fused.shape[2:] != target.shape[2:]:
                fused = functional.interpolate(fused, size=target.shape[2:], mode="nearest")
            loss = loss + hierarchical(fused, target)
        return loss


def hierarchical(f: Tensor, F: Tensor) -> Tensor:
    """HCL of maps (n, c, h, w), per example: squared errors of the whole and of coarser and coarser averages."""
    loss, weight, total = (f - F).square().mean((1, 2, 3)), 1.0, 1.0
    for side in (4, 2, 1):
        if side >= min(F.shape[2:]):
            continue
        weight /= 2
        coarse = functional.adaptive_avg_pool2d(f, side) - functional.adaptive_avg_pool2d(F, side)
        loss, total = loss + weight * coarse.square().mean((1, 2, 3)), total + weight
    return loss / total
