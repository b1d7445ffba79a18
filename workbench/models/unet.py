"""A small U-Net for diffusion of images: residual blocks that see the time, down to half the side and up again."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.models.denoisers import TimeEmbedding


class TimedBlock(nn.Module):
    """Two 3×3 convolutions with group normalisation around a shortcut; time and class scale and shift what is between.

    The second convolution starts at zero: a fresh block passes on what it gets.
    """

    def __init__(self, inputs: int, outputs: int, embedded: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(_groups(inputs), inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulate = nn.Linear(embedded, 2 * outputs)
        self.norm2 = nn.GroupNorm(_groups(outputs), outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(cast("Tensor", self.conv2.bias))
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, 1)
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        return cast("Tensor", self.shortcut(x) + h)


class SelfAttention(nn.Module):
    """Every position looks at every other; added to what came in, at first nothing."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(_groups(channels), channels)
        self.queries = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(cast("Tensor", self.out.bias))

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        q, k, v = self.queries(self.norm(x)).view(n, 3, self.heads, -1, height * width).mT.unbind(1)
        seen = F.scaled_dot_product_attention(q, k, v)
        return cast("Tensor", x + self.out(seen.mT.reshape(n, channels, height, width)))


class UNet(nn.Module):
    """Denoiser of images.

    Parameters
    ----------
    shape
        (channels, height, width) of one image.
    classes
        How many it can be asked for; 0: none.
    width
        Channels at full size; each halving doubles them.
    depth
        Levels: depth − 1 halvings. Sides need not be even.
    blocks
        Residual blocks per level, on the way down; on the way up there are as many.
    heads
        Of the attention at the lowest level; 0: none.
    """

    def __init__(
        self, shape: Sequence[int], classes: int, *, width: int = 32, depth: int = 2, blocks: int = 1, heads: int = 4
    ) -> None:
        super().__init__()
        channels, height, across = shape
        if min(height, across) >> (depth - 1) < 2:
            raise ValueError(f"depth={depth} halves a {height}×{across} image to less than two pixels")
        widths = [width * 2**level for level in range(depth)]
        if heads and widths[-1] % heads:
            raise ValueError(f"heads={heads} must divide the {widths[-1]} channels of the lowest level; 0 is none")
        embedded = 4 * width
        self.embedding = TimeEmbedding(embedded, classes)
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.down, self.halve = nn.ModuleList(), nn.ModuleList()
        inputs = width
        for level, outputs in enumerate(widths):
            self.down.append(
                nn.ModuleList(TimedBlock(inputs if b == 0 else outputs, outputs, embedded) for b in range(blocks))
            )
            last = level == depth - 1
            self.halve.append(nn.Identity() if last else nn.Conv2d(outputs, outputs, 3, stride=2, padding=1))
            inputs = outputs
        self.middle = TimedBlock(inputs, inputs, embedded)
        self.attention = SelfAttention(inputs, heads) if heads else nn.Identity()
        self.up = nn.ModuleList()
        for outputs in reversed(widths):
            # The first block also sees what the way down left at this level.
            self.up.append(
                nn.ModuleList(
                    TimedBlock(inputs + outputs if b == 0 else outputs, outputs, embedded) for b in range(blocks)
                )
            )
            inputs = outputs
        self.norm = nn.GroupNorm(_groups(width), width)
        self.head = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(cast("Tensor", self.head.bias))

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Shape of x, (n, *shape), at times (n,), for classes (n,), −1 for any."""
        embedding = F.silu(self.embedding(t.to(x), condition))
        h, kept = self.enter(x), []
        for blocks, halve in zip(self.down, self.halve, strict=True):
            for block in cast("nn.ModuleList", blocks):
                h = block(h, embedding)
            kept.append(h)
            h = halve(h)
        h = self.attention(self.middle(h, embedding))
        for blocks in self.up:
            beside = kept.pop()
            if h.shape[2:] != beside.shape[2:]:
                h = F.interpolate(h, size=beside.shape[2:], mode="nearest")
            h = torch.cat([h, beside], 1)
            for block in cast("nn.ModuleList", blocks):
                h = block(h, embedding)
        return cast("Tensor", self.head(F.silu(self.norm(h))))


def _groups(channels: int) -> int:
    """The most groups up to 8 that part the channels evenly."""
    return next(groups for groups in (8, 4, 2, 1) if channels % groups == 0)
