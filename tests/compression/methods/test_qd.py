"""QD, DQ and PM (paper 046): what must hold exactly, in float64; shadow weights, levels, sizes."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import workbench as wb
from workbench.compression import (
    DQ,
    PM,
    QD,
    allocate,
    compress,
    compress_many,
    gradient_norms,
    on_levels,
    quantiles,
    scale,
    uniform,
)
from workbench.compression.making.placing import chosen, place, placed
from workbench.compression.methods.qd import Shadowed

BUCKETS = [None, 7, 64]


@pytest.fixture(scope="module")
def data():
    return wb.data.load("digits").subset(128, seed=0)


def weights(n=100, seed=0):
    return torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def mlp(data, width=8, seed=0, **options):
    return wb.models.build("mlp", data, width=width, seed=seed, **options)


@pytest.mark.parametrize("bucket", BUCKETS)
@pytest.mark.parametrize("s", [2, 4, 16])
def test_uniform_levels(s, bucket):
    v = weights()
    q = uniform(v, s, bucket)
    torch.testing.assert_close(uniform(q, s, bucket), q, rtol=0, atol=1e-14)
    k = bucket or len(v)
    for start in range(0, len(v), k):
        own, to = v[start : start + k], q[start : start + k]
        alpha = own.max() - own.min()
        assert len(((to - own.min()) / alpha * (s - 1)).round().unique()) <= s
        torch.testing.assert_close(((to - own.min()) / alpha * (s - 1)) % 1 % (1 - 1e-9), torch.zeros_like(to))
        assert to.min() == pytest.approx(own.min().item(), abs=1e-14)
        assert to.max() == pytest.approx(own.max().item(), abs=1e-14)
        assert (to - own).abs().max() <= alpha / (2 * (s - 1)) + 1e-14
    torch.testing.assert_close(uniform(2.5 * v - 3, s, bucket), 2.5 * q - 3)


def test_every_level_is_reached():
    """s levels, not s + 1 and not s − 1."""
    v = torch.linspace(0, 1, 1001, dtype=torch.float64)
    for s in (2, 3, 8):
        torch.testing.assert_close(uniform(v, s, None).unique(), torch.linspace(0, 1, s, dtype=torch.float64))


def test_the_last_bucket_is_filled_with_the_last_value_and_a_constant_one_stays():
    v = torch.tensor([0.0, 1.0, 2.0, 5.0, 7.0], dtype=torch.float64)
    found = scale(v, 3)
    assert (found.back(found.v_hat, v)).tolist() == v.tolist()
    assert found.v_hat[1].tolist() == [0.0, 1.0, 1.0]
    constant = torch.full((4,), 3.0)
    assert scale(constant, None).alpha.item() == 1
    assert uniform(constant, 2, None).tolist() == [3.0] * 4


def test_stochastic_rounding_is_unbiased_and_has_its_variance():
    s, draws = 4, 10_000
    v = weights(12)
    generator = torch.Generator().manual_seed(0)
    found = torch.stack([uniform(v, s, None, stochastic=True, generator=generator) for _ in range(draws)])
    alpha = v.max() - v.min()
    u = (v - v.min()) / alpha * (s - 1) % 1
    inner = (v != v.min()) & (v != v.max())
    variance = (alpha**2 * u * (1 - u) / (s - 1) ** 2)[inner]
    assert ((found.mean(0) - v)[inner].abs() <= 4 * (variance / draws).sqrt()).all()
    torch.testing.assert_close(found.var(0)[inner], variance, rtol=0.08, atol=1e-4)
    dot = found @ (a := weights(12, seed=1))  # the scalar product with quantised weights
    spread = (a[inner] ** 2 * variance).sum()
    assert abs(dot.mean() - v @ a) <= 4 * (spread / draws).sqrt()
    assert dot.var() == pytest.approx(spread.item(), rel=0.08)


def test_a_scalar_product_of_many_quantised_weights_is_normal():
    v, a = weights(1000), weights(1000, seed=1)
    generator = torch.Generator().manual_seed(0)
    dots = torch.stack([uniform(v, 2, 256, stochastic=True, generator=generator) @ a for _ in range(4000)])
    z = (dots - dots.mean()) / dots.std()
    assert abs((z**3).mean()) < 4 * math.sqrt(6 / 4000)
    assert abs((z**4).mean() - 3) < 4 * math.sqrt(24 / 4000)


def test_the_shadow_weights_take_the_gradient_at_the_quantised_ones():
    w, x = weights(20).requires_grad_(), weights(20, seed=1)
    q = Shadowed(4, 7)(w)
    assert torch.equal(q, uniform(w.detach(), 4, 7))
    (q.pow(3) * x).sum().backward()
    torch.testing.assert_close(w.grad, 3 * q.detach() ** 2 * x)


def test_truncated_gradients_stop_outside_of_one():
    w = torch.tensor([-2.0, -0.5, 0.3, 1.5], dtype=torch.float64, requires_grad=True)
    q = Shadowed(4, None, "truncated")(w)
    assert torch.equal(q, uniform(w.detach().clamp(-1, 1), 4, None))
    q.sum().backward()
    assert w.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_the_gradient_with_scale_adds_what_alpha_and_beta_depend_on():
    """∂Q_i/∂α = r_i − v̂_i, which the largest weight takes and the smallest gives back."""
    w, g = weights(9).requires_grad_(), weights(9, seed=1)
    q = Shadowed(4, None, "with scale")(w)
    torch.testing.assert_close(q, uniform(w.detach(), 4, None))
    q.backward(g)
    found = scale(w.detach(), None)
    v_hat = found.v_hat[0]
    change = (g * ((v_hat * 3).round() / 3 - v_hat)).sum()
    expected = g.clone()
    expected[w.argmax()] += change
    expected[w.argmin()] -= change
    torch.testing.assert_close(w.grad, expected)


def test_levels_take_the_gradient_of_the_weights_assigned_to_them():
    v, g = weights(30), weights(30, seed=1)
    p = torch.tensor([0.05, 0.4, 0.9], dtype=torch.float64, requires_grad=True)
    on_levels(v, p, 8).backward(g)
    found = scale(v, 8)
    j = (found.v_hat[..., None] - p).abs().argmin(-1).flatten()[:30]
    alpha = found.alpha.expand(-1, 8).flatten()[:30]
    expected = torch.stack([(alpha * g)[j == level].sum() for level in range(3)])
    torch.testing.assert_close(p.grad, expected)
    step = 1e-7  # no assignment flips
    for level in range(3):
        up, down = p.detach().clone(), p.detach().clone()
        up[level] += step
        down[level] -= step
        slope = ((on_levels(v, up, 8) - on_levels(v, down, 8)) * g).sum() / (2 * step)
        assert slope.item() == pytest.approx(expected[level].item(), rel=1e-6)


def test_equal_levels_are_the_uniform_quantiser_and_all_values_the_identity():
    v = weights(50)
    torch.testing.assert_close(on_levels(v, torch.linspace(0, 1, 8, dtype=v.dtype), 16), uniform(v, 8, 16))
    torch.testing.assert_close(on_levels(v, scale(v, None).v_hat.unique(), None), v)


def test_levels_start_at_quantiles():
    v = weights(101)
    expected = torch.quantile(scale(v, 10).v_hat.flatten()[:101], torch.linspace(0, 1, 5, dtype=v.dtype))
    torch.testing.assert_close(quantiles(v, 5, 10), expected)


def test_one_step_is_the_learning_rate_times_the_gradient_at_quantised_weights(data):
    student, teacher = mlp(data, depth=1).double(), mlp(data, 32, seed=1).double()
    method = QD(bits=2, bucket=16, tensors="all")
    shadow = {}

    def sgd(parameters):
        own = list(parameters)
        optimizer = torch.optim.SGD(own, lr=0.1)
        # Deployment puts quantised values where the shadow weights were.
        optimizer.register_step_post_hook(lambda *_: shadow.update({tuple(v.shape): v.detach().clone() for v in own}))
        return optimizer

    before = [value.detach().clone() for value in student.parameters()]
    options = {"steps": 1, "batch_size": 128, "optimizer": sgd, "lr": 0.1, "schedule": "constant", "progress": False}
    compress(student, data, method, teacher=teacher, device="cpu", **options)
    at = mlp(data, depth=1).double()
    with torch.no_grad():
        for own, value in zip(at.parameters(), before, strict=True):
            own.copy_(uniform(value, 4, 16))
    inputs = data.train.inputs.double()
    s, t = at(inputs), teacher(inputs).detach()
    kl = ((t / 2).softmax(1) * ((t / 2).log_softmax(1) - (s / 2).log_softmax(1))).sum(1).mean()
    loss = 0.7 * 4 * kl + 0.3 * nn.functional.cross_entropy(s, data.train.labels)
    gradients = torch.autograd.grad(loss, list(at.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(before, student.parameters(), strict=True))
    for value, gradient in zip(before, gradients, strict=True):
        torch.testing.assert_close(shadow[tuple(value.shape)], value - 0.1 * gradient)


def test_many_levels_train_as_full_precision(data):
    student = mlp(data)
    options = {"steps": 30, "lr": 0.05, "optimizer": "sgd", "progress": False, "device": "cpu", "batch_size": 32}
    method = QD(bits=16, bucket=None)
    found = compress(student, data, method, **options)
    full = wb.training.fit(mlp(data), data, **options)
    torch.testing.assert_close(found.curves["train_loss"], full.curves["train_loss"], rtol=0, atol=1e-3)


def test_what_comes_out_is_a_plain_network_on_its_levels(data, tmp_path):
    record = compress(mlp(data), data, QD(bits=1, bucket=None), teacher=mlp(data, 16), steps=3, progress=False)
    again = wb.records.open(record.save(tmp_path / "qd.safetensors"))
    assert not any(parametrize.is_parametrized(module) for module in again.model.modules())
    for name, value in again.model.named_parameters():
        assert value.unique().numel() == 2 if value.ndim > 1 else True, name
    found = wb.training.evaluate(again.model, data.test)["accuracy"]
    assert found == pytest.approx(record.accuracy)


@pytest.mark.parametrize("method", [QD(bits=2, bucket=16), DQ(bits=2, bucket=16), PM(bits=2, bucket=16)])
def test_many_at_once_are_each_as_by_itself(data, method):
    students, teacher = [mlp(data, seed=seed) for seed in (3, 4)], mlp(data, 16)
    options = {"steps": 5, "lr": 0.01, "progress": False, "device": "cpu"}
    for record, student, seed in zip(
        compress_many(students, data, method, teacher=teacher, seeds=[3, 4], **options), students, (3, 4), strict=True
    ):
        alone = compress(student, data, method, teacher=teacher, seed=seed, **options)
        for name, value in alone.state.items():
            torch.testing.assert_close(record.state[name], value, rtol=1e-4, atol=1e-5)


def test_dq_moves_levels_and_nothing_else(data):
    student = mlp(data)
    record = compress(student, data, DQ(bits=2, bucket=None), steps=20, lr=0.05, progress=False)
    still = compress(student, data, DQ(bits=2, bucket=None), steps=1, lr=1e-12, progress=False)
    for name, value in student.named_parameters():
        if value.ndim == 1:
            assert torch.equal(record.state[name], value)
        else:
            assert record.state[name].unique().numel() <= 4
            assert not torch.allclose(record.state[name], still.state[name])


def test_pm_is_the_uniform_quantiser_of_what_it_is_given(data):
    student = mlp(data)
    record = compress(student, data, PM(bits=3, bucket=16))
    for name, value in student.named_parameters():
        expected = uniform(value.detach(), 8, 16) if value.ndim > 1 else value
        assert torch.equal(record.state[name], expected)


def test_levels_are_parted_by_gradients(data):
    assert allocate([1, 1, 2], 4) == (4, 3, 5)
    norms = gradient_norms(mlp(data), data, DQ())
    points = allocate(norms, 8)
    assert len(points) == len(chosen(mlp(data)))
    assert sum(points) == 8 * len(points)
    assert min(points) >= 4
    assert sorted(points) == [points[i] for i in sorted(range(len(norms)), key=norms.__getitem__)]
    record = compress(mlp(data), data, DQ(points=points), steps=2, progress=False)
    for name, s in zip(chosen(mlp(data)), points, strict=True):
        assert all(len(part.unique()) <= s for part in record.state[name].flatten().split(256))


def test_which_tensors(data):
    student = mlp(data)
    assert [name for name, value in student.named_parameters() if value.ndim > 1] == chosen(student)
    assert len(chosen(student, "all")) == len(list(student.parameters()))
    assert chosen(student, "weights", ("head.*",)) == chosen(student)[:-1]
    place(student, chosen(student), QD().quantisers([value for value in student.parameters() if value.ndim > 1]))
    assert [name for name, _, _ in placed(student)] == chosen(mlp(data))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda data: QD(bits=0), "bits"),
        (lambda data: QD(bucket=0), "bucket"),
        (lambda data: QD(gradient="exact"), "gradient is 'exact'"),
        (lambda data: QD(temperature=0), "temperature"),
        (lambda data: DQ(start="random"), "start is 'random'"),
        (lambda data: DQ(points=(1,)), "at least 2 levels"),
        (lambda data: compress(mlp(data), data, DQ(points=(2,)), steps=1), "points has 1 entries"),
        (lambda data: compress(mlp(data), data, PM(keep=("tail.*",))), "keep has 'tail"),
        (lambda data: compress(mlp(data), data, PM(tensors="some")), "tensors is 'some'"),
        (lambda data: compress(mlp(data), data, PM(keep=("*",))), "no parameter is left"),
        (lambda data: allocate([1.0], 2), "at least 4"),
        (lambda data: allocate([0.0], 4), "one positive"),
        (lambda data: scale(torch.zeros(0)), "empty"),
        (lambda data: uniform(torch.zeros(2), 1), "s is 1"),
    ],
)
def test_errors_at_the_door(call, message, data):
    with pytest.raises(ValueError, match=message):
        call(data)
