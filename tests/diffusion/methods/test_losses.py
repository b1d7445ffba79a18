"""Each method's own `losses`, in float64, beside the formula of its paper written out for rectified flow.

The networks are small and affine in the state, the draws are asked from the run by the purposes the methods name.
Value and gradient must agree: a loss with the right value and a gradient that is cut off, or not, is another method.
"""

import itertools
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from workbench.diffusion import (
    BOOT,
    DMD,
    DPDMD,
    TDD,
    TSCD,
    Consistency,
    Denoising,
    Direct,
    EDMLevels,
    EvenLevels,
    Feedback,
    GaussianMixture,
    LogNormalLevels,
    NetworkDenoiser,
    OneStep,
    RectifiedFlow,
    Regression,
    Run,
    SiD,
    TargetRule,
    denoiser,
    distill,
)  # fmt: skip
from workbench.diffusion.making.signal import EARLIEST
from workbench.diffusion.methods import consistency, hyper_sd

N, D, DOUBLE = 6, 3, torch.float64
TIMES = (0.9, 0.5, 0.2, 0.0)


class Net(nn.Module):
    """Affine in x, with a bend in t: small, smooth, and all its terms matter."""

    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(D, D, generator=generator, dtype=DOUBLE) / 2)
        self.time = nn.Parameter(torch.randn(D, generator=generator, dtype=DOUBLE))

    def forward(self, x, t):
        return torch.tanh(x @ self.weight + torch.sin(3 * t)[:, None] * self.time)


@dataclass
class Exact(Run):
    """A run whose draws are float64."""

    def noise(self, n, purpose="noise"):
        return super().noise(n, purpose).double()

    def uniform(self, n, purpose="time"):
        return super().uniform(n, purpose).double()


def begin(method, kind="velocity", network=None, iteration=0, steps=12):
    teacher = NetworkDenoiser(Net(1), RectifiedFlow(), (D,), kind).requires_grad_(requires_grad=False)
    start = NetworkDenoiser(Net(2), RectifiedFlow(), (D,), kind) if network is None else network
    data = torch.randn(20, D, generator=torch.Generator().manual_seed(5), dtype=DOUBLE)
    run = Exact(
        teacher, seed=3, device=torch.device("cpu"), steps=steps, network=start, data=(data, torch.full((20,), -1))
    )
    run.iteration = iteration
    run.networks = method.networks(run)
    if "fake" in run.networks:  # as after some steps: no longer what the student is
        with torch.no_grad():
            run.networks["fake"].network.weight.add_(0.3)
    return run


def yielded(method, run):
    """(name, value, gradient in that network's weights) of one iteration, no step being made between."""
    found = []
    for name, loss in method.losses(run):
        weights = [p for p in run.networks[name].parameters() if p.requires_grad]
        found.append((name, loss.detach(), torch.autograd.grad(loss, weights, retain_graph=True)))
    return found


def agree(found, run, name, expected, number=-1):
    """One yielded loss against a formula, in value and gradient."""
    told, value, gradients = [each for each in found if each[0] == name][number]
    assert told == name
    torch.testing.assert_close(value, expected.detach(), rtol=1e-9, atol=1e-12)
    weights = [p for p in run.networks[name].parameters() if p.requires_grad]
    for mine, right in zip(gradients, torch.autograd.grad(expected, weights), strict=True):
        assert bool((right != 0).any())
        torch.testing.assert_close(mine, right, rtol=1e-8, atol=1e-11)


def u(run, name, x, t):
    """The network's velocity at a time, one or for each."""
    network = run.teacher.network if name == "teacher" else run.networks[name].network
    return network(x, torch.as_tensor(t, dtype=DOUBLE).expand(len(x)))


def x0(run, name, x, t):
    """x̂₀ = x − t u."""
    at = torch.as_tensor(t, dtype=DOUBLE)
    return x - (at[:, None] if at.ndim else at) * u(run, name, x, t)


def even(run, purpose):
    return 0.02 + 0.96 * run.uniform(N, purpose)


def mix(x, noise, t):
    return (1 - t[:, None]) * x + t[:, None] * noise


