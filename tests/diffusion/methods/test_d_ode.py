"""D-ODE solvers: nothing at λ = 0, Adams–Bashforth at λ = ½, least squares when fitted, and exact on a Gaussian."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.diffusion import (
    DDIM,
    IPNDM,
    VE,
    NetworkDenoiser,
    Prediction,
    RectifiedFlow,
    SamplingError,
    VPLinear,
    hand_over,
    mixture,
    ring,
    sample,
)
from workbench.diffusion.methods.d_ode import DODE, SOLVERS, adams_bashforth, distill_solver, gains, multistep
from workbench.diffusion.sampling.sampling import Step
from workbench.diffusion.sampling.singlestep import DPMSolver2
from workbench.records import open as open_record

DOUBLE = torch.float64


def normal(n, d=2, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def vp(std=0.08):
    return ring(std=std, schedule=VPLinear(), dtype=DOUBLE)


def used(solver, model, noise, **options):
    return sample(model, noise, sampler=DODE(solver), steps=solver.times, **options)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("schedule", [VPLinear(), VE()], ids=["vp", "ve"])
def test_zero_weights_are_the_solver_itself_bit_for_bit(name, schedule):
    model, noise = ring(schedule=schedule), normal(20).float()
    times = schedule.grid(5, "karras")
    nothing = multistep(schedule, times, torch.zeros(5, SOLVERS[name].calls), solver=name)
    plain = sample(model, noise, sampler=SOLVERS[name], steps=times)
    assert bool((used(nothing, model, noise) == plain).all())


def test_a_half_on_even_steps_is_adams_bashforth():
    """x/α obeys d(x/α)/dσ̄ = ε̂, σ̄ = σ/α: Adams–Bashforth there, written out, begun by Euler."""
    model, noise, schedule = vp(), normal(30), VPLinear()
    bar = torch.linspace(20.0, 0.1, 9, dtype=DOUBLE)
    times = schedule.time(-bar.log())
    half = multistep(schedule, times, torch.tensor([0.0, *[0.5] * 7], dtype=DOUBLE))
    y = schedule.sigma(times[0]) * noise / schedule.alpha(times[0])
    before = None
    for t, s in itertools.pairwise(times):
        now = model(schedule.alpha(t) * y, t).noise
        h = (schedule.sigma(s) / schedule.alpha(s)) - (schedule.sigma(t) / schedule.alpha(t))
        y = y + h * (now if before is None else 1.5 * now - 0.5 * before)
        before = now
    torch.testing.assert_close(used(half, model, noise), schedule.alpha(times[-1]) * y, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(adams_bashforth(schedule, times).mixes, half.mixes, atol=1e-9, rtol=0)
    ipndm = sample(model, noise, sampler=IPNDM(order=2), steps=times)
    torch.testing.assert_close(used(half, model, noise), ipndm, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("mix", "order"), [("adams", 2), (0.3, 1)])
@pytest.mark.parametrize("schedule", [VPLinear(), RectifiedFlow()], ids=["vp", "flow"])
def test_two_steps_reach_second_order_at_the_adams_bashforth_value_alone(mix, order, schedule):
    """… on uneven steps; any other bounded λ is of first order."""
    model = mixture(torch.tensor([[0.5, -1.0]], dtype=DOUBLE), 0.4, schedule=schedule)
    kind = "noise" if isinstance(schedule, VPLinear) else "velocity"
    first, last = (torch.tensor(t, dtype=DOUBLE) for t in (0.8, 0.2))

    def width(t):
        return (schedule.alpha(t).square() * 0.16 + schedule.sigma(t).square()).sqrt()

    start = schedule.sigma(first) * normal(40) - schedule.alpha(first) * model.means
    exact = schedule.alpha(last) * model.means + width(last) / width(first) * start
    errors = []
    for steps in (128, 256, 512):
        times = first + (last - first) * torch.linspace(0, 1, steps + 1, dtype=DOUBLE) ** 1.3
        solver = adams_bashforth(schedule, times, kind)
        if mix != "adams":
            solver = multistep(schedule, times, torch.full((steps,), mix), kind=kind)
        errors.append(float((used(solver, model, normal(40)) - exact).norm()))
    assert math.log2(errors[1] / errors[2]) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_gain_is_the_solvers_coefficient_on_the_output(name):
    """Moving the output by c moves the state by κ c; DDIM's κ on ε̂ is σ_s − (α_s / α_t) σ_t."""
    schedule, kind = VPLinear(), "x0" if name in ("euler", "heun", "dpm-solver++") else "noise"
    times = schedule.grid(4)
    found = gains(name, times, schedule, kind)
    if name == "ddim":
        a, s = schedule.alpha(times), schedule.sigma(times)
        torch.testing.assert_close(found[:, 0], s[1:] - a[1:] / a[:-1] * s[:-1], atol=1e-12, rtol=1e-12)
    model, noise = vp(), normal(6)
    # λ on an output that went from D to D + Δ is the same step with the output itself moved by λΔ.
    mixes = torch.tensor([[0.0, 0.0], [0.7, 0.0], [0.0, 0.4], [-0.3, 0.0]], dtype=DOUBLE)[:, : SOLVERS[name].calls]
    solver = multistep(schedule, times, mixes, solver=name, kind=kind)
    torch.testing.assert_close(solver.mixes, torch.where(found == 0, 0.0, mixes), atol=1e-14, rtol=1e-14)
    if SOLVERS[name].calls > 1:
        return
    state, before, past = schedule.sigma(times[0]) * noise, None, None
    memory = {}
    for number, (t, s) in enumerate(itertools.pairwise(times)):
        said = model(state, t)
        output = getattr(said, kind)
        change = torch.zeros_like(output) if before is None else output - before
        moved = output + mixes[number, 0] * change
        a, b = schedule.alpha(t), schedule.sigma(t)
        both = (
            Prediction((state - b * moved) / a, moved)
            if kind == "noise"
            else Prediction(moved, (state - a * moved) / b)
        )
        moved_on = _one_step(SOLVERS[name], schedule, number, t, s, state, both, past, dict(memory))
        _one_step(SOLVERS[name], schedule, number, t, s, state, said, past, memory)  # it remembers D, not O
        state, before, past = moved_on, output, (said, t)
    torch.testing.assert_close(used(solver, model, noise), state, atol=1e-9, rtol=1e-9)


