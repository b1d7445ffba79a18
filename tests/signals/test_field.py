"""PKT, VID, CRD with a memory, ReviewKD, SimKD and MLKD against definitions written independently, in float64."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import workbench as wb
from workbench.knowledge import distill, distill_many
from workbench.models import Outputs
from workbench.signals import KL, MLKD, PKT, VID, MemoryCRD, ReviewKD, SimKD, reuse
from workbench.signals.memory_crd import ROWS, Contrast
from workbench.signals.review_kd import hierarchical

SEEDS = st.integers(0, 10_000)


def draw(seed):
    g = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)


@given(seed=SEEDS)
def test_mlkd_is_its_definition(seed):
    d = draw(seed)
    s, t, labels = 2 * d(5, 4), 2 * d(5, 4), torch.zeros(5, dtype=torch.int64)
    total = 0.0
    for T in (2.0, 5.0):
        q, p = (s / T).softmax(1), (t / T).softmax(1)
        total = total + T**2 * sum((p[i] * (p[i] / q[i]).log()).sum() for i in range(5)) / 5
        total = total + sum((q[i] @ q[j] - p[i] @ p[j]) ** 2 for i in range(5) for j in range(5)) / 5
        total = total + sum((q[:, a] @ q[:, b] - p[:, a] @ p[:, b]) ** 2 for a in range(4) for b in range(4)) / 4
    torch.testing.assert_close(MLKD((2.0, 5.0))(Outputs(s), Outputs(t), labels), total / 2)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(
        MLKD()(Outputs(s[:, order]), Outputs(t[:, order]), labels), MLKD()(Outputs(s), Outputs(t), labels)
    )


def of(feature, logits=3):
    return Outputs(torch.zeros(len(feature), logits, dtype=feature.dtype), {"f": feature})


@given(seed=SEEDS)
def test_pkt_is_its_definition(seed):
    d = draw(seed)
    s, t = d(5, 3), d(5, 6)

    def conditional(x):
        K = [[(1 + F.cosine_similarity(a, b, dim=0)) / 2 for b in x] for a in x]
        return torch.tensor([[K[i][j] / sum(K[i]) for j in range(5)] for i in range(5)], dtype=torch.float64)

    p, q = conditional(t), conditional(s)
    expected = sum(p[i, j] * ((p[i, j] + 1e-7) / (q[i, j] + 1e-7)).log() for i in range(5) for j in range(5)) / 25
    labels = torch.zeros(5, dtype=torch.int64)
    torch.testing.assert_close(PKT("f", "f")(of(s), of(t), labels), expected)
    rotation = torch.linalg.qr(d(3, 3)).Q
    turned = (s @ rotation) * torch.rand(5, 1, dtype=torch.float64).add(0.5)
    torch.testing.assert_close(PKT("f", "f")(of(turned), of(t), labels), expected)
    torch.testing.assert_close(PKT("f", "f")(of(s), of(s), labels), torch.zeros((), dtype=torch.float64))


@given(seed=SEEDS)
def test_vid_is_a_gaussian_log_likelihood(seed):
    d = draw(seed)
    s, t, labels = d(3, 4, 2, 2), d(3, 5, 2, 2), torch.zeros(3, dtype=torch.int64)
    bound = VID("f", "f", variance=2.0).bind(of(s), of(t), labels, generator=torch.Generator().manual_seed(seed))
    guess = bound.guesses[0]
    with torch.no_grad():
        guess.alpha += d(5)
    mean = s
    for k, layer in enumerate(guess.layers):
        mean = F.conv2d(mean, layer.weight[:, :, None, None], layer.bias)
        mean = mean.relu() if k < 2 else mean
    sigma = ((1 + guess.alpha.exp()).log() + 1e-5).sqrt()[None, :, None, None]
    logs = torch.distributions.Normal(mean, sigma).log_prob(t) + 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(bound(of(s), of(t), labels), -logs.mean((1, 2, 3)))


def test_vid_starts_at_its_variance_and_learns_it():
    d = draw(0)
    s, t, labels = d(64, 4), d(64, 5), torch.zeros(64, dtype=torch.int64)
    bound = VID("f", "f", variance=5.0).bind(of(s), of(t), labels, generator=torch.Generator().manual_seed(0))
    _, variance = bound.guesses[0](s[:, :, None, None])
    torch.testing.assert_close(variance, torch.full((5, 1, 1), 5.0, dtype=torch.float64))
    optimizer = torch.optim.Adam([bound.guesses[0].alpha], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        bound(of(s), of(t), labels).mean().backward()
        optimizer.step()
    mean, variance = bound.guesses[0](s[:, :, None, None])
    torch.testing.assert_close(variance[:, 0, 0], (t - mean[:, :, 0, 0]).square().mean(0), rtol=1e-2, atol=1e-3)


def test_a_memory_is_its_definition():
    """Both directions by loops: D from counts of n and K, Z from the first batch."""
    d = draw(0)
    n, K, tau = 7, 3, 0.5
    signal = MemoryCRD("f", "f", examples=n, negatives=K, dimensions=4, temperature=tau, momentum=0.25)
    contrast = Contrast(signal, 5, 6, torch.zeros((), dtype=torch.float64), torch.Generator().manual_seed(1))
    g = [F.normalize(d(2, 4), dim=1), F.normalize(d(2, 4), dim=1)]
    chosen = torch.tensor([[0, 3, 3, 6], [5, 1, 0, 2]])
    m_s, m_t = contrast.memories.clone()
    expected = []
    for anchor, memory in ((g[0], m_t), (g[1], m_s)):
        raw = [[math.exp(float(anchor[i] @ memory[j]) / tau) for j in chosen[i]] for i in range(2)]
        Z = n * sum(map(sum, raw)) / 8
        per = []
        for row in raw:
            h = [value / Z for value in row]
            D = [value / (value + K / n + 1e-7) for value in h]
            # log(1 − D) as the authors' code has it: the small number only below
            per.append(-math.log(D[0]) - sum(math.log((K / n) / (value + K / n + 1e-7)) for value in h[1:]))
        expected.append(per)
    found = contrast.losses(g, chosen)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64).sum(0))
    first = contrast.normalisers.clone()
    contrast.losses([-one for one in g], chosen)
    assert torch.equal(contrast.normalisers, first)  # estimated once


def test_the_memory_moves_by_its_momentum_and_only_where_the_batch_is():
    d = draw(0)
    signal = MemoryCRD("f", "f", examples=6, negatives=2, dimensions=4, momentum=0.25)
    contrast = Contrast(signal, 5, 5, torch.zeros((), dtype=torch.float64), torch.Generator().manual_seed(1))
    before = contrast.memories.clone()
    s, t, rows = d(2, 5), d(2, 5), torch.tensor([4, 1])
    contrast(s, t, rows)
    for side, feature in enumerate((s, t)):
        layer = contrast.embeddings[side]
        g = F.normalize(feature @ layer.weight.T + layer.bias, dim=1)
        torch.testing.assert_close(
            contrast.memories[side, rows], F.normalize(0.25 * before[side, rows] + 0.75 * g, dim=1)
        )
    rest = torch.tensor([0, 2, 3, 5])
    assert torch.equal(contrast.memories[:, rest], before[:, rest])
    torch.testing.assert_close(contrast.memories.norm(dim=2), torch.ones(2, 6, dtype=torch.float64))


@pytest.fixture(scope="module")
def data():
    return wb.data.load("digits").subset(80)


@pytest.fixture(scope="module")
def teacher(data):
    return wb.training.fit(wb.models.build("convnet", data, width=8, seed=9), data, epochs=2, progress=False).model


def student(data, seed=0):
    return wb.models.build("convnet", data, width=4, seed=seed)


QUICK = {"steps": 4, "progress": False, "device": "cpu"}


@pytest.mark.parametrize("augment", [None, "shift"])
def test_a_memory_knows_the_rows_of_its_batch(data, teacher, augment, monkeypatch):
    seen = []
    real = Contrast.forward
    monkeypatch.setattr(Contrast, "forward", lambda self, s, t, rows: seen.append(rows) or real(self, s, t, rows))
    told = 0.1 * MemoryCRD("stage2", "stage2", examples=80, negatives=16, dimensions=8) + KL(4)
    record = distill(teacher, student(data), data, told, augment=augment, batch_size=16, **QUICK | {"steps": 5})
    assert sorted(torch.cat(seen[:5]).tolist()) == list(range(80))
    again = distill(teacher, student(data), data, told, augment=augment, batch_size=16, **QUICK | {"steps": 5})
    for name, value in record.state.items():
        assert torch.equal(value, again.state[name])


def test_memories_of_the_wrong_size_and_many_students_are_refused(data, teacher):
    told = MemoryCRD("stage2", "stage2", examples=79)
    with pytest.raises(ValueError, match="examples is 79, but data has 80"):
        distill(teacher, student(data), data, told, **QUICK)
    with pytest.raises(ValueError, match="one student at a time"):
        distill_many(teacher, [student(data)], data, MemoryCRD("stage2", "stage2", examples=80), **QUICK)
    with pytest.raises(ValueError, match=r"examples is 0; .*pass examples=len\(data.train\)"):
        MemoryCRD("stage2", "stage2")
    assert ROWS


@given(seed=SEEDS)
def test_a_hierarchy_is_weighted_means_of_coarser_maps(seed):
    d = draw(seed)
    f, t = d(3, 2, 8, 8), d(3, 2, 8, 8)
    expected = ((f - t) ** 2).mean((1, 2, 3))
    for side, weight in ((4, 0.5), (2, 0.25), (1, 0.125)):
        k = 8 // side
        coarse = (f - t).reshape(3, 2, side, k, side, k).mean((3, 5))
        expected = expected + weight * (coarse**2).mean((1, 2, 3))
    torch.testing.assert_close(hierarchical(f, t), expected / 1.875)
    small = hierarchical(f[..., :1, :1], t[..., :1, :1])
    torch.testing.assert_close(small, (f[..., 0, 0] - t[..., 0, 0]).square().mean(1))


def test_review_is_its_definition():
    """Two stages, recomputed from the layers' own weights."""
    d = draw(3)
    student, teacher = (
        Outputs(torch.zeros(4, 3, dtype=torch.float64), {"a": d(4, c, 4, 4), "b": d(4, e, 2, 2)})
        for c, e in ((3, 5), (6, 7))
    )
    labels = torch.zeros(4, dtype=torch.int64)
    bound = ReviewKD(("a", "b"), ("a", "b")).bind(student, teacher, labels, generator=torch.Generator().manual_seed(0))
    shallow, deep = bound.fusions
    r_deep = norm(F.conv2d(student.features["b"], deep.first[0].weight))
    x = norm(F.conv2d(student.features["a"], shallow.first[0].weight))
    up = r_deep.repeat_interleave(2, 2).repeat_interleave(2, 3)
    gate = torch.sigmoid(F.conv2d(torch.cat([x, up], 1), shallow.attention[0].weight, shallow.attention[0].bias))
    joined = gate[:, :1] * x + gate[:, 1:] * up
    expected = 0.0
    for fusion, r, name in ((deep, r_deep, "b"), (shallow, joined, "a")):
        expected = expected + hierarchical(norm(F.conv2d(r, fusion.last[0].weight, padding=1)), teacher.features[name])
    torch.testing.assert_close(bound(student, teacher, labels), expected)
    assert deep.attention is None


