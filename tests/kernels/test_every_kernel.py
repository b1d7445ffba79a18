"""What holds for every kernel in plain PyTorch: derivatives, sizes, strides, empty batches, determinism, memory."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.kernels.cases import CASES, LEAST
from workbench.kernels import characteristic, divergence, divergence_rows, kernel_sums, linear_divergence, sparse_rows


@pytest.fixture(params=["by definition", "in blocks"])
def version(request, monkeypatch):
    if request.param == "in blocks":
        monkeypatch.setattr(divergence, "SMALL", 0)
        monkeypatch.setattr(divergence_rows, "BLOCK", 8)
        monkeypatch.setattr(sparse_rows, "BLOCK", 8)
        for module, name in (
            (kernel_sums, "BLOCK"),
            (characteristic, "BLOCK"),
            (linear_divergence, "LOGITS"),
        ):
            monkeypatch.setitem(getattr(module, name), "cpu", 8)


every = pytest.mark.parametrize("name", CASES)


@every
def test_gradients_are_right(name, version):
    case = CASES[name]
    inputs = [each.requires_grad_(at < case.learned) for at, each in enumerate(case.inputs(max(3, LEAST[name]), 4))]
    assert torch.autograd.gradcheck(case.run, inputs)


@every
@settings(max_examples=6, deadline=None)
@given(n=st.sampled_from([1, 2, 5, 9]), k=st.sampled_from([1, 3, 6, 17]), seed=st.integers(0, 99))
def test_single_precision_and_strides_at_any_size(name, n, k, seed):
    case = CASES[name]
    inputs = case.inputs(max(n, LEAST[name]), k, dtype=torch.float32, seed=seed)
    exact = case.value_and_slopes([each.double() for each in inputs])
    # Every other element of every axis of a larger tensor, whose last axis comes first in memory.
    loose = []
    for each in inputs:
        room = torch.full([2 * side for side in each.shape][::-1], torch.nan).permute(*reversed(range(each.ndim)))
        loose.append(room[(slice(None, None, 2),) * each.ndim].copy_(each))
    for given_ in (inputs, loose):
        for mine, right in zip(case.value_and_slopes(given_), exact, strict=True):
            torch.testing.assert_close(mine.double(), right, rtol=1e-5, atol=1e-5 * max(0.1, float(right.abs().max())))


@every
def test_run_to_run_the_same_bits(name, version):
    case = CASES[name]
    inputs = case.inputs(6, 5, dtype=torch.float32)
    first, second = (case.value_and_slopes(inputs) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@every
def test_an_empty_batch_has_empty_values_and_gradients_or_is_refused_by_name(name, version):
    case, inputs = CASES[name], CASES[name].inputs(0, 5)
    if name in ("characteristic", "discrepancy"):
        with pytest.raises(ValueError, match="no points"):
            case.run(*inputs)
    elif name.startswith("hsic"):
        with pytest.raises(ValueError, match=r"(of|from) 0 examples"):
            case.run(*inputs)
    else:
        value, *slopes = case.value_and_slopes(inputs)
        assert value.shape[:1] == (0,) or value == 0
        for slope, each in zip(slopes, inputs, strict=False):
            assert slope.shape == each.shape
            assert (slope == 0).all()


@every
def test_nan_in_the_first_argument_is_never_a_number(name, version):
    case = CASES[name]
    inputs = case.inputs(6, 5)
    clean = case.run(*inputs)
    inputs[0][2, 1] = torch.nan
    value = case.run(*inputs)
    alone = not name.startswith(("hsic", "characteristic", "discrepancy", "linear"))
    if alone:  # rows of their own
        broken = value.isnan().flatten(1).any(1) if value.ndim > 1 else value.isnan()
        assert broken.nonzero().tolist() == [[2]]
        torch.testing.assert_close(value[~broken], clean[~broken])
    elif name.startswith("hsic"):  # the last row of pairs is of features without it
        assert value[0].isnan().all()
        assert torch.equal(value[1], clean[1])
    else:
        assert value.isnan().any()


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that an operation makes; views make none."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        held = {each.data_ptr() for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)}
        for each in tree_leaves(out):
            if isinstance(each, torch.Tensor) and each.untyped_storage().data_ptr() not in held:
                self.elements = max(self.elements, each.untyped_storage().nbytes() // each.element_size())
        return out


@pytest.mark.parametrize(
    ("name", "module", "attribute", "n", "k"),
    [
        ("kernel_sums rbf", kernel_sums, "BLOCK", 900, 3),
        ("kernel_sums matern32", kernel_sums, "BLOCK", 900, 3),
        ("characteristic", characteristic, "BLOCK", 900, 3),
        ("linear_divergence", linear_divergence, "LOGITS", 900, 50),
    ],
)
def test_no_more_than_a_block_exists_at_a_time(name, module, attribute, n, k, monkeypatch):
    """n × m elements, which is what the definition holds, would be ten times the bound."""
    case = CASES[name]
    monkeypatch.setitem(getattr(module, attribute), "cpu", 2048)
    monkeypatch.setattr(divergence_rows, "BLOCK", 512)
    inputs = case.inputs(n, k)
    if name.startswith("kernel_sums"):
        inputs[1:] = [torch.randn(70, each.shape[1], dtype=torch.float64) for each in inputs[1:]]
    if name == "characteristic":
        inputs[1] = torch.randn(70, k, dtype=torch.float64)
    with Largest() as seen:
        case.value_and_slopes(inputs)
    # The largest of: a block, the points with their columns, their gradients.
    assert seen.elements <= max(2048, n * 8)


def test_divergences_hold_the_gradient_and_blocks_only(monkeypatch):
    monkeypatch.setattr(divergence, "SMALL", 0)
    monkeypatch.setattr(divergence_rows, "BLOCK", 1000)
    inputs = CASES["jensen_shannon"].inputs(400, 50)
    held = []
    with Largest() as seen:
        value = divergence.jensen_shannon(inputs[0].requires_grad_(), inputs[1])
        held.append(value.grad_fn.kept.gradient.numel())
        value.sum().backward()
    assert seen.elements == held[0] == 400 * 50
