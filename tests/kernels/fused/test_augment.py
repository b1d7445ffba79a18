"""The fused sampling pass against the definition in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.test_augment import every
from workbench.kernels.augment import Change, augment, by_definition
from workbench.kernels.fused import augment as fused

PARTS = [("color",), ("shift", "hole"), ("affine",), ("color", "shift", "hole", "affine")]


@pytest.mark.parametrize("parts", PARTS)
@given(st.sampled_from([(2, 3, 8, 8), (3, 1, 5, 7)]), st.booleans(), st.integers(0, 99))
def test_values_and_gradients(device, parts, shape, shared, seed):
    make = torch.Generator().manual_seed(seed)
    x, up = (torch.randn(shape, generator=make).to(device) for _ in range(2))
    told = every(1 if shared else shape[0], seed)
    change = Change(**{name: getattr(told, name).to(device) for name in parts})
    x.requires_grad_()
    mine = augment(x, change)
    (slope,) = torch.autograd.grad(mine, x, up)
    wide = x.detach().double().requires_grad_()
    exact = by_definition(wide, change)
    (expected,) = torch.autograd.grad(exact, wide, up.double())
    torch.testing.assert_close(mine.double(), exact, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(slope.double(), expected, rtol=1e-5, atol=1e-5)


def test_half_precision_many_channels_and_the_same_bits(device):
    told = Change(*(each.to(device) for each in every()))
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).to(device)
    torch.testing.assert_close(
        augment(x.bfloat16(), told).float(), augment(x.bfloat16().float(), told), rtol=1e-2, atol=2e-2
    )
    assert torch.equal(
        fused.backward(x, Change(*(each.expand(2, *each.shape[1:]) for each in told))),
        fused.backward(x, Change(*(each.expand(2, *each.shape[1:]) for each in told))),
    )
    many = torch.randn(2, 5, 8, 8, device=device)
    torch.testing.assert_close(augment(many, told), by_definition(many, told))
