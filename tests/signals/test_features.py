"""Feature and relation signals: what leaves them at zero, maps of any kind, layers by name, many students at once."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench import signals
from workbench.knowledge import (
    CRD,
    FSP,
    NST,
    Adversarial,
    AttentionTransfer,
    Hint,
    OwnTeacher,
    RKDAngle,
    RKDDistance,
    SimilarityPreserving,
)
from workbench.knowledge.taxonomy import METHODS, invariances
from workbench.models import Outputs
from workbench.signals.features import as_maps, same_size, select
from workbench.signals.memory_crd import ROWS, MemoryCRD
from workbench.signals.signal import Signal

FEATURE = [AttentionTransfer("a", "a"), NST("a", "a"), FSP(("a", "b"), ("a", "b"))]
RELATION = [RKDDistance("a", "a"), RKDAngle("a", "a"), SimilarityPreserving("a", "a")]
BOUND = [Hint("a", "a"), CRD("a", "a", dimensions=8), Adversarial("a", "a", width=8), OwnTeacher("a", "b")]
KINDS = {"maps": (6, 4, 4), "tokens": (9, 6), "class token": (10, 6), "vectors": (6,)}


def outputs(n=5, kind="maps", scale=1, seed=0, **other):
    generator = torch.Generator().manual_seed(seed)
    shape = [
        size * scale if i == (0 if kind in ("maps", "vectors") else 1) else size for i, size in enumerate(KINDS[kind])
    ]
    features = {name: torch.randn(n, *shape, generator=generator, dtype=torch.float64) for name in ("a", "b")}
    return Outputs(torch.randn(n, 3, generator=generator, dtype=torch.float64), features | other)


def bound(signal, student, teacher):
    return signal.bind(student, teacher, torch.arange(5) % 3, generator=torch.Generator().manual_seed(0))


def changed(out, change):
    return Outputs(out.logits, {name: change(value) for name, value in out.features.items()})


LABELS = torch.arange(5) % 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("signal", FEATURE + RELATION, ids=lambda signal: type(signal).__name__)
def test_zero_loss_and_finite_gradient_at_equal_features(signal, kind):
    teacher = outputs(kind=kind)
    student = changed(teacher, lambda F: F.clone().requires_grad_())
    loss = signal(student, teacher, LABELS)
    assert loss.abs().max() < 1e-12
    gradients = torch.autograd.grad(loss.sum(), list(student.features.values()), allow_unused=True)
    assert all(g.isfinite().all() and g.abs().max() < 1e-6 for g in gradients if g is not None)


@given(st.integers(0, 2**32), st.floats(0.1, 10))
def test_attention_is_blind_to_scale_and_channel_order(seed, scale):
    student, teacher = outputs(seed=seed), outputs(seed=seed + 1)
    signal = AttentionTransfer("a", "a")
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    for change in (lambda F: scale * F, lambda F: F[:, order]):
        torch.testing.assert_close(signal(changed(student, change), teacher, LABELS), signal(student, teacher, LABELS))


@pytest.mark.parametrize("signal", RELATION, ids=lambda signal: type(signal).__name__)
@given(seed=st.integers(0, 2**32), scale=st.floats(0.1, 10))
def test_relations_are_blind_to_rotation_and_scale(signal, seed, scale):
    student, teacher = outputs(kind="vectors", seed=seed), outputs(kind="vectors", scale=2, seed=seed + 1)
    noise = torch.randn(6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rotation = torch.linalg.qr(noise).Q
    for change in (lambda F: F @ rotation, lambda F: scale * F):
        torch.testing.assert_close(signal(changed(student, change), teacher, LABELS), signal(student, teacher, LABELS))


@pytest.mark.parametrize("signal", RELATION[:2], ids=lambda signal: type(signal).__name__)
@given(seed=st.integers(0, 2**32), shift=st.floats(-10, 10))
def test_rkd_is_blind_to_translation(signal, seed, shift):
    student, teacher = outputs(kind="vectors", seed=seed), outputs(kind="vectors", seed=seed + 1)
    moved = changed(student, lambda F: F + shift)
    torch.testing.assert_close(signal(moved, teacher, LABELS), signal(student, teacher, LABELS))


def test_rkd_follows_its_definition():
    student, teacher = outputs(kind="vectors"), outputs(kind="vectors", scale=2, seed=1)

    def huber(x):
        return torch.where(x.abs() < 1, 0.5 * x**2, x.abs() - 0.5)

    distances = []
    for out in (student, teacher):
        d = torch.cdist(out.features["a"], out.features["a"])
        distances.append(d / (d.sum() / 20))
    expected = huber(distances[0] - distances[1]).sum() / 20
    torch.testing.assert_close(RKDDistance("a", "a")(student, teacher, LABELS), expected)
    cosines = []
    for out in (student, teacher):
        e = torch.nn.functional.normalize(out.features["a"][None] - out.features["a"][:, None], dim=2)
        cosines.append(torch.einsum("jid,jkd->jik", e, e))
    torch.testing.assert_close(RKDAngle("a", "a")(student, teacher, LABELS), huber(cosines[0] - cosines[1]).mean())


def test_rkd_survives_coinciding_examples():
    teacher = outputs(kind="vectors")
    same = teacher.features["a"][:1].repeat(5, 1).requires_grad_()
    for signal in RELATION[:2]:
        loss = signal(Outputs(teacher.logits, {"a": same}), teacher, LABELS)
        (gradient,) = torch.autograd.grad(loss, same)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_fsp_is_equivariant_to_permutations_and_nothing_more():
    student, teacher = outputs(), outputs(seed=1)
    signal, order = FSP(("a", "b"), ("a", "b")), torch.tensor([3, 1, 0, 5, 4, 2])
    both = [changed(out, lambda F: F[:, order]) for out in (student, teacher)]
    torch.testing.assert_close(signal(*both, LABELS), signal(student, teacher, LABELS))
    assert signal(both[1], teacher, LABELS).min() > 1e-3
    assert signal(changed(teacher, lambda F: 2 * F), teacher, LABELS).min() > 1e-3


def test_nst_is_the_maximum_mean_discrepancy_of_channels():
    student, teacher = outputs(), outputs(scale=2, seed=1)
    x, y = (torch.nn.functional.normalize(out.features["a"][0].flatten(1), dim=1) for out in (student, teacher))
    expected = sum((a @ b.T).square().mean() * sign for a, b, sign in ((x, x, 1), (y, y, 1), (x, y, -2)))
    torch.testing.assert_close(NST("a", "a")(student, teacher, LABELS)[0], expected)


def test_contrast_finds_its_own_image_best():
    teacher = outputs(kind="vectors")
    loss = bound(CRD("a", "a", dimensions=6, temperature=0.01), teacher, teacher)
    loss.embeddings[1].load_state_dict(loss.embeddings[0].state_dict())  # both sides embedded alike
    matched = loss(teacher, teacher, LABELS)
    shuffled = loss(changed(teacher, lambda F: F.roll(1, 0)), teacher, LABELS)
    assert (matched < 0.5).all()
    assert matched.mean() < shuffled.mean()


def test_discriminator_and_student_pull_in_opposite_directions():
    student, teacher = outputs(kind="vectors"), outputs(kind="vectors", seed=1)
    F_s = student.features["a"].clone().requires_grad_()
    game = bound(Adversarial("a", "a"), student, teacher)
    loss = game(Outputs(student.logits, {"a": F_s}), teacher, LABELS).sum()
    output = game.layers[2].bias
    to_student, to_judge = torch.autograd.grad(loss, (F_s, output))
    step = 1e-3
    with torch.no_grad():
        after = game(Outputs(student.logits, {"a": F_s - step * to_student}), teacher, LABELS).sum()
        assert after > loss  # descending its gradient, the student makes the discriminator worse
        output -= step * to_judge
        assert game(student, teacher, LABELS).sum() < loss


def test_every_signal_that_learns_from_a_teacher_has_its_place_in_the_survey():
    built = {name for name in signals.__all__ if isinstance(getattr(signals, name), type)}
    built = {name for name in built if issubclass(getattr(signals, name), Signal) and name != "Signal"}
    placed = {type(entry.signal).__name__ for entry in METHODS}
    assert {"DKD", "MLKD", "PKT", "VID", "MemoryCRD", "ReviewKD", "SimKD"} <= built
    assert built - placed <= {"CrossEntropy", "Sum", "Custom", "FeatureSignal"}


@pytest.mark.parametrize("entry", METHODS, ids=lambda entry: entry.name)
def test_every_signal_of_the_survey_runs_on_many_students_at_once(entry):
    """Under vmap each gets the loss it gets alone."""
    if getattr(entry.signal, "needs_rows", False):
        pytest.skip("a memory is for one student at a time, and refuses many: tests/signals/test_field.py")

    def make(seed):
        generator = torch.Generator().manual_seed(seed)
        features = {
            name: torch.randn(5, 4, 3, 3, generator=generator, dtype=torch.float64)
            for name in ("early", "late", "networks.0", "networks.1")
        }
        logits = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
        features["networks.0"], features["networks.1"] = logits
        return Outputs(logits[0], features)

    students, teachers = [make(s) for s in range(3)], [make(10 + s) for s in range(3)]
    labels = torch.arange(5) % 3
    loss = entry.signal.bind(students[0], teachers[0], labels, generator=torch.Generator().manual_seed(0))

    def stack(many):
        return torch.stack([o.logits for o in many]), {
            k: torch.stack([o.features[k] for o in many]) for k in many[0].features
        }

    def one(s, F_s, t, F_t):
        return loss(Outputs(s, F_s), Outputs(t, F_t), labels)

    together = torch.func.vmap(one)(*stack(students), *stack(teachers))
    alone = torch.stack([loss(s, t, labels) for s, t in zip(students, teachers, strict=True)])
    torch.testing.assert_close(together, alone)


TAUGHT = [entry for entry in METHODS if entry.scheme == "offline" and entry.algorithm != "adversarial"]
"""Those whose gradient is that of their value: a game's is turned round, and peers do not learn from themselves."""


