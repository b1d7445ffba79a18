"""The methods DistiLLM is compared with: each on its own words, under its own loss."""

import pytest
import torch

from tests.language.runs import a_run
from workbench.kernels import divergence
from workbench.language import GKD, KD, SFT, ImitKD, SeqKD
from workbench.language.making import sequences
from workbench.language.making.sequences import Sequences, token_mean


def test_sft_is_the_mean_cross_entropy_of_the_datas_tokens():
    run = a_run()
    batch, total = run.examples(), 0.0
    for prompt, response in zip(batch.prompts.tolist(), batch.responses.tolist(), strict=True):
        whole = [token for token in prompt + response if token]
        start = sum(token > 0 for token in prompt)
        total = total - sum(
            run.student.table[t - 1, whole[t - 1]].log_softmax(-1)[whole[t]] for t in range(start, len(whole))
        )
    torch.testing.assert_close(SFT().loss(run), total / batch.tokens)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("forward", divergence.forward_kl),
        ("reverse", divergence.reverse_kl),
        ("skew", divergence.skew_kl),
        ("skew reverse", divergence.skew_reverse_kl),
        ("total variation", divergence.total_variation),
    ],
)
def test_kd_is_its_divergence_on_the_data(name, own):
    run = a_run()
    batch = run.examples()
    ours, theirs = (sequences.response_logits(model, batch) for model in (run.student, run.teacher))
    torch.testing.assert_close(KD(name).loss(run), token_mean(own(ours, theirs), batch.padding))
    mixed = 0.25 * token_mean(own(ours, theirs), batch.padding) + 0.75 * SFT().loss(run)
    torch.testing.assert_close(KD(name, ratio=0.25).loss(run), mixed)


def test_seqkd_learns_one_response_of_the_teacher_to_every_prompt():
    run = a_run()
    method = SeqKD()
    loss = method.loss(run)
    words = run.made["written"]
    assert words.shape == run.train.labels.shape
    batch = Sequences(run.train.inputs[run.rows()], words[run.rows()])
    torch.testing.assert_close(loss, sequences.cross_entropy(sequences.response_logits(run.student, batch), batch))
    run.iteration = 1
    method.loss(run)
    assert run.made["written"] is words
    sharp = SeqKD(temperature=1e-6)
    run.made = {}
    sharp.loss(run)
    greedy = sequences.written(run.teacher, run.train.inputs, 5, do_sample=False).responses
    assert torch.equal(run.made["written"], greedy)


def test_imitkd_is_always_on_the_students_words():
    run = a_run()
    loss = ImitKD().loss(run)
    batch = run.written()
    assert not torch.equal(batch.responses, run.examples().responses)
    torch.testing.assert_close(loss, run.distillation(batch, "forward", 1.0))
    assert run.logged["generated_tokens"] == batch.tokens


def test_gkd_is_on_the_students_words_in_a_share_of_the_steps_under_its_divergence():
    run = a_run()
    method, counts = GKD(share=0.3), 0
    for run.iteration in range(400):
        run.logged = {}
        loss = method.loss(run)
        counts += bool(run.logged)
    assert counts / 400 == pytest.approx(0.3, abs=0.06)
    run.logged = {}
    batch = run.written() if run.uniform("whose words") < 0.3 else run.examples()
    p, q = (sequences.response_logits(m, batch).softmax(-1) for m in (run.teacher, run.student))
    mixed = 0.1 * p + 0.9 * q
    value = 0.1 * (p * (p / mixed).log()).sum(-1) + 0.9 * (q * (q / mixed).log()).sum(-1)
    torch.testing.assert_close(loss, token_mean(value, batch.padding))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KD("backward"), "divergence is 'backward'; it can be 'forward'"),
        (lambda: KD(ratio=2), "ratio is 2"),
        (lambda: ImitKD(alpha=-1), "alpha is -1"),
        (lambda: GKD(share=1.5), "share is 1.5"),
        (lambda: GKD(beta=1.0), "beta 1.0"),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
