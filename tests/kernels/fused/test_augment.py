"""The fused sampling pass against the definition in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.test_augment import every
from workbench.kernels import augment as module
from workbench.kernels.augment import Change, augment, by_definition
from workbench.kernels.fused import augment as fused

PARTS = [("color",), ("shift", "hole"), ("flip",), ("affine",), ("color", "shift", "hole", "flip", "affine")]


def limit(patch, pixels):
    """More pixels than these are no small image."""
    for each in (module, fused):
        patch.setattr(each, "SMALL", pixels)


@pytest.mark.parametrize("small", [True, False], ids=["small", "large"])
@pytest.mark.parametrize("parts", PARTS)
@given(st.sampled_from([(2, 3, 8, 8), (3, 1, 5, 7)]), st.booleans(), st.integers(0, 99))
def test_values_and_gradients(device, parts, small, shape, shared, seed):
    make = torch.Generator().manual_seed(seed)
    x, up = (torch.randn(shape, generator=make).to(device) for _ in range(2))
    told = every(1 if shared else shape[0], seed)
    change = Change(**{name: getattr(told, name).to(device) for name in parts})
    x.requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        limit(patch, 4096 if small else 0)
        mine = augment(x, change)
        (slope,) = torch.autograd.grad(mine, x, up)
    wide = x.detach().double().requires_grad_()
    exact = by_definition(wide, change)
    (expected,) = torch.autograd.grad(exact, wide, up.double())
    torch.testing.assert_close(mine.double(), exact, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(slope.double(), expected, rtol=1e-5, atol=1e-5)


def test_maps_that_shrink_mirror_and_flatten(device):
    affine = torch.tensor(
        [
            [[3.0, 0.5, 0.1], [-0.2, 2.5, 0.0]],
            [[0.2, 0.0, 0.3], [0.0, -0.3, 0.1]],
            [[0.05, 0.0, 0.0], [0.0, 1.0, 0.0]],
            [[0.0, 0.0, 0.1], [0.0, 1.0, 0.0]],
            [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]],
            [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]],
        ]
    ).to(device)
    x, up = (torch.randn(6, 2, 7, 9, generator=torch.Generator().manual_seed(at)).to(device) for at in (0, 1))
    x.requires_grad_()
    mine = augment(x, Change(affine=affine))
    (slope,) = torch.autograd.grad(mine, x, up)
    wide = x.detach().double().requires_grad_()
    exact = by_definition(wide, Change(affine=affine.double()))
    torch.testing.assert_close(mine.double(), exact, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(slope.double(), torch.autograd.grad(exact, wide, up.double())[0], rtol=1e-5, atol=1e-4)


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
    many = torch.randn(2, 5, 8, 8, device=device, requires_grad=True)
    torch.testing.assert_close(augment(many, told), by_definition(many, told))
    slopes = [torch.autograd.grad(run(many, told).square().sum(), many)[0] for run in (augment, by_definition)]
    torch.testing.assert_close(*slopes)


def test_under_vmap_and_twice_differentiated(device):
    x = torch.randn(2, 3, 1, 6, 6, generator=torch.Generator().manual_seed(0)).to(device)
    told = Change(*(each.to(device) for each in every(3)))
    mapped = torch.vmap(lambda x: augment(x, told))(x)
    torch.testing.assert_close(mapped, torch.stack([by_definition(each, told) for each in x]), rtol=1e-5, atol=1e-5)
    one = x[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(augment(one, told).pow(3).sum(), one, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), one)
    wide = one.detach().double().requires_grad_()
    (slope,) = torch.autograd.grad(by_definition(wide, told).pow(3).sum(), wide, create_graph=True)
    torch.testing.assert_close(
        second.double(), torch.autograd.grad(slope.square().sum(), wide)[0], rtol=1e-4, atol=1e-4
    )


def test_a_contrast_of_zero_and_nan_in_one_image(device):
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)).to(device)
    change = Change(color=torch.tensor([[0.1, 0.5, 0.0], [0.0, 2.0, 1.2]], device=device))
    x.requires_grad_()
    (slope,) = torch.autograd.grad(augment(x, change).square().sum(), x)
    wide = x.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(by_definition(wide, change).square().sum(), wide)
    torch.testing.assert_close(slope.double(), expected, rtol=1e-5, atol=1e-5)
    broken = x.detach().clone()
    broken[1, 0, 3, 3] = torch.nan
    assert augment(broken, change).isnan().any((1, 2, 3)).tolist() == [False, True]
