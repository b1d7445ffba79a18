"""Target rules and consistency losses keep what papers 044 and 071 say of them, exactly."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench import models
from workbench.diffusion import (
    DDIM,
    TDD,
    TSCD,
    Consistency,
    GaussianMixture,
    Guided,
    NetworkDenoiser,
    Prediction,
    RectifiedFlow,
    Renoise,
    TargetRule,
    Trig,
    VPLinear,
    denoiser,
    distill,
    regress,
    ring,
    sample,
)
from workbench.diffusion.making.run import DiffusionRun
from workbench.diffusion.making.target_rules import visited
from workbench.diffusion.methods.consistency import Jump, draw, few_times, jump_loss, land, times_of
from workbench.diffusion.sampling.predictions import jump

DOUBLE = torch.float64
RULES = {
    "zero": TargetRule.zero(),
    "segments": TargetRule.segments(4),
    "uniform": TargetRule.uniform(),
    "tdd": TargetRule.tdd(),
    "tdd without pull": TargetRule.tdd(pull=0.0),
}


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def code_times(indices):
    """Times of the authors' code, 20 n − 1 of 1,000 and 0 for the clean end."""
    return [max(20 * n - 1, 0) for n in indices.tolist()]


def chosen(rule, grid=50, seed=0, n=20_000):
    """Targets for a uniform draw of steps, with the step's lower index."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.linspace(0, 1, grid + 1, dtype=DOUBLE)
    m = torch.randint(grid, (n,), generator=generator)
    which, far = torch.rand(2, n, generator=generator, dtype=DOUBLE)
    return m, times, rule.choose(times, m, which, far)


def begun(width=16, batch=8, steps=2):
    """A record of a small network that has seen the ring."""
    network = models.build("denoiser-mlp", ((2,), 0), width=width, depth=2)
    return regress(ring(), network, batch=batch, steps=steps, progress=False)


def student(seed=0, classes=0):
    """A small network in double precision with weights of its own."""
    network = models.build("denoiser-mlp", ((2,), classes), width=16, depth=2, seed=seed).to(DOUBLE)
    return NetworkDenoiser(network, RectifiedFlow(), (2,), "velocity", classes)


def jumps(rule, grid=40, n=64, seed=0):
    m, times, s = chosen(rule, grid, seed, n)
    return Jump(normal(n, 2, seed=seed), times[m + 1], times[m], s)


def test_the_target_set_is_that_of_the_authors_code():
    """N = 50, K = 4 … 8: the merged times of the released script for SDXL, its largest dropped (paper 071)."""
    targets = TargetRule.tdd().targets(50)
    assert code_times(targets) == [
        0, 139, 159, 179, 199, 259, 299, 339, 379, 399, 439, 499, 579, 599, 639, 679, 719, 759, 799, 839, 859, 879
    ]  # fmt: skip
    assert code_times(visited(50, 4)) == [999, 759, 499, 259, 0]
    assert code_times(visited(50, 7)) == [999, 859, 719, 579, 439, 299, 159, 0]


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("grid", [40, 50, 37])
def test_targets_are_below_the_step_and_in_the_window(name, grid):
    rule = RULES[name]
    m, times, s = chosen(rule, grid)
    assert bool((s >= 0).all())
    assert bool((s <= times[m]).all())
    assert bool((times[m] < times[m + 1]).all())
    targets = rule.targets(grid)
    assert targets[0] == 0
    assert bool((targets.diff() > 0).all())
    assert int(targets[-1]) < grid
    if rule.pull == 0:
        assert bool(torch.isin(s, times[targets]).all())
    nearest = times[targets[torch.searchsorted(targets, m, right=True) - 1]]
    lowest = nearest - rule.window - 1e-9 if rule.window < 1 else torch.zeros_like(nearest)
    assert bool((s >= (1 - rule.pull) * lowest.clamp_min(0) - 1e-12).all())
    assert bool((s <= nearest).all())


def test_every_candidate_is_chosen_and_equally_often():
    rule = TargetRule.tdd(pull=0.0)
    m, _, s = chosen(rule, n=200_000)
    targets = rule.targets(50)
    at = m == 40
    expected = [t for t in targets.tolist() if 27 <= t <= 40]  # τ* = 40, a window of 13
    found = (s[at] * 50).round().long()
    counts = torch.bincount(found, minlength=50)
    assert counts.nonzero().flatten().tolist() == expected
    share = counts[expected].double() / counts.sum()
    assert float((share - 1 / len(expected)).abs().max()) < 0.02


def test_segments_part_the_grid_and_no_pair_straddles_a_border():
    for grid, k in itertools.product((40, 50, 37), (1, 2, 4, 8)):
        ends = TargetRule.segments(k).targets(grid)
        assert len(ends) == k
        borders = set(ends.tolist())
        times = torch.linspace(0, 1, grid + 1, dtype=DOUBLE)
        m = torch.arange(grid)
        s = TargetRule.segments(k).choose(times, m, torch.rand(grid, dtype=DOUBLE), torch.rand(grid, dtype=DOUBLE))
        for index, target in zip(m.tolist(), (s * grid).round().long().tolist(), strict=True):
            assert target in borders
            assert not any(target < border < index + 1 for border in borders)


@given(st.sampled_from(sorted(RULES)), st.integers(9, 60))
def test_density_is_what_choosing_gives(name, grid):
    rule = RULES[name]
    m, times, s = chosen(rule, grid, n=4000)
    table = rule.density(times, bins=10)
    torch.testing.assert_close(table.sum(1), torch.ones(grid, dtype=DOUBLE))
    cells = (s * 10).long().clamp(0, 9)
    # Every cell that was hit has mass, up to the sixty-fourths that stand for the pull.
    assert bool((table[m, cells] > 0).double().mean() > 0.97)


def test_rules_are_cases_of_one_another():
    """T = {0} is consistency distillation; one K without window and pull is TSCD; the whole grid is CTM (paper 071)."""
    zero = [chosen(rule)[2] for rule in (TargetRule.zero(), TargetRule.tdd(1, 1, window=0.0, pull=0.0))]
    assert torch.equal(*zero)
    assert not bool(zero[0].any())
    segments = [chosen(rule)[2] for rule in (TargetRule.segments(4), TargetRule.tdd(4, 4, window=0.0, pull=0.0))]
    assert torch.equal(*segments)
    full = [chosen(rule)[2] for rule in (TargetRule.uniform(), TargetRule(None, math.inf, 0.0))]
    assert torch.equal(*full)
    net, teacher = student(), ring(dtype=DOUBLE)
    losses = [
        jump_loss(net, net, teacher, jumps(rule)).mean()
        for rule in (TargetRule.segments(1), TargetRule.zero(), TargetRule.tdd(1, 1, window=0.0, pull=0.0))
    ]
    assert losses[0] == losses[1] == losses[2]


def test_a_jump_to_where_one_is_is_no_jump():
    net, x = student(), normal(5, 2)
    t = torch.tensor([0.0, 0.3, 0.5, 0.9, 1.0], dtype=DOUBLE)
    assert torch.equal(land(net, x, t, t), x)
    assert not torch.equal(land(net, x, t, t * 0.5)[1:], x[1:])
    points = NetworkDenoiser(net.network, RectifiedFlow(), (2,), "x0")  # x̂₀ says nothing of ε̂ where there is no noise
    assert bool(land(points, x, t, t).isfinite().all())


def test_one_cell_per_segment_is_the_teachers_own_step():
    """k = N: the target is the teacher's DDIM step; a student equal to the teacher has gradient zero (paper 044)."""
    teacher = student(seed=1)
    net = student(seed=1)
    one = jumps(TargetRule.segments(40))
    assert torch.equal(one.s, one.before)
    loss = jump_loss(net, net, teacher, one).mean()
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    assert float(loss.detach()) < 1e-28
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-14
    other = student(seed=2)
    expected = (land(other, one.x, one.t, one.s) - land(teacher, one.x, one.t, one.s)).square().mean(1)
    torch.testing.assert_close(jump_loss(other, other, teacher, one, weight="even"), expected, atol=1e-14, rtol=1e-12)


