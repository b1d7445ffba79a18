"""ROUGE-L against values worked out by hand, and a judgement against a count over tokens."""

import pytest
import torch

import workbench as wb
from workbench.data.vocabulary import END, PAD
from workbench.language import judge, rouge_l


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        # Lin 2004, section 3.1: precision and recall of the common subsequence, here with equal weight.
        ("police kill the gunman", "police killed the gunman", 3 / 4),
        ("the gunman kill police", "police killed the gunman", 2 / 4),
        ("the gunman police killed", "police killed the gunman", 2 / 4),
        ("a b c d e", "b d", 2 * (2 / 5) * (2 / 2) / (2 / 5 + 2 / 2)),
        ("x", "y", 0.0),
        ("", "", 1.0),
    ],
)
def test_rouge_l(candidate, reference, expected):
    assert rouge_l(candidate.split(), reference.split()) == pytest.approx(expected)
    assert rouge_l(reference.split(), candidate.split()) == pytest.approx(expected)


class Copies(torch.nn.Module):
    """Says each response of a split after its prompt, whatever it is told, with probability nearly 1."""

    def __init__(self, split, wrong=()):
        super().__init__()
        self.sure = torch.nn.Parameter(torch.tensor(12.0))
        P = split.inputs.shape[1]
        self.known = {tuple(prompt): answer for prompt, answer in zip(
            split.inputs.tolist(), split.labels.tolist(), strict=True)}  # fmt: skip
        for row in wrong:
            self.known[tuple(split.inputs[row].tolist())] = [END] + [PAD] * (split.labels.shape[1] - 1)
        self.P, self.vocabulary = P, len(split.vocabulary)

    def forward(self, input_ids, attention_mask=None):
        logits = torch.zeros(*input_ids.shape, self.vocabulary)
        for row, ids in enumerate(input_ids.tolist()):
            answer = self.known[tuple(ids[: self.P])]
            for place in range(self.P - 1, min(len(ids), self.P + len(answer) - 1)):
                logits[row, place, answer[place - self.P + 1]] = self.sure
        return wb.models.lm.CausalOutput(logits)


def test_a_model_that_knows_the_answers_has_them_all_right_and_one_that_does_not_has_not():
    split = wb.data.load("instructions", n_train=5, n_test=20).test
    right, wrong = Copies(split), Copies(split, wrong=range(5))
    found = judge(right, split, right)
    assert (found.exact, found.rouge, found.token_accuracy, found.agreement) == (1, 1, 1, 1)
    assert found.overlap == pytest.approx(1)
    assert found.reverse_kl == pytest.approx(0, abs=1e-9)
    off = judge(wrong, split, right)
    assert (off.exact, off.rouge) == (0.75, pytest.approx(0.75))
    sure = torch.tensor([12.0] + [0.0] * (len(split.vocabulary) - 1)).log_softmax(0)[0]
    assert found.loss == pytest.approx(-float(sure), abs=1e-6)
    first, tokens = 5, int((split.labels != PAD).sum())
    missed = sum(int((split.labels[row] != PAD).sum()) for row in range(first))
    assert off.token_accuracy == pytest.approx(1 - missed / tokens)
    assert off.agreement < 1


def test_without_a_teacher_nothing_is_said_of_one():
    split = wb.data.load("instructions", n_train=5, n_test=5).test
    assert judge(Copies(split), split).agreement != judge(Copies(split), split).agreement  # NaN