def _one_step(rule, schedule, number, t, s, x, prediction, past, memory):
    return rule(Step(number, t, s, x, prediction, past, None, schedule, None, memory))


@pytest.mark.parametrize("name", SOLVERS)
def test_what_is_fitted_is_orthogonal_and_never_worse_than_the_solver_from_the_same_state(name):
    fitted = distill_solver(vp(), normal(40), solver=name, steps=5)
    squared, cross, _ = fitted.moments.unbind(-1)
    assert bool((squared > 0).any())
    assert bool(((cross - fitted.weights * squared).abs() <= 1e-10 * (1 + cross.abs())).all())
    assert bool((fitted.error() <= fitted.error(torch.zeros_like(fitted.weights)) + 1e-15).all())
    for nearby in (-0.05, 0.05):
        assert bool((fitted.error(fitted.weights + nearby) >= fitted.error() - 1e-15).all())


def test_the_moments_are_those_of_the_run():
    """After the fit, the mean square distance to the teacher along the run itself is what the record says it is."""
    model, noise = vp(), normal(40)
    fitted = distill_solver(model, noise, steps=4, refine=6)
    states = {}
    end = used(fitted, model, noise, record=lambda i, t, x, x0, e: states.setdefault(i, x))
    fine = {}
    last = sample(model, noise, steps=24, record=lambda i, t, x, x0, e: fine.setdefault(i, x))
    for step, (mine, target) in enumerate(
        zip([*[states[i] for i in (1, 2, 3)], end], [fine[6], fine[12], fine[18], last], strict=True)
    ):
        if step:  # the first call has no output before it: it is not fitted
            assert float(fitted.error()[step, 0]) == pytest.approx(float((mine - target).square().mean()), rel=1e-8)


@pytest.mark.parametrize("name", ["ddim", "euler", "dpm-solver++"])
def test_a_teacher_of_the_same_steps_leaves_nothing_to_fit(name):
    fitted = distill_solver(vp(), normal(20), solver=name, steps=5, refine=1)
    assert bool((fitted.weights == 0).all())


@pytest.mark.parametrize("kind", ["noise", "x0"])
def test_a_point_needs_no_fit_and_makes_no_nan(kind):
    """x̂₀ is constant: DDIM is exact, the differences of x̂₀ vanish and the quotient would be 0/0."""
    model = mixture(torch.tensor([[0.5, -1.0]], dtype=DOUBLE), 0.0, schedule=VPLinear())
    fitted = distill_solver(model, normal(20), steps=5, kind=kind)
    assert float(fitted.error().sqrt().max()) < 1e-12
    out = used(fitted, model, normal(50, seed=1))
    torch.testing.assert_close(out, model.means.expand_as(out), atol=1e-9, rtol=0)
    if kind == "x0":
        assert bool((fitted.weights == 0).all())


ON_THEIR_SCHEDULE = [
    ("ddim", VPLinear()),
    ("dpm-solver++", VPLinear()),
    ("dpm-solver-2", VPLinear()),
    ("euler", VE()),
    ("euler", RectifiedFlow()),
]