def norm(x):
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt()


def test_simkd_answers_with_the_teachers_classifier(data, teacher):
    small = student(data)
    whole = reuse(small, teacher, data, "stage2", "stage2")
    assert all(not parameter.requires_grad for parameter in whole.classifier.parameters())
    before = whole.classifier.weight.clone()
    record = distill(teacher, whole, data, SimKD("stage2"), lr=1e-2, **QUICK | {"steps": 60})
    assert torch.equal(whole.classifier.weight, before)
    assert torch.equal(whole.classifier.weight, teacher.head.weight)
    assert record.curves["train_loss"][-1] < 0.8 * record.curves["train_loss"][0]

    class Perfect(nn.Module):
        def forward(self, maps):
            return wb.models.observe(teacher, "stage2")(data.test.inputs).features["stage2"]

    whole.eval().projector = Perfect()
    torch.testing.assert_close(whole(data.test.inputs), teacher.eval()(data.test.inputs))


def test_simkd_averages_positions_where_its_teacher_does_and_takes_the_last_linear_layer(data):
    averaging = wb.models.build("resnet8", data, width=4, seed=1).eval()
    whole = reuse(student(data), averaging, data, "stage2", "layer3").eval()
    maps = wb.models.observe(averaging, "layer3")(data.test.inputs).features["layer3"]

    class Perfect(nn.Module):
        def forward(self, _):
            return maps

    whole.projector = Perfect()
    torch.testing.assert_close(whole(data.test.inputs), averaging(data.test.inputs))
    deep = wb.models.build("mlp", data, width=[10, 6], seed=1)
    head = [module for module in deep.modules() if isinstance(module, nn.Linear)][-1]
    small = wb.models.build("mlp", data, width=[5], seed=2)
    assert torch.equal(reuse(small, deep, data, "hidden.0", "hidden.1").classifier.weight, head.weight)


