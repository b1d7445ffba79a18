"""Samplers reach the solution at their order, on every schedule; what goes wrong is said with step and example."""

import itertools
import math

import pytest
import torch

from workbench.diffusion import (
    DDIM,
    GaussianMixture,
    Heun,
    NetworkDenoiser,
    Prediction,
    RectifiedFlow,
    Renoise,
    SamplingError,
    VPLinear,
    mixture,
    ring,
    sample,
    target_trajectories,
)
from workbench.diffusion.sampling.predictions import write
from workbench.records import open as open_record

DOUBLE = torch.float64


def normal(n, d=2, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def gaussian(schedule=None):
    """One Gaussian: its flow has a closed form, Φ(x) = α_s m + (c_s / c_t)(x − α_t m)."""
    means = torch.tensor([[0.5, -1.0]], dtype=DOUBLE)
    return mixture(means, 0.4, schedule=schedule or RectifiedFlow())


def flow(teacher: GaussianMixture, x, t, s):
    def width(at):
        return (teacher.schedule.alpha(at).square() * teacher.variances[0] + teacher.schedule.sigma(at).square()).sqrt()

    start = teacher.schedule.alpha(t) * teacher.means[0]
    return teacher.schedule.alpha(s) * teacher.means[0] + width(s) / width(t) * (x - start)


@pytest.mark.parametrize("schedule", [RectifiedFlow(), VPLinear()], ids=["flow", "vp"])
@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("euler", 1), ("heun", 2), ("dpm-solver++", 2)])
def test_order_of_convergence(schedule, sampler, order):
    """Over times between the ends, where the solution is smooth, halving the steps divides the error by 2^order."""
    teacher = gaussian(schedule)
    first, last = torch.tensor(0.8, dtype=DOUBLE), torch.tensor(0.2, dtype=DOUBLE)
    exact = flow(teacher, schedule.sigma(first) * normal(50), first, last)
    errors = []
    for steps in (256, 512, 1024):
        times = first + (last - first) * torch.linspace(0, 1, steps + 1, dtype=DOUBLE)
        errors.append(float((sample(teacher, normal(50), sampler=sampler, steps=times) - exact).norm()))
    measured = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert measured[-1] == pytest.approx(order, abs=0.2)


def test_euler_and_ddim_are_one_on_rectified_flow():
    teacher = ring(dtype=DOUBLE)
    a, b = (sample(teacher, normal(20), sampler=name, steps=9) for name in ("ddim", "euler"))
    torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("sampler", [DDIM(churn=1.0), DDIM(churn=0.5), Renoise(), Renoise(gamma=0.3)], ids=repr)
def test_samplers_that_draw_keep_the_marginal_of_a_point(sampler):
    """An exact denoiser of one point m: the state at time s is N(α_s m, σ_s² I), whatever is redrawn."""
    teacher = mixture(torch.tensor([[0.5, -1.0]], dtype=DOUBLE), 0.0)
    seen = {}

    def record(number, t, x, x0, noise):
        seen[number] = t, x

    out = sample(teacher, normal(40_000), sampler=sampler, steps=4, record=record)
    torch.testing.assert_close(out, teacher.means.expand_as(out), atol=1e-9, rtol=0)
    for t, x in list(seen.values())[1:]:
        assert bool((x.mean(0) - (1 - t) * teacher.means[0]).abs().max() < 0.02)
        assert bool((x.std(0) / t - 1).abs().max() < 0.02)


def test_gamma_zero_is_ddim_and_the_same_seed_the_same_draws():
    teacher, noise = ring(dtype=DOUBLE), normal(20)
    plain, none = (sample(teacher, noise, sampler=rule, steps=6) for rule in (DDIM(), Renoise(gamma=0.0)))
    torch.testing.assert_close(plain, none, atol=0, rtol=0)
    a, b = (sample(teacher, noise, sampler="consistency", steps=6) for _ in range(2))
    assert bool((a == b).all())


class Wrapped(torch.nn.Module):
    """An exact teacher that answers as a network of some kind would."""

    def __init__(self, teacher, kind):
        super().__init__()
        self.teacher, self.kind = teacher, kind

    def forward(self, x, t):
        return write(self.teacher(x, t), self.kind, t, self.teacher.schedule)