def test_the_squared_error_is_one_of_both_predictions():
    """With s fixed the loss is α_s² ‖Δx̂₀ + (σ_s / α_s) Δε̂‖² (paper 044)."""
    net, teacher = student(), ring(dtype=DOUBLE)
    one = jumps(TargetRule.segments(4))
    schedule = net.schedule
    with torch.no_grad():
        nearer = jump(teacher(one.x, one.t), one.before, schedule)
        here, there = net(one.x, one.t), net(nearer, one.before)
        alpha, sigma = schedule.alpha(one.s)[:, None], schedule.sigma(one.s)[:, None]
        gap = (here.x0 - there.x0) + sigma / alpha * (here.noise - there.noise)
        inside = one.s < one.before  # at s = t′ the target is the state itself
        wanted = (alpha.square() * gap.square()).mean(1)
        told = jump_loss(net, net, teacher, one, weight="even")
    torch.testing.assert_close(told[inside], wanted[inside], atol=1e-12, rtol=1e-12)
    assert int(inside.sum()) > 20


def test_weighted_by_the_jump_the_error_is_one_of_velocity():
    net, teacher = student(), ring(dtype=DOUBLE)
    one = jumps(TargetRule.uniform())
    even, weighted = (jump_loss(net, net, teacher, one, weight=weight) for weight in ("even", "jump"))
    torch.testing.assert_close(weighted, even / (one.t - one.s).square(), rtol=1e-10, atol=1e-12)
    small = jump_loss(net, net, teacher, one, distance="huber", huber=1e3, weight="even")
    torch.testing.assert_close(small, even / 2e3, rtol=1e-3, atol=1e-9)  # √(e² + c²) − c ≈ e² / 2c
    assert bool((jump_loss(net, net, teacher, one, distance="huber", huber=1e-9) > 0).all())