def matched(run, x, condition_purpose="student", scale="state"):
    """½ mean (x − sg[x − g])² with g = (x̂_F − x̂_T) / mean |x_t − x̂_T|."""
    t, noise = even(run, f"level of {condition_purpose}"), run.noise(N, f"disturbance of {condition_purpose}")
    with torch.no_grad():
        state = mix(x, noise, t)
        real, made = x0(run, "teacher", state, t), x0(run, "fake", state, t)
        size = ((state if scale == "state" else x) - real).abs().mean(1, keepdim=True)
        target = x - (made - real) / size
    return 0.5 * (x - target).square().mean()


def euler(run, x, times, cut=0):
    for number, (t, s) in enumerate(itertools.pairwise(times)):
        x = x + (s - t) * u(run, "student", x, t)
        x = x.detach() if number + 1 == cut else x
    return x


def test_boot_trains_the_earlier_time_against_a_frozen_later_one():
    method = BOOT(batch=N, stride=0.05, boundary=0.3)
    run = begin(method, kind="x0")
    last, lowest = 0.99 * 0.999, EARLIEST + 0.05
    t = lowest + (last - lowest) * run.uniform(N)
    s, noise = t - 0.05, run.noise(N)
    student, teacher = run.networks["student"].network, run.teacher.network
    with torch.no_grad():
        y = student(noise, t)
        believed = teacher(mix(y, noise, t), t)
        kept = (s * (1 - t) / (t * (1 - s)))[:, None]
        wanted = believed + kept * (y - believed)
        top = torch.full((N,), last, dtype=DOUBLE)
        first = teacher(last * noise, top)
    bootstrap = (student(noise, s) - wanted).square().mean() / 0.05**2
    boundary = (student(noise, top) - first).square().mean()
    agree(yielded(method, run), run, "student", bootstrap + 0.3 * boundary)


def test_boot_by_euler():
    method = BOOT(batch=N, stride=0.05, boundary=0.0, rule="euler")
    run = begin(method, kind="x0")
    last, lowest = 0.99 * 0.999, EARLIEST + 0.05
    t = lowest + (last - lowest) * run.uniform(N)
    noise, student = run.noise(N), run.networks["student"].network
    with torch.no_grad():
        y = student(noise, t)
        rate = (1 / (t * (1 - t)))[:, None]  # d log(t / (1 − t)) / dt
        wanted = y + 0.05 * rate * (run.teacher.network(mix(y, noise, t), t) - y)
    agree(yielded(method, run), run, "student", (student(noise, t - 0.05) - wanted).square().mean() / 0.05**2)


def test_direct_learns_ends_by_heart():
    method = Direct(batch=N, pool=16, teacher_steps=4)
    run = begin(method)
    noise, ends, _ = run.pairs(16, 1.0, 4)
    rows = run.integers(N, 16, "pair")
    made = x0(run, "student", 0.999 * noise[rows], 0.999)
    agree(yielded(method, run), run, "student", (made - ends[rows]).square().mean())


def test_dp_dmd_detaches_after_the_first_step_and_anchors_it():
    method = DPDMD(batch=N, times=TIMES, anchor_steps=2, teacher_steps=5, weight=0.7, fake_steps=2)
    run = begin(method)
    found = yielded(method, run)
    z = run.noise(N, "noise of student")
    grid = torch.linspace(0.9, 0, 6, dtype=DOUBLE)
    with torch.no_grad():
        x = 0.9 * z
        for t, s in ((grid[0], grid[1]), (grid[1], grid[2])):
            x = x + (s - t) * u(run, "teacher", x, t)
        slope = (0.9 * z - x) / (grid[0] - grid[2])
    anchored = (u(run, "student", 0.9 * z, 0.9) - slope).square().sum(1).mean()
    agree(found, run, "student", 0.7 * anchored + matched(run, euler(run, 0.9 * z, TIMES, cut=1)))
    for number in range(2):
        z = run.noise(N, f"noise of fake {number}")
        x = euler(run, 0.9 * z, TIMES).detach()
        t, noise = even(run, f"level of fake {number}"), run.noise(N, f"disturbance of fake {number}")
        agree(found, run, "fake", (u(run, "fake", mix(x, noise, t), t) - (noise - x)).square().mean(), number)


