"""One sampling pass: the same as the augmentations one after the other, with their gradients."""

import math

import pytest
import torch

from workbench.condensation.methods import dsa as siamese
from workbench.kernels import augment as module
from workbench.kernels.augment import Change, augment, in_pixels, reach, resample


def images(n=3, c=3, h=6, w=5, seed=0):
    return torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def every(n=1, seed=1):
    u = torch.rand(n, 13, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    angle = (u[:, 0] - 0.5) * math.pi / 6
    scale = 0.8 + 0.4 * u[:, 1:3]
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    affine = torch.cat([turn * scale[:, None], 0.2 * (u[:, 3:5, None] - 0.5)], 2)
    corner = (u[:, 5:7] * 4).long()
    return Change(
        color=torch.stack([u[:, 7] - 0.5, 2 * u[:, 8], u[:, 9] + 0.5], 1),
        shift=(u[:, 10:12] * 3).long() - 1,
        hole=torch.cat([corner, corner + 2], 1),
        flip=u[:, 12] < 0.5,
        affine=affine,
    )


def loops(x, change):
    """Pixel by pixel, from the formulas of the module's docstring."""
    n, channels, height, width = x.shape
    bright, saturated, contrasted = change.color.unbind(1)
    grey, mean = x.mean(1, keepdim=True), x.mean((1, 2, 3))
    out = torch.zeros_like(x)
    for i in range(n):
        colored = contrasted[i] * (saturated[i] * (x[i] - grey[i]) + grey[i] - mean[i]) + mean[i] + bright[i]
        (down, right), (top, left, bottom, end) = change.shift[i].tolist(), change.hole[i].tolist()
        seen = torch.zeros(channels, height, width).double()
        for row in range(height):
            for column in range(width):
                at = row + down, column + right
                cut = top <= row < bottom and left <= column < end
                if not cut and 0 <= at[0] < height and 0 <= at[1] < width:
                    seen[:, row, width - 1 - column if change.flip[i] else column] = colored[:, at[0], at[1]]
        for row in range(height):
            for column in range(width):
                point = torch.tensor([(2 * column + 1) / width - 1, (2 * row + 1) / height - 1, 1], dtype=torch.float64)
                u, v = (change.affine[i] @ point).tolist()
                u, v = ((u + 1) * width - 1) / 2, ((v + 1) * height - 1) / 2
                for j in range(height):
                    for k in range(width):
                        weight = max(0, 1 - abs(v - j)) * max(0, 1 - abs(u - k))
                        out[i, :, row, column] += weight * seen[:, j, k]
    return out


@pytest.mark.parametrize("shape", [(4, 3, 6, 5), (2, 1, 4, 7), (1, 2, 1, 1)])
def test_is_the_formulas_pixel_by_pixel(shape):
    x = images(*shape)
    for seed in (1, 2):
        change = every(shape[0], seed)
        torch.testing.assert_close(augment(x, change), loops(x, change))


def test_siamese_is_one_pass_where_nothing_interpolates_twice(monkeypatch):
    x, passes = images(), []
    monkeypatch.setattr(siamese, "augment", lambda x, change: passes.append(change) or augment(x, change))
    for strategy, count in (("color+crop+cutout+flip+rotate", 1), ("color+crop+cutout+flip+scale+rotate", 2)):
        passes.clear()
        siamese.Siamese(strategy, mode="all")(x, torch.Generator().manual_seed(0))
        assert len(passes) == count
    passes.clear()
    siamese.Siamese("cutout+crop", mode="all")(x, torch.Generator().manual_seed(0))
    assert [change.hole is None for change in passes] == [False, True]


def test_under_vmap_it_is_the_same():
    x, told = images(6).unflatten(0, (2, 3)), every(6)
    each = [value.unflatten(0, (2, 3)) for value in told]
    mapped = torch.vmap(lambda x, *told: augment(x, Change(*told)))(x, *each)
    torch.testing.assert_close(mapped.flatten(0, 1), augment(x.flatten(0, 1), told))


def test_nan_reaches_no_other_image_and_what_is_cut_is_zero():
    x = images(2)
    x[1, 0, 2, 2] = math.nan
    change = every(2)
    assert augment(x, change).isnan().any((1, 2, 3)).tolist() == [False, True]
    hole = torch.tensor([[0, 0, 6, 5]])
    assert (augment(x, Change(hole=hole)) == 0).all()


def test_first_and_second_derivatives_and_shared_parameters():
    x = images(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, every()), x)
    assert torch.autograd.gradgradcheck(lambda x: augment(x, every()).square(), x)
    each = Change(*(value.expand(2, *value.shape[1:]) for value in every()))
    torch.testing.assert_close(augment(x, every()), augment(x, each))


@pytest.mark.parametrize("outside", ["zeros", "border"])
def test_where_torch_does_not_differentiate_sampling_twice_it_is_done_here(monkeypatch, outside):
    x, affine = images(2).requires_grad_(), (1.3 * every(2).affine).requires_grad_()
    own = resample(x, affine, outside)
    slopes = torch.autograd.grad(own.square().sum(), (x, affine))
    monkeypatch.setattr(module, "TWICE", False)
    other = resample(x, affine, outside)
    torch.testing.assert_close(own, other)
    for twice in (False, True):
        more = torch.autograd.grad(other.square().sum(), (x, affine), create_graph=twice, retain_graph=True)
        torch.testing.assert_close(more, slopes)
    assert torch.autograd.gradgradcheck(lambda x: augment(x, every()).square(), x)
    mapped = torch.vmap(lambda x: resample(x, affine, outside))(x.detach().expand(3, *x.shape))
    torch.testing.assert_close(mapped[1], own)


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
    assert reach(torch.tensor([[[0.0, 0.0, 0], [0.0, 1.0, 0]]]), 6, 5) == 5  # a singular map is too much


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match="shift has shape"):
        augment(images(), Change(shift=torch.zeros(2, 2, dtype=torch.int64)))
    with pytest.raises(ValueError, match="images are"):
        augment(torch.zeros(3, 4), Change())
