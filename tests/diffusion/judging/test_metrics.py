"""Measures of samples: the values they must have in closed form, intervals that cover them, and what is refused."""

import math

import pytest
import torch

from workbench.data import load
from workbench.diffusion import (
    GaussianMixture,
    class_measures,
    coverage_measures,
    diversity,
    frechet,
    grid,
    kernel_density,
    mixture,
    mmd,
    mode_coverage,
    mode_uncertainty,
    precision_recall,
    ring,
    sliced_wasserstein,
)

DOUBLE = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def test_sliced_distance_of_a_shift_and_of_a_stretch():
    x = normal(5_000, 3)
    shift = torch.tensor([2.0, 0.0, 0.0], dtype=DOUBLE)
    told = sliced_wasserstein(x, x + shift, directions=1_000)
    assert told.value == pytest.approx(2 / 3**0.5, rel=0.03)  # E cos² = 1/3
    assert sliced_wasserstein(x, 3 * x).value == pytest.approx(2, rel=0.02)  # every projection: a factor of 3
    same = sliced_wasserstein(x, x.flip(0))
    assert same.value == pytest.approx(0, abs=1e-12)


def test_sliced_distance_in_one_dimension_is_that_of_sorted_points_whatever_the_numbers():
    x, y = torch.tensor([[0.0], [1.0]], dtype=DOUBLE), torch.tensor([[0.0], [0.0], [2.0], [4.0]], dtype=DOUBLE)
    # Quantile functions 0 0 1 1 and 0 0 2 4.
    assert sliced_wasserstein(x, y).value == pytest.approx(((0 + 0 + 1 + 9) / 4) ** 0.5)
    assert sliced_wasserstein(y, x).value == pytest.approx(10**0.5 / 2)


@pytest.mark.parametrize("measure", [sliced_wasserstein, mmd])
def test_intervals_of_distances_cover_the_truth_at_their_rate(measure):
    """Of 60 repetitions about 57 should; fewer than 50 or a width unlike the real scatter is wrong."""
    kind = {"bandwidth": 1.0} if measure is mmd else {"directions": 40}
    values = []
    for seed in range(60):
        x, y = normal(300, 2, seed=seed), normal(300, 2, seed=seed + 1_000) * 1.2 + 1.0
        values.append(measure(x, y, **kind))
    middle = sum(told.value for told in values) / len(values)
    assert sum(told.low <= middle <= told.high for told in values) >= 50
    scatter = torch.tensor([told.value for told in values]).std()
    assert sum(told.high - told.low for told in values) / 60 == pytest.approx(2 * 1.96 * float(scatter), rel=0.3)


def test_mmd_is_unbiased_and_needs_spread():
    values = [mmd(normal(40, 2, seed=s), normal(60, 2, seed=s + 500), bandwidth=1.0).value for s in range(100)]
    mean, error = torch.tensor(values).mean(), torch.tensor(values).std() / 10
    assert abs(float(mean)) < 3 * float(error)
    with pytest.raises(ValueError, match="needs two"):
        mmd(normal(1, 2), normal(4, 2))
    with pytest.raises(ValueError, match="all samples of y the same"):
        mmd(normal(3, 2), torch.zeros(4, 2, dtype=DOUBLE))


def test_modes_are_counted_as_they_are_filled():
    teacher = ring(dtype=DOUBLE)
    x = torch.cat([teacher.means[:1].expand(50, 2), teacher.means[1:3].repeat(24, 1), teacher.means[4:5].expand(2, 2)])
    told = mode_coverage(x, teacher)
    assert told.counts.tolist() == [50, 24, 24, 0, 2, 0, 0, 0]
    p = torch.tensor([0.5, 0.24, 0.24, 0.02], dtype=DOUBLE)
    assert told.entropy.value == pytest.approx(float(-(p * p.log()).sum()) / math.log(8))
    assert told.modes.value == 3  # the fourth holds 0.02 < 1/4 · 1/8
    assert told.quality.value == 1
    assert told.entropy.low < told.entropy.value < told.entropy.high


@pytest.mark.parametrize("dimensions", [2, 5, 64])
def test_quality_is_the_mass_within_three_deviations_of_the_plane(dimensions):
    teacher = ring(dimensions=dimensions, dtype=DOUBLE)
    x, _ = teacher.sample(20_000, torch.Generator().manual_seed(0))
    told = mode_coverage(x, teacher)
    expected = 1 - math.exp(-4.5)
    assert told.quality.low - 0.001 <= expected <= told.quality.high + 0.001
    assert mode_coverage(2 * x, teacher).quality.value < 0.01
    assert told.entropy.value > 0.999
    off = teacher.means[:1] + torch.tensor([0.0, 3.01 * 0.08, *[0.0] * (dimensions - 2)], dtype=DOUBLE)
    assert mode_coverage(off, teacher).quality.value == (0 if dimensions == 2 else 1)


def test_modes_of_uneven_components_are_counted_by_their_own_spread():
    means = torch.tensor([[0.0, 0.0], [4.0, 0.0]], dtype=DOUBLE)
    wide = GaussianMixture(
        means, torch.tensor([[1.0, 4.0], [0.01, 0.01]], dtype=DOUBLE), torch.full((2,), 0.5).double()
    )
    x = torch.tensor([[3.0, 0.0], [0.0, 5.9], [0.0, 6.1], [3.8, 0.0]], dtype=DOUBLE)
    distance = wide.distances(x)
    torch.testing.assert_close(distance[:, 0], torch.tensor([9.0, 5.9**2 / 4, 6.1**2 / 4, 3.8**2], dtype=DOUBLE))
    told = mode_coverage(x, wide)
    assert told.counts.tolist() == [3, 1]
    assert told.quality.value == 0.75


