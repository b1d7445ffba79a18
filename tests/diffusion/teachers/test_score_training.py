"""DMD, DP-DMD and SiD at work: what is trained when, on what, at which levels, and that students get nearer."""

import math

import pytest
import torch

from workbench.diffusion import (
    DMD,
    DPDMD,
    VE,
    EDMLevels,
    EvenLevels,
    LogNormalLevels,
    NetworkDenoiser,
    RectifiedFlow,
    SiD,
    denoiser,
    distill,
    mixture,
    regress,
    ring,
    sample,
    usage,
)
from workbench.diffusion.making.run import DiffusionRun
from workbench.models.denoisers import DenoiserMLP

METHODS = [DMD(batch=16), DMD(batch=16, rollout="exit"), DPDMD(batch=16), SiD(batch=16)]
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


@pytest.fixture(scope="module")
def start():
    return regress(ring(), tiny(), steps=20, batch=64, progress=False)


def tiny(classes=0, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DenoiserMLP((2,), classes, width=16, depth=2)


def running(method, teacher, network, seed=0):
    run = DiffusionRun(teacher, seed=seed, device=torch.device("cpu"), steps=1, network=network)
    run.networks = method.networks(run)
    return run


def test_the_fake_learns_as_often_as_it_is_told_and_before_the_student(start):
    for method in (DMD(batch=8, fake_steps=5), DPDMD(batch=8, fake_steps=5), SiD(batch=8, fake_steps=5)):
        names = [name for name, _ in method.losses(running(method, ring(), start))]
        assert names == ["fake"] * 5 + ["student"]


@each_method
def test_each_loss_is_of_its_own_network(method, start):
    run = running(method, ring(), start)
    for name, loss in method.losses(run):
        own = list(run.networks[name].parameters())
        gradients = torch.autograd.grad(loss, own, allow_unused=True, retain_graph=True)
        assert any(g is not None and bool((g != 0).any()) for g in gradients)
        if name == "fake":
            with pytest.raises(RuntimeError, match="not have been used"):
                torch.autograd.grad(loss, list(run.student.parameters()))


@each_method
def test_everything_is_drawn_anew(method, start):
    """No two updates of an iteration, and no two iterations, share noise or levels."""
    run, seen = running(method, ring(), start), []
    drawn, noised = run.uniform, run.noise
    run.uniform = lambda n, purpose="time": seen.append(("level", drawn(n, purpose))) or seen[-1][1]
    run.noise = lambda n, purpose="noise": seen.append(("noise", noised(n, purpose))) or seen[-1][1]
    for iteration in range(2):
        run.iteration = iteration
        list(method.losses(run))
    for what in ("level", "noise"):
        values = [float(value.flatten()[0]) for kind, value in seen if kind == what]
        assert len(set(values)) == len(values) > 2


@each_method
def test_a_student_is_used_as_it_was_trained(method, start):
    student = distill(ring(), method, network=start, steps=2, seed=3, progress=False)
    noise = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    made = sample(denoiser(student), noise, **usage(student))
    assert made.shape == (5, 2)
    assert float(student.times[-1]) == 0
    assert student.method == method.short
    again = distill(ring(), method, network=start, steps=2, seed=3, progress=False)
    torch.testing.assert_close(student.state, again.state, atol=0, rtol=0)


@each_method
def test_a_run_goes_on_where_it_stopped(method, start):
    whole = distill(ring(), method, network=start, steps=3, progress=False)
    half = distill(ring(), method, network=start, steps=1, progress=False)
    rest = distill(ring(), method, network=start, steps=3, resume=half, progress=False)
    torch.testing.assert_close(rest.state, whole.state, atol=0, rtol=0)


def test_a_generator_asks_where_noise_is_as_large_as_it_says():
    for plan in (RectifiedFlow(), VE(80.0)):
        first = SiD(ratio=2.5).times(plan)[0]
        assert float(plan.sigma(first) / plan.alpha(first)) == pytest.approx(2.5)


def test_the_anchor_alone_leaves_the_fake_as_it_was(start):
    method = DPDMD(batch=16, matching=0.0)
    run = running(method, ring(), start)
    assert [name for name, _ in method.losses(run)] == ["student"]


def test_only_the_teacher_is_guided():
    teacher, seen = ring(classes=2), []

    class Heard(NetworkDenoiser):
        def forward(self, x, t, condition=None):
            seen.append(condition)
            return super().forward(x, t, condition)

    for method in (DMD(batch=8, guidance=3.0), DPDMD(batch=8, guidance=3.0), SiD(batch=8, guidance=3.0)):
        run = running(method, teacher, Heard(tiny(2), teacher.schedule, (2,), "velocity", 2))
        seen.clear()
        list(method.losses(run))
        assert seen
        assert all(condition is not None and bool((condition >= 0).all()) for condition in seen)


def test_guidance_without_classes_is_refused(start):
    with pytest.raises(ValueError, match="has no classes"):
        distill(ring(), DMD(batch=8, guidance=3.0), network=start, steps=1, progress=False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DMD(times=(0.5, 0.7, 0.0)), "must fall from at most 1 to 0"),
        (lambda: DMD(times=(0.9, 0.1)), "must fall from at most 1 to 0"),
        (lambda: DMD(rollout="euler"), "'ode' or 'exit'"),
        (lambda: DPDMD(times=(0.9, 0.0)), "a first step and a later one"),
        (lambda: DPDMD(anchor_steps=13), "teacher_steps=12"),
        (lambda: SiD(ratio=0.0), "is positive"),
        (lambda: EvenLevels(0.0, 0.9), "0 < first < last < 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_levels_are_what_the_paper_draws():
    plan = VE(80.0)
    run = DiffusionRun(ring(schedule=plan), seed=0, device=torch.device("cpu"), steps=1)
    even = EvenLevels(0.1, 0.6)(run, 20_000, "a")
    assert (float(even.min()), float(even.max())) == (pytest.approx(0.1, abs=1e-3), pytest.approx(0.6, abs=1e-3))
    level = plan.sigma(EDMLevels()(run, 20_000, "b").double())
    assert (float(level.min()), float(level.max())) == (pytest.approx(0.002, rel=0.05), pytest.approx(24.4, rel=0.01))
    rooted = level ** (1 / 7)
    assert float(rooted.median()) == pytest.approx(float(rooted.min() + rooted.max()) / 2, rel=0.01)
    log = plan.sigma(LogNormalLevels()(run, 20_000, "c").double()).log()
    assert float(log.mean()) == pytest.approx(-1.2, abs=0.03)
    assert float(log.std()) == pytest.approx(1.2, abs=0.03)
    assert math.isfinite(float(log.max()))


@pytest.mark.parametrize(
    "method",
    [
        DMD(times=(0.714, 0.0), steps=120, batch=128, lr=3e-3, fake_lr=3e-3),
        SiD(steps=120, batch=128, lr=3e-3, fake_lr=3e-3),
        SiD(steps=120, batch=128, lr=3e-3, fake_lr=3e-3, alpha=0.5),
    ],
    ids=["DMD", "SiD 1.2", "SiD 0.5"],
)
def test_a_student_that_is_off_comes_back(method):
    """Started from a denoiser of another Gaussian, 0.8 away, it finds the teacher's."""
    at = torch.tensor([[0.5, 0.0]])
    begun = regress(mixture(at - torch.tensor([0.8, 0.0]), 0.3), tiny(), steps=250, batch=128, progress=False)
    student = distill(mixture(at, 0.3), method, network=begun, progress=False)
    noise = torch.randn(2000, 2, generator=torch.Generator().manual_seed(1))
    made = sample(denoiser(student), noise, **usage(student))
    assert float((made.mean(0) - at).norm()) < 0.2
