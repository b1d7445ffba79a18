"""Where seeds move and what lies under them: principal directions, densities, levels of noise, measures by step."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench import diffusion
from workbench.diffusion.sampling.schedules import RectifiedFlow, VPLinear
from workbench.diffusion.trajectories import ground, measures
from workbench.diffusion.trajectories.levels import index_at, levels
from workbench.diffusion.trajectories.plane import SeedPlane


def noise(seeds, *shape, seed=0):
    return torch.randn(seeds, *shape, generator=torch.Generator().manual_seed(seed))


def test_principal_directions_are_those_of_the_samples():
    teacher = diffusion.mixture(noise(3, 5, seed=1), 0.3)
    runs = [diffusion.target_trajectories(teacher, noise(30, 5, seed=k), steps=4) for k in range(2)]
    plane = SeedPlane.of(runs)
    samples = torch.cat([run.samples.double() for run in runs])
    centred = samples - samples.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    assert plane.shares == pytest.approx((values[-2:].flip(0) / values.sum()).tolist())
    agreement = (plane.directions * vectors[:, -2:].flip(1)).sum(0).abs()
    assert agreement.tolist() == pytest.approx([1, 1])
    places = plane.project(runs[0].samples[None])[0].double()
    assert torch.allclose(places, (runs[0].samples.double() - samples.mean(0)) @ plane.directions, atol=1e-5)


@given(steps=st.integers(1, 9), other=st.integers(1, 9), place=st.integers(0, 9))
def test_another_run_is_never_ahead_in_noise_level(steps, other, place):
    one, two = (
        diffusion.target_trajectories(diffusion.ring(schedule=kind), noise(2, 2), steps=count)
        for kind, count in ((RectifiedFlow(), steps), (VPLinear(), other))
    )
    place = min(place, steps)
    index = index_at(one, place, two)
    if place == steps:
        assert index == other
        return
    now = levels(one)[place]
    assert index == 0 or levels(two)[index] <= now + 1e-6
    assert index + 1 >= other or levels(two)[index + 1] > now


def test_the_density_of_turned_components_in_a_plane_of_many_dimensions():
    """A mixture seen from one side is a mixture: its histogram over many samples has that density."""
    turned, _ = torch.linalg.qr(noise(2, 5, 5, seed=3))
    variances = torch.tensor([[0.5, 0.3, 0.05, 0.02, 0.02]]).expand(2, -1)
    teacher = diffusion.GaussianMixture(noise(2, 5, seed=4) * 2, variances, torch.tensor([0.3, 0.7]), axes=turned)
    drawn, _ = teacher.sample(60_000, torch.Generator().manual_seed(0))
    run = diffusion.target_trajectories(teacher, noise(400, 5), steps=3, name="base", role="teacher")
    plane = SeedPlane.of([run])
    span = plane.close({"base": run})
    shown = ground.densities(plane, run, teacher, [3], span)[0].astype(float)
    density = (shown / 255) ** 2
    places = plane.project(drawn[None])[0].numpy()
    edges = np.linspace(span[0], span[1], 25)
    counts, *_ = np.histogram2d(places[:, 1], places[:, 0], bins=(edges, edges))
    block = ground.CELLS // 24
    blocks = density.reshape(24, block, 24, block).mean((1, 3))
    assert np.abs(counts / counts.sum() - blocks / blocks.sum()).max() < 0.004


@pytest.mark.parametrize(
    ("sampler", "draws"),
    [("ddim", False), ("ancestral", True), ("consistency", True), (diffusion.Renoise(0.0), False),
     (diffusion.Renoise(0.3), True), (diffusion.DDIM(churn=0.5), True), (diffusion.Heun(), False)],
)  # fmt: skip
def test_a_sampler_that_draws_has_no_step_error(sampler, draws):
    run = diffusion.target_trajectories(diffusion.ring(), noise(3, 2), steps=3, sampler=sampler)
    assert measures.deterministic(run) != draws
