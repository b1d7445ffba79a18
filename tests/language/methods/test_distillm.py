"""DistiLLM by its card: the skewed divergences' exact properties, the scheduler, the buffer, what enters the loss."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.language.runs import a_run
from workbench.data.vocabulary import PAD
from workbench.kernels import divergence
from workbench.language.making import divergences, sequences
from workbench.language.making.sequences import Sequences
from workbench.language.methods.distillm import Adaptive, DistiLLM, fresh_share, scheduled

ALPHA = st.floats(0.01, 0.99)
SEEDS = st.integers(0, 10_000)


def pair(seed, scale=3.0, rows=4, classes=6):
    """Logits of a student and a teacher, float64."""
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(rows, classes, generator=generator, dtype=torch.float64) for _ in range(2))


def begun(method, **options):
    run = a_run(**options)
    method.begin(run)
    method.validated(run, 1.0)
    return run


# The divergences


@given(SEEDS)
def test_without_skew_they_are_the_two_kl(seed):
    s, t = pair(seed)
    p, q = t.softmax(-1), s.softmax(-1)
    forward, reverse = (p * (p.log() - q.log())).sum(-1), (q * (q.log() - p.log())).sum(-1)
    torch.testing.assert_close(divergence.skew_kl(s, t, alpha=0.0), forward)
    torch.testing.assert_close(divergence.skew_reverse_kl(s, t, alpha=0.0), reverse)
    for one in (divergence.skew_kl, divergence.skew_reverse_kl):
        assert one(s, t, alpha=1.0).abs().max() < 1e-12


@given(SEEDS, ALPHA)
def test_zero_for_equal_distributions_only(seed, alpha):
    s, t = pair(seed)
    for one in (divergence.skew_kl, divergence.skew_reverse_kl):
        assert one(s, s + 5.0, alpha=alpha).abs().max() < 1e-12
        assert (one(s, t, alpha=alpha) > 0).all()


@given(SEEDS, ALPHA)
def test_bounded_by_minus_log_alpha_and_by_the_plain_kl(seed, alpha):
    s, t = pair(seed, scale=30.0)
    bound = -math.log(alpha) + 1e-12
    assert (divergence.skew_kl(s, t, alpha=alpha) <= bound).all()
    assert (divergence.skew_reverse_kl(s, t, alpha=alpha) <= bound).all()
    assert (divergence.skew_kl(s, t, alpha=alpha) <= (1 - alpha) * divergence.forward_kl(s, t) + 1e-12).all()


def test_bounded_for_disjoint_supports():
    s, t = torch.tensor([[0.0, -torch.inf]]).double(), torch.tensor([[-torch.inf, 0.0]]).double()
    for one in (divergence.skew_kl, divergence.skew_reverse_kl):
        torch.testing.assert_close(one(s, t, alpha=0.1), torch.tensor([-math.log(0.1)]).double())
    assert divergence.forward_kl(s, t).isinf().all()


@given(SEEDS, ALPHA)
def test_each_is_the_other_with_its_arguments_exchanged(seed, alpha):
    s, t = pair(seed)
    torch.testing.assert_close(divergence.skew_reverse_kl(s, t, alpha=alpha), divergence.skew_kl(t, s, alpha=alpha))


@given(SEEDS)
def test_half_of_each_at_one_half_is_jensen_shannon(seed):
    s, t = pair(seed)
    halves = divergence.skew_kl(s, t, alpha=0.5) / 2 + divergence.skew_reverse_kl(s, t, alpha=0.5) / 2
    torch.testing.assert_close(halves, divergence.jensen_shannon(s, t, beta=0.5))


def by_logits(q, coefficient):
    """Σ c ∇q as a gradient with respect to the logits of q."""
    return q * (coefficient - (coefficient * q).sum(-1, keepdim=True))


@given(SEEDS, ALPHA)
def test_gradients_are_the_cards_closed_forms(seed, alpha):
    s, t = pair(seed)
    s.requires_grad_()
    p, q = t.softmax(-1), s.detach().softmax(-1)
    mixed, other = alpha * p + (1 - alpha) * q, (1 - alpha) * p + alpha * q
    (skew,) = torch.autograd.grad(divergence.skew_kl(s, t, alpha=alpha).sum(), s)
    (reverse,) = torch.autograd.grad(divergence.skew_reverse_kl(s, t, alpha=alpha).sum(), s)
    torch.testing.assert_close(skew, by_logits(q, -(1 - alpha) * p / mixed), rtol=0, atol=1e-10)
    expected = by_logits(q, -((other / q).log() - 1 + alpha * q / other))
    torch.testing.assert_close(reverse, expected, rtol=0, atol=1e-10)
    assert ((1 - alpha) * p / mixed <= (1 - alpha) / alpha + 1e-12).all()


def test_the_coefficient_of_forward_kl_has_no_bound():
    p, q = torch.tensor([0.5, 0.5]).double(), torch.tensor([1 - 1e-9, 1e-9]).double()
    assert (p / q).max() > 1e8
    assert (0.9 * p / (0.1 * p + 0.9 * q)).max() <= 9


# The method's own loss


@pytest.mark.parametrize("name", ["skew", "skew reverse"])
@pytest.mark.parametrize("ratio", [1.0, 0.3])
def test_the_loss_is_the_cards_formula_over_response_tokens(name, ratio):
    method = DistiLLM(divergence=name, ratio=ratio, alpha=0.2)
    run = begun(method)
    batch, total, count, ce = run.examples(), 0.0, 0, 0.0
    for row in range(len(batch)):
        prompt = [token for token in batch.prompts[row].tolist() if token != PAD]
        whole = prompt + [token for token in batch.responses[row].tolist() if token != PAD]
        for place in range(len(prompt), len(whole)):
            q, p = (m.table[place - 1, whole[place - 1]].softmax(-1) for m in (run.student, run.teacher))
            first, second = (p, q) if name == "skew" else (q, p)
            total = total + (first * (first.log() - (0.2 * first + 0.8 * second).log())).sum()
            ce = ce - q[whole[place]].log()
            count += 1
    torch.testing.assert_close(method.loss(run), ((1 - ratio) * ce + ratio * total) / count)


@pytest.mark.parametrize("name", ["skew", "skew reverse"])
def test_padding_changes_neither_value_nor_gradient(name):
    run = begun(DistiLLM(divergence=name))
    batch = Sequences(run.train.inputs, run.train.labels)
    more = Sequences(torch.nn.functional.pad(batch.prompts, (1, 0)), torch.nn.functional.pad(batch.responses, (0, 2)))
    found = []
    for one in (batch, more):
        value = run.distillation(one, name, 0.5)
        found.append((value.detach(), *torch.autograd.grad(value, list(run.student.parameters()))))
    for left, right in zip(*found, strict=True):
        torch.testing.assert_close(left, right)


def test_rows_that_are_padding_may_hold_anything():
    logits = torch.randn(2, 3, 4, dtype=torch.float64)
    padding = torch.tensor([[False, False, True], [False, True, True]])
    values = []
    for filled in (0.0, 7.0, float("nan")):
        student = logits.masked_fill(padding.unsqueeze(-1), filled).requires_grad_()
        value = divergences.mean("skew reverse", student, logits.flip(-1), padding, alpha=0.1)
        (gradient,) = torch.autograd.grad(value, student)
        assert not gradient[padding].any()
        values.append(value.detach())
    assert values[0] == values[1] == values[2]


def test_the_teacher_gets_no_gradient_and_writing_none():
    method = DistiLLM(start=1.0, capacity=4)
    run = begun(method)
    run.teacher.requires_grad_(True)
    loss = method.loss(run)
    assert run.logged["fresh_steps"] == 1
    loss.backward()
    assert run.teacher.table.grad is None
    batch = Sequences(run.memory["buffer"]["prompts"], run.memory["buffer"]["responses"])
    expected = run.distillation(batch, "skew reverse", 1.0, alpha=0.1)
    (gradient,) = torch.autograd.grad(expected, run.student.table)
    torch.testing.assert_close(run.student.table.grad, gradient)


# The scheduler


def test_a_scripted_list_of_losses_gives_a_known_sequence():
    losses = [1.0, 1.125, 1.25, 1.375, 1.5, 0.5, 1.625, 1.75, 9.0]
    now, found = Adaptive(0.0, losses[0]), []
    for loss in losses[1:]:
        now = scheduled(now, loss, 0.25)
        found.append((round(now.phi, 10), now.previous))
    assert found == [
        (0.0, 1.0), (0.1, 1.25), (0.1, 1.25), (0.2, 1.5), (0.2, 1.5), (0.2, 1.5), (0.3, 1.75), (0.4, 9.0)
    ]  # fmt: skip


def test_phi_ends_at_one():
    now = Adaptive(0.0, 0.0)
    for k in range(1, 30):
        now = scheduled(now, float(k), 0.1)
    assert now == (1.0, 29.0)


def test_the_first_validation_only_sets_the_level():
    method = DistiLLM()
    run = a_run()
    method.begin(run)
    method.validated(run, 5.0)
    assert (run.memory["phi"], run.memory["previous"]) == (0.0, 5.0)
    method.validated(run, 5.2)
    assert (run.memory["phi"], run.memory["previous"]) == (0.1, 5.2)


# The buffer and whose words


def test_with_phi_zero_nothing_is_ever_written(monkeypatch):
    method = DistiLLM()
    run = begun(method, steps=50)
    monkeypatch.setattr(sequences, "written", lambda *_, **__: pytest.fail("written"))
    for run.iteration in range(50):
        torch.testing.assert_close(method.batch(run).responses, run.examples().responses)
    assert run.memory["buffer"] == {}


@pytest.mark.parametrize(("replay", "share"), [("decreasing", 0.5), ("constant", 0.5), ("increasing", 0.5)])
def test_of_the_students_words_half_are_fresh_once_the_buffer_is_full(replay, share):
    steps, phi = 1000, 0.6
    mean = sum(fresh_share(phi, at, steps, replay) for at in range(1, steps + 1)) / steps
    assert mean == pytest.approx(phi * share, abs=1e-3)


def test_fresh_words_become_rarer_by_default():
    assert fresh_share(0.4, 1, 4, "decreasing") == pytest.approx(0.3)
    assert fresh_share(0.4, 4, 4, "decreasing") == 0
    assert fresh_share(0.4, 1, 4, "increasing") == pytest.approx(0.1)


def test_shares_over_a_run_are_those_of_the_rule():
    method, steps = DistiLLM(start=0.6, capacity=4), 2000
    run = begun(method, steps=steps)
    counts = dict.fromkeys(("fresh_steps", "replayed_steps", "data_steps"), 0.0)
    for run.iteration in range(steps):
        run.logged = {}
        method.batch(run)
        for name in counts:
            counts[name] += run.logged[name]
    assert counts["fresh_steps"] / steps == pytest.approx(0.3, abs=0.03)
    assert counts["replayed_steps"] / steps == pytest.approx(0.3, abs=0.03)
    assert counts["data_steps"] / steps == pytest.approx(0.4, abs=0.03)


def test_until_the_buffer_is_full_every_use_of_the_students_words_is_fresh():
    method = DistiLLM(start=1.0, capacity=12)
    run = begun(method, steps=100)
    kinds = []
    for run.iteration in range(97, 100):  # where fresh ones are nearly never drawn
        run.logged = {}
        method.batch(run)
        kinds.append(run.logged["fresh_steps"])
    assert kinds == [1.0, 1.0, 1.0]
    run.logged, run.iteration = {}, 99
    method.batch(run)
    assert run.logged["replayed_steps"] == 1.0


def test_the_buffer_drops_the_oldest_and_never_holds_more():
    method = DistiLLM(start=1.0, capacity=6)
    run = begun(method)
    for k in range(2, 7):
        method._push(run.memory, Sequences(torch.full((4, 3), k), torch.full((4, 5), k)))
        held = run.memory["buffer"]["responses"]
        assert len(held) <= 6
    assert held[:, 0].tolist() == [5, 5, 6, 6, 6, 6]
    assert run.memory["buffer"]["prompts"].dtype == torch.int64  # ids, and no logits


def test_a_replayed_batch_has_no_response_twice():
    method = DistiLLM(start=1.0, capacity=6)
    run = begun(method)
    method._push(run.memory, Sequences(torch.arange(18).view(6, 3) % 8, torch.arange(30).view(6, 5)))
    assert len(method._draw(run).responses[:, 0].unique()) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"divergence": "forward"}, "divergence is 'forward'; it can be 'skew'"),
        ({"alpha": 1.5}, "alpha is 1.5"),
        ({"ratio": -1}, "ratio is -1"),
        ({"replay": "never"}, "replay is 'never'"),
        ({"start": 2.0}, "start is 2.0"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DistiLLM(**arguments)


def test_a_buffer_smaller_than_a_batch_is_refused():
    with pytest.raises(ValueError, match="capacity is 3; a batch of 4"):
        DistiLLM(capacity=3).begin(a_run())
