"""Every exact line of paper 064's card, in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from workbench.kernels.divergence import entropy
from workbench.knowledge.methods.good_da import (
    AugmentedKD,
    CutMixPick,
    OnViews,
    Views,
    pick,
    risk_variance,
    stddev_of_means,
    teacher_stddev,
)
from workbench.models import Outputs, observe
from workbench.training import Cutout, Noise, Shift
from workbench.training.mixing import CutMix, Identity, Mixup, OneOf

seeds = st.integers(0, 2**31 - 1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(seed, n=6, side=8):
    return torch.rand(n, 2, side, side, generator=generator(seed), dtype=torch.float64)


def linear_network(inputs, classes, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(inputs, classes))


@given(seeds, st.floats(0.1, 2), st.floats(0, 0.9), st.integers(2, 12))
@settings(max_examples=10, deadline=None)
def test_variance_of_the_risk_with_known_variance_and_covariance(seed, v, correlation, N):
    """e_i = √c·shared + √(v−c)·own has variance v and covariance c: Var(R̂) = v/N + (N−1)/N·c."""
    c, draws = correlation * v, 40_000
    g = generator(seed)
    shared = torch.randn(draws, 1, generator=g, dtype=torch.float64)
    losses = c**0.5 * shared + (v - c) ** 0.5 * torch.randn(draws, N, generator=g, dtype=torch.float64)
    alone, together = risk_variance(losses)
    assert alone + together == pytest.approx(float(losses.mean(1).var()))
    assert alone == pytest.approx(v / N, rel=0.05)
    assert alone + together == pytest.approx(v / N + (N - 1) / N * c, rel=0.06)


@given(seeds, st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_parts_are_the_sums_of_the_covariance_matrix_and_duplicates_gain_nothing(seed, copies):
    losses = torch.randn(30, 4, generator=generator(seed), dtype=torch.float64)
    alone, together = risk_variance(losses)
    covariance = torch.cov(losses.T)
    assert alone == pytest.approx(float(covariance.trace()) / 16)
    assert together == pytest.approx(float(covariance.sum() - covariance.trace()) / 16)
    single = float(losses[:, 0].var())
    assert sum(risk_variance(losses[:, :1].repeat(1, copies))) == pytest.approx(single)


def one_hot(priors, repeats, M, seed=0):
    drawn = torch.multinomial(priors, repeats * M, replacement=True, generator=generator(seed))
    return torch.nn.functional.one_hot(drawn, len(priors)).double().reshape(repeats, M, -1)


@pytest.mark.parametrize("M", [40, 160, 640])
def test_independent_one_hot_teachers_move_as_the_multinomial_does(M):
    priors = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    expected = float((priors * (1 - priors) / M).sqrt().mean())
    assert stddev_of_means(one_hot(priors, 2000, M)) == pytest.approx(expected, rel=0.05)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_a_constant_teacher_does_not_move(seed):
    p = torch.randn(5, generator=generator(seed), dtype=torch.float64).softmax(0)
    assert stddev_of_means(p.expand(8, 30, 5)) == pytest.approx(0, abs=1e-15)


@pytest.fixture(scope="module")
def digits():
    return wb.data.load("digits").subset(320)


def test_teacher_stddev_of_constant_hot_and_scaled_teachers(digits):
    class Constant(torch.nn.Module):
        def forward(self, x):
            return torch.arange(10.0).expand(len(x), 10)

    assert teacher_stddev(Constant(), digits.train, Identity()) == 0
    linear = linear_network(64, 10).double()
    double = digits.train.to("cpu", torch.float64)
    values = [teacher_stddev(linear, double, Identity(), temperature=T) for T in (1, 10, 100, 1000)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 2e-3 * values[0]
    assert linear.training


def test_teacher_stddev_averages_originals_and_copies_of_five_batches(digits):
    """Written out with loops; the augmented half is another network's input, so both halves must be in the mean."""
    network = wb.models.build("mlp", digits, width=8).eval()
    got = teacher_stddev(network, digits.train, Noise(0.5), batch_size=32, repeats=6, seed=4)
    g, means = generator(4), []
    with torch.no_grad():
        for _ in range(6):
            gathered = []
            for _ in range(5):
                x = digits.train.inputs[torch.randint(320, (32,), generator=g)]
                gathered += [network(x).softmax(1), network(Noise(0.5)(x, g)).softmax(1)]
            means.append(torch.cat(gathered).mean(0))
    assert got == pytest.approx(float(torch.stack(means).std(0).mean()), rel=1e-4)


def test_teacher_stddev_falls_with_the_root_of_the_number_of_samples(digits):
    network = wb.models.build("mlp", digits, width=8)
    small, large = (teacher_stddev(network, digits.train, Identity(), batch_size=b, repeats=400) for b in (8, 32))
    assert small / large == pytest.approx(2, rel=0.08)


