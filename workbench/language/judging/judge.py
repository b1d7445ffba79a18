"""`judge`: how good a model's answers are, and how near it is to its teacher."""

from dataclasses import dataclass

import torch
from torch import nn

from workbench.data import TextSplit
from workbench.data.vocabulary import PAD
from workbench.kernels import divergence
from workbench.language.judging.rouge import rouge_l
from workbench.language.making import sequences
from workbench.language.making.making import VALIDATED, scores
from workbench.language.making.sequences import token_mean


@dataclass(frozen=True)
class Judgement:
    """Scores of a model on held-out text.

    Attributes
    ----------
    loss
        Mean cross-entropy of a response token, in nats.
    token_accuracy
        Share of response tokens found likeliest, each from the right beginning.
    exact
        Share of prompts answered with the very response, greedily.
    rouge
        Mean ROUGE-L of those answers, over characters where a response is one word, else over words.
    agreement
        Share of response tokens at which model and teacher find the same token likeliest; NaN without a teacher.
    overlap
        Mean of 1 − total variation between their next-token distributions, 0..1; NaN without a teacher.
    reverse_kl
        Mean KL(model ‖ teacher) of a response token, in nats; NaN without a teacher.
    """

    loss: float
    token_accuracy: float
    exact: float
    rouge: float
    agreement: float = float("nan")
    overlap: float = float("nan")
    reverse_kl: float = float("nan")


@torch.no_grad()
def judge(model: nn.Module, split: TextSplit, teacher: nn.Module | None = None) -> Judgement:
    """Judge a model.

    Parameters
    ----------
    model, teacher
        Causal language models over the split's vocabulary.
    split
        Prompts and their responses.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("instructions", n_train=16, n_test=8)
    >>> model = wb.models.build("lm", data, width=16, depth=1)
    >>> found = judge(model, data.test, model)
    >>> found.agreement, found.exact
    (1.0, 0.0)
    """
    device = next(model.parameters()).device
    model.eval()
    loss, accuracy = scores(model, split, device)
    answers: list[str] = []
    near: list[torch.Tensor] = []
    for start in range(0, len(split), VALIDATED):
        batch = sequences.of(split, slice(start, start + VALIDATED), device)
        said = sequences.written(model, batch.prompts, split.shape[1], do_sample=False).responses
        answers += [split.vocabulary.decode(ids) for ids in said.tolist()]
        if teacher is not None:
            near.append(_nearness(model, teacher.to(device).eval(), batch) * batch.tokens)
    right = split.responses()
    single = not any(" " in one for one in right)
    rouge = sum(
        rouge_l(said, wanted) if single else rouge_l(said.split(), wanted.split())
        for said, wanted in zip(answers, right, strict=True)
    )
    exact = sum(said == wanted for said, wanted in zip(answers, right, strict=True))
    shared: list[float] = []
    if near:
        shared = (torch.stack(near).sum(0) / int((split.labels != PAD).sum())).tolist()
    return Judgement(loss, accuracy, exact / len(right), rouge / len(right), *shared)


def _nearness(model: nn.Module, teacher: nn.Module, batch: sequences.Sequences) -> torch.Tensor:
    ours, theirs = (sequences.response_logits(each, batch).double() for each in (model, teacher))
    same = (ours.argmax(-1) == theirs.argmax(-1)).double()
    kinds = same, 1 - divergence.total_variation(ours, theirs), divergence.reverse_kl(ours, theirs)
    return torch.stack([token_mean(values, batch.padding) for values in kinds]).cpu()