class Flow:
    """The exact flow of a normal distribution N(m, v) as a student: its jump from t to the s it was told of."""

    def __init__(self, mean, variance, s, schedule):
        self.mean, self.variance, self.s, self.schedule, self.shape = mean, variance, s, schedule, (2,)

    def spread(self, t):
        return (self.schedule.alpha(t).square() * self.variance + self.schedule.sigma(t).square()).sqrt()[:, None]

    def flow(self, x, t, s):
        a, b = (self.schedule.alpha(time)[:, None] for time in (t, s))
        return b * self.mean + self.spread(s) / self.spread(t) * (x - a * self.mean)

    def __call__(self, x, t, condition=None):
        # Any x̂₀, ε̂ with α_s x̂₀ + σ_s ε̂ = Φ(x) and α_t x̂₀ + σ_t ε̂ = x is this jump.
        y, s = self.flow(x, t, self.s), self.s
        a, b = self.schedule.alpha(t)[:, None], self.schedule.sigma(t)[:, None]
        c, d = self.schedule.alpha(s)[:, None], self.schedule.sigma(s)[:, None]
        determinant = b * c - a * d
        return Prediction((b * y - d * x) / determinant, (c * x - a * y) / determinant)


@pytest.mark.parametrize("schedule", [RectifiedFlow(), Trig(), VPLinear()])
def test_the_exact_flow_is_a_fixed_point_up_to_the_teachers_step(schedule):
    """… whose error is of second order in the step: a quarter of it at half of it (papers 044, 071)."""
    mean = torch.tensor([0.7, -0.4], dtype=DOUBLE)
    teacher = GaussianMixture(mean[None], torch.full((1, 2), 0.09, dtype=DOUBLE), torch.ones(1, dtype=DOUBLE),
                              schedule=schedule)  # fmt: skip
    x = normal(256, 2)
    errors = []
    for width in (0.02, 0.01, 0.005):
        t = torch.full((256,), 0.6, dtype=DOUBLE)
        one = Jump(x, t, t - width, torch.full((256,), 0.2, dtype=DOUBLE))
        flow = Flow(mean, 0.09, one.s, schedule)
        errors.append(float(jump_loss(flow, flow, teacher, one, weight="even").mean().sqrt()))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(order == pytest.approx(2, abs=0.15) for order in orders)
    assert errors[-1] < 1e-3