@pytest.mark.parametrize("scale", ["state", "sample"])
def test_dmd_goes_back_through_every_step(scale):
    method = DMD(batch=N, times=TIMES, fake_steps=1, scale=scale)
    run = begin(method)
    x = euler(run, 0.9 * run.noise(N, "noise of student"), TIMES)
    agree(yielded(method, run), run, "student", matched(run, x, scale=scale))


@pytest.mark.parametrize("iteration", range(4))
def test_dmd2_trains_one_exit_after_renoised_steps(iteration):
    method = DMD(batch=N, times=TIMES, fake_steps=1, rollout="exit")
    run = begin(method, iteration=iteration)
    number = int(run.integers(1, 3, "exit of student"))
    source = run.generator("redraws of student")
    x = 0.9 * run.noise(N, "noise of student")
    for t, s in list(itertools.pairwise(TIMES))[:number]:
        with torch.no_grad():
            fresh = torch.randn(N, D, generator=source).double()
            x = (1 - s) * x0(run, "student", x, t) + s * fresh
    agree(yielded(method, run), run, "student", matched(run, x0(run, "student", x, TIMES[number])))


@pytest.mark.parametrize("alpha", [0.0, 1.2])
def test_sid_goes_through_both_networks_inputs(alpha):
    method = SiD(batch=N, alpha=alpha, fake_steps=1)
    run = begin(method)
    first = 2.5 / 3.5
    x = x0(run, "student", first * run.noise(N, "noise of student"), first)
    t, noise = even(run, "level of student"), run.noise(N, "disturbance of student")
    state = mix(x, noise, t)
    phi, psi = x0(run, "teacher", state, t), x0(run, "fake", state, t)
    size = (x - phi).abs().mean(1).detach()
    each = ((phi - psi) * ((phi - x) - alpha * (phi - psi))).sum(1) / size
    agree(yielded(method, run), run, "student", each.mean())


def test_sids_fake_is_weighted_as_edm_is_where_asked():
    method = SiD(batch=N, fake_levels=LogNormalLevels(), levels=EDMLevels(), sigma_data=0.5)
    run = begin(method)
    first = 2.5 / 3.5
    x = x0(run, "student", first * run.noise(N, "noise of fake 0"), first).detach()
    drawn = torch.randn(N, generator=run.generator("level of fake 0"))
    sigma = (-1.2 + 1.2 * drawn).exp().double()
    t, noise = sigma / (1 + sigma), run.noise(N, "disturbance of fake 0")
    weight = ((sigma**2 + 0.25) / (sigma * 0.5) ** 2)[:, None]
    t32 = LogNormalLevels()(run, N, "level of fake 0")
    torch.testing.assert_close(t32.double(), t, rtol=1e-5, atol=1e-7)
    t, sigma = t32.double(), (t32 / (1 - t32)).double()
    weight = ((sigma**2 + 0.25) / (sigma * 0.5) ** 2)[:, None]
    expected = (weight * (x0(run, "fake", mix(x, noise, t), t) - x).square()).mean()
    told = next(each for each in yielded(method, run) if each[0] == "fake")[1]
    torch.testing.assert_close(told, expected.detach(), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    ("method", "squared"),
    [
        (Consistency(batch=N, grid=8, use=2), True),
        (Consistency(batch=N, grid=8, use=2, rule=TargetRule.uniform(), weight="even"), True),
        (TDD(batch=N, grid=8, use=2), True),
        (Consistency(batch=N, grid=8, use=2, distance="huber", huber=0.1), False),
    ],
    ids=["LCM", "CTM", "TDD", "huber"],
)
def test_consistency_jumps_from_neighbours_to_one_target(method, squared):
    run = begin(method)
    times = torch.linspace(0, 1, 9, dtype=DOUBLE) * 0.999
    n = 1 + run.integers(N, 8)
    s = method.rule.choose(times, n - 1, run.uniform(N, "which target"), run.uniform(N, "how far"))
    t, before, s = (each.float().double() for each in (times[n], times[n - 1], s))
    x = mix(run.real(N)[0].double(), run.noise(N), t)

    def jump(name, x, t, s):
        return torch.where((s >= t)[:, None], x, x + (s - t)[:, None] * u(run, name, x, t))

    with torch.no_grad():
        target = jump("student", jump("teacher", x, t, before), before, s)
    gap = jump("student", x, t, s) - target
    width = (t - s)[:, None] if method.weight == "jump" else 1.0
    each = (gap / width).square() if squared else ((gap**2 + 0.01).sqrt() - 0.1) / width
    found = yielded(method, run)
    told, expected = found[0][1], each.mean()
    torch.testing.assert_close(told.double(), expected.detach(), rtol=1e-5, atol=1e-8)
    right = torch.autograd.grad(expected, list(run.networks["student"].parameters()))
    for mine, one in zip(found[0][2], right, strict=True):
        torch.testing.assert_close(mine.double(), one, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("iteration", "k"), [(0, 4), (5, 2), (11, 1)])
