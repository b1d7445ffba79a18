"""A small diffusion transformer: patches of the noisy image as tokens, time and class as scales and shifts.

Peebles & Xie, “Scalable Diffusion Models with Transformers”, ICCV 2023, with adaLN-Zero: each block starts as nothing.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.models.denoisers import TimeEmbedding


class DiTBlock(nn.Module):
    """Attention and an MLP, each with its scale, shift and gate from the embedding."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.queries = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.modulate = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulate(embedding)[:, None].chunk(6, 2)
        n, tokens, width = x.shape
        h = self.norm1(x) * (1 + scale1) + shift1
        q, k, v = self.queries(h).view(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width)
        x = x + gate1 * self.out(seen)
        return cast("Tensor", x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2))


class DiT(nn.Module):
    """Denoiser of images.

    Parameters
    ----------
    shape
        (channels, height, width) of one image.
    classes
        How many it can be asked for; 0: none.
    width, depth, heads
        Numbers per token, blocks, attention heads.
    patch
        Side of a patch, which must divide both sides of the image.
    """

    def __init__(
        self, shape: Sequence[int], classes: int, *, width: int = 64, depth: int = 4, heads: int = 4, patch: int = 2
    ) -> None:
        super().__init__()
        channels, height, across = shape
        if height % patch or across % patch:
            raise ValueError(f"patch={patch} must divide both sides of a {height}×{across} image")
        if width % heads:
            raise ValueError(f"heads={heads} must divide width={width}")
        self.patch = patch
        self.embedding = TimeEmbedding(width, classes)
        self.enter = nn.Linear(channels * patch**2, width)
        self.position = nn.Parameter(0.02 * torch.randn(1, height * across // patch**2, width))
        self.blocks = nn.ModuleList(DiTBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulate = nn.Linear(width, 2 * width)
        self.head = nn.Linear(width, channels * patch**2)
        for layer in (self.modulate, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Shape of x, (n, *shape), at times (n,), for classes (n,), −1 for any."""
        n, channels, height, across = x.shape
        embedding = F.silu(self.embedding(t.to(x), condition))
        h = self.enter(F.unfold(x, self.patch, stride=self.patch).mT) + self.position
        for block in self.blocks:
            h = block(h, embedding)
        shift, scale = self.modulate(embedding)[:, None].chunk(2, 2)
        h = self.head(self.norm(h) * (1 + scale) + shift)
        return F.fold(h.mT, (height, across), self.patch, stride=self.patch).view(n, channels, height, across)