def test_segment_maps_compose_to_the_whole_flow():
    flow = Flow(torch.tensor([0.7, -0.4], dtype=DOUBLE), 0.09, None, RectifiedFlow())
    x = normal(32, 2)
    for k in (2, 4, 8):
        at = few_times(RectifiedFlow(), 40, k)
        state = x
        for t, s in itertools.pairwise(at):
            state = flow.flow(state, t.expand(32), s.expand(32))
        torch.testing.assert_close(state, flow.flow(x, at[0].expand(32), at[-1].expand(32)), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.7, 1.0])
def test_gamma_sampling_keeps_the_variance(gamma):
    """Of a single point the state at s is N(α_s m, σ_s² I) for every γ (papers 044, 071)."""
    point = torch.tensor([0.8, -0.5], dtype=DOUBLE)
    teacher = GaussianMixture(point[None], torch.zeros(1, 2, dtype=DOUBLE), torch.ones(1, dtype=DOUBLE))
    times = few_times(RectifiedFlow(), 50, 4)
    seen = {}
    noise = normal(50_000, 2)
    rule = Renoise(gamma)
    sample(teacher, noise, sampler=rule, steps=times, record=lambda i, t, x, x0, e: seen.update({i: (t, x)}))
    for number in (1, 2, 3):
        t, x = seen[number]
        assert float((x.mean(0) - (1 - t) * point).abs().max()) < 0.02
        assert float(x.std(0).mean() / t) == pytest.approx(1, abs=0.01)
    deterministic = sample(teacher, noise, sampler=DDIM(), steps=times)
    torch.testing.assert_close(deterministic, point.expand(50_000, 2), atol=1e-9, rtol=0)
    if gamma == 0:
        chain = sample(ring(dtype=DOUBLE), noise, sampler=rule, steps=times)
        assert torch.equal(chain, sample(ring(dtype=DOUBLE), noise, sampler="ddim", steps=times))
    if gamma == 1:
        x = seen[2][1]
        assert abs(float(torch.corrcoef(torch.stack([x[:, 0], seen[1][1][:, 0]]))[0, 1])) < 0.02  # nothing is kept


def test_guidance_of_latent_consistency_is_one_less_than_ours():
    """ε̂_c + w (ε̂_c − ε̂_∅) is our guidance at w + 1 (paper 071)."""
    teacher, x, t = ring(classes=2, dtype=DOUBLE), normal(6, 2), torch.full((6,), 0.4, dtype=DOUBLE)
    wanted = torch.tensor([0, 1, 0, 1, 0, 1])
    told, free = teacher(x, t, wanted), teacher(x, t)
    ours = Guided(teacher, 4.5)(x, t, wanted)
    for a, b, c in zip(ours, told, free, strict=True):
        torch.testing.assert_close(a, b + 3.5 * (b - c), atol=1e-12, rtol=1e-12)


def test_drawn_jumps_are_of_the_grid_and_their_states_diffused():
    run = DiffusionRun(ring(), 0, torch.device("cpu"), 10)
    one = draw(run, TargetRule.tdd(), 40, 512)
    times = times_of(RectifiedFlow(), 40).float()
    n = torch.searchsorted(times, one.t)
    torch.testing.assert_close(times[n], one.t)
    torch.testing.assert_close(times[n - 1], one.before)
    assert set(n.tolist()) == set(range(1, 41))
    assert bool((one.s <= one.before).all())
    x0, noise = run.real(512)[0], run.noise(512)
    torch.testing.assert_close(one.x, (1 - one.t[:, None]) * x0 + one.t[:, None] * noise)
    run.iteration = 1
    assert not torch.equal(draw(run, TargetRule.tdd(), 40, 512).t, one.t)