def test_classes_are_counted_each_by_itself():
    teacher = ring(classes=2, dtype=DOUBLE)
    asked = torch.arange(2_000) % 2
    x, _ = teacher.sample(2_000, torch.Generator().manual_seed(0), asked)
    told = mode_coverage(x, teacher, asked)
    assert told.entropy.value > 0.99
    assert told.modes.value == 8
    wrong = mode_coverage(x, teacher, 1 - asked)
    assert wrong.quality.value == 0
    half = mode_coverage(teacher.means[asked * 4], teacher, asked)
    assert half.entropy.value == pytest.approx(0, abs=1e-12)
    assert half.modes.value == 2
    grouped = mode_coverage(x, teacher, groups=teacher.labels)
    assert grouped.counts.tolist() == [1_000, 1_000]
    assert grouped.entropy.value == pytest.approx(1)


def test_diversity_is_the_mean_distance_of_pairs():
    x = normal(50, 4)
    pairs = torch.pdist(x)
    assert diversity(x).value == pytest.approx(float(pairs.mean()))
    asked = torch.arange(50) % 2
    expected = (float(torch.pdist(x[::2]).mean()) + float(torch.pdist(x[1::2]).mean())) / 2
    assert diversity(x, asked).value == pytest.approx(expected)
    values = [diversity(normal(100, 2, seed=s)) for s in range(60)]
    truth = math.pi**0.5  # of two standard normal points in the plane
    assert sum(told.low <= truth <= told.high for told in values) >= 50
    with pytest.raises(ValueError, match="two of each class"):
        diversity(x[:3], torch.tensor([0, 0, 1]))


def test_precision_and_recall_tell_lost_variety_from_lost_quality():
    real, _ = ring(dtype=DOUBLE).sample(1_000, torch.Generator().manual_seed(0))
    few, _ = ring(dtype=DOUBLE).only(torch.arange(2)).sample(1_000, torch.Generator().manual_seed(1))
    lost = precision_recall(few, real)
    assert lost.precision.value > 0.9
    assert lost.recall.value == pytest.approx(0.25, abs=0.06)
    blurred = precision_recall(real + 0.3 * normal(1_000, 2), real)
    assert blurred.precision.value < 0.8
    assert precision_recall(real, real).precision.value == 1
    with pytest.raises(ValueError, match="more than neighbours=3"):
        precision_recall(real[:3], real)


def test_frechet_is_exact_for_the_moments():
    x = normal(5_000, 3)
    stretch = torch.tensor([1.0, 2.0, 0.5], dtype=DOUBLE)
    told = frechet(x, x * stretch + 1)
    centred = x - x.mean(0)
    cov = centred.mT @ centred / (len(x) - 1)
    other = cov * stretch * stretch[:, None]
    values = torch.linalg.eigvals(cov @ other).real.sqrt().sum()
    gap = (x * stretch + 1 - x).mean(0).square().sum()
    assert told.value == pytest.approx(float(gap + cov.trace() + other.trace() - 2 * values), rel=1e-6)
    assert told.low < told.value < told.high
    assert frechet(x, x).value == pytest.approx(0, abs=1e-9)


def test_uncertainty_falls_as_the_card_measured():
    at = torch.tensor([0.75, 0.5, 0.4, 0.3, 0.25, 0.2, 0.12], dtype=DOUBLE)
    told = mode_uncertainty(ring(), at)
    expected = torch.tensor([0.97, 0.81, 0.65, 0.43, 0.30, 0.17, 0.02], dtype=DOUBLE)
    torch.testing.assert_close(told, expected, atol=0.015, rtol=0)
    assert bool((mode_uncertainty(grid(), torch.linspace(0.95, 0.02, 20)).diff() <= 0).all())
    of_groups = mode_uncertainty(ring(classes=2), at, groups=ring(classes=2).labels)
    assert bool((of_groups.diff() <= 0).all())


def test_what_hand_overs_measure_of_points_and_of_images():
    x, _ = ring().sample(200, torch.Generator().manual_seed(0))
    told = {name: measure(x, None).value for name, measure in coverage_measures(ring()).items()}
    assert set(told) == {"entropy", "modes", "quality", "diversity"}
    digits = load("digits")
    teacher = kernel_density(digits)
    asked = torch.arange(60) % 10
    images, _ = teacher.sample(60, torch.Generator().manual_seed(0), asked)
    measures = class_measures(teacher)
    assert measures["entropy"](images, None).value == pytest.approx(1, abs=0.02)
    assert measures["quality"](images, asked).value > 0.9
    assert measures["quality"](images, (asked + 1) % 10).value < 0.1
    assert measures["quality"](torch.zeros_like(images), None).value == 0
    with pytest.raises(ValueError, match="conditional=True"):
        class_measures(mixture(torch.zeros(2, 2), 0.1))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="only their numbers may differ"):
        sliced_wasserstein(normal(5, 2), normal(5, 3))
    with pytest.raises(ValueError, match="only their numbers may differ"):
        frechet(normal(0, 2), normal(5, 2))