def test_tscds_critic_and_its_share_of_the_students_loss(iteration, k, monkeypatch):
    class Critic(nn.Module):
        def __init__(self, *given, **options):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([0.7, -0.4, 1.1], dtype=DOUBLE))

        def forward(self, x, t, condition=None):
            return x.double() @ self.weight + t

    monkeypatch.setattr(hyper_sd, "Critic", Critic)
    monkeypatch.setattr(hyper_sd.models, "from_spec", lambda spec: None)
    method = TSCD(segments=(4, 2, 1), grid=8, batch=N, adversarial=0.6)
    start = NetworkDenoiser(Net(2), RectifiedFlow(), (D,))
    start.network.spec = {}
    run = begin(method, network=start, iteration=iteration)
    one = consistency.draw(run, TargetRule.segments(k), 8, N)
    border = torch.tensor([0.999 * (8 - (8 * i) // k) / 8 for i in range(k)] + [0.0], dtype=DOUBLE)
    wanted = torch.stack([border[border <= float(b) + 1e-6].max() for b in one.before])
    torch.testing.assert_close(one.s.double(), wanted, rtol=1e-6, atol=1e-6)

    def jump(name, x, t, s):
        return torch.where((s >= t)[:, None], x, x + (s - t)[:, None] * u(run, name, x, t.double()))

    made = jump("student", one.x, one.t, one.s)
    with torch.no_grad():
        good = jump("student", jump("teacher", one.x, one.t, one.before), one.before, one.s)
    critic = run.networks["critic"]
    found = yielded(method, run)
    opinion = (1 - critic(good, one.s)).relu().mean() + (1 + critic(made.detach(), one.s)).relu().mean()
    close = {"rtol": 1e-5, "atol": 1e-7}
    assert [name for name, *_ in found] == ["critic", "student"]
    torch.testing.assert_close(found[0][1].double(), opinion.detach().double(), **close)
    squared = ((made - good) / (one.t - one.s)[:, None]).square().mean()
    loss = squared - 0.6 / k * critic(made, one.s).mean()
    torch.testing.assert_close(found[1][1].double(), loss.detach().double(), **close)
    for mine, right in zip(
        found[1][2], torch.autograd.grad(loss, list(run.networks["student"].parameters())), strict=True
    ):
        torch.testing.assert_close(mine.double(), right.double(), rtol=1e-4, atol=1e-6)


def test_one_step_enhancement_is_dmd_and_a_squared_error():
    method = OneStep(batch=N, anchor=0.8, fake_steps=1, fake_start=1, pool=16)
    run = begin(OneStep(batch=N, fake_start=1, pool=16), network=NetworkDenoiser(Net(2), RectifiedFlow(), (D,)))
    noises, ends, _ = run.pairs(16, 1.0)
    rows = run.integers(N, 16, "pair")
    x = euler(run, 0.999 * noises[rows], (0.999, 0.0))
    t, noise = even(run, "time"), run.noise(N, "mix")
    with torch.no_grad():
        state = mix(x, noise, t)
        real, made = x0(run, "teacher", state, t), x0(run, "fake", state, t)
        target = x - (made - real) / (state - real).abs().mean(1, keepdim=True)
    expected = 0.5 * (x - target).square().mean() + 0.8 * (x - ends[rows]).square().mean()
    found = yielded(method, run)
    agree(found, run, "student", expected)
    x = euler(run, 0.999 * run.noise(N, "fake 0"), (0.999, 0.0)).detach()
    t, noise = even(run, "time 0"), run.noise(N, "mix 0")
    agree(found, run, "fake", (u(run, "fake", mix(x, noise, t), t) - (noise - x)).square().mean())


def test_feedback_weighs_the_reward_against_how_far_samples_move():
    teacher = NetworkDenoiser(Net(1), RectifiedFlow(), (D,))
    record = distill(teacher, Consistency(batch=2, grid=4, use=2), steps=0, progress=False, device="cpu")
    method = Feedback(reward=lambda x: x[:, 0] * x[:, 1], strength=0.4, anchor=0.9, batch=N, rank=0)
    run = begin(method, network=record)
    with torch.no_grad():
        run.networks["student"].network.weight.add_(0.2)
    z = 0.999 * run.noise(N)
    times = record.times.tolist()
    before = denoiser(record).network

    def go(network):
        x = z
        for t, s in itertools.pairwise(times):
            x = x + (s - t) * network(x, torch.full((N,), t, dtype=DOUBLE))
        return x

    x = go(run.networks["student"].network)
    moved = (x - go(before).detach()).square().sum(1).mean()
    agree(yielded(method, run), run, "student", 0.9 * moved - 0.4 * (x[:, 0] * x[:, 1]).mean())


@pytest.mark.parametrize("method", [Regression(batch=N, weight="snr"), Denoising(batch=N)], ids=["teacher", "data"])
def test_regression_is_to_the_teacher_and_denoising_to_the_data(method):
    run = begin(method)
    x, noise = run.real(N)[0].double(), run.noise(N)
    t = 1e-3 + (1 - 2e-3) * run.uniform(N)
    state = mix(x, noise, t)
    wanted = u(run, "teacher", state, t).detach() if type(method) is Regression else noise - x
    weight = ((1 - t) / t) ** 2 if method.weight == "snr" else torch.ones_like(t)
    agree(
        yielded(method, run), run, "student", (weight * (u(run, "student", state, t) - wanted).square().mean(1)).mean()
    )


def test_an_output_of_another_shape_is_refused_not_broadcast():
    class Narrow(nn.Module):
        def forward(self, x, t):
            return x[:, :1]

    model = NetworkDenoiser(Narrow(), RectifiedFlow(), (2,))
    with pytest.raises(ValueError, match=r"answers a state of shape \(4, 2\) with \(4, 1\)"):
        model(torch.zeros(4, 2), torch.tensor(0.5))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("epsilon", "noise"), ("eps", "noise"), ("sample", "x0"), ("v_prediction", "v"), ("flow_prediction", "velocity")],
)
def test_kinds_of_diffusers_are_hinted_at(theirs, ours):
    model = NetworkDenoiser(Net(1), RectifiedFlow(), (D,), theirs)
    with pytest.raises(ValueError, match=f"what diffusers calls '{theirs}' is '{ours}' here"):
        model(torch.zeros(2, D, dtype=DOUBLE), torch.tensor(0.5))


def test_a_mixture_refuses_negative_weights_and_skew_axes():
    means, variances = torch.zeros(2, 2), torch.ones(2, 2)
    with pytest.raises(ValueError, match=r"weights hold -0.5"):
        GaussianMixture(means, variances, torch.tensor([1.5, -0.5]))
    skew = torch.tensor([[1.0, 0.8], [0.0, 0.6]]).expand(2, 2, 2)
    with pytest.raises(ValueError, match=r"axes are off being orthonormal by 0.8"):
        GaussianMixture(means, variances, torch.tensor([0.5, 0.5]), axes=skew)


def test_levels_are_the_ones_of_the_papers():
    run = begin(SiD(batch=N))
    assert torch.equal(EvenLevels()(run, N, "level").double(), even(run, "level"))
    r = 0.8 * run.uniform(N, "level")
    sigma = (0.002 ** (1 / 7) + r * (80 ** (1 / 7) - 0.002 ** (1 / 7))) ** 7
    torch.testing.assert_close(EDMLevels()(run, N, "level").double(), sigma / (1 + sigma), rtol=1e-6, atol=1e-9)
