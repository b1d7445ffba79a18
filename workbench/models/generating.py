"""Sampling from any causal language model, with random numbers of one's own and a cache of keys and values.

The model is called as `transformers` calls its own: ``model(input_ids, attention_mask=…, position_ids=…,
past_key_values=…, use_cache=True)``, and returns an object with ``logits`` and ``past_key_values``. From its version 5
on the cache is called ``cache``; a model that takes none is asked about whole sequences.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

CACHES = ("cache", "past_key_values")
"""What the argument and the output are called that hold keys and values."""


@torch.no_grad()
def generate(
    model: nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    *,
    max_new_tokens: int,
    do_sample: bool = True,
    temperature: float = 1.0,
    top_p: float = 1.0,
    eos_token_id: int | None = None,
    pad_token_id: int = 0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The ids with what the model says after them.

    Parameters
    ----------
    input_ids, attention_mask
        (n, tokens), padded on the left, with 0 in the mask there; None: no padding.
    max_new_tokens
        At most so many are added, at least 1.
    do_sample
        False: always the most probable token.
    temperature
        T > 0: the logits are divided by it.
    top_p
        0 < p ≤ 1: drawn from the fewest most probable tokens that together have probability p.
    eos_token_id, pad_token_id
        The token after which a row holds only padding; None: rows never end.
    generator
        Of the draws, on the CPU, so that every device draws the same; None: one of seed 0.

    Returns
    -------
    Tensor
        (n, tokens + new), on the ids' device; fewer than `max_new_tokens` are new when all rows have ended.
    """
    if max_new_tokens < 1 or not temperature > 0 or not 0 < top_p <= 1:
        raise ValueError(
            f"max_new_tokens={max_new_tokens} must be at least 1, temperature={temperature} positive and "
            f"top_p={top_p} above 0 and at most 1"
        )
    source = torch.Generator().manual_seed(0) if generator is None else generator
    there = torch.ones_like(input_ids) if attention_mask is None else attention_mask.long()
    known = inspect.signature(model.forward).parameters
    cache = next((name for name in CACHES if name in known), None)
    ids, fed, past = input_ids, input_ids, None
    ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    mode = model.training
    model.eval()  # what is dropped in training would be missing from what the student says
    try:
        for _ in range(max_new_tokens):
            given: dict[str, Any] = {"attention_mask": there}
            if "position_ids" in known:
                given["position_ids"] = positions(there)[:, -fed.shape[1] :]
            if cache is not None:
                given |= {cache: past, "use_cache": True}
            out = model(fed, **given)
            past = None if cache is None else getattr(out, cache, None)
            token = _next(out.logits[:, -1], do_sample, temperature, top_p, source).masked_fill(ended, pad_token_id)
            ids = torch.cat([ids, token[:, None]], 1)
            there = torch.cat([there, (~ended)[:, None].long()], 1)
            if eos_token_id is not None:
                ended = ended | (token == eos_token_id)
                if bool(ended.all()):
                    break
            fed = ids if past is None else token[:, None]
    finally:
        model.train(mode)
    return ids


def positions(attention_mask: Tensor) -> Tensor:
    """Place of each token among those that are no padding, from 0; 0 at padding before the first.

    >>> positions(torch.tensor([[0, 0, 1, 1, 1]])).tolist()
    [[0, 0, 0, 1, 2]]
    """
    return (attention_mask.cumsum(1) - 1).clamp(min=0)


def _next(logits: Tensor, do_sample: bool, temperature: float, top_p: float, generator: torch.Generator) -> Tensor:
    if not do_sample:
        return logits.argmax(-1)
    p = (logits.double() / temperature).softmax(-1)
    order = None
    if top_p < 1:
        p, order = p.sort(descending=True, stable=True)
        p = p.masked_fill(p.cumsum(-1) - p >= top_p, 0)
    share = p.cumsum(-1)
    drawn = torch.rand(len(logits), 1, generator=generator, dtype=torch.float64).to(share) * share[:, -1:]
    place = (share <= drawn).sum(-1, keepdim=True).clamp(max=p.shape[-1] - 1)
    return (place if order is None else order.gather(-1, place)).squeeze(-1)
