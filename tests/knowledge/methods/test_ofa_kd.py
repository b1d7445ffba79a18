"""Every exact line of paper 034's card, in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from workbench.knowledge.methods.ofa_kd import OFA, adaptive_target_loss, exit_branch, ideal_student, target_weights
from workbench.models import Outputs, observe

seeds = st.integers(0, 2**31 - 1)
exponents = st.floats(1, 4)
temperatures = st.floats(0.5, 5)


def problem(seed, n=5, classes=4, scale=3.0):
    g = torch.Generator().manual_seed(seed)
    student, teacher = (scale * torch.randn(n, classes, generator=g, dtype=torch.float64) for _ in range(2))
    return student, teacher, torch.randint(classes, (n,), generator=g)


def gradient(loss, logits):
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(logits).sum(), logits)[0]


@given(seeds, temperatures)
@settings(max_examples=30, deadline=None)
def test_exponent_one_is_cross_entropy_with_the_soft_label(seed, temperature):
    student, teacher, labels = problem(seed)
    loss = adaptive_target_loss(student, teacher, labels, 1.0, temperature)
    p = (teacher / temperature).softmax(1)
    expected = torch.nn.functional.cross_entropy(student / temperature, p, reduction="none")
    torch.testing.assert_close(loss, expected)
    grad = gradient(lambda s: adaptive_target_loss(s, teacher, labels, 1.0, temperature), student)
    torch.testing.assert_close(grad, ((student / temperature).softmax(1) - p) / temperature)


@given(seeds, exponents, temperatures)
@settings(max_examples=30, deadline=None)
def test_gradient_in_closed_form_and_zero_at_the_ideal_student(seed, exponent, temperature):
    student, teacher, labels = problem(seed)
    p = (teacher / temperature).softmax(1)
    w = p**exponent
    row = torch.arange(len(w))
    w[row, labels] = (1 + p[row, labels]) ** exponent - 1
    torch.testing.assert_close(target_weights(p, labels, exponent), w)

    def loss(s):
        return adaptive_target_loss(s, teacher, labels, exponent, temperature)

    s = (student / temperature).softmax(1)
    torch.testing.assert_close(gradient(loss, student), (w.sum(1, keepdim=True) * s - w) / temperature)
    best = ideal_student(p, labels, exponent).log() * temperature
    torch.testing.assert_close(gradient(loss, best), torch.zeros_like(best), atol=1e-9, rtol=0)
    assert (loss(student) >= loss(best) - 1e-9).all()


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_share_of_the_true_class_grows_with_the_exponent_to_one(seed):
    _, teacher, labels = problem(seed)
    p = teacher.softmax(1)
    shares = torch.stack(
        [ideal_student(p, labels, float(e)).gather(1, labels[:, None])[:, 0] for e in torch.linspace(1, 6, 26)]
    )
    assert (shares.diff(dim=0) >= -1e-12).all()
    torch.testing.assert_close(shares[0], p.gather(1, labels[:, None])[:, 0])
    p = p.clamp(1e-2)
    far = ideal_student(p / p.sum(1, keepdim=True), labels, 1000.0).gather(1, labels[:, None])
    torch.testing.assert_close(far, torch.ones_like(far), atol=1e-3, rtol=0)


def test_share_is_monotone_on_a_grid_of_three_class_teachers():
    steps = torch.linspace(0, 1, 41, dtype=torch.float64)
    a, b = torch.meshgrid(steps, steps, indexing="ij")
    p = torch.stack([a, b, 1 - a - b], -1).reshape(-1, 3)
    p = p[(p >= 0).all(1) & (p[:, 0] > 0)]
    labels = torch.zeros(len(p), dtype=torch.long)
    shares = torch.stack([ideal_student(p, labels, float(e))[:, 0] for e in torch.linspace(1, 8, 29)])
    assert (shares.diff(dim=0) >= -1e-12).all()


@given(seeds, exponents)
@settings(max_examples=20, deadline=None)
def test_a_one_hot_correct_teacher_scales_cross_entropy(seed, exponent):
    student, _, labels = problem(seed)
    sure = 1e4 * torch.nn.functional.one_hot(labels, 4).double()
    loss = adaptive_target_loss(student, sure, labels, exponent)
    expected = (2**exponent - 1) * torch.nn.functional.cross_entropy(student, labels, reduction="none")
    torch.testing.assert_close(loss, expected)


def test_mixed_labels_count_by_their_largest_entry():
    student, teacher, labels = problem(0)
    mixed = 0.6 * torch.nn.functional.one_hot(labels, 4) + 0.1
    torch.testing.assert_close(
        adaptive_target_loss(student, teacher, mixed, 1.4), adaptive_target_loss(student, teacher, labels, 1.4)
    )


def test_exponents_below_one_are_refused():
    student, teacher, labels = problem(0)
    with pytest.raises(ValueError, match="at least 1"):
        adaptive_target_loss(student, teacher, labels, 0.5)
    with pytest.raises(ValueError, match="final_exponent"):
        OFA(final_exponent=0.9).bind(Outputs(student), Outputs(teacher), labels, generator=torch.Generator())


FEATURES = {
    "maps": {"stage1": (6, 8, 8), "stage2": (6, 4, 4), "stage3": (6, 1, 1)},
    "tokens": {"blocks.0": (16, 8), "blocks.1": (16, 8)},
    "class token": {"blocks.0": (17, 6), "blocks.1": (17, 6)},
    "many tokens": {"blocks.0": (81, 5)},
}


def outputs(kind, n=6, classes=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    features = {
        name: torch.randn(n, *shape, generator=g, dtype=torch.float64).requires_grad_()
        for name, shape in FEATURES[kind].items()
    }
    student, teacher, labels = problem(seed, n, classes)
    return Outputs(student.requires_grad_(), features), Outputs(teacher), labels


@pytest.mark.parametrize("kind", FEATURES)
def test_total_is_the_weighted_sum_over_final_and_exits(kind):
    student, teacher, labels = outputs(kind)
    stages = tuple(student.features)
    exponents = tuple(1 + 0.1 * k for k in range(len(stages)))
    signal = OFA(stages=stages, exponents=exponents, final_exponent=1.3, temperature=2.0,
                 final_weight=0.7, exit_weight=0.4)  # fmt: skip
    bound = signal.bind(student, teacher, labels, generator=torch.Generator().manual_seed(1))
    exits = bound.exits(student.features)
    assert tuple(exits) == stages
    expected = 0.7 * adaptive_target_loss(student.logits, teacher.logits, labels, 1.3, 2.0)
    for logits, exponent in zip(exits.values(), exponents, strict=True):
        assert logits.shape == (6, 4)
        expected = expected + 0.4 * adaptive_target_loss(logits, teacher.logits, labels, exponent, 2.0)
    loss = bound(student, teacher, labels)
    torch.testing.assert_close(loss, expected)
    loss.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in bound.parameters())
    assert all(value.grad.abs().sum() > 0 for value in student.features.values())


def test_without_exits_it_is_soft_label_distillation():
    student, teacher, labels = outputs("maps")
    plain = OFA().bind(student, teacher, labels, generator=torch.Generator())
    weightless = OFA(stages=("stage*",), exit_weight=0.0).bind(student, teacher, labels, generator=torch.Generator())
    expected = torch.nn.functional.cross_entropy(student.logits, teacher.logits.softmax(1), reduction="none")
    torch.testing.assert_close(plain(student, teacher, labels), expected)
    torch.testing.assert_close(weightless(student, teacher, labels), expected)


def test_depth_of_a_branch_falls_along_the_stages():
    count = [
        sum(isinstance(m, torch.nn.Conv2d) for m in exit_branch(torch.zeros(2, 4, 8, 8), left, 3).modules())
        for left in (3, 2, 1, 0)
    ]
    assert count == [12, 8, 4, 1]  # four convolutions per depthwise-separable pair; a 1×1 convolution at the last stage
    blocks = [len(exit_branch(torch.zeros(2, 16, 8), left, 3).blocks) for left in (3, 2, 1, 0)]
    assert blocks == [3, 2, 1, 1]


def test_patch_merging_gathers_neighbours():
    branch = exit_branch(torch.zeros(1, 64, 2), 1, 3)
    (merge,) = branch.mergers
    merge.norm = torch.nn.Identity()
    where = torch.arange(64.0).reshape(1, 64, 1).expand(1, 64, 2)
    merge.reduce = torch.nn.Identity()
    first = merge(where)[0, 0]
    assert sorted(set(first.tolist())) == [0, 1, 8, 9]
    assert merge(where).shape == (1, 16, 8)


def test_binding_is_reproducible_and_leaves_the_global_generator_alone():
    student, teacher, labels = outputs("maps")
    signal = OFA(stages=("stage*",))
    before = torch.random.get_rng_state()
    a, b, c = (signal.bind(student, teacher, labels, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    assert not all(torch.equal(x, y) for x, y in zip(a.parameters(), c.parameters(), strict=True))


def test_bad_stages_are_refused_with_a_remedy():
    student, teacher, labels = outputs("maps")
    for signal, message in (
        (OFA(stages=("nothing*",)), "nothing"),
        (OFA(stages=("stage*",), exponents=(1.0, 1.2)), "3 stages match"),
    ):
        with pytest.raises((ValueError, KeyError), match=message):
            signal.bind(student, teacher, labels, generator=torch.Generator())
    with pytest.raises(ValueError, match="name another layer"):
        exit_branch(torch.zeros(2, 5), 1, 3)
    with pytest.raises(ValueError, match="no square grid"):
        exit_branch(torch.zeros(2, 16, 4), 1, 3, class_tokens=1)
    with pytest.raises(ValueError, match="no square grid"):
        exit_branch(torch.zeros(2, 56, 4), 1, 3)
    assert exit_branch(torch.zeros(2, 8, 4), 1, 3)(torch.zeros(2, 8, 4)).shape == (2, 3)  # too few to be merged


@pytest.mark.parametrize("kind", ["maps", "class token"])
def test_many_students_branches_train_as_one(kind):
    """Stacked branches under vmap give the one-by-one loss and gradient."""
    many = [outputs(kind, seed=s) for s in range(3)]
    signal = OFA(stages=tuple(FEATURES[kind]), exponents=1.2)
    bound = [signal.bind(*o, generator=torch.Generator().manual_seed(s)) for s, o in enumerate(many)]
    params, buffers = torch.func.stack_module_state(bound)

    def loss(params, buffers, s, features, t, labels):
        args = (Outputs(s, features), Outputs(t), labels)
        return torch.func.functional_call(bound[0], (params, buffers), args).mean()

    s = torch.stack([o[0].logits for o in many]).detach()
    t = torch.stack([o[1].logits for o in many])
    labels = torch.stack([o[2] for o in many])
    features = {k: torch.stack([o[0].features[k] for o in many]).detach() for k in many[0][0].features}
    grads, losses = torch.vmap(torch.func.grad_and_value(loss))(params, buffers, s, features, t, labels)
    for i, module in enumerate(bound):
        alone = module(*many[i]).mean()
        torch.testing.assert_close(losses[i], alone)
        names = [name for name, _ in module.named_parameters()]
        for name, grad in zip(names, torch.autograd.grad(alone, list(module.parameters())), strict=True):
            torch.testing.assert_close(grads[name][i], grad)


@pytest.mark.parametrize("kind", ["convnet", "vit"])
def test_the_deployed_student_is_bit_identical_without_its_branches(kind):
    data = wb.data.load("digits").subset(64)
    stages = {"convnet": "stage*", "vit": "blocks.*"}[kind]
    student = wb.models.build(kind, data, width=8, depth=2, **({"patch": 4} if kind == "vit" else {}))
    teacher = wb.models.build("mlp", data, width=16, seed=1)
    names = list(student.state_dict())
    record = wb.knowledge.distill(
        teacher, student, data, wb.knowledge.OFA(stages), steps=4, batch_size=16, progress=False, device="cpu"
    )
    assert list(record.state) == names
    assert {key for key in record.curves if key.startswith("exit ")} == {
        f"exit {name}" for name in wb.models.layer_names(student, [stages])
    }
    x = data.test.inputs[:32]
    with torch.no_grad():
        watched = observe(student, (stages,))(x)  # as in training, where the exits read every stage
        fresh = wb.models.from_spec(record.spec)
        fresh.load_state_dict(record.state)
        assert torch.equal(fresh.eval()(x), watched.logits)


@given(seeds, st.floats(0.1, 10))
@settings(max_examples=10, deadline=None)
def test_cka_is_one_up_to_rotation_and_scale_symmetric_and_within_0_and_1(seed, scale):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(20, 6, generator=g, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=g, dtype=torch.float64)).Q
    plain, turned, other = (torch.nn.Linear(6, 6, bias=False).double() for _ in range(3))
    with torch.no_grad():
        plain.weight.copy_(torch.eye(6))
        turned.weight.copy_(scale * rotation)
        other.weight.copy_(torch.randn(6, 6, generator=g, dtype=torch.float64))
    nets = [torch.nn.Sequential(layer) for layer in (plain, turned, other)]

    def cka(a, b):
        options = {"layers_a": "0", "layers_b": "0", "debiased": False, "batch_size": 20, "examples": 0}
        return wb.analysis.cka(a, b, x, **options, progress=False).values.item()

    assert cka(nets[0], nets[1]) == pytest.approx(1, abs=1e-6)
    assert cka(nets[0], nets[2]) == pytest.approx(cka(nets[2], nets[0]), abs=1e-9)
    assert 0 <= cka(nets[1], nets[2]) <= 1
