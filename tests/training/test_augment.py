"""Augmentations move, mirror, cut and turn as they say, from the generator given, example by example."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from workbench.training import augment
from workbench.training.augment import AUGMENTATIONS, Crop, Cutout, Flip, Noise, Rotate, Shift


def images(n: int = 6, height: int = 8, width: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 2, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", [*AUGMENTATIONS, "shift+cutout+noise"])
@given(n=st.integers(1, 5), height=st.integers(4, 12), width=st.integers(4, 12), seed=st.integers(0, 99))
def test_shape_dtype_repeatability_and_no_memory(name, n, height, width, seed):
    one = augment.resolve(name)
    x = images(n, height, width, seed)
    kept = x.clone()
    before = torch.random.get_rng_state()
    first, again, other = one(x, drawn(seed)), one(x, drawn(seed)), one(x, drawn(seed + 1))
    assert first.shape == x.shape
    assert first.dtype == x.dtype
    assert torch.equal(first, again)
    assert torch.equal(x, kept)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert other.shape == x.shape


@pytest.mark.parametrize("name", [*AUGMENTATIONS, "rotate+shift"])
def test_each_example_is_changed_by_itself(name):
    """Applying the same draws to a part of the batch gives that part: what lets many networks' batches be joined."""
    one = augment.resolve(name)
    x = images(5)
    draws = one.draw(x.shape, drawn())
    assert len(draws) == one.draws
    whole = one.apply(x, *draws)
    for i in range(len(x)):
        torch.testing.assert_close(one.apply(x[i : i + 1], *(draw[i : i + 1] for draw in draws)), whole[i : i + 1])


def test_shift_is_padding_with_edge_pixels_and_cropping():
    x = images()
    down, right = torch.tensor([0, 1, -1, 2, -2, 1]), torch.tensor([0, -2, 1, 1, -1, 2])
    moved = Shift(0.25).apply(x, down, right)
    padded = F.pad(x, (2, 2, 2, 2), mode="replicate")
    for i, (d, r) in enumerate(zip(down.tolist(), right.tolist(), strict=True)):
        assert torch.equal(moved[i], padded[i, :, 2 - d : 10 - d, 2 - r : 10 - r])


def test_shift_reaches_every_pixel_it_may_and_none_beyond():
    down, right = Shift(0.25).draw(torch.Size((4000, 1, 8, 12)), drawn())
    assert sorted(down.unique().tolist()) == [-2, -1, 0, 1, 2]
    assert sorted(right.unique().tolist()) == [-3, -2, -1, 0, 1, 2, 3]


def test_flip_mirrors_its_share():
    x = images(4000)
    mirrored = Flip(0.3)(x, drawn())
    is_mirror = (mirrored == x.flip(3)).flatten(1).all(1)
    assert torch.equal(mirrored[~is_mirror], x[~is_mirror])
    assert 0.27 < is_mirror.double().mean() < 0.33


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 9)])
def test_a_half_turn_reverses_both_axes_and_no_turn_changes_nothing(height, width):
    x = images(3, height, width)
    turned = Rotate(180).apply(x, torch.full((3,), torch.pi, dtype=torch.float64))
    torch.testing.assert_close(turned, x.flip(2, 3))
    torch.testing.assert_close(Rotate().apply(x, torch.zeros(3, dtype=torch.float64)), x)


def test_a_quarter_turn_is_rot90():
    x = images(3)
    turned = Rotate(90).apply(x, torch.full((3,), torch.pi / 2, dtype=torch.float64))
    both = [torch.rot90(x, k, (2, 3)) for k in (1, 3)]
    assert any(torch.allclose(turned, one) for one in both)


def test_a_whole_crop_changes_nothing_and_a_corner_is_the_corner():
    x = images(2)
    scale, offset = torch.ones(2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    torch.testing.assert_close(Crop().apply(x, scale, offset), x)
    # The upper left quarter of an image that is one colour per quarter is that colour all over.
    quarters = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    quarters[..., :4, :4], quarters[..., 4:, 4:] = 1.0, 2.0
    corner = Crop().apply(quarters, torch.tensor([0.5]).double(), torch.tensor([[-0.5, -0.5]]).double())
    torch.testing.assert_close(corner[..., :7, :7], torch.ones(1, 1, 7, 7, dtype=torch.float64))


def test_cutout_covers_a_square_cut_by_the_border():
    x = images(500).abs() + 1
    holes = (Cutout(0.375)(x, drawn()) == 0).all(1)
    for hole in holes:
        rows, columns = hole.any(1), hole.any(0)
        assert 1 <= int(rows.sum()) <= 3
        assert 1 <= int(columns.sum()) <= 3
        assert torch.equal(hole, rows[:, None] & columns[None, :])
    assert any(int(hole.sum()) == 9 for hole in holes)


def test_noise_has_the_scale_it_says():
    x = torch.zeros(2000, 1, 8, 8)
    noise = Noise(0.25)(x, drawn())
    assert abs(float(noise.std()) - 0.25) < 0.005
    assert abs(float(noise.mean())) < 0.005


def test_names_are_refused_with_what_there_is():
    with pytest.raises(ValueError, match="shift"):
        augment.resolve("sharpen")
    with pytest.raises(ValueError, match=r"images|height"):
        Flip()(torch.zeros(3, 4), drawn())
