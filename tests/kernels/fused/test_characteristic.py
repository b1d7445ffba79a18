"""Fused characteristic functions against the definition in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench.kernels import characteristic
from workbench.kernels.fused import characteristic as fused
from workbench.kernels.fused import products


@given(st.sampled_from([(1, 1, 1), (70, 19, 3), (40, 7, 70)]), st.sampled_from([(), (3,)]), st.booleans())
def test_values_and_gradients(device, shape, sets, blocks):
    n, K, d = shape
    make = torch.Generator().manual_seed(n)
    x, t = torch.randn(*sets, n, d, generator=make).to(device), torch.randn(K, d, generator=make).to(device)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "STRIP", 32)
        patch.setattr(fused, "COLUMNS", 16)
        if blocks:
            patch.setitem(characteristic.BLOCK, device.type, max(1, n // 2) * K)
        x.requires_grad_(), t.requires_grad_()
        mine = characteristic.characteristic_function(x, t)
        slopes = torch.autograd.grad(mine, (x, t), [value.detach() for value in mine])
    x, t = (each.detach().double().requires_grad_() for each in (x, t))
    exact = characteristic.by_definition(x, t)
    expected = torch.autograd.grad(exact, (x, t), [value.detach() for value in exact])
    for one, other in zip((*mine, *slopes), (*exact, *expected), strict=True):
        # Of one point the slope here is sin · cos − cos · sin: 0, with the rounding of terms of the size of a half.
        size = float(other.detach().abs().max().clamp_min(0.1))
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5 * size)


def test_run_to_run_the_same_bits_and_nan(device):
    x = torch.randn(2, 300, 3, generator=torch.Generator().manual_seed(0)).to(device)
    runs = [characteristic.characteristic_function(x, x[0, :5])[0] for _ in range(2)]
    assert torch.equal(*runs)
    x[1, 3, 0] = torch.nan
    assert characteristic.characteristic_function(x, x[0, :5])[1].isnan().all(1).tolist() == [False, True]


def test_products_by_parts_have_the_digits_of_float32(device):
    make = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, 700, generator=make).exp().to(device) for size in (30, 20))
    one, other = products.parts(a), products.parts(b)
    assert torch.equal(sum(each.double() for each in one), a.double())
    exact = a.double() @ b.double().mT
    found = products.Across(one, other)[5:], products.Along(other.turned())(one)[5:]
    for each in found:
        # The units cut off where float32 rounds, once for each sixteen of the 700 terms: 44 times up to 2⁻²³.
        assert ((each - exact[5:]) / exact[5:]).abs().max() < 6e-6


def test_wide_products_are_taken_by_parts(device, monkeypatch):
    taken = []
    monkeypatch.setattr(products, "Across", lambda *given, make=products.Across: taken.append(1) or make(*given))
    x = torch.randn(9, products.WIDE, generator=torch.Generator().manual_seed(0)).to(device)
    characteristic.characteristic_function(x, x)
    characteristic.characteristic_function(x[:, 1:], x[:, 1:])
    characteristic.characteristic_function(x[None], x)
    assert len(taken) == 1