@settings(max_examples=12, deadline=None)
@given(
    mean=st.lists(st.floats(-2, 2), min_size=1, max_size=4),
    std=st.floats(0.1, 2),
    steps=st.integers(2, 6),
    which=st.sampled_from(ON_THEIR_SCHEDULE),
)
def test_on_a_gaussian_the_coarse_solver_becomes_the_fine_one(mean, std, steps, which):
    """All differences are proportional to x − αm, so one number makes each step exact: for any noise.

    Where the solver moves the mean exactly, that is; Euler's steps in t do on rectified flow and `VE`, not on VP.
    """
    name, schedule = which
    spacing = "karras" if isinstance(schedule, VE) else "time"
    model = mixture(torch.tensor([mean], dtype=DOUBLE), std, schedule=schedule)
    fitted = distill_solver(model, normal(5, len(mean)), solver=name, steps=steps, spacing=spacing, refine=10)
    fresh = normal(30, len(mean), seed=7)
    fine = sample(model, fresh, sampler=SOLVERS[name], steps=_fine(schedule, fitted.times, name))
    torch.testing.assert_close(used(fitted, model, fresh), fine, atol=1e-8, rtol=1e-8)


def test_so_does_heun_as_far_as_rounding_lets_it():
    """Its first stage compares outputs at two states that are both on the teacher's path: next to nothing is left."""
    model, fresh = mixture(torch.tensor([[0.5, -1.0]], dtype=DOUBLE), 0.4, schedule=VE()), normal(30, seed=7)
    fitted = distill_solver(model, normal(5), solver="heun", steps=4, spacing="karras")
    fine = sample(model, fresh, sampler="euler", steps=_fine(VE(), fitted.times, "heun"))
    plain = sample(model, fresh, sampler="heun", steps=fitted.times)
    assert float((used(fitted, model, fresh) - fine).norm()) < 1e-4 * float((plain - fine).norm())


def _fine(schedule, coarse, name):
    """The teacher's grid, made here from the words: ten steps per call between the times the solver visits."""
    times = [coarse[0]]
    for t, s in itertools.pairwise(coarse):
        nodes, count = [s], 20 if name == "heun" and float(s) > 0 else 10
        if name == "dpm-solver-2" and float(s) > 0:
            nodes = [schedule.time((schedule.log_snr(t) + schedule.log_snr(s)) / 2), s]
        for node in nodes:
            begin = times[-1]
            times += [begin + (node - begin) * k / count for k in range(1, count + 1)]
    return torch.stack(times)


def test_ddim_on_that_gaussian_is_far_from_its_teacher():
    """… or the test before would hold for a fit that does nothing."""
    model = mixture(torch.tensor([[0.5, -1.0]], dtype=DOUBLE), 0.4, schedule=VPLinear())
    noise = normal(60)
    fine, coarse = (sample(model, noise, sampler=DDIM(), steps=n) for n in (40, 4))
    assert float((fine - coarse).norm(dim=1).mean()) > 0.1


def test_order_and_repetition_of_the_batch_change_nothing():
    model, noise = vp(), normal(30)
    plain = distill_solver(model, noise, steps=5)
    for other in (noise.flip(0), noise.repeat(2, 1)):
        torch.testing.assert_close(distill_solver(model, other, steps=5).weights, plain.weights, atol=1e-10, rtol=1e-10)


def test_the_first_call_is_fitted_on_request():
    model, noise = vp(std=0.3), normal(40)
    off, on = (distill_solver(model, noise, steps=4, first=first) for first in (False, True))
    assert float(off.weights[0, 0]) == 0 != float(on.weights[0, 0])
    assert float(on.error()[0, 0]) < float(on.error(torch.zeros(4, 1))[0, 0])
    assert bool(used(on, model, normal(10, seed=1)).isfinite().all())


def test_the_second_stage_of_heun_is_fitted_from_the_corrected_state():
    """Without its own λ̃ the corrector would undo the first: both are in the run, and both lessen its error."""
    model = ring(schedule=VE(), dtype=DOUBLE)
    fitted = distill_solver(model, normal(100), solver="heun", steps=5, spacing="karras")
    assert fitted.weights.shape == (5, 2)
    assert int((fitted.weights != 0).sum()) == 2 * 5 - 1 - 1, "2n − 1 calls, the first of which has nothing before it"
    assert float(fitted.gains[-1, 1]) == 0, "the last step has one stage"
    noise = normal(500, seed=1)
    exact = sample(model, noise, sampler="heun", steps=VE().grid(200, "karras"))
    plain = sample(model, noise, sampler="heun", steps=fitted.times)
    assert float((used(fitted, model, noise) - exact).norm()) < 0.5 * float((plain - exact).norm())


