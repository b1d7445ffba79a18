"""Exact invariants of paper 023 (LELP) in float64: marginals, limits, the chain rule, and what each step removes."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import workbench as wb
from workbench.knowledge import KL, LELP, Summed, distill
from workbench.knowledge.methods.lelp import SUBCLASSES, null_projector, orthogonal
from workbench.models import Outputs, observe

C, S, D = 3, 4, 9


@pytest.fixture
def data():
    """Three classes of which each has more variance in some directions than in others."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % C
    x = torch.randn(60, 6, generator=generator, dtype=torch.float64) * torch.arange(1.0, 7) + labels[:, None]
    return wb.data.Split(x, labels, ("a", "b", "c"), torch.zeros(6), torch.ones(6))


@pytest.fixture
def teacher():
    return network(1, D, C)


def network(seed, width, outputs):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, outputs)).double()


def seen(network, inputs):
    return observe(network.eval(), (SUBCLASSES,))(inputs)


def outputs(r, subclasses):
    return Outputs(r.unflatten(1, (-1, subclasses)).logsumexp(2), {SUBCLASSES: r})


def test_subclasses_of_a_class_share_its_probability(data, teacher):
    told = seen(LELP(S).subclass(teacher, data), data.inputs)
    torch.testing.assert_close(told.logits, teacher(data.inputs))
    q = told.features[SUBCLASSES].exp().unflatten(1, (C, S))
    torch.testing.assert_close(q.sum(2), teacher(data.inputs).softmax(1))
    assert q.std(2).mean() > 0.01


