"""The two small networks that read an image as patches: a vision transformer and an MLP-mixer."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn


class Patches(nn.Module):
    """Cut an image into square patches and embed each: (n, c, h, w) → (n, tokens, width)."""

    def __init__(self, shape: Sequence[int], patch: int, width: int) -> None:
        super().__init__()
        channels, height, across = shape
        if height % patch or across % patch:
            raise ValueError(f"patch={patch} does not divide a {height}×{across} image")
        self.tokens = (height // patch) * (across // patch)
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens row by row."""
        return self.embed(x).flatten(2).transpose(1, 2)


class FeedForward(nn.Sequential):
    """Linear, GELU, linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class Attention(nn.Module):
    """Multi-head self-attention; the output of ``weights``, (n, heads, tokens, tokens), is who looks at whom."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width={width} must be a multiple of heads={heads}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.weights = nn.Softmax(dim=-1)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) → (n, tokens, width)."""
        n, tokens, width = x.shape
        # Written out, not fused: the weights can be looked at, and it batches under vmap without a slow path.
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        attention = self.weights(q @ k.transpose(-2, -1) / (width / self.heads) ** 0.5)
        return cast("Tensor", self.out((attention @ v).transpose(1, 2).reshape(n, tokens, width)))


class TransformerBlock(nn.Module):
    """Pre-norm self-attention and feed-forward, each with a residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) → (n, tokens, width)."""
        x = x + self.attention(self.norm1(x))
        return cast("Tensor", x + self.mlp(self.norm2(x)))


class FirstToken(nn.Module):
    """The class token: (n, tokens, width) → (n, width)."""

    def forward(self, x: Tensor) -> Tensor:
        """The first token of each example."""
        return x[:, 0]


class MeanToken(nn.Module):
    """The mean over the tokens: (n, tokens, width) → (n, width)."""

    def forward(self, x: Tensor) -> Tensor:
        """The mean token of each example."""
        return x.mean(1)


class ViT(nn.Module):
    """A small vision transformer (Dosovitskiy et al. 2021): ``patches``, ``blocks.0`` …, ``norm``, ``pool``, ``head``.

    Parameters
    ----------
    shape
        (channels, height, width) of one image.
    outputs
        Number of logits.
    width
        Width of a token.
    depth
        Number of blocks.
    patch
        Side of a patch in pixels; must divide the image.
    heads
        Attention heads; must divide `width`.
    """

    def __init__(
        self, shape: Sequence[int], outputs: int, *, width: int, depth: int, patch: int, heads: int = 4
    ) -> None:
        super().__init__()
        self.patches = Patches(shape, patch, width)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.zeros(1, self.patches.tokens + 1, width))
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.pool = FirstToken()
        self.head = nn.Linear(width, outputs)
        self.penultimate = "pool"
        for parameter in (self.token, self.position):
            nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of images (n, channels, height, width)."""
        tokens = self.patches(x)
        x = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1) + self.position
        for block in self.blocks:
            x = block(x)
        return cast("Tensor", self.head(self.pool(self.norm(x))))


class MixerBlock(nn.Module):
    """Mix the tokens, then the channels; each with a residual."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.mix_tokens = FeedForward(tokens, 2 * tokens)
        self.norm2 = nn.LayerNorm(width)
        self.mix_channels = FeedForward(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) → (n, tokens, width)."""
        x = x + self.mix_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return cast("Tensor", x + self.mix_channels(self.norm2(x)))


class Mixer(nn.Module):
    """A small MLP-mixer (Tolstikhin et al. 2021): ``patches``, ``blocks.0`` …, ``norm``, ``pool``, ``head``.

    Parameters
    ----------
    shape
        (channels, height, width) of one image.
    outputs
        Number of logits.
    width
        Width of a token.
    depth
        Number of blocks.
    patch
        Side of a patch in pixels; must divide the image.
    """

    def __init__(self, shape: Sequence[int], outputs: int, *, width: int, depth: int, patch: int) -> None:
        super().__init__()
        self.patches = Patches(shape, patch, width)
        self.blocks = nn.ModuleList(MixerBlock(self.patches.tokens, width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.pool = MeanToken()
        self.head = nn.Linear(width, outputs)
        self.penultimate = "pool"

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of images (n, channels, height, width)."""
        x = self.patches(x)
        for block in self.blocks:
            x = block(x)
        return cast("Tensor", self.head(self.pool(self.norm(x))))