def test_classes_and_networks_are_sampled_alike():
    model = ring(classes=2, schedule=VPLinear(), dtype=DOUBLE)
    condition = torch.arange(40) % 2
    fitted = distill_solver(model, normal(40), steps=5, condition=condition)
    out = used(fitted, model, normal(40, seed=2), condition=condition)
    assert bool(((out[:, 1] < 0) == (condition == 1)).double().mean() > 0.9)

    class Network(torch.nn.Module):
        def forward(self, x, t, condition):
            return model(x, t, condition).noise

    network = NetworkDenoiser(Network(), VPLinear(), (2,), "noise", classes=2)
    torch.testing.assert_close(
        distill_solver(network, normal(40), steps=5, condition=condition).weights, fitted.weights, atol=1e-7, rtol=1e-7
    )


def test_a_distilled_solver_can_be_handed_over_to():
    """After the base's steps there is no output before it: its first call is then left as it is."""
    model, noise = vp(), normal(12)
    fitted = distill_solver(model, noise, steps=4)
    base = sample(model, noise, sampler=DDIM(), steps=4)
    shared = hand_over(model, model, noise, times=fitted.times, student_sampler=DODE(fitted))
    assert bool((shared.switches[0] == used(fitted, model, noise)).all())
    assert bool((shared.switches[-1] == base).all())
    assert bool((shared.switches[3] == base).all()), "one step alone has nothing before it"
    assert not bool((shared.switches[2] == base).all())


def test_dpm_solver_2_is_of_second_order_and_agrees_with_its_algorithm():
    schedule = VPLinear()
    model = mixture(torch.tensor([[0.5, -1.0]], dtype=DOUBLE), 0.4, schedule=schedule)
    x, t, s = normal(10), torch.tensor(0.8, dtype=DOUBLE), torch.tensor(0.6, dtype=DOUBLE)
    h = schedule.log_snr(s) - schedule.log_snr(t)
    m = schedule.time((schedule.log_snr(s) + schedule.log_snr(t)) / 2)
    start = schedule.sigma(t) * x
    u = schedule.alpha(m) / schedule.alpha(t) * start - schedule.sigma(m) * torch.expm1(h / 2) * model(start, t).noise
    by_hand = schedule.alpha(s) / schedule.alpha(t) * start - schedule.sigma(s) * torch.expm1(h) * model(u, m).noise
    one = sample(model, x, sampler=DPMSolver2(), steps=torch.stack((t, s)))
    torch.testing.assert_close(one, by_hand, atol=1e-12, rtol=1e-12)
    last = torch.tensor(0.2, dtype=DOUBLE)
    c_t, c_s = ((schedule.alpha(at).square() * 0.16 + schedule.sigma(at).square()).sqrt() for at in (t, last))
    exact = schedule.alpha(last) * model.means + c_s / c_t * (start - schedule.alpha(t) * model.means)
    errors = []
    for n in (16, 32, 64):
        times = t + (last - t) * torch.linspace(0, 1, n + 1, dtype=DOUBLE)
        errors.append(float((sample(model, x, sampler=DPMSolver2(), steps=times) - exact).norm()))
    assert math.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.2)


def test_a_fit_comes_back_from_its_file(tmp_path):
    model = vp()
    fitted = distill_solver(model, normal(20), steps=4)
    back = open_record(fitted.save(tmp_path / "s.safetensors"))
    assert back.summary() == fitted.summary()
    assert back.to_frame().equals(fitted.to_frame())
    assert bool((used(back, model, normal(5)) == used(fitted, model, normal(5))).all())
    assert list(fitted.to_frame()["step"]) == [1, 2, 3, 4]


def test_what_does_not_fit_is_refused():
    model, noise = vp(), normal(10)
    with pytest.raises(ValueError, match=r"solver is 'consistency'; what can be distilled is ddim"):
        distill_solver(model, noise, solver="consistency")
    with pytest.raises(ValueError, match="refine is 0"):
        distill_solver(model, noise, refine=0)
    with pytest.raises(ValueError, match="first=True takes the state"):
        distill_solver(model, noise, kind="x0", first=True)
    fitted = distill_solver(model, noise, steps=4)
    with pytest.raises(SamplingError, match=r"step 1 from time 1 to 0.8 is not one.*pass its own times"):
        sample(model, noise, sampler=DODE(fitted), steps=5)
    with pytest.raises(ValueError, match="weights hold NaN"):
        fitted.replace(weights=torch.full((4, 1), torch.nan))
    with pytest.raises(ValueError, match=r"5 times need weights and gains of shape \(4, stages\)"):
        fitted.replace(weights=torch.zeros(3, 1))