def test_one_mean_is_refused(digits):
    with pytest.raises(ValueError, match="two means"):
        teacher_stddev(torch.nn.Flatten(), digits.train, Identity(), repeats=1)


@given(seeds, st.floats(0.2, 3))
@settings(max_examples=40, deadline=None)
def test_cutmix_takes_each_pixel_from_one_of_two_images_and_keeps_the_recorded_share(seed, alpha):
    x = images(seed)
    cutmix = CutMix(alpha)
    draws = cutmix.draw(x.shape, generator(seed))
    order, mixed, kept = draws[0], cutmix.apply(x, *draws), cutmix.kept(x.shape, *draws)
    own, other = (mixed == x).all(1), (mixed == x[order]).all(1)
    assert (own | other).all()
    assert sorted(order.tolist()) == list(range(len(x)))
    for i in range(len(x)):
        if order[i] != i:
            assert float(own[i].double().mean()) == pytest.approx(float(kept[i]))
            rows, columns = (~own[i]).nonzero(as_tuple=True)
            if len(rows):  # what is cut is a full rectangle
                area = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
                assert len(rows) == area
    assert (kept >= draws[1] - 1e-6).all()  # clipping only ever gives area back


def test_cutmix_with_nothing_to_cut_and_mixup_at_the_ends():
    x = images(0)
    order, _, centre = CutMix().draw(x.shape, generator())
    one, zero = torch.ones(6), torch.zeros(6)
    assert torch.equal(CutMix().apply(x, order, one, centre), x)
    assert torch.equal(CutMix().apply(x, order, zero, torch.full((6, 2), 0.5)), x[order])
    assert torch.equal(Mixup().apply(x, order, one), x)
    assert torch.equal(Mixup().apply(x, order, zero), x[order])


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_mixup_is_the_convex_combination_with_one_share_per_batch(seed):
    x = images(seed)
    order, lam = Mixup(0.7).draw(x.shape, generator(seed))
    assert len(lam.unique()) == 1
    assert 0 <= lam[0] <= 1
    torch.testing.assert_close(Mixup(0.7)(x, generator(seed)), lam[0] * x + (1 - lam[0]) * x[order])


def test_shares_are_drawn_from_the_beta_distribution():
    g = generator()
    shares = torch.stack([Mixup(0.5).draw(torch.Size([2, 1, 8, 8]), g)[1][0] for _ in range(3000)])
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(shares.var()) == pytest.approx(1 / (4 * (2 * 0.5 + 1)), rel=0.06)


