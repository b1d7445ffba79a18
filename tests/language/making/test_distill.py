"""`distill`: what it leaves behind, continuing to the same bits, what it does not touch, what it refuses."""

import copy

import pytest
import torch

import workbench as wb
from workbench import language as L
from workbench.training.interrupting import stopping_when

DATA = wb.data.load("instructions", n_train=64, n_test=16, letters=3, numbers=10)
SMALL = {"batch": 16, "lr": 3e-3, "progress": False, "device": "cpu"}


def model(seed=0, **options):
    return wb.models.build("lm", DATA, width=16, depth=1, seed=seed, **options)


def same(one, other):
    return all(torch.equal(value, other.state[name]) for name, value in one.state.items())


def test_the_record_has_a_point_per_epoch_and_is_drawn():
    import widgets

    student = model()
    record = L.distill(model(1), student, DATA, L.DistiLLM(start=0.6, capacity=32), epochs=3, name="student", **SMALL)
    assert record.epochs == 3
    used = sum(record.curves[f"{kind}_steps"] for kind in ("fresh", "replayed", "data"))
    assert used.tolist() == [4.0, 4.0, 4.0]
    assert (record.curves["generated_tokens"] > 0).any()
    loss, right = L.making.making.scores(student, DATA.test, torch.device("cpu"))
    assert record.curves["test_loss"][-1] == pytest.approx(loss)
    assert record.curves["test_accuracy"][-1] == pytest.approx(right)
    assert record.settings["divergence"] == "skew reverse"
    explorer = widgets.explore([record])
    assert type(explorer).__name__ == "TrainingExplorer"
    assert {"phi", "generated_tokens"} <= {metric["value"] for metric in explorer.content["metrics"]}


def test_a_saved_record_gives_the_model_back(tmp_path):
    record = L.finetune(model(), DATA, epochs=1, **SMALL)
    again = wb.records.open(record.save(tmp_path / "one.safetensors"))
    ids = DATA.test.inputs
    assert torch.equal(again.model(ids).logits, record.model(ids).logits)


@pytest.mark.parametrize("method", [L.DistiLLM(start=0.7, capacity=16), L.SeqKD(), L.SFT()], ids=lambda m: m.short)
def test_a_run_that_is_stopped_and_continued_has_the_bits_of_one_that_is_not(method, tmp_path):
    teacher = None if method.short == "SFT" else model(1)
    whole = L.distill(teacher, model(dropout=0.2), DATA, method, steps=11, **SMALL)
    left = [6]

    def enough():
        left[0] -= 1
        return left[0] < 0

    with stopping_when(enough):
        part = L.distill(teacher, model(dropout=0.2), DATA, method, steps=11, **SMALL)
    assert part.interrupted
    kept = wb.records.open(part.save(tmp_path / "part.safetensors"))
    rest = L.distill(teacher, model(7, dropout=0.2), DATA, method, steps=11, resume=kept, **SMALL)
    assert not rest.interrupted
    assert same(whole, rest)
    for name, curve in whole.curves.items():
        assert torch.equal(curve, rest.curves[name]), name


def test_seeds_decide_and_the_global_state_is_left_alone():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    records = [
        L.distill(model(1), model(dropout=0.2), DATA, L.ImitKD(), steps=3, seed=seed, **SMALL) for seed in (0, 0, 1)
    ]
    assert same(records[0], records[1])
    assert not same(records[0], records[2])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_teacher_stays_as_it_is():
    teacher = model(1, dropout=0.5).train()
    before = copy.deepcopy(teacher.state_dict())
    L.distill(teacher, model(), DATA, L.DistiLLM(start=1.0, capacity=16), steps=4, **SMALL)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_every_token_of_the_corpus_counts_with_its_weight():
    from workbench.language.making.sequences import Sequences, corpus_loss

    net = model().double()
    batch = Sequences(DATA.test.inputs[:3], DATA.test.labels[:3])
    ids = torch.cat([batch.prompts, batch.responses], 1)
    there = ids != 0
    logp = net(ids, there.long()).logits.log_softmax(-1)
    # The first token of a prompt that has padding before it is predicted from that padding, as text would be.
    terms = [-logp[n, t - 1, ids[n, t]] for n in range(3) for t in range(1, ids.shape[1]) if there[n, t]]
    torch.testing.assert_close(corpus_loss(net, batch), torch.stack(terms).mean())
    alone, beside, unweighted = (
        L.finetune(model(), DATA, steps=2, corpus=corpus, corpus_weight=weight, **SMALL)
        for corpus, weight in ((None, 1.0), (DATA, 1.0), (DATA, 0.0))
    )
    assert same(alone, unweighted)
    assert not same(alone, beside)


def test_a_loss_that_is_not_finite_keeps_the_state_before():
    student = model()
    with torch.no_grad():
        student.embedding.weight[5] = float("inf")
    with pytest.raises(L.LanguageError, match="SFT: the loss of the student became NaN or infinite at iteration 1"):
        L.finetune(student, DATA, steps=2, **SMALL)


def test_learning_from_a_teacher_brings_the_student_nearer():
    teacher = model(1)
    L.finetune(teacher, DATA, steps=60, **SMALL)
    for method in (L.KD(), L.SeqKD(), L.ImitKD(), L.GKD(), L.DistiLLM(start=0.5, capacity=32)):
        student = model(2)
        before = L.judge(student, DATA.test, teacher)
        L.distill(teacher, student, DATA, method, steps=40, **SMALL)
        assert L.judge(student, DATA.test, teacher).reverse_kl < before.reverse_kl, method.short


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: L.distill(one, one, DATA), "student is the teacher itself"),
        (lambda one: L.distill(None, one, DATA), "teacher is None, but DistiLLM needs one"),
        (lambda one: L.finetune(one, wb.data.load("digits")), "is no text"),
        (lambda one: L.finetune(one, DATA, batch=65), r"batch is 65; it must be in 1..64"),
        (lambda one: L.finetune(one, DATA, lr=0.0), "lr is 0.0"),
        (lambda one: L.finetune(one, DATA, steps=0), "at least one iteration"),
        (lambda one: L.finetune(one, DATA, corpus=wb.data.load("digits")), "is no text"),
        (lambda one: L.distill(model(1), one, DATA, L.DistiLLM(capacity=8)), "capacity is 8; a batch of 32"),
    ],
)
def test_what_is_wrong_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(model())


def test_a_run_is_continued_with_its_own_settings_only():
    record = L.finetune(model(), DATA, steps=2, **SMALL)
    with pytest.raises(L.LanguageError, match=r"made with lr=0\.003, now it is 0\.1"):
        L.finetune(model(), DATA, steps=2, resume=record, **{**SMALL, "lr": 0.1})
