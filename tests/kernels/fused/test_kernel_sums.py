"""Fused kernel sums against float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench.kernels.fused import kernel_sums as fused
from workbench.kernels.kernel_sums import KERNELS, kernel_sums, mmd


@pytest.mark.parametrize("kernel", KERNELS)
@given(st.sampled_from([(1, 1, 1), (70, 9, 3), (5, 70, 5)]), st.sampled_from([0, 1, 3]))
def test_values_and_gradients(device, kernel, shape, p):
    n, m, d = shape
    make = torch.Generator().manual_seed(n)
    x, y = torch.randn(n, d, generator=make).to(device), torch.randn(m, d, generator=make).to(device)
    w = torch.rand(m, *([p] if p else []), generator=make).to(device)
    h = torch.tensor(1.3, device=device)
    given = [each.requires_grad_() for each in (x, y, w, h)]
    wide = [each.detach().double().requires_grad_() for each in given]
    mine, exact = (kernel_sums(a, b, c, kernel=kernel, bandwidth=e) for a, b, c, e in (given, wide))
    slopes = torch.autograd.grad(mine.square().sum(), given), torch.autograd.grad(exact.square().sum(), wide)
    for one, other in zip((mine, *slopes[0]), (exact, *slopes[1]), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5 * float(other.detach().abs().max()))


def test_columns_in_several_launches_nan_and_the_same_bits(device, monkeypatch):
    monkeypatch.setattr(fused, "COLUMNS", 4)
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).to(device)
    w = torch.rand(20, 6, generator=torch.Generator().manual_seed(1)).to(device)
    runs = [kernel_sums(x, x, w) for _ in range(2)]
    assert torch.equal(*runs)
    torch.testing.assert_close(runs[0].double(), kernel_sums(x.double(), x.double(), w.double()), rtol=1e-5, atol=1e-5)
    x[3, 1] = torch.nan
    assert kernel_sums(x, x[4:], w[4:]).isnan().any(1).nonzero().tolist() == [[3]]


def test_second_derivatives(device):
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0)).to(device).requires_grad_()
    wide = x.detach().double().requires_grad_()
    found = []
    for each in (x, wide):
        (slope,) = torch.autograd.grad(mmd(each, each.detach() + 1), each, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), each)[0].double())
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)