def test_methods_of_one_rule_train_alike():
    """One stage of one segment is consistency distillation; one sampler's times are TSCD of as many segments."""
    start = regress(
        ring(), models.build("denoiser-mlp", ((2,), 0), width=16, depth=2), batch=64, steps=20, progress=False
    )
    common = {"grid": 40, "batch": 32, "steps": 4}
    quiet = {"network": start, "progress": False}

    def end(method):
        return torch.cat([value.flatten() for value in distill(ring(), method, **quiet).state.values()])

    plain = end(Consistency(**common))
    assert torch.equal(end(TSCD(segments=(1,), **common)), plain)
    assert torch.equal(end(TDD(rule=TargetRule.zero(), clip=None, **common)), plain)
    four = end(TSCD(segments=(4,), **common))
    assert torch.equal(end(TDD(rule=TargetRule.tdd(4, 4, window=0.0, pull=0.0), clip=None, **common)), four)
    assert not torch.equal(four, plain)
    assert torch.equal(end(TDD(rule=TargetRule.uniform(), clip=None, **common)),
                       end(Consistency(rule=TargetRule.uniform(), **common)))  # fmt: skip


def test_stages_follow_one_another_and_each_begins_at_the_full_rate():
    method = TSCD(segments=(8, 4, 2, 1), steps=40)
    run = DiffusionRun(ring(), 0, torch.device("cpu"), 40)
    seen, rates = [], []
    for iteration in range(40):
        run.iteration = iteration
        seen.append(method.stage(run)[0])
        rates.append(method.pace(run))
    assert [seen.count(stage) for stage in range(4)] == [10] * 4
    assert seen == sorted(seen)
    assert [rates[10 * stage] for stage in range(4)] == pytest.approx([1.0] * 4)
    assert all(rates[10 * stage + 9] < 0.1 for stage in range(4))


def test_a_stage_moves_segment_ends_down_less_and_less():
    start = begun(width=8)
    made = [
        distill(ring(), TSCD(segments=(2,), jitter=jitter, batch=16, steps=3), network=start, progress=False)
        for jitter in (0.0, 1.0)
    ]
    assert not torch.equal(made[0].curves["student"], made[1].curves["student"])


def test_an_adapter_is_all_that_is_trained_and_it_is_merged_in_the_record():
    start = regress(
        ring(), models.build("denoiser-mlp", ((2,), 0), width=16, depth=2), batch=8, steps=2, progress=False
    )
    made = distill(ring(), TSCD(segments=(2,), rank=2, batch=16, steps=3), network=start, progress=False)
    assert made.state.keys() == start.state.keys()
    for name, value in made.state.items():
        change = value - start.state[name]
        if name.endswith("weight"):
            assert int(torch.linalg.matrix_rank(change, atol=1e-6)) == 2, name
        else:
            assert not bool(change.any()), name
    assert bool(denoiser(made)(torch.zeros(1, 2), torch.tensor(0.5)).x0.isfinite().all())


def test_what_is_no_rule_is_refused():
    with pytest.raises(ValueError, match=r"counts are \(0,\)"):
        TargetRule((0,))
    with pytest.raises(ValueError, match=r"pull=1\.5"):
        TargetRule(None, pull=1.5)
    with pytest.raises(ValueError, match="least=8 and most=4"):
        TargetRule.tdd(8, 4)
    with pytest.raises(ValueError, match="steps is 9; on a grid of 8"):
        visited(8, 9)
    with pytest.raises(ValueError, match="steps is 100"):
        Consistency(use=100)
    with pytest.raises(ValueError, match="distance='l1'"):
        Consistency(distance="l1")
    with pytest.raises(ValueError, match=r"target_decay=1\.0"):
        Consistency(target_decay=1.0)
