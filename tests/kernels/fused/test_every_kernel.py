"""What holds for every fused kernel: sizes, strides, half precision, one line where it is not taken, 2³¹ elements."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.cases import CASES
from workbench.kernels import dispatch
from workbench.kernels.divergence_rows import Kind, expression, gradient
from workbench.kernels.fused import divergence, sparse_rows

FUSED = [name for name in CASES if not name.startswith("hsic")]  # which is the BLAS's
every = pytest.mark.parametrize("name", FUSED)
LOGGED = {"sparse": {"divergence", "buckets"}, "discrepancy": {"characteristic"}}


@every
@settings(max_examples=3 if dispatch.INTERPRETED else 50)
@given(n=st.sampled_from([1, 2, 9]), k=st.sampled_from([1, 3, 17, 33]), seed=st.integers(0, 99), strided=st.booleans())
def test_single_precision_and_strides_at_any_size(name, device, n, k, seed, strided):
    case = CASES[name]
    inputs = [each.to(device) for each in case.inputs(n, k, dtype=torch.float32, seed=seed)]
    exact = case.value_and_slopes([each.double() for each in inputs])
    if strided:
        for at, each in enumerate(inputs):
            room = each.new_full([2 * side for side in each.shape][::-1], torch.nan)
            inputs[at] = room.permute(*reversed(range(each.ndim)))[(slice(None, None, 2),) * each.ndim].copy_(each)
    for mine, right in zip(case.value_and_slopes(inputs), exact, strict=True):
        allowed = case.rounding(k) * max(0.1, float(right.abs().max()))
        torch.testing.assert_close(mine.double(), right, rtol=1e-5, atol=allowed)


@every
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 1e-2), (torch.float16, 2e-3)])
def test_half_precision_is_added_up_in_single(name, device, dtype, tolerance):
    case = CASES[name]
    inputs = [each.to(device) for each in case.inputs(5, 12, dtype=dtype)]
    value, *slopes = case.value_and_slopes(inputs)
    right, *exact = case.value_and_slopes([each.double() for each in inputs])
    assert value.dtype == (dtype if name == "augment" else torch.float32)  # images keep their precision
    products = name == "linear_divergence"  # whose logits are made in half precision
    first = tolerance if products or name == "augment" else 1e-5
    torch.testing.assert_close(value.double(), right, rtol=first, atol=first * float(right.abs().max()))
    limit = (3 if first == tolerance else 1) * tolerance  # the upstream gradient has the value's error
    for mine, other in zip(slopes, exact, strict=True):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine.double(), other, rtol=limit, atol=limit * float(other.abs().max()))


@every
def test_run_to_run_the_same_bits(name, device):
    case = CASES[name]
    inputs = [each.to(device) for each in case.inputs(6, 5, dtype=torch.float32)]
    assert all(torch.equal(*pair) for pair in zip(*(case.value_and_slopes(inputs) for _ in range(2)), strict=True))


@every
def test_double_precision_is_plain_pytorch_with_one_line_in_the_log(name, device, caplog):
    dispatch._fall_back.cache_clear()
    case = CASES[name]
    inputs = [each.to(device) for each in case.inputs(3, 4)]
    for _ in range(2):
        case.value_and_slopes(inputs)
    told = [record.message for record in caplog.records if record.name == "workbench.kernels"]
    names = LOGGED.get(name, {"divergence" if "_kl" in name else name.split(" ", maxsplit=1)[0]})
    if name in ("jeffreys", "jensen_shannon", "total_variation"):
        names = {"divergence"}
    why = "runs as plain PyTorch: the fused kernel does not take float64"
    assert sorted(told) == [f"{one} {why}" for one in sorted(names)]


@every
def test_an_empty_batch_is_no_error(name, device):
    if name in ("characteristic", "discrepancy"):
        pytest.skip("undefined without points, and refused by name")
    case = CASES[name]
    inputs = [each.to(device) for each in case.inputs(0, 5, dtype=torch.float32)]
    value, *slopes = case.value_and_slopes(inputs)
    assert value.shape[:1] == (0,) or value == 0
    assert all((slope == 0).all() for slope in slopes)


@pytest.fixture(scope="module")
def far(device):
    """Views (n, classes) with more than 2³¹ elements between first and last column; untouched memory costs nothing."""
    try:
        room = torch.empty((1 << 31) + (1 << 20), dtype=torch.bfloat16, device=device)
    except RuntimeError:
        pytest.skip("there is no room for 4 GiB of addresses")

    def view(rows, columns, stride):
        return room.as_strided((rows, columns), (1, stride))

    return view


@pytest.mark.parametrize("name", ["forward", "skew"])
@pytest.mark.parametrize("whole", [True, False])
def test_columns_more_than_two_to_the_31_elements_apart(name, device, far, whole, monkeypatch):
    columns = 20
    if not whole:
        sized = divergence.tile
        monkeypatch.setattr(divergence, "WHOLE", 8)
        monkeypatch.setattr(divergence, "tile", lambda n, c, *, most, elements: sized(n, c, most=8, elements=16))
    near = [torch.randn(3, columns, generator=torch.Generator().manual_seed(at)).bfloat16().to(device) for at in (0, 1)]
    stride = (1 << 31) // (columns - 1) + 7
    student = far(3, columns, stride).copy_(near[0])
    kind, up = Kind(name, 0.3, 1.0, 1.0), torch.ones(3, device=device)
    values, sums = divergence.forward(student, near[1], kind)
    wide = near[0].double(), near[1].double()
    torch.testing.assert_close(values.double(), expression(*wide, kind), rtol=1e-5, atol=1e-5)
    slopes = divergence.backward(student, near[1], kind, sums, up)
    torch.testing.assert_close(slopes.double(), gradient(*wide, kind), rtol=1e-2, atol=1e-3)


def test_a_sparse_teachers_columns_as_far_apart(device, far):
    near = torch.randn(3, 20, generator=torch.Generator().manual_seed(0)).bfloat16().to(device)
    student = far(3, 20, (1 << 31) // 19 + 7).copy_(near)
    ids = torch.tensor([[1, 19], [0, 2], [18, 3]], device=device)
    exact = near.double().scatter(-1, ids, -torch.inf).logsumexp(-1)
    torch.testing.assert_close(sparse_rows.rest(student, ids, 1.0).double(), exact, rtol=1e-5, atol=1e-5)
