"""Every exact line of paper 101's card, in float64."""

import copy
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.kernels.divergence import entropy
from workbench.knowledge.methods.bdkd import BALANCES, BDKD, KDCL, BalancedKL
from workbench.knowledge.methods.mutual import Peers
from workbench.models import Outputs, observe
from workbench.studies.knowledge.p101_bdkd import fit_path

seeds = st.integers(0, 2**31 - 1)
deltas = st.floats(0.25, 4)
temperatures = st.floats(0.5, 5)
balances = st.sampled_from(BALANCES)


def problem(seed, n=6, classes=5, scale=2.0):
    g = torch.Generator().manual_seed(seed)
    student, teacher = (scale * torch.randn(n, classes, generator=g, dtype=torch.float64) for _ in range(2))
    return student, teacher, torch.randint(classes, (n,), generator=g)


def divergences(student, teacher, T=1.0):
    """KL(p_t ‖ p_s) and KL(p_s ‖ p_t), written out."""
    p_s, p_t = (student / T).softmax(1), (teacher / T).softmax(1)
    return (p_t * (p_t / p_s).log()).sum(1), (p_s * (p_s / p_t).log()).sum(1)


def gradient(loss, logits):
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(logits).sum(), logits)[0]


@given(seeds, temperatures)
@settings(max_examples=30, deadline=None)
def test_equal_weights_give_the_jeffreys_divergence(seed, T):
    student, teacher, labels = problem(seed)
    loss = BalancedKL(temperature=T, balance="equal")(Outputs(student), Outputs(teacher), labels)
    p_s, p_t = (student / T).softmax(1), (teacher / T).softmax(1)
    torch.testing.assert_close(loss, T**2 * ((p_t - p_s) * (p_t.log() - p_s.log())).sum(1))


@given(seeds, deltas, balances)
@settings(max_examples=50, deadline=None)
def test_gradient_is_the_weighted_sum_of_both_closed_forms(seed, delta, balance):
    student, teacher, labels = problem(seed)
    signal = BalancedKL(temperature=1.0, delta=delta, balance=balance)
    grad = gradient(lambda z: signal(Outputs(z), Outputs(teacher), labels), student)
    nu_F, nu_R = signal.weights(student, teacher)
    p_s, p_t = student.softmax(1), teacher.softmax(1)
    forward = p_s - p_t
    reverse = p_s * ((p_s / p_t).log() - divergences(student, teacher)[1][:, None])
    torch.testing.assert_close(grad, nu_F[:, None] * forward + nu_R[:, None] * reverse, atol=1e-6, rtol=1e-6)


@given(seeds, st.floats(1.01, 4), temperatures)
@settings(max_examples=30, deadline=None)
def test_weights_follow_the_entropy_gap(seed, delta, T):
    student, teacher, _ = problem(seed)
    p_s, p_t = (student / T).softmax(1), (teacher / T).softmax(1)
    H_s, H_t = -(p_s * p_s.log()).sum(1), -(p_t * p_t.log()).sum(1)
    torch.testing.assert_close(entropy(student / T), H_s)
    sharper = H_s < H_t
    nu_F, nu_R = BalancedKL(T, delta).weights(student, teacher)
    assert torch.equal(nu_F == delta, sharper)
    assert torch.equal(nu_R == delta, ~sharper)
    assert ((nu_F == 1) | (nu_R == 1)).all()
    swapped_F, swapped_R = BalancedKL(T, delta, "swapped").weights(student, teacher)
    assert torch.equal(swapped_F, nu_R)
    assert torch.equal(swapped_R, nu_F)
    whole_F, whole_R = BalancedKL(T, delta, "global").weights(student, teacher)
    assert (whole_F == (delta if H_s.mean() < H_t.mean() else 1)).all()
    assert (whole_F * whole_R == delta).all()


@given(seeds, temperatures)
@settings(max_examples=20, deadline=None)
def test_delta_one_removes_the_switch(seed, T):
    student, teacher, labels = problem(seed)
    equal = BalancedKL(T, 1.0, "equal")(Outputs(student), Outputs(teacher), labels)
    for balance in ("sample", "global", "swapped"):
        torch.testing.assert_close(BalancedKL(T, 1.0, balance)(Outputs(student), Outputs(teacher), labels), equal)


@given(seeds, deltas, balances, temperatures)
@settings(max_examples=30, deadline=None)
def test_nothing_to_teach_between_equals(seed, delta, balance, T):
    student, _, labels = problem(seed)
    signal = BalancedKL(T, delta, balance)
    same = Outputs(student + 3)  # a constant on the logits changes no probability
    zero = torch.zeros_like(student)
    torch.testing.assert_close(signal(Outputs(student), same, labels), zero[:, 0], atol=1e-12, rtol=0)
    torch.testing.assert_close(gradient(lambda z: signal(Outputs(z), same, labels), student), zero, atol=1e-12, rtol=0)


@given(seeds, deltas, temperatures)
@settings(max_examples=30, deadline=None)
def test_divergences_are_positive_and_delta_only_rescales_them(seed, delta, T):
    student, teacher, labels = problem(seed)
    forward, reverse = divergences(student, teacher, T)
    assert (forward >= 0).all()
    assert (reverse >= 0).all()
    for balance, part in (("forward", forward), ("reverse", reverse)):
        torch.testing.assert_close(
            BalancedKL(T, delta, balance)(Outputs(student), Outputs(teacher), labels), T**2 * part
        )
    loss = BalancedKL(T, delta)(Outputs(student), Outputs(teacher), labels)
    low, high = min(1, delta), max(1, delta)
    jeffreys = T**2 * (forward + reverse)
    assert (loss >= low * jeffreys - 1e-9).all()
    assert (loss <= high * jeffreys + 1e-9).all()


