"""An encoder of speech as HuBERT's: convolutions from the waveform to frames, then a transformer over the frames.

    c = front(x)   →   e = norm(p + position(p)), p = project(c)   →   h¹ … hᴸ = blocks   →   z = hᴸ

Post-norm blocks and a convolution that tells frames where they are, as in wav2vec 2.0 and HuBERT (Baevski et al. 2020,
Hsu et al. 2021); each convolution is followed by a norm over the channels of a frame, as in their large models, so that
padding changes nothing. A linear head on the mean frame classifies: it is how an encoder is probed.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.data.sound import lengths

KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
"""Of wav2vec 2.0 and HuBERT: a frame each 320 samples, 20 ms at 16 kHz."""


class Scaled(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a constant."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, share: float) -> Tensor:
        ctx.share = share  # type: ignore[attr-defined]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.share, None  # type: ignore[attr-defined]


class Front(nn.Module):
    """Convolutions over the waveform, each with a norm over its channels and GELU.

    (n, samples) → (n, frames, channels). `gradient` multiplies what comes back to it.
    """

    def __init__(self, channels: int, kernels: Sequence[int], strides: Sequence[int], gradient: float) -> None:
        super().__init__()
        self.kernels, self.strides, self.gradient = tuple(kernels), tuple(strides), gradient
        widths = [1, *[channels] * (len(kernels) - 1)]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, channels, kernel, stride, bias=False)
            for width, kernel, stride in zip(widths, kernels, strides, strict=True)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in kernels)

    def forward(self, waves: Tensor) -> Tensor:
        x = waves[:, None]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.gelu(norm(convolution(x).transpose(1, 2))).transpose(1, 2)
        frames: Tensor = Scaled.apply(x.transpose(1, 2), self.gradient)
        return frames


class Frames(nn.Module):
    """Which frames hear the sound and not only the padding behind it: (n, samples) → bool, (n, frames)."""

    def __init__(self, kernels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.kernels, self.strides = tuple(kernels), tuple(strides)

    def forward(self, waves: Tensor) -> Tensor:
        most = count(torch.tensor(waves.shape[1]), self.kernels, self.strides)
        found = count(lengths(waves), self.kernels, self.strides).clamp(min=1)
        return torch.arange(int(most), device=waves.device) < found[:, None]


def count(samples: Tensor, kernels: Sequence[int], strides: Sequence[int]) -> Tensor:
    """Frames that lie wholly within so many samples.

    >>> count(torch.tensor([16000, 399, 400]), KERNELS, STRIDES).tolist()
    [49, 0, 1]
    """
    for kernel, stride in zip(kernels, strides, strict=True):
        samples = ((samples - kernel).div(stride, rounding_mode="floor") + 1).clamp(min=0)
    return samples


class Position(nn.Module):
    """Where a frame is, from a grouped convolution around it; kernel 128 in 16 groups in HuBERT."""

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.convolution(x.transpose(1, 2)))[..., : x.shape[1]].transpose(1, 2)


class SpeechBlock(nn.Module):
    """Attention among the frames of a sound, then two linear layers; a norm after each."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.queries, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        n, frames, width = x.shape
        q, k, v = self.queries(x).view(n, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=None if seen is None else seen[:, None, None])
        x = self.norm1(x + self.drop(self.out(mixed.transpose(1, 2).reshape(n, frames, width))))
        changed: Tensor = self.norm2(x + self.drop(self.narrow(F.gelu(self.wide(x)))))
        return changed


class MeanFrame(nn.Module):
    """The mean over the frames of the sound: (n, frames, width) → (n, width)."""

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:
        there = frames.to(x.dtype)[..., None]
        return (x * there).sum(1) / there.sum(1)


class SpeechEncoder(nn.Module):
    """Speech encoder: ``front``, ``project``, ``position``, ``blocks.0`` …, ``context``, ``pool``, ``head``.

    Parameters
    ----------
    shape
        (samples,) of a waveform; zeros behind a sound are padding. Longer and shorter ones may be given too.
    outputs
        Number of logits.
    width, depth, heads
        Numbers per frame, blocks, attention heads.
    channels
        Of the convolutions; None: `width`. 512 in HuBERT.
    kernels, strides
        Of the convolutions.
    position, groups
        Frames that the convolution for positions reaches over, and its groups.
    gradient
        Share of the gradient that reaches the convolutions.
    dropout
        Share of numbers dropped in training after each part of a block, 0 ≤ dropout < 1.

    Examples
    --------
    >>> import workbench as wb
    >>> net = wb.models.build("speech", ((4000,), 20), depth=2, kernels=[10, 8, 4], strides=[5, 4, 4])
    >>> net.hop, net(torch.randn(3, 4000)).shape
    (80, torch.Size([3, 20]))
    """

    penultimate = "pool"

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        *,
        width: int,
        depth: int,
        heads: int = 4,
        channels: int | None = None,
        kernels: Sequence[int] = KERNELS,
        strides: Sequence[int] = STRIDES,
        position: int = 16,
        groups: int = 4,
        gradient: float = 0.1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check(shape, width, heads, groups, kernels, strides, gradient)
        channels = channels or width
        self.wave, self.frames = nn.Identity(), Frames(kernels, strides)
        self.front = Front(channels, kernels, strides, gradient)
        self.project = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width))
        self.position = Position(width, position, groups)
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(SpeechBlock(width, heads, dropout) for _ in range(depth))
        self.context = nn.Identity()
        self.pool = MeanFrame()
        self.head = nn.Linear(width, outputs)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return math.prod(self.front.strides)

    def forward(self, waves: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of waveforms (n, samples)."""
        frames, features = self.embedded(waves)
        scores: Tensor = self.head(self.pool(self.contextual(features, frames), frames))
        return scores

    def embedded(self, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Which frames are no padding, bool (n, frames), and what enters the transformer, (n, frames, width)."""
        waves = self.wave(waves)
        return self.frames(waves), self.project(self.front(waves))

    def contextual(self, features: Tensor, frames: Tensor) -> Tensor:
        """z: what the transformer makes of the frames, (n, frames, width)."""
        features = features * frames.to(features.dtype)[..., None]
        x = self.drop(self.norm(features + self.position(features)))
        seen = None if bool(frames.all()) else frames
        for block in self.blocks:
            x = block(x, seen)
        found: Tensor = self.context(x)
        return found


def _check(
    shape: Sequence[int], width: int, heads: int, groups: int, kernels: Sequence[int], strides: Sequence[int],
    gradient: float,
) -> None:  # fmt: skip
    if width % heads or width % groups:
        raise ValueError(f"width={width} must be a multiple of heads={heads} and of groups={groups}")
    if len(kernels) != len(strides) or not kernels or min(*kernels, *strides) < 1:
        raise ValueError(f"kernels={kernels} and strides={strides} must be as many, and at least 1 each")
    if not 0 <= gradient <= 1:
        raise ValueError(f"gradient={gradient} must be in 0..1")
    if not int(count(torch.tensor(shape[0]), kernels, strides)):
        raise ValueError(f"data: {shape[0]} samples are too few for one frame of kernels={kernels}, strides={strides}")