@given(seeds, st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_pick_keeps_the_most_uncertain(seed, runs):
    logits = 3 * torch.randn(8 * runs, 5, generator=generator(seed), dtype=torch.float64)
    kept = pick(logits, 8)
    H = entropy(logits)
    dropped = torch.ones(len(H), dtype=torch.bool)
    dropped[kept] = False
    assert len(kept.unique()) == 8
    assert H[kept].mean() >= H.mean() - 1e-12
    if runs > 1:
        assert H.mean() >= H[dropped].mean() - 1e-12
        assert H[kept].min() >= H[dropped].max()


def test_cutmixpick_with_one_run_is_cutmix_and_else_takes_the_pools_most_uncertain():
    x = images(1).float()
    linear = linear_network(128, 5)
    assert torch.equal(CutMixPick(linear, runs=1)(x, generator(3)), CutMix()(x, generator(3)))
    g = generator(3)
    pool = torch.cat([CutMix()(x, g) for _ in range(3)])
    assert torch.equal(CutMixPick(linear, runs=3)(x, generator(3)), pool[pick(linear(pool), 6)])
    assert linear.training


def outputs(seed, n=5, copies=2, classes=4):
    g = generator(seed)
    make = lambda *shape: 2 * torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    student = Outputs(make(n, classes), {"views": make(n, copies, classes)})
    teacher = Outputs(make(n, classes), {"views": make(n, copies, classes)})
    return student, teacher, torch.randint(classes, (n,), generator=g)


def kl(s, t, T):
    p, q = (t / T).softmax(-1), (s / T).softmax(-1)
    return T**2 * (p * (p / q).log()).sum(-1)


@given(seeds, st.floats(1, 8))
@settings(max_examples=20, deadline=None)
def test_without_the_augmented_part_it_is_plain_distillation(seed, T):
    student, teacher, labels = outputs(seed)
    loss = AugmentedKD(T, augmented=0.0)(Outputs(student.logits), Outputs(teacher.logits), labels)
    ce = torch.nn.functional.cross_entropy(student.logits, labels, reduction="none")
    torch.testing.assert_close(loss, 0.1 * ce + 0.9 * kl(student.logits, teacher.logits, T))


@pytest.mark.parametrize("whose", [None, "student", "teacher"])
def test_loss_on_originals_and_on_the_copies_that_are_heard(whose):
    student, teacher, labels = outputs(0)
    loss = AugmentedKD(4.0, pick=whose)(student, teacher, labels).mean()
    s, t = (o.features["views"].reshape(-1, 4) for o in (student, teacher))
    if whose:
        H = entropy({"student": s, "teacher": t}[whose])
        heard = H.argsort(descending=True)[:5]
        s, t = s[heard], t[heard]
    ce = torch.nn.functional.cross_entropy(student.logits, labels)
    expected = 0.1 * ce + 0.9 * (kl(student.logits, teacher.logits, 4.0).mean() + kl(s, t, 4.0).mean())
    torch.testing.assert_close(loss, expected)


def test_the_original_travels_beside_its_copies():
    x = images(2).float()
    views = Views(CutMix(), copies=2)
    seen = views(x, generator(5))
    g = generator(5)
    assert seen.shape == (6, 3, 2, 8, 8)
    assert torch.equal(seen[:, 0], x)
    for k in (1, 2):
        assert torch.equal(seen[:, k], CutMix()(x, g))
    network = linear_network(128, 5)
    both = OnViews(network)
    out = observe(both, ("views",))(seen)
    torch.testing.assert_close(out.logits, network(x))
    for k in (1, 2):
        torch.testing.assert_close(out.features["views"][:, k - 1], network(seen[:, k]))
    torch.testing.assert_close(both(x), network(x))


def test_one_of_gives_each_example_one_of_the_choices():
    x = images(3)
    choices = (Shift(), Noise(0.5), Cutout(), Identity())
    augmentation = OneOf(choices)
    draws = augmentation.draw(x.shape, generator(1))
    assert len(draws) == augmentation.draws
    got = augmentation.apply(x, *draws)
    position = 1
    for index, choice in enumerate(choices):
        mine = draws[0] == index
        changed = choice.apply(x, *draws[position : position + choice.draws])
        assert torch.equal(got[mine], changed[mine])
        position += choice.draws


@pytest.mark.parametrize("augmentation", [Identity(), Mixup(), CutMix(), OneOf((Shift(), Noise())), Views(CutMix(), 2)])
def test_many_batches_are_augmented_as_one(augmentation):
    batches = torch.stack([images(s) for s in range(3)])
    draws = [augmentation.draw(batches[0].shape, generator(s)) for s in range(3)]
    stacked = [torch.stack(parts) for parts in zip(*draws, strict=True)]
    together = torch.vmap(augmentation.apply)(batches, *stacked)
    for i in range(3):
        torch.testing.assert_close(together[i], augmentation(batches[i], generator(i)))


def test_pick_in_the_loss_equals_picking_before():
    """Students of `OnViews` that hear the most uncertain copies learn as from `CutMixPick`."""
    x, labels = images(4).float(), torch.tensor([0, 1, 2, 3, 4, 0])
    student, teacher = linear_network(128, 5, seed=0), linear_network(128, 5, seed=1)
    seen = Views(CutMix(), copies=2)(x, generator(9))
    with_views = [observe(OnViews(net), ("views",))(seen) for net in (student, teacher)]
    loss = AugmentedKD(pick="student")(*with_views, labels).mean()
    pool = seen[:, 1:].flatten(0, 1)
    mixed = pool[pick(student(pool), 6)]
    plain = AugmentedKD(augmented=0.0)(Outputs(student(x)), Outputs(teacher(x)), labels).mean()
    torch.testing.assert_close(loss, plain + 0.9 * kl(student(mixed), teacher(mixed), 4.0).mean())
    assert math.isfinite(loss.item())


@pytest.mark.parametrize("augmentation", [CutMix(), OneOf((Shift(), Noise())), Identity(), Mixup() + Shift()])
def test_an_ensemble_augments_each_network_as_fit_would(augmentation, digits):
    """Partners are drawn within a network's own batch, and views carry an axis of their own."""
    data = digits.subset(96)
    make = lambda s: OnViews(wb.models.build("mlp", data, width=6, seed=s).double())  # noqa: E731
    teacher = OnViews(wb.models.build("mlp", data, width=9, seed=9).double())
    options = {"steps": 4, "batch_size": 32, "augment": Views(augmentation, 2), "progress": False, "device": "cpu"}
    told = AugmentedKD(pick="student")
    together = wb.knowledge.distill_many(teacher, [make(s) for s in (0, 1)], data, told, seeds=(0, 1), **options)
    for seed, record in enumerate(together):
        alone = wb.knowledge.distill(teacher, make(seed), data, told, seed=seed, **options)
        for name, value in alone.state.items():
            torch.testing.assert_close(record.state[name], value, atol=1e-6, rtol=1e-6)