@given(seeds, balances)
@settings(max_examples=20, deadline=None)
def test_no_gradient_crosses_between_the_networks(seed, balance):
    student, teacher, labels = (t.requires_grad_() if t.is_floating_point() else t for t in problem(seed))
    loss_s, loss_t = BDKD(balance=balance).losses([student, teacher], labels)
    to_student, to_teacher = torch.autograd.grad(loss_s.sum(), [student, teacher], allow_unused=True)
    assert to_student.abs().sum() > 0
    assert to_teacher is None
    to_student, to_teacher = torch.autograd.grad(loss_t.sum(), [student, teacher], allow_unused=True)
    assert to_student is None
    assert to_teacher.abs().sum() > 0


@given(seeds, temperatures, st.floats(0, 3), deltas)
@settings(max_examples=30, deadline=None)
def test_losses_of_both_networks_as_the_paper_writes_them(seed, T, alpha, delta):
    student, teacher, labels = problem(seed)
    loss_s, loss_t = BDKD(T, delta, "sample", alpha).losses([student, teacher], labels)
    forward, reverse = divergences(student, teacher, T)
    nu_F, nu_R = BalancedKL(T, delta).weights(student, teacher)
    ce = torch.nn.functional.cross_entropy
    torch.testing.assert_close(
        loss_s, ce(student, labels, reduction="none") + alpha * T**2 * (nu_F * forward + nu_R * reverse)
    )
    torch.testing.assert_close(loss_t, ce(teacher, labels, reduction="none") + alpha * T**2 * forward)


def test_k_networks_average_over_their_pairs():
    g = torch.Generator().manual_seed(0)
    logits = [torch.randn(4, 3, generator=g, dtype=torch.float64) for _ in range(3)]
    labels = torch.tensor([0, 1, 2, 0])
    losses = BDKD(weight=0.8).losses(logits, labels)
    apart = {(i, j): BDKD(weight=0.8).losses([logits[i], logits[j]], labels) for i, j in ((0, 1), (0, 2), (1, 2))}
    torch.testing.assert_close(losses[0], (apart[0, 1][0] + apart[0, 2][0]) / 2)
    torch.testing.assert_close(losses[1], (apart[0, 1][1] + apart[1, 2][0]) / 2)
    torch.testing.assert_close(losses[2], (apart[0, 2][1] + apart[1, 2][1]) / 2)


def train(module, loss, batches, steps=20):
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    for x, y in batches[:steps]:
        optimizer.zero_grad()
        loss(module, x, y).mean().backward()
        optimizer.step()
    return module


def test_weight_zero_is_two_runs_alone_bit_for_bit():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        small, large = (
            torch.nn.Linear(6, 4),
            torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)),
        )
        batches = [(torch.randn(16, 6), torch.randint(4, (16,))) for _ in range(20)]
    ce = torch.nn.functional.cross_entropy
    alone = [
        train(copy.deepcopy(net), lambda m, x, y: ce(m(x), y, reduction="none"), batches) for net in (small, large)
    ]
    peers = Peers([copy.deepcopy(small), copy.deepcopy(large)])

    def loss(module, x, y):
        return BDKD(weight=0.0)(observe(module, ("networks.*",))(x), None, y)

    together = train(peers, loss, batches)
    for single, member in zip(alone, together.networks, strict=True):
        for a, b in zip(single.parameters(), member.parameters(), strict=True):
            assert torch.equal(a, b)


def test_collaborative_target_is_the_mean_of_the_probabilities():
    student, teacher, labels = problem(3)
    T = 2.0
    loss = KDCL(T, 0.5)(Outputs(student, {"networks.0": student, "networks.1": teacher}), None, labels)
    mean = ((student / T).softmax(1) + (teacher / T).softmax(1)) / 2
    ce = torch.nn.functional.cross_entropy
    expected = sum(
        ce(z, labels, reduction="none") + 0.5 * T**2 * (mean * (mean / (z / T).softmax(1)).log()).sum(1)
        for z in (student, teacher)
    )
    torch.testing.assert_close(loss, expected)


def test_bad_arguments_are_refused():
    for arguments in ({"delta": 0}, {"temperature": -1}, {"balance": "both"}, {"weight": -0.1}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            BDKD(**arguments)


def test_mechanism_from_the_mixtures_moments_to_one_of_its_bumps():
    """One Gaussian under KL(p ‖ q) + r KL(q ‖ p): moment matching at r = 0, ever narrower, a single bump at r = ∞."""
    path = fit_path([0.0, 0.1, 0.3, 1.0, 3.0, 10.0, math.inf], distance=2.0, share=0.6)
    mean, variance = 2.0 * 0.2, 0.5**2 + 2.0**2 - 0.4**2
    assert path[0]["mean"] == pytest.approx(mean, abs=1e-3)
    assert path[0]["width"] == pytest.approx(math.sqrt(variance), abs=1e-3)
    widths = [step["width"] for step in path]
    assert all(after < before for before, after in itertools.pairwise(widths))
    assert path[-1]["mean"] == pytest.approx(2.0, abs=0.02)
    assert path[-1]["width"] == pytest.approx(0.5, abs=0.02)
