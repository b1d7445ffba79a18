"""One sampling pass: the same as the augmentations one after the other, with their gradients."""

import math

import pytest
import torch

from workbench.condensation.siamese import Siamese
from workbench.kernels.augment import Change, augment, in_pixels, reach
from workbench.training.augment import resample


def images(n=3, c=3, h=6, w=5, seed=0):
    return torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def every(n=1, seed=1):
    u = torch.rand(n, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    angle = (u[:, 0] - 0.5) * math.pi / 6
    scale = 0.8 + 0.4 * u[:, 1:3]
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    affine = torch.cat([turn * scale[:, None], 0.2 * (u[:, 3:5, None] - 0.5)], 2)
    corner = (u[:, 5:7] * 4).long()
    return Change(
        color=torch.stack([u[:, 7] - 0.5, 2 * u[:, 8], u[:, 9] + 0.5], 1),
        shift=(u[:, 10:12] * 3).long() - 1,
        hole=torch.cat([corner, corner + 2], 1),
        affine=affine,
    )


@pytest.mark.parametrize("strategy", ["color", "crop", "cutout", "flip", "scale", "rotate", "color+crop+cutout+rotate"])
def test_is_what_siamese_does_for_each_name(strategy):
    """Flip, scale and rotation are maps; two of them in a row are one interpolation here, two there."""
    x, siamese = images(), Siamese(strategy, mode="all")
    draws = siamese.draw(x.shape, torch.Generator().manual_seed(0))
    u = draws[1].double()
    height, width = x.shape[-2:]
    zero, one = torch.zeros(3).double(), torch.ones(3).double()
    change = Change()
    if "color" in strategy:
        change = change._replace(color=torch.stack([u[:, 0] - 0.5, 2 * u[:, 1], u[:, 2] + 0.5], 1))
    if "crop" in strategy:
        sides = [int(side * siamese.crop + 0.5) for side in (height, width)]
        change = change._replace(
            shift=torch.stack([(u[:, 3 + i] * (2 * r + 1)).floor().long() - r for i, r in enumerate(sides)], 1)
        )
    if "cutout" in strategy:
        first, last = [], []
        for side, draw in ((height, u[:, 5]), (width, u[:, 6])):
            length = int(side * siamese.cutout + 0.5)
            first.append((draw * (side + 1 - length % 2)).floor().long() - length // 2)
            last.append(first[-1] + length)
        change = change._replace(hole=torch.stack([*first, *last], 1))
    if strategy == "flip":
        sign = torch.where(u[:, 7] < 0.5, -one, one)
        change = change._replace(affine=torch.stack([sign, zero, zero, zero, one, zero], 1).view(-1, 2, 3))
    if strategy == "scale":
        a, b = (1 / 1.2 + u[:, i] * (1.2 - 1 / 1.2) for i in (8, 9))
        change = change._replace(affine=torch.stack([a, zero, zero, zero, b, zero], 1).view(-1, 2, 3))
    if "rotate" in strategy:
        angle = (2 * u[:, 10] - 1) * math.radians(15)
        aspect = height / width
        rows = [angle.cos(), -angle.sin() * aspect, zero, angle.sin() / aspect, angle.cos(), zero]
        change = change._replace(affine=torch.stack(rows, 1).view(-1, 2, 3))
    torch.testing.assert_close(augment(x, change), siamese.apply(x, draws[0], u), rtol=1e-6, atol=1e-6)


def test_first_and_second_derivatives_and_shared_parameters():
    x = images(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, every()), x)
    assert torch.autograd.gradgradcheck(lambda x: augment(x, every()).square(), x)
    each = Change(*(value.expand(2, *value.shape[1:]) for value in every()))
    torch.testing.assert_close(augment(x, every()), augment(x, each))


def test_nothing_to_do_and_colour_that_changes_nothing():
    x = images()
    assert torch.equal(augment(x, Change()), x)
    torch.testing.assert_close(augment(x, Change(color=torch.tensor([[0.0, 1.0, 1.0]]).double())), x)
    still = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]]).double()
    torch.testing.assert_close(augment(x, Change(affine=still)), x)
    assert augment(images(0), every()).shape == (0, 3, 6, 5)


def test_maps_in_pixels_are_those_of_resample():
    x, affine = images(1, 1), every().affine
    seen = in_pixels(affine, 6, 5).double()
    down, right = torch.meshgrid(torch.arange(6.0), torch.arange(5.0), indexing="ij")
    u, v = (seen[0] @ torch.stack([right.flatten(), down.flatten(), torch.ones(30)]).double()).view(2, 6, 5)
    value = torch.zeros(6, 5).double()
    for i in range(6):
        for j in range(5):
            value += (1 - (u - j).abs()).clamp_min(0) * (1 - (v - i).abs()).clamp_min(0) * x[0, 0, i, j]
    torch.testing.assert_close(value, resample(x, affine, outside="zeros")[0, 0], rtol=1e-4, atol=1e-5)
    assert reach(torch.tensor([[[0.5, 0.0, 0], [0.0, 0.25, 0]]]), 6, 5) == 4


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match="shift has shape"):
        augment(images(), Change(shift=torch.zeros(2, 2, dtype=torch.int64)))
    with pytest.raises(ValueError, match="images are"):
        augment(torch.zeros(3, 4), Change())
