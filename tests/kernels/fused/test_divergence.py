"""Fused divergences against the definition in float64: values, gradients, edges, extremes, determinism."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench.kernels import dispatch, divergence
from workbench.kernels.divergence_rows import KINDS, Kind, expression, gradient
from workbench.kernels.fused import divergence as fused
from workbench.kernels.fused import sparse_rows

VERBS = {
    "forward": divergence.forward_kl,
    "reverse": divergence.reverse_kl,
    "jeffreys": divergence.jeffreys,
    "jensen": divergence.jensen_shannon,
    "skew": divergence.skew_kl,
    "skew_reverse": divergence.skew_reverse_kl,
    "variation": divergence.total_variation,
}
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


sized = fused.tile


@pytest.fixture(params=[True, False], ids=["whole", "pieces"])
def whole(request, monkeypatch):
    """Rows in pieces are for vocabularies; small pieces make the same code run on rows of a few dozen."""
    if not request.param:
        monkeypatch.setattr(fused, "WHOLE", 16)
        monkeypatch.setattr(fused, "tile", lambda n, c, *, most, elements: sized(n, c, most=most, elements=64))


@pytest.fixture
def pieces(monkeypatch):
    monkeypatch.setattr(fused, "WHOLE", 16)
    monkeypatch.setattr(fused, "tile", lambda n, c, *, most, elements: sized(n, c, most=most, elements=64))


def logits(seed, shape, dtype, device, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    return [(scale * torch.randn(shape, generator=generator)).to(dtype).to(device) for _ in range(2)]


def compare(student, teacher, kind, upstream):
    values, sums = fused.forward(student, teacher, kind)
    slopes = fused.backward(student, teacher, kind, sums, upstream)
    s, t = student.double(), teacher.double()
    exact, slope = expression(s, t, kind), upstream.double()[:, None] * gradient(s, t, kind)
    tolerance = TOLERANCE[student.dtype]
    # Against the largest: what a number close to zero is made of is rounded at the size of its terms.
    torch.testing.assert_close(values.double(), exact, rtol=1e-5, atol=1e-5 * float(exact.abs().max().clamp_min(0.1)))
    torch.testing.assert_close(
        slopes.double(), slope, rtol=tolerance, atol=tolerance * float(slope.abs().max().clamp_min(0.1))
    )


@pytest.mark.parametrize("name", KINDS)
@given(
    seed=st.integers(0, 2**31),
    shape=st.sampled_from([(1, 1), (1, 7), (3, 2), (5, 64), (2, 129), (9, 33)]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    temperatures=st.sampled_from([(1.0, 1.0), (4.0, 2.0)]),
)
def test_values_and_gradients(name, device, seed, shape, dtype, temperatures):
    student, teacher = logits(seed, shape, dtype, device)
    upstream = torch.randn(shape[0], generator=torch.Generator().manual_seed(seed)).to(device)
    compare(student, teacher, Kind(name, 0.3, *temperatures), upstream)


@pytest.mark.parametrize("name", KINDS)
def test_rows_longer_than_a_tile(name, device, pieces):
    student, teacher = logits(0, (3, 150), torch.float32, device)
    teacher[1] = 5 * torch.arange(150)  # the maximum moves with every piece
    compare(student, teacher, Kind(name, 0.3, 2.0, 1.0), torch.tensor([1.0, -2.0, 0.5], device=device))


@pytest.mark.parametrize("name", KINDS)
def test_strides_are_followed(name, device):
    student, teacher = logits(1, (20, 6), torch.float32, device)
    kind, upstream = Kind(name, 0.3, 1.0, 1.0), torch.ones(6, device=device)
    compare(student.mT, teacher.mT, kind, upstream)
    compare(student[::2], teacher[1::2], kind, torch.ones(10, device=device))


@pytest.mark.parametrize("name", KINDS)
def test_extreme_logits_and_masks(name, device, whole):
    inf = math.inf
    student = torch.tensor([[1e4, -1e4, 0.0], [3.0, 3.0, 3.0], [0.5, -inf, 1.0], [1e4 + 1, 1e4, 1e4]], device=device)
    teacher = torch.tensor([[-1e4, 1e4, 0.0], [3.0, 3.0, 3.0], [1.0, -inf, 0.0], [1.0, 0.0, 0.0]], device=device)
    student, teacher = (torch.cat([x, x.new_full((4, 14), -inf)], 1) for x in (student, teacher))
    kind, upstream = Kind(name, 0.3, 1.0, 1.0), torch.ones(4, device=device)
    compare(student, teacher, kind, upstream)
    values, sums = fused.forward(teacher, teacher, kind)
    assert values.abs().max() <= 1e-6
    slopes = fused.backward(teacher, teacher, kind, sums, upstream)
    assert slopes.isfinite().all()
    assert slopes.sum(1).abs().max() <= 1e-6


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("side", [0, 1])
def test_nan_stays_in_its_row(name, side, device, whole):
    pair = logits(2, (3, 20), torch.float32, device)
    pair[side][1, 17] = torch.nan
    kind = Kind(name, 0.3, 1.0, 1.0)
    values, sums = fused.forward(*pair, kind)
    assert values.isnan().tolist() == [False, True, False]
    slopes = fused.backward(*pair, kind, sums, torch.ones(3, device=device))
    assert slopes.isnan().any(1).tolist() == [False, True, False]


@pytest.mark.parametrize("name", KINDS)
def test_the_public_verb_runs_it_for_both_sides(name, device):
    student, teacher = (x.requires_grad_() for x in logits(3, (2, 3, 20), torch.float32, device))
    weights = torch.tensor([[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]], device=device)
    ignore = torch.tensor([[False, False, False], [False, True, False]], device=device)
    value = VERBS[name](student, teacher, weights=weights, ignore=ignore, student_temperature=2.0)
    s, t = (x.detach().double().requires_grad_() for x in (student, teacher))
    exact = VERBS[name](s, t, weights=weights.double(), ignore=ignore, student_temperature=2.0)
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(
        torch.autograd.grad(value.sum(), (student, teacher)), torch.autograd.grad(exact.sum(), (s, t)), strict=True
    ):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=1e-6)
        assert (mine[1, 1] == 0).all()
        assert (mine[0, 1] == 0).all()


def test_ignored_rows_of_nan_have_no_gradient(device):
    student, teacher = logits(4, (2, 20), torch.float32, device)
    student[1] = torch.nan
    student.requires_grad_()
    value = divergence.reverse_kl(student, teacher, ignore=torch.tensor([False, True], device=device))
    assert value[1] == 0
    value.sum().backward()
    assert (student.grad[1] == 0).all()
    assert (student.grad[0] != 0).all()


def test_second_derivatives_go_through_the_definition(device):
    student, teacher = logits(5, (2, 20), torch.float32, device)
    student.requires_grad_()
    (slope,) = torch.autograd.grad(divergence.forward_kl(student, teacher).sum(), student, create_graph=True)
    slope[0, 0].backward()
    q = student.detach()[0].softmax(0)
    torch.testing.assert_close(student.grad[0, 0], q[0] * (1 - q[0]))


def test_run_to_run_the_same_bits(device, whole):
    student, teacher = logits(6, (4, 30), torch.bfloat16, device)
    kind, upstream = Kind("skew", 0.1, 1.0, 1.0), torch.ones(4, device=device)
    runs = [fused.forward(student, teacher, kind) for _ in range(2)]
    assert torch.equal(*(values for values, _ in runs))
    assert torch.equal(*(fused.backward(student, teacher, kind, sums, upstream) for _, sums in runs))


def test_empty_batches_and_doubles_are_left_to_the_reference(device, caplog):
    dispatch._fall_back.cache_clear()
    assert divergence.forward_kl(torch.zeros(0, 5, device=device), torch.zeros(0, 5, device=device)).shape == (0,)
    student, teacher = logits(7, (2, 20), torch.float64, device)
    torch.testing.assert_close(
        divergence.forward_kl(student, teacher), expression(student, teacher, Kind("forward", 0, 1.0, 1.0))
    )
    divergence.forward_kl(student, teacher)
    assert [record.message for record in caplog.records if "divergence" in record.message] == [
        "divergence runs as plain PyTorch: the fused kernel does not take float64"
    ]


@given(seed=st.integers(0, 2**31), shape=st.sampled_from([(1, 1, 1), (2, 30, 3), (3, 129, 7), (2, 40, 40), (2, 9, 0)]))
def test_the_rest_of_a_sparse_teacher(device, seed, shape):
    n, classes, k = shape
    student, teacher = logits(seed, (n, classes), torch.float32, device)
    ids = teacher.topk(k).indices
    exact = (student.double() / 2).scatter(-1, ids, -torch.inf).logsumexp(-1)
    torch.testing.assert_close(sparse_rows.rest(student, ids, 2.0).double(), exact, rtol=1e-5, atol=1e-6)


def test_a_sparse_teacher_in_pieces(device, monkeypatch):
    monkeypatch.setattr(sparse_rows, "COLUMNS", 16)
    student, teacher = logits(8, (3, 200), torch.float32, device)
    ids = teacher.topk(5).indices
    student[0, ids[0]] = 30.0  # nearly all the mass is listed: the rest must keep its digits
    student.requires_grad_()
    sparse = divergence.Sparse.of(teacher, 5)
    value = divergence.skew_kl(student, sparse)
    s = student.detach().double().requires_grad_()
    exact = divergence.skew_kl(s, divergence.Sparse(ids, sparse.values.double(), sparse.tail.double()))
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(
        torch.autograd.grad(value.sum(), student), torch.autograd.grad(exact.sum(), s), strict=True
    ):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs 24 GiB of GPU memory: run on a GPU")
def test_more_than_two_to_the_31_elements(device):
    classes = 1 << 18
    n = (1 << 13) + 3
    student = torch.randn(n, classes, device=device, dtype=torch.bfloat16)
    kind = Kind("forward", 0, 1.0, 1.0)
    teacher = student.flip(0)
    values, sums = fused.forward(student, teacher, kind)
    last = expression(student[-2:].double(), teacher[-2:].double(), kind)
    torch.testing.assert_close(values[-2:].double(), last, rtol=1e-5, atol=1e-5)
    slopes = fused.backward(student, teacher, kind, sums, torch.ones(n, device=device))
    exact = gradient(student[-1:].double(), teacher[-1:].double(), kind)
    torch.testing.assert_close(slopes[-1:].double(), exact, rtol=1e-2, atol=1e-7)
