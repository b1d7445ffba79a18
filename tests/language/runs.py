"""A run of a language method on two tables of logits, in float64: what its loss is can be worked out token by token."""

import torch

import workbench as wb
from workbench.data.vocabulary import END, PAD
from workbench.language.making.run import LanguageRun


class Fixed(torch.nn.Module):
    """A causal model whose logits are a table of (position, token before): all a test needs to know."""

    def __init__(self, seed, tokens=9, vocabulary=8):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.nn.Parameter(
            2 * torch.randn(tokens, vocabulary, vocabulary, generator=generator, dtype=torch.float64)
        )

    def forward(self, input_ids, attention_mask=None, position_ids=None):
        return wb.models.lm.CausalOutput(self.table[position_ids, input_ids])


def a_run(steps=10, batch=4, seed=0, n=8):
    vocabulary = wb.data.Vocabulary.of(["abcdef"])
    generator = torch.Generator().manual_seed(seed)
    prompts = torch.randint(2, 8, (n, 3), generator=generator)
    prompts[::2, 0] = PAD
    responses = torch.randint(2, 8, (n, 5), generator=generator)
    responses[::3, 3], responses[::3, 4] = END, PAD
    train = wb.data.TextSplit.of(prompts, responses, vocabulary)
    return LanguageRun(Fixed(1), Fixed(2).requires_grad_(False), train, None, seed, torch.device("cpu"), steps, batch)
