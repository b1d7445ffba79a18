"""Diversity-preserved distribution matching: the first step learns the anchor and nothing else."""

import pytest
import torch

from tests.diffusion.small_students import DOUBLE, each_schedule, gaussian, normal, small
from workbench.diffusion import DDIM, RectifiedFlow, ring, sample
from workbench.diffusion.making.chain import follow
from workbench.diffusion.methods.dmd import dmd_gradient, surrogate
from workbench.diffusion.methods.dp_dmd import anchor, secant
from workbench.diffusion.sampling.predictions import jump, write

EVEN = torch.linspace(1, 0, 13, dtype=DOUBLE)


class PerStep:
    """A student with weights of its own at each time of its grid."""

    def __init__(self, times, like=None):
        self.times = times
        self.steps = [small(seed=k) if like is None else like for k in range(len(times) - 1)]
        self.schedule, self.shape = self.steps[0].schedule, self.steps[0].shape

    def __call__(self, x, t, condition=None):
        (number,) = (self.times[:-1] == t).nonzero().flatten().tolist()
        return self.steps[number](x, t, condition)


def velocity(prediction, t):
    return write(prediction, "velocity", t, RectifiedFlow())


def loss_of(student, times, weight, matching=1.0):
    """The paper's sum for one batch, everything drawn the same each time; and the regression alone."""
    teacher, fake, noise, t = ring(dtype=DOUBLE), small(seed=9), normal(16, 2, seed=7), torch.tensor(0.4)
    samples, first = follow(student, noise, times, cut=1)
    wanted = anchor(teacher, noise, EVEN, 5)
    regression = (velocity(first, times[0]) - velocity(wanted, times[0])).square().mean()
    state = RectifiedFlow().diffuse(samples.detach(), normal(16, 2, seed=8), t)
    return matching * surrogate(samples, dmd_gradient(state, t, teacher, fake)) + weight * regression, regression


def gradients(loss, module):
    found = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True, retain_graph=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, module.parameters(), strict=True)]


TIMES = torch.tensor([1.0, 0.6, 0.3, 0.0], dtype=DOUBLE)


def test_distribution_matching_never_reaches_the_first_step():
    student = PerStep(TIMES)
    loss, _ = loss_of(student, TIMES, 0.0)
    assert all(bool((g == 0).all()) for g in gradients(loss, student.steps[0]))
    for later in student.steps[1:]:
        assert any(bool((g != 0).any()) for g in gradients(loss, later))


@pytest.mark.parametrize("matching", [0.0, 1.0, 10.0])
def test_the_first_step_has_the_regressions_gradient_alone(matching):
    student = PerStep(TIMES)
    loss, regression = loss_of(student, TIMES, 0.5, matching)
    for found, alone in zip(
        gradients(loss, student.steps[0]), gradients(0.5 * regression, student.steps[0]), strict=True
    ):
        torch.testing.assert_close(found, alone, atol=1e-14, rtol=1e-12)


def test_shared_weights_get_the_sum_over_the_steps():
    one = small(seed=2)
    copies = PerStep(TIMES)
    for copy in copies.steps:
        copy.load_state_dict(one.state_dict())
    shared, _ = loss_of(PerStep(TIMES, like=one), TIMES, 0.5)
    apart, _ = loss_of(copies, TIMES, 0.5)
    each = [gradients(apart, copy) for copy in copies.steps]
    for found, *parts in zip(gradients(shared, one), *each, strict=True):
        torch.testing.assert_close(found, sum(parts), atol=1e-13, rtol=1e-11)


def test_one_teacher_step_is_what_the_teacher_says_of_noise():
    teacher, noise = ring(dtype=DOUBLE), normal(6, 2)
    found = velocity(anchor(teacher, noise, EVEN, 1), EVEN[0])
    torch.testing.assert_close(found, velocity(teacher(noise, EVEN[0]), EVEN[0]))


def test_all_teacher_steps_are_the_displacement_of_its_trajectory():
    teacher, noise = ring(dtype=DOUBLE), normal(6, 2)
    found = velocity(anchor(teacher, noise, EVEN, 12), EVEN[0])
    torch.testing.assert_close(found, noise - sample(teacher, noise, steps=EVEN, sampler="euler"))


def test_for_a_gaussian_the_anchor_is_the_flow_maps():
    """Φ_{1→s}(z) = α_s m + (c_s / c_1)(z − α_1 m); Euler's error falls as one over the number of steps."""
    mean, std, s = 0.4, 0.3, 0.25
    noise = normal(6, 1)
    mapped = (1 - s) * mean + ((1 - s) ** 2 * std**2 + s**2) ** 0.5 * noise
    exact = (noise - mapped) / (1 - s)
    errors = []
    for count in (400, 800):
        times = torch.linspace(1, 0, count + 1, dtype=DOUBLE)
        found = anchor(gaussian(mean, std, RectifiedFlow()), noise, times, count * 3 // 4)
        errors.append(float((velocity(found, times[0]) - exact).abs().max()))
    assert errors[1] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.02)


def test_the_regression_can_be_met_so_the_first_step_keeps_the_anchors_variance():
    """The anchor is a function of z, for a Gaussian teacher an affine one: least squares leave nothing of it."""
    noise = normal(200, 1)
    found = anchor(gaussian(0.4, 0.3, RectifiedFlow()), noise, EVEN, 5)
    wanted = velocity(found, EVEN[0])
    design = torch.cat([noise, torch.ones_like(noise)], 1)
    fitted = design @ torch.linalg.lstsq(design, wanted).solution
    torch.testing.assert_close(fitted.var(), wanted.var(), atol=1e-12, rtol=1e-12)
    assert float(wanted.var()) > 0.1
    again = velocity(anchor(gaussian(0.4, 0.3, RectifiedFlow()), noise, EVEN, 5), EVEN[0])
    assert torch.equal(wanted, again)


@each_schedule
def test_one_step_along_the_secant_is_where_the_teacher_went(plan):
    teacher, times, noise = ring(dtype=DOUBLE, schedule=plan), plan.grid(12), normal(6, 2)
    reached: list[torch.Tensor] = []
    sample(teacher, noise, steps=times, sampler=DDIM(), record=lambda number, t, x, *_: reached.append(x))
    one = anchor(teacher, noise, times, 5)
    torch.testing.assert_close(jump(one, times[5], plan), reached[5], atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(jump(one, times[0], plan), reached[0], atol=1e-10, rtol=1e-10)


def test_the_secant_of_rectified_flow_is_the_mean_velocity():
    x, y = normal(4, 2), normal(4, 2, seed=1)
    t, s = torch.tensor(0.9, dtype=DOUBLE), torch.tensor(0.2, dtype=DOUBLE)
    found = write(secant(x, y, t, s, RectifiedFlow()), "velocity", t, RectifiedFlow())
    torch.testing.assert_close(found, (x - y) / 0.7)


def test_the_anchor_asks_for_a_step_the_teacher_makes():
    for steps in (0, 13):
        with pytest.raises(ValueError, match="the teacher makes 12"):
            anchor(ring(), normal(2, 2), EVEN, steps)