def test_simkd_is_a_mean_of_squares_and_refuses_what_does_not_fit(data, teacher):
    d = draw(0)
    s, t, labels = d(3, 4, 2, 2), d(3, 4, 2, 2), torch.zeros(3, dtype=torch.int64)
    out = [Outputs(torch.zeros(3, 2), {name: value}) for name, value in (("projector", s), ("f", t))]
    torch.testing.assert_close(SimKD("f")(*out, labels), ((s - t) ** 2).flatten(1).mean(1))
    with pytest.raises(ValueError, match="make the student with reuse"):
        SimKD("f")(out[0], Outputs(torch.zeros(3, 2), {"f": d(3, 5, 2, 2)}), labels)
    with pytest.raises(ValueError, match="classifier is 'stage1'; it must name a linear layer"):
        reuse(student(data), teacher, data, "stage2", "stage2", classifier="stage1")
    with pytest.raises(ValueError, match="teacher_layer is 'stage1'"):
        reuse(student(data), teacher, data, "stage2", "stage1")


@pytest.mark.parametrize(
    "signal",
    [
        MLKD(),
        PKT("flatten", "flatten"),
        VID("stage*", "stage*"),
        ReviewKD("stage*", "stage*"),
    ],
    ids=lambda signal: type(signal).__name__,
)
def test_many_students_learn_from_it_as_one_does(data, teacher, signal):
    alone = student(data)
    distill(teacher, alone, data, signal, **QUICK)
    records = distill_many(teacher, [student(data), student(data, 1)], data, signal, **QUICK)
    torch.testing.assert_close(records[0].model(data.test.inputs), alone(data.test.inputs), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLKD(()), "temperatures is"),
        (lambda: MLKD((0.0,)), "temperatures is 0.0"),
        (lambda: VID("a", "b", variance=0), "variance is 0"),
        (lambda: MemoryCRD("a", "b", examples=3, momentum=2), "momentum is 2"),
        (lambda: MemoryCRD("a", "b", examples=3, temperature="x"), "temperature is 'x'"),
    ],
)
def test_numbers_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()