@pytest.mark.parametrize("kind", ["x0", "noise", "score", "velocity", "v"])
def test_every_kind_of_network_gives_the_same_targets(kind):
    teacher = ring(schedule=VPLinear(), dtype=DOUBLE)
    network = NetworkDenoiser(Wrapped(teacher, kind), teacher.schedule, (2,), kind)
    exact, told = (target_trajectories(model, normal(8), steps=7) for model in (teacher, network))
    torch.testing.assert_close(told.targets, exact.targets, atol=1e-9, rtol=1e-9)


def test_the_targets_alone_rebuild_the_run_and_the_last_is_the_sample():
    run = target_trajectories(ring(dtype=DOUBLE), normal(16), steps=10)
    torch.testing.assert_close(run.targets[-1], run.samples, atol=1e-12, rtol=1e-12)
    x, times = run.states[0], [*run.times.tolist(), 0.0]
    for step, (t, s) in enumerate(itertools.pairwise(times)):
        noise = (x - (1 - t) * run.targets[step]) / t
        x = (1 - s) * run.targets[step] + s * noise
    torch.testing.assert_close(x, run.samples, atol=1e-10, rtol=1e-10)


def test_what_is_recorded_is_what_was_asked_for(tmp_path):
    run = target_trajectories(ring(), normal(6).float(), steps=10, stride=3, dtype=torch.float16, sampler="heun")
    assert run.steps == 4
    assert run.states.dtype == run.targets.dtype == torch.float16
    assert run.calls == 20
    again = open_record(run.save(tmp_path / "run.safetensors"))
    assert bool((again.targets == run.targets).all())
    assert again.seeds([1, 4]).samples.shape == (2, 2)
    assert list(run.to_frame()) == ["step", "time", "commitment", "spread", "distance"]


def test_a_point_has_constant_targets():
    run = target_trajectories(mixture(torch.ones(1, 2, dtype=DOUBLE), 0.0), normal(5), steps=6)
    torch.testing.assert_close(run.targets, torch.ones_like(run.targets), atol=1e-12, rtol=0)


class Broken:
    """Says NaN about one example from some time on."""

    schedule, shape, classes = RectifiedFlow(), (2,), 0

    def __call__(self, x, t, condition=None):
        x0 = torch.zeros_like(x)
        if float(t) < 0.5:
            x0[3] = math.nan
        return Prediction(x0, x)


def test_a_state_that_breaks_is_named_with_step_and_example():
    with pytest.raises(SamplingError, match=r"example 3 became NaN or infinite at step 6 of 10 .*1 of 5 examples"):
        sample(Broken(), normal(5), steps=10)


def test_bad_input_is_refused():
    teacher, noise = ring(), normal(4).float()
    with pytest.raises(ValueError, match="at least 1"):
        sample(teacher, noise, steps=0)
    with pytest.raises(SamplingError, match="each smaller than the one before"):
        sample(teacher, noise, steps=torch.tensor([0.5, 0.9, 0.0]))
    with pytest.raises(SamplingError, match=r"outside 0\.\.1"):
        sample(teacher, noise, steps=torch.tensor([1.5, 0.5, 0.0]))
    with pytest.raises(SamplingError, match=r"the model takes \(n, 2\)"):
        sample(teacher, torch.zeros(4, 3), steps=3)
    with pytest.raises(SamplingError, match=r"condition has shape \(3,\); one class for each of 4 examples"):
        sample(ring(classes=2), noise, steps=3, condition=torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="no classes"):
        target_trajectories(teacher, noise, steps=3, guidance=2.0)
    with pytest.raises(SamplingError, match="dpm-solver"):
        sample(teacher, noise, sampler="plms")
    with pytest.raises(ValueError, match="stride is 0"):
        target_trajectories(teacher, noise, stride=0)
    assert Heun().calls == 2


def test_a_rule_says_how_often_it_asks():
    with pytest.raises(SamplingError, match="without `calls`"):
        target_trajectories(ring(), torch.zeros(2, 2), sampler=lambda step: step.jump(), steps=3)