@pytest.mark.parametrize("entry", TAUGHT, ids=lambda entry: entry.name)
def test_the_student_gets_the_whole_gradient_of_every_signal(entry):
    """Against finite differences, so that nothing on the student's way is cut; and the trainable parts get theirs."""
    generator = torch.Generator().manual_seed(3)
    draw = {"generator": generator, "dtype": torch.float64}
    logits, early, late = (torch.randn(4, *shape, **draw) for shape in ((3,), (2, 3, 3), (2, 3, 3)))
    rows = {ROWS: torch.tensor([5, 0, 2, 1])}
    teacher = Outputs(
        torch.randn(4, 3, **draw), {name: torch.randn(4, 2, 3, 3, **draw) for name in ("early", "late")} | rows
    )
    labels = torch.arange(4) % 3
    signal = replace(entry.signal, examples=6, negatives=3) if isinstance(entry.signal, MemoryCRD) else entry.signal
    student = Outputs(logits, {"early": early, "late": late})
    loss = signal.bind(student, teacher, labels, generator=torch.Generator().manual_seed(0))
    loss(student, teacher, labels)  # a memory measures its constant in the first batch
    start = copy.deepcopy(loss.state_dict())

    def value(z, first, last, *parts):
        loss.load_state_dict(start)
        given = dict(zip(names, parts, strict=True))
        said = Outputs(z, {"early": first, "late": last})
        with torch.random.fork_rng():
            torch.manual_seed(0)  # of a memory's negatives
            return torch.func.functional_call(loss, given, (said, teacher, labels)).sum()

    names = [name for name, _ in loss.named_parameters()]
    parts = [part.detach().clone().requires_grad_() for _, part in loss.named_parameters()]
    inputs = [tensor.requires_grad_() for tensor in (logits, early, late)]
    gradients = torch.autograd.grad(value(*inputs, *parts), [*inputs, *parts], allow_unused=True)
    assert sum(1 for gradient in gradients[:3] if gradient is not None and gradient.abs().max() > 1e-6) >= 1
    for at, gradient in enumerate(gradients):
        whole = [*inputs, *parts]
        direction = torch.randn(whole[at].shape, **draw)
        step = 1e-6
        with torch.no_grad():
            up, down = (
                value(*(one + sign * step * direction if k == at else one for k, one in enumerate(whole)))
                for sign in (1, -1)
            )
        numeric = (up - down) / (2 * step)
        found = torch.zeros((), dtype=torch.float64) if gradient is None else (gradient * direction).sum()
        torch.testing.assert_close(found, numeric, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("entry", METHODS, ids=lambda entry: entry.name)
def test_the_invariance_table_says_what_the_papers_say(entry):
    blind = invariances(entry.signal)
    expected = {
        "Soft labels": {"constant added"},
        "Logit regression": set(),
        "DKD": {"constant added"},
        "MLKD": {"constant added"},
        "PKT": {"scale", "rotation", "permutation of channels"},
        "SimKD": set(),
        "PLD": {"constant added"},
        "Born-again": {"constant added"},
        "Attention transfer": {"scale", "permutation of channels"},
        "NST": {"scale", "permutation of channels"},
        "FSP": set(),
        "RKD distance": {"scale", "translation", "rotation", "permutation of channels"},
        "RKD angle": {"scale", "translation", "rotation", "permutation of channels"},
        "Similarity preserving": {"scale", "rotation", "permutation of channels"},
    }
    if entry.name in expected:
        assert {change for change, kept in blind.items() if kept} == expected[entry.name]


@pytest.mark.parametrize("signal", [*FEATURE, *BOUND[:3], *RELATION], ids=lambda signal: type(signal).__name__)
def test_any_kind_of_features_against_any_other(signal):
    for kind in KINDS:
        for other in KINDS:
            student, teacher = outputs(kind=kind), outputs(kind=other, seed=1)
            loss = bound(signal, student, teacher)(student, teacher, LABELS)
            assert loss.isfinite().all()


@pytest.mark.parametrize("signal", [*BOUND[:3], FSP(("a", "b"), ("a", "b"))], ids=lambda signal: type(signal).__name__)
def test_a_wider_teacher_is_met_by_trainable_parts_that_repeat_by_seed(signal):
    student, teacher = outputs(), outputs(scale=3, seed=1)
    one, two = (bound(signal, student, teacher) for _ in range(2))
    assert sum(p.numel() for p in one.parameters()) > 0
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    state = torch.get_rng_state()
    loss = one(student, teacher, LABELS)
    loss.mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in one.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_maps_of_different_size_meet_at_the_smaller():
    large = torch.arange(16.0).view(1, 1, 4, 4)
    small, pooled = same_size(torch.zeros(1, 1, 2, 2), large)
    assert small.shape == pooled.shape == (1, 1, 2, 2)
    assert pooled.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_tokens_lie_on_their_grid_without_the_class_token():
    tokens = torch.randn(2, 10, 6)
    maps = as_maps(tokens)
    assert maps.shape == (2, 6, 3, 3)
    assert torch.equal(maps[0, :, 1, 2], tokens[0, 1 + 5])
    assert as_maps(torch.randn(2, 7, 6)).shape == (2, 6, 7, 1)
    with pytest.raises(ValueError, match=r"features have shape \(2, 3, 4, 5, 6\)"):
        as_maps(torch.zeros(2, 3, 4, 5, 6))


def test_layers_by_name_glob_and_list():
    features = {
        name: torch.full((1,), float(i)) for i, name in enumerate(["layer1.0.conv2", "layer1.1.conv2", "blocks.0"])
    }

    def found(*patterns):
        return [int(value) for value in select(features, patterns)]

    assert found("layer*.*.conv2") == [0, 1]
    assert found("**.conv2") == [0, 1]
    assert found("blocks") == [2]
    assert found("blocks.0", "layer1.0.conv2") == [2, 0]
    with pytest.raises(KeyError, match="no features of 'layer1'"):
        found("layer1")


def test_unequal_numbers_of_layers_are_refused():
    teacher = outputs()
    with pytest.raises(ValueError, match=r"student='\*' names 2 layers and teacher='a' names 1"):
        AttentionTransfer("*", "a")(teacher, teacher, LABELS)


def test_sums_of_pairs():
    student, teacher = outputs(), outputs(seed=1)
    both = AttentionTransfer(("a", "b"), ("a", "b"))(student, teacher, LABELS)
    each = [AttentionTransfer(name, name)(student, teacher, LABELS) for name in "ab"]
    torch.testing.assert_close(both, sum(each))


def test_own_teacher_teaches_exits_but_not_itself():
    student = outputs()
    logits = student.logits.clone().requires_grad_()
    deepest = student.features["b"].clone().requires_grad_()
    signal = OwnTeacher("a", "b", alpha=1.0, feature_weight=1.0)
    loss = bound(signal, student, None)
    value = loss(Outputs(logits, {"a": student.features["a"], "b": deepest}), None, LABELS).sum()
    to_logits, to_deepest = torch.autograd.grad(value, (logits, deepest), allow_unused=True)
    expected = student.logits.softmax(1) - torch.nn.functional.one_hot(LABELS, 3)
    torch.testing.assert_close(to_logits, expected)  # cross-entropy alone
    assert to_deepest is None
    assert math.isfinite(value.item())
