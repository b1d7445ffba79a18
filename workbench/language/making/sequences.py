"""Prompts with their responses as one sequence, and what a model says of each token of the responses."""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.data import TextSplit
from workbench.data.vocabulary import END, PAD
from workbench.models import generating


@dataclass(frozen=True)
class Sequences:
    """A batch.

    Attributes
    ----------
    prompts
        Token ids, (n, P), padded on the left.
    responses
        Token ids, (n, R), padded on the right: padding counts for nothing.
    """

    prompts: Tensor
    responses: Tensor

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def padding(self) -> Tensor:
        """Where a response has no token, bool, (n, R)."""
        return self.responses == PAD

    @property
    def tokens(self) -> int:
        """Tokens of the responses."""
        return int((~self.padding).sum())


def of(split: TextSplit, rows: Tensor | slice, device: torch.device) -> Sequences:
    """The examples of a split at some rows."""
    return Sequences(split.inputs[rows].to(device), split.labels[rows].to(device))


def response_logits(model: nn.Module, batch: Sequences) -> Tensor:
    """Logits that the model gives each token of the responses from what stands before it, (n, R, vocabulary)."""
    P = batch.prompts.shape[1]
    return _logits(model, torch.cat([batch.prompts, batch.responses], 1)[:, :-1])[:, P - 1 :]


def token_mean(values: Tensor, padding: Tensor) -> Tensor:
    """Mean over the tokens that are no padding; padding has no gradient, whatever stands there.

    >>> token_mean(torch.tensor([[1.0, 3.0, torch.nan]]), torch.tensor([[False, False, True]]))
    tensor(2.)
    """
    return values.masked_fill(padding, 0).sum() / (~padding).sum()


def cross_entropy(logits: Tensor, batch: Sequences) -> Tensor:
    """Mean cross-entropy of the responses' tokens, in nats."""
    values = F.cross_entropy(logits.flatten(0, 1), batch.responses.flatten(), ignore_index=PAD, reduction="none")
    return token_mean(values.view_as(batch.responses), batch.padding)


def corpus_loss(model: nn.Module, batch: Sequences) -> Tensor:
    """Mean cross-entropy of every token but the first, prompts as well: a batch of text to be modelled as it is."""
    ids = torch.cat([batch.prompts, batch.responses], 1)
    return F.cross_entropy(_logits(model, ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten(), ignore_index=PAD)


def written(
    model: nn.Module,
    prompts: Tensor,
    length: int,
    *,
    generator: torch.Generator | None = None,
    do_sample: bool = True,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Sequences:
    """The prompts with what the model writes after them, at most `length` tokens; no gradient goes through it."""
    ids = generating.generate(
        model, prompts, (prompts != PAD).long(), max_new_tokens=length, do_sample=do_sample, temperature=temperature,
        top_p=top_p, eos_token_id=END, pad_token_id=PAD, generator=generator,
    )  # fmt: skip
    responses = ids[:, prompts.shape[1] :]
    # A sampled padding token is a token that no text has; with a vocabulary of one's own a model may say it: it ends.
    after = (responses == PAD).cumsum(1) > 0
    responses = responses.masked_fill(after, PAD)
    responses[:, 0] = responses[:, 0].masked_fill(responses[:, 0] == PAD, END)
    return Sequences(prompts, F.pad(responses, (0, length - responses.shape[1]), value=PAD))


def _logits(model: nn.Module, ids: Tensor) -> Tensor:
    there = (ids != PAD).long()
    known = inspect.signature(model.forward).parameters
    given: dict[str, Any] = {"attention_mask": there}
    if "position_ids" in known:
        given["position_ids"] = generating.positions(there)
    if "use_cache" in known:
        given["use_cache"] = False
    logits: Tensor = model(ids, **given).logits
    return logits
