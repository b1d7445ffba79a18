"""The kernel density of images is the exact optimal denoiser, in blocks, by class, and at any bandwidth."""

import math

import pytest
import torch

from workbench.data import load
from workbench.diffusion import GaussianMixture, kernel_density, picture_scale, sample, signed
from workbench.kernels import mixture as kernel

DOUBLE = torch.float64


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def noisy(teacher, n, t, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x0, _ = teacher.sample(n, generator)
    return teacher.schedule.diffuse(x0, torch.randn(x0.shape, generator=generator, dtype=x0.dtype), t)


@pytest.mark.parametrize("bandwidth", [0.0, 0.1])
def test_it_is_the_posterior_mean_over_the_images(digits, bandwidth):
    teacher = kernel_density(digits, bandwidth=bandwidth, dtype=DOUBLE)
    t = torch.tensor(0.6, dtype=DOUBLE)
    x = noisy(teacher, 5, t)
    alpha, sigma, h = 0.4, 0.6, 2 * bandwidth
    y = signed(digits.train).double().flatten(1)
    v = alpha**2 * h**2 + sigma**2
    apart = x.flatten(1)[:, None] - alpha * y
    r = (-apart.square().sum(2) / (2 * v)).softmax(1)
    x0 = (r[..., None] * (y + alpha * h**2 / v * apart)).sum(1).view_as(x)
    told = teacher(x, t)
    torch.testing.assert_close(told.x0, x0, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(alpha * told.x0 + sigma * told.noise, x, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(teacher.responsibilities(x, t), r, atol=1e-10, rtol=1e-10)


def test_classes_see_their_own_images_only(digits):
    teacher = kernel_density(digits, dtype=DOUBLE)
    t = torch.tensor([0.7, 0.5, 0.7, 0.3], dtype=DOUBLE)
    x, asked = noisy(teacher, 4, t), torch.tensor([3, -1, 8, 3])
    together = teacher(x, t, asked)
    for row, c in enumerate(asked.tolist()):
        own = teacher if c < 0 else teacher.only((teacher.labels == c).nonzero()[:, 0])
        alone = own(x[row : row + 1], t[row])
        torch.testing.assert_close(together.x0[row], alone.x0[0], atol=1e-10, rtol=1e-10)
        torch.testing.assert_close(together.noise[row], alone.noise[0], atol=1e-10, rtol=1e-10)
        density = own.log_density(x[row : row + 1], t[row])
        torch.testing.assert_close(teacher.log_density(x, t, asked)[row], density[0], atol=1e-9, rtol=1e-9)


def test_its_derivative_reaches_the_state_in_blocks_too(digits):
    teacher = kernel_density(digits.train.subset(40), dtype=DOUBLE)
    t, asked = torch.tensor(0.6, dtype=DOUBLE), torch.tensor([1, 2, 1])
    found = []
    for block in (1 << 20, 16):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(kernel.BLOCK, "cpu", block)
            x = noisy(teacher, 3, t).requires_grad_()
            told = teacher(x, t, asked)
            found.append((told.x0, *torch.autograd.grad(told.x0.square().sum() + told.noise.sum(), x)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    x, way = noisy(teacher, 1, t).requires_grad_(), torch.zeros(1, 1, 8, 8, dtype=DOUBLE)
    way[0, 0, 3, 4] = 1
    h = 1e-6
    slope = (teacher(x + h * way, t).x0 - teacher(x - h * way, t).x0).sum() / (2 * h)
    exact = (torch.autograd.grad(teacher(x, t).x0.sum(), x)[0] * way).sum()
    assert float(slope.detach()) == pytest.approx(float(exact), rel=1e-5, abs=1e-8)


def test_isotropic_and_general_components_say_the_same():
    """The path by matrix products against the one that keeps every axis, which uneven components take."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(6, 3, generator=generator, dtype=DOUBLE)
    spread = torch.rand(6, 1, generator=generator, dtype=DOUBLE) + 0.1
    labels, weights = torch.arange(6) % 3, torch.full((6,), 1 / 6, dtype=DOUBLE)
    fast = GaussianMixture(means, spread.square().expand(6, 3), weights, labels=labels)
    axes = torch.linalg.qr(torch.randn(6, 3, 3, generator=generator, dtype=DOUBLE)).Q
    uneven = spread.square().expand(6, 3).clone()
    uneven[0, 0] *= 1 + 1e-12
    slow = GaussianMixture(means, uneven, weights, axes, labels)
    assert fast.spread is not None
    assert slow.spread is None
    x, t = torch.randn(7, 3, generator=generator, dtype=DOUBLE), torch.linspace(0, 1, 7, dtype=DOUBLE)
    for asked in (None, torch.tensor([0, 1, 2, -1, 0, 1, 2])):
        for one, other in zip(fast(x, t, asked), slow(x, t, asked), strict=True):
            torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)
        for what in ("responsibilities", "log_density"):
            one, other = (getattr(each, what)(x, t, asked) for each in (fast, slow))
            torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(fast.distances(x, asked), slow.distances(x, asked), atol=1e-9, rtol=1e-9)


def test_samples_are_near_images_of_the_class_asked_for(digits):
    teacher = kernel_density(digits)
    noise = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    asked = torch.arange(40) % 10
    distance, nearest = teacher.distances(sample(teacher, noise, steps=30, condition=asked)).min(1)
    assert (teacher.labels[nearest] == asked).all()
    assert float(distance.mean()) < 64  # of samples of the density itself: 64 on average, from the image they came from


def test_images_go_to_minus_one_and_one_and_back(digits):
    images = signed(digits.train)
    assert (float(images.min()), float(images.max())) == (pytest.approx(-1, abs=1e-5), pytest.approx(1, abs=1e-5))
    mean, std = picture_scale(1)
    raw = digits.train.inputs * digits.train.std + digits.train.mean
    torch.testing.assert_close(images * std + mean, raw)


def test_bad_input_is_refused(digits):
    with pytest.raises(ValueError, match="at least 0"):
        kernel_density(digits, bandwidth=-0.1)
    with pytest.raises(ValueError, match="no images"):
        kernel_density(load("iris"))
    with pytest.raises(ValueError, match="at least one image"):
        kernel_density(digits.train.take(torch.zeros(0, dtype=torch.long)))
    with pytest.raises(ValueError, match="without noise"):
        kernel_density(digits, bandwidth=0)(torch.zeros(1, 1, 8, 8), torch.tensor(0.0))
    moved = kernel_density(digits).to(dtype=DOUBLE).only(torch.arange(5))
    assert moved.variances.dtype == DOUBLE
    assert moved.variances.stride(1) == 0  # one number for each image, not one for each pixel
    plain = kernel_density(digits, conditional=False)
    assert plain.classes == 0
    assert math.isclose(
        plain.total_variance,
        64 * 0.04 + float(signed(digits.train).flatten(1).var(0, correction=0).sum()),
        rel_tol=1e-4,
    )
