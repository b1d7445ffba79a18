"""Each change is the plain one that the public code defines, done with numpy, and its gradient is right."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.condensation import Siamese
from workbench.models import build
from workbench.training import Ensemble, fit

NAMES = ("color", "crop", "cutout", "flip", "scale", "rotate")
COLUMNS = {"color": (0, 1, 2), "crop": (3, 4), "cutout": (5, 6), "flip": (7,), "scale": (8, 9), "rotate": (10,)}


def images(n=4, channels=3, height=8, width=8, seed=0):
    return torch.randn(n, channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn(seed=1):
    return torch.Generator().manual_seed(seed)


def bilinear(image, row, column):
    """The image (c, h, w) read at a point between pixel centres; outside it is 0."""
    c, height, width = image.shape
    top, left = math.floor(row), math.floor(column)
    value = np.zeros(c)
    for i, share_i in ((top, 1 - (row - top)), (top + 1, row - top)):
        for j, share_j in ((left, 1 - (column - left)), (left + 1, column - left)):
            if 0 <= i < height and 0 <= j < width:
                value += share_i * share_j * image[:, i, j]
    return value


def plain(name, image, u, siamese):
    """One image (c, h, w) changed by hand, from the uniform numbers `u`."""
    c, height, width = image.shape
    u = [float(value) for value in u]
    if name == "color":
        image = image + (u[0] - 0.5) * siamese.brightness
        grey = image.mean(0, keepdims=True)
        image = (image - grey) * (u[1] * siamese.saturation) + grey if c > 1 else image
        mean = image.mean()
        return (image - mean) * (u[2] + siamese.contrast) + mean
    if name == "crop":
        reach = [int(side * siamese.crop + 0.5) for side in (height, width)]
        start = [math.floor(value * (2 * r + 1)) for value, r in zip(u, reach, strict=True)]
        padded = np.pad(image, ((0, 0), (reach[0],) * 2, (reach[1],) * 2))
        return padded[:, start[0] : start[0] + height, start[1] : start[1] + width]
    if name == "cutout":
        size = [int(side * siamese.cutout + 0.5) for side in (height, width)]
        centre = [
            math.floor(value * (side + 1 - length % 2))
            for value, side, length in zip(u, (height, width), size, strict=True)
        ]
        cut = image.copy()
        top, left = (max(0, c - length // 2) for c, length in zip(centre, size, strict=True))
        bottom, right = (c - length // 2 + length for c, length in zip(centre, size, strict=True))
        cut[:, top:bottom, left:right] = 0
        return cut
    if name == "flip":
        return image[:, :, ::-1].copy() if u[0] < siamese.flip else image
    middle = (height - 1) / 2, (width - 1) / 2
    out = np.empty_like(image)
    for i in range(height):
        for j in range(width):
            y, x = i - middle[0], j - middle[1]
            if name == "scale":
                least = 1 / siamese.scale
                x, y = (v * (least + t * (siamese.scale - least)) for v, t in zip((x, y), u, strict=True))
            else:
                angle = math.radians((2 * u[0] - 1) * siamese.rotate)
                x, y = x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
            out[:, i, j] = bilinear(image, y + middle[0], x + middle[1])
    return out


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10)
@given(
    n=st.integers(1, 4),
    channels=st.sampled_from([1, 3]),
    height=st.integers(4, 10),
    width=st.integers(4, 10),
    seed=st.integers(0, 99),
)
def test_each_change_is_its_plain_definition(name, n, channels, height, width, seed):
    siamese, x = Siamese(name), images(n, channels, height, width, seed)
    which, uniform = siamese.draw(x.shape, drawn(seed))
    uniform = uniform.double()
    changed = siamese.apply(x, which, uniform)
    for i in range(n):
        expected = plain(name, x[i].numpy(), uniform[i, list(COLUMNS[name])], siamese)
        np.testing.assert_allclose(changed[i].numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_passes_each_change(name):
    siamese, x = Siamese(name), images(2, 3, 5, 6).requires_grad_()
    draws = siamese.draw(x.shape, drawn())
    assert torch.autograd.gradcheck(lambda x: siamese.apply(x, *draws), (x,))


def test_ranges_are_those_of_the_public_code():
    x = torch.ones(3000, 1, 8, 8, dtype=torch.float64)
    moved = Siamese("crop")(x, drawn())
    rows, columns = moved.amax((1, 3)), moved.amax((1, 2))
    assert (rows.sum(1)).min() == 7  # one of eight pixels at most
    assert columns.sum(1).unique().tolist() == [7, 8]
    hole = 64 - Siamese("cutout")(x, drawn()).sum((1, 2, 3))
    assert hole.max() == 16
    assert hole.min() == 4  # a quarter of it is always inside
    bright = Siamese("color")(torch.zeros(3000, 1, 2, 2), drawn()).mean((1, 2, 3))
    assert -0.5 <= bright.min() < -0.49
    assert 0.49 < bright.max() < 0.5
    flipped = Siamese("flip")(torch.arange(8.0).expand(3000, 1, 8, 8), drawn())[:, 0, 0, 0]
    assert flipped.eq(7).double().mean().item() == pytest.approx(0.5, abs=0.03)


def test_all_does_the_strategy_in_its_order():
    siamese, x = Siamese("rotate+cutout+color", mode="all"), images()
    which, uniform = siamese.draw(x.shape, drawn())
    expected = x
    for name in ("rotate", "cutout", "color"):
        expected = Siamese(name).apply(expected, torch.zeros_like(which), uniform)
    torch.testing.assert_close(siamese.apply(x, which, uniform), expected, rtol=0, atol=1e-15)


def test_single_draws_each_name_as_often_and_one_for_the_batch():
    siamese = Siamese()
    seen = [siamese.draw(torch.Size((3, 1, 8, 8)), drawn(seed))[0] for seed in range(1200)]
    assert all(bool((which == which[0]).all()) for which in seen)
    assert torch.stack(seen)[:, 0].bincount(minlength=6).min() > 150


def test_examples_of_one_batch_may_have_drawn_different_names():
    """As happens when the batches of many networks are joined."""
    siamese, x = Siamese(), images(8)
    uniform = torch.rand(8, 11, generator=drawn())
    which = torch.tensor([5, 0, 3, 0, 1, 2, 4, 5])
    joined = siamese.apply(x, which, uniform)
    for i in range(8):
        torch.testing.assert_close(siamese.apply(x[i : i + 1], which[i : i + 1], uniform[i : i + 1]), joined[i : i + 1])


@pytest.mark.parametrize("mode", ["single", "all"])
def test_shared_does_the_same_to_every_image_of_any_batch(mode):
    for seed in range(8):
        change = Siamese(mode=mode).shared(drawn(seed))
        x = images(5)
        whole = change(x)
        for i in range(5):
            torch.testing.assert_close(change(x[i : i + 1]), whole[i : i + 1], rtol=0, atol=1e-14)


def test_by_class_is_one_shared_change_per_class():
    siamese = Siamese()
    real, synthetic = images(12).unflatten(0, (3, 4)), images(6, seed=1).unflatten(0, (3, 2))
    change, generator = siamese.by_class(3, drawn()), drawn()
    each = [siamese.shared(generator) for _ in range(3)]
    for grouped in (real, synthetic):
        expected = torch.stack([one(x) for one, x in zip(each, grouped, strict=True)])
        torch.testing.assert_close(change(grouped), expected, rtol=0, atol=1e-14)


def test_same_generator_same_bits_and_the_global_state_is_left_alone():
    x, before = images(), torch.random.get_rng_state()
    assert torch.equal(Siamese()(x, drawn()), Siamese()(x, drawn()))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_half_precision_stays_in_range():
    x = torch.ones(64, 1, 8, 8, dtype=torch.bfloat16)
    for name in NAMES:
        assert Siamese(name)(x, drawn()).dtype == torch.bfloat16


def test_refusals():
    with pytest.raises(ValueError, match="there is no 'colour'"):
        Siamese("colour+crop")
    with pytest.raises(ValueError, match="mode is 'both'"):
        Siamese(mode="both")
    with pytest.raises(ValueError, match=r"images \(n, channels, height, width\)"):
        Siamese()(torch.zeros(4, 8), drawn())


def test_networks_trained_together_see_what_each_would_have_seen_alone(tiny):
    """Their batches are joined, each with the name that its own generator drew."""
    options = {"epochs": 3, "augment": Siamese(), "batch_size": 16, "progress": False}
    networks = [build("convnet", tiny, seed=seed, width=4, depth=1).double() for seed in (0, 1)]
    alone = [fit(copy.deepcopy(one), tiny, seed=seed, **options) for seed, one in enumerate(networks)]
    together = Ensemble(networks).fit(tiny, seeds=[0, 1], **options)
    for one, other in zip(alone, together, strict=True):
        for name, value in one.state.items():
            torch.testing.assert_close(other.state[name], value)