def test_the_split_is_the_softmax_of_projections_by_hand(data, teacher):
    told, beta = LELP(S, beta=0.7).subclass(teacher, data), 0.7
    h = teacher[1](teacher[0](data.inputs))
    W = teacher[2].weight.detach()
    P = torch.eye(D).double() - torch.linalg.pinv(W - W.mean(0)) @ (W - W.mean(0))
    for c in range(C):
        mean = (h @ P)[data.labels == c].mean(0)
        u = ((h @ P) - mean) @ told.directions[c].T
        p = teacher(data.inputs).softmax(1)[:, c : c + 1]
        q = seen(told, data.inputs).features[SUBCLASSES].exp().unflatten(1, (C, S))[:, c]
        torch.testing.assert_close(q, p * (u / beta).softmax(1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("tau", [1.0, 3.0])
def test_one_subclass_is_plain_distillation(data, teacher, tau):
    lelp = LELP(1, temperature=tau)
    told = seen(lelp.subclass(teacher, data), data.inputs)
    r = torch.randn(60, C, dtype=torch.float64, requires_grad=True)
    p = (teacher(data.inputs) / tau).softmax(1).detach()
    entropy = tau**2 * -(p * p.log()).sum(1)
    ours, plain = lelp(outputs(r, 1), told, data.labels), KL(tau)(Outputs(r), told, data.labels)
    torch.testing.assert_close(ours, plain + entropy)
    torch.testing.assert_close(ours, -(tau**2) * (p * (r / tau).log_softmax(1)).sum(1))
    torch.testing.assert_close(*(torch.autograd.grad(loss.sum(), r, retain_graph=True)[0] for loss in (ours, plain)))


@pytest.mark.parametrize("tau", [1.0, 2.0])
def test_the_loss_is_one_cross_entropy_over_all_subclasses(data, teacher, tau):
    lelp = LELP(S, temperature=tau)
    told = seen(lelp.subclass(teacher, data), data.inputs)
    r = torch.randn(60, C * S, dtype=torch.float64, requires_grad=True)
    q = (told.features[SUBCLASSES] / tau).softmax(1)
    loss = lelp(outputs(r, S), told, data.labels)
    torch.testing.assert_close(loss, -(tau**2) * (q * (r / tau).log_softmax(1)).sum(1))
    (gradient,) = torch.autograd.grad(loss.sum(), r)
    torch.testing.assert_close(gradient, tau * ((r / tau).softmax(1) - q).detach())
    torch.testing.assert_close(lelp(outputs(r, S), told, data.labels.flip(0)), loss)  # no label term


def test_chain_rule(data, teacher):
    """KL(q ‖ r) = KL(p ‖ r of classes) + Σ_c p_c KL(q within c ‖ r within c) at τ = 1."""
    lelp = LELP(S)
    told = seen(lelp.subclass(teacher, data), data.inputs)
    log_q = told.features[SUBCLASSES]
    student = outputs(torch.randn(60, C * S, dtype=torch.float64), S)
    whole = lelp(student, told, data.labels) + (log_q.exp() * log_q).sum(1)
    within_q, within_r = (log.unflatten(1, (C, S)).log_softmax(2) for log in (log_q, student.features[SUBCLASSES]))
    within = (within_q.exp() * (within_q - within_r)).sum(2)
    classes = KL(1)(student, told, data.labels)
    expected = classes + (told.logits.softmax(1) * within).sum(1)
    assert (whole - expected).abs().max() < 1e-14


def test_a_large_beta_says_nothing_of_subclasses(data, teacher):
    told = seen(LELP(S, beta=1e9).subclass(teacher, data), data.inputs)
    q, p = told.features[SUBCLASSES].exp().unflatten(1, (C, S)), told.logits.softmax(1)
    torch.testing.assert_close(q, (p[:, :, None] / S).expand_as(q), rtol=1e-6, atol=1e-9)


def test_what_the_classifier_reads_moves_no_subclass_and_the_rest_moves_no_logit(data, teacher):
    made = LELP(S).subclass(teacher, data)
    W = teacher[2].weight.detach()
    rows = W - W.mean(0)
    generator = torch.Generator().manual_seed(3)
    h, a = (torch.randn(5, n, generator=generator, dtype=torch.float64) for n in (D, C))
    torch.testing.assert_close(made.subclass_logits(h + a @ rows), made.subclass_logits(h))
    assert (
        made.subclass_logits(h + torch.randn(5, D, generator=generator)) - made.subclass_logits(h)
    ).abs().max() > 0.1
    free = torch.randn(5, D, generator=generator, dtype=torch.float64) @ null_projector(W)
    change = free @ W.T
    torch.testing.assert_close(change - change.mean(1, keepdim=True), torch.zeros_like(change))
    sigmoid = null_projector(W[:1])
    torch.testing.assert_close(sigmoid @ W[0], torch.zeros(D).double())
    assert abs(float(sigmoid.trace()) - (D - 1)) < 1e-12


def test_directions_are_each_class_s_own_first_and_rotated(data, teacher):
    made, plain = (LELP(S, rotate=rotate).subclass(teacher, data) for rotate in (True, False))
    h = teacher[1](teacher[0](data.inputs)).detach() @ null_projector(teacher[2].weight.detach())
    for c in range(C):
        own = h[data.labels == c]
        V, U = (one.directions[c] for one in (made, plain))
        gram = V @ V.T
        torch.testing.assert_close(gram / gram[0, 0], torch.eye(S).double())
        spans = [one.T @ torch.linalg.inv(one @ one.T) @ one for one in (V, U)]
        torch.testing.assert_close(*spans)
        assert (V - U).abs().max() > 0.1
        values = torch.linalg.eigvalsh(torch.cov(own.T)).flip(0)
        variances = [((own - own.mean(0)) @ one.T).var(0) for one in (V, U)]
        torch.testing.assert_close(variances[1], values[:S] / values[:S].mean())
        torch.testing.assert_close(variances[0].sum(), torch.tensor(float(S)).double())  # unit mean, whatever R_c


def test_random_rotations_are_orthogonal_and_even():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([orthogonal(S, S, generator) for _ in range(400)])
    torch.testing.assert_close(drawn @ drawn.mT, torch.eye(S).double().expand(400, S, S))
    assert drawn.mean(0).abs().max() < 0.1  # without the signs of R, the diagonal would lean to one side
    assert abs(float(torch.linalg.det(drawn).mean())) < 0.2


def test_the_control_has_random_directions_of_the_same_size(data, teacher):
    made = LELP(S, directions="random", rotate=False).subclass(teacher, data)
    h = teacher[1](teacher[0](data.inputs)).detach() @ null_projector(teacher[2].weight.detach())
    for c in range(C):
        V = made.directions[c]
        torch.testing.assert_close(V @ V.T / (V[0] @ V[0]), torch.eye(S).double())
        torch.testing.assert_close(
            V @ teacher[2].weight.detach().sub(teacher[2].weight.mean(0)).T, torch.zeros(S, C).double()
        )
        torch.testing.assert_close((h[data.labels == c] @ V.T).var(0).mean(), torch.tensor(1.0).double())


def test_a_student_sums_within_classes():
    r = torch.randn(7, C * S, dtype=torch.float64)
    summed = Summed(nn.Identity(), S)(r)
    torch.testing.assert_close(summed.softmax(1), r.softmax(1).unflatten(1, (C, S)).sum(2))
    peaked = torch.tensor([[2.0, -9, -9, -9, 1.9, 1.9, 1.9, 1.9]])
    assert Summed(nn.Identity(), 4)(peaked).argmax() == 1  # argmax over all outputs would say class 0


def test_it_trains_alone_and_stacked_and_leaves_the_teacher_as_it_is():
    digits = wb.data.relabelled(wb.data.load("digits").subset(80), ["even", "odd"] * 5)
    teacher = wb.models.build("mlp", digits, seed=1).train()
    before = [value.clone() for value in teacher.state_dict().values()]
    lelp = LELP(3)
    told = lelp.subclass(teacher, digits)
    assert teacher.training

    def student():
        return Summed(wb.models.build("mlp", (digits.shape, 6), width=8), 3)

    options = {"steps": 5, "progress": False, "device": "cpu"}
    one = distill(told, student(), digits, lelp, seed=2, **options)
    (many,) = wb.knowledge.distill_many(told, [student()], digits, lelp, seeds=[2], **options)
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(many.model.state_dict()[name], value, atol=1e-5, rtol=1e-4)
    assert all(torch.equal(*pair) for pair in zip(before, teacher.state_dict().values(), strict=True))
    shuffled = wb.data.Split(digits.train.inputs, digits.train.labels.flip(0), digits.classes, digits.mean, digits.std)
    again = distill(told, student(), shuffled, lelp, seed=2, **options)
    assert all(torch.equal(value, again.model.state_dict()[name]) for name, value in one.model.state_dict().items())


def test_a_network_of_one_sigmoid_logit_teaches_two_classes(data):
    two = wb.data.Split(data.inputs, data.labels % 2, ("no", "yes"), data.mean, data.std)
    single = network(1, D, 1)
    told = seen(LELP(2).subclass(single, two), two.inputs)
    torch.testing.assert_close(told.logits.softmax(1)[:, 1:], single(two.inputs).sigmoid())
    q = told.features[SUBCLASSES].exp().unflatten(1, (2, 2))
    torch.testing.assert_close(q.sum(2), told.logits.softmax(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subclasses": 0}, "subclasses is 0"),
        ({"subclasses": 2.0}, r"subclasses is 2\.0"),
        ({"beta": 0.0}, r"beta is 0\.0"),
        ({"temperature": -1}, "temperature is -1"),
        ({"directions": "tsne"}, "directions is 'tsne'; it can be pca or random"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LELP(**arguments)


def test_what_does_not_fit_is_refused(data, teacher):
    with pytest.raises(ValueError, match="class 'a' has 20 examples and what the classifier ignores 7 dimensions"):
        LELP(8).subclass(teacher, data)
    with pytest.raises(ValueError, match="classifier is '0'; it must name the linear layer"):
        LELP(2).subclass(teacher, data, classifier="0")
    with pytest.raises(ValueError, match="it has none"):
        LELP(2).subclass(nn.Flatten(), data)
    told = seen(LELP(S).subclass(teacher, data), data.inputs)
    with pytest.raises(ValueError, match="the student has 6 outputs and the teacher 12 subclasses"):
        LELP(S)(outputs(torch.zeros(60, 6).double(), 2), told, data.labels)
    assert functional.softmax(told.logits, 1).shape == (60, C)
