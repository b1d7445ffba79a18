"""A small decoder-only transformer with the calling convention of `transformers`' causal language models.

Pre-norm blocks, learned positions, the head tied to the embedding (Radford et al. 2019, GPT-2). What works with it
works with any causal model of that library, and the other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.models import generating

IGNORED = -100
"""A label that counts for nothing."""

Cache = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of each block, (n, heads, tokens so far, features)."""


@dataclass
class CausalOutput:
    """What a causal language model returns.

    Attributes
    ----------
    logits
        Shape (n, tokens, vocabulary): of the token after each.
    loss
        Mean cross-entropy of the labels; None without labels.
    past_key_values
        What continuing needs; None unless asked for.
    """

    logits: Tensor
    loss: Tensor | None = None
    past_key_values: Any = None


class LMBlock(nn.Module):
    """Attention to what came before, and an MLP."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.queries = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(dropout)

    def shrink(self, std: float) -> None:
        """Draw the last layer of each sub-layer with this standard deviation."""
        nn.init.normal_(self.out.weight, std=std)
        nn.init.normal_(self.narrow.weight, std=std)

    def forward(
        self, x: Tensor, seen: Tensor | None, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        n, tokens, width = x.shape
        q, k, v = self.queries(self.norm1(x)).view(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=seen is None)
        x = x + self.drop(self.out(mixed.transpose(1, 2).reshape(n, tokens, width)))
        return x + self.drop(self.narrow(F.gelu(self.wide(self.norm2(x)), approximate="tanh"))), (k, v)


class LM(nn.Module):
    """Causal language model.

    Parameters
    ----------
    shape
        (context,), tokens of the longest sequence; or (prompt, response), of which it is the sum.
    outputs
        Size of the vocabulary.
    width, depth, heads
        Numbers per token, blocks, attention heads.
    dropout
        Share of numbers dropped after each sub-layer in training, 0 ≤ dropout < 1.

    Examples
    --------
    >>> from workbench import models
    >>> net = models.build("lm", ((32,), 10), width=16, depth=1)
    >>> ids = torch.tensor([[3, 4, 5]])
    >>> net(ids).logits.shape, net.generate(ids, max_new_tokens=2, do_sample=False).shape
    (torch.Size([1, 3, 10]), torch.Size([1, 5]))
    """

    penultimate = "norm"

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        *,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads={heads} must divide width={width}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} must be at least 0 and below 1")
        self.context = sum(shape)
        self.embedding = nn.Embedding(outputs, width)
        self.position = nn.Embedding(self.context, width)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(LMBlock(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.apply(self._draw)  # a block after its layers

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool = False,
    ) -> CausalOutput:
        """Logits of every next token.

        Parameters
        ----------
        input_ids
            (n, tokens); with `past_key_values` only those that are new.
        attention_mask
            (n, all tokens), 1 where there is a token and 0 at padding; None: tokens everywhere.
        labels
            (n, tokens): the sequence itself, −100 where it does not count; token t is predicted from those before it.
        position_ids
            (n, tokens); None: counted over the tokens that are no padding.
        past_key_values, use_cache
            Of the tokens before, and whether to return what continuing needs.
        """
        n, new = input_ids.shape
        old = 0 if past_key_values is None else past_key_values[0][0].shape[2]
        if old + new > self.context:
            raise ValueError(f"input_ids reach token {old + new}; the network was built for {self.context}")
        if position_ids is None:
            there = input_ids.new_ones(n, old + new) if attention_mask is None else attention_mask.long()
            position_ids = generating.positions(there)[:, old:]
        x = self.drop(self.embedding(input_ids) + self.position(position_ids))
        seen = self._seen(attention_mask, old, new, x.device)
        kept = []
        for k, block in enumerate(self.blocks):
            x, pair = block(x, seen, None if past_key_values is None else past_key_values[k])
            kept.append(pair)
        logits = F.linear(self.norm(x), self.embedding.weight)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)
        return CausalOutput(logits, loss, tuple(kept) if use_cache else None)

    def generate(self, input_ids: Tensor, attention_mask: Tensor | None = None, **options: Any) -> Tensor:
        """The ids with what the model says after them; see `workbench.models.generating.generate`."""
        return generating.generate(self, input_ids, attention_mask, **options)

    def _draw(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        if isinstance(module, LMBlock):  # what 2 · depth sub-layers add up shall not grow with their number
            module.shrink(0.02 / (2 * len(self.blocks)) ** 0.5)

    @staticmethod
    def _seen(mask: Tensor | None, old: int, new: int, device: torch.device) -> Tensor | None:
        """Which token sees which, (n or 1, 1, new, old + new); None: each sees those before it, from the first on."""
        if mask is None and old == 0:
            return None
        earlier = torch.ones(new, old + new, dtype=torch.bool, device=device).tril(old)
        if mask is None:
            return earlier[None, None]
        # Padding sees itself: attention to nothing at all would be NaN, which spreads through the gradient.
        return ((earlier & mask[:, None, :].bool()) | earlier.triu(old))[:, None]
