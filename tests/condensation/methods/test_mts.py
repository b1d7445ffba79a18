"""Every exact line of paper 112's card on temperatures, in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from workbench import records
from workbench.analysis import calibration, fit_temperature
from workbench.analysis.temperature import nll, nll_curve, slope
from workbench.condensation import RandomCrops, calibrate, condense, masked_temperature
from workbench.condensation.methods.mdt import masked
from workbench.condensation.methods.mts import masked_logits
from workbench.training.evaluating import logits_of

seeds = st.integers(0, 2**31 - 1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(seed, n=40, classes=5, scale=3.0):
    """Logits that are right more often than not, but not always."""
    g = generator(seed)
    labels = torch.randint(classes, (n,), generator=g)
    logits = scale * torch.randn(n, classes, generator=g, dtype=torch.float64)
    logits[torch.arange(n), labels] += scale
    return logits, labels


@pytest.fixture(scope="module")
def trained():
    """Digits, a set of two random images per class, and networks trained on it until they know it."""
    data = wb.data.load("digits").per_class(10)
    made = condense(data, RandomCrops(ipc=2, factor=1, scale=(1.0, 1.0)))
    split = wb.data.Split(made.images, made.labels, made.classes, made.mean, made.std)
    networks = [wb.models.build("mlp", data, width=32, seed=seed) for seed in range(2)]
    wb.training.Ensemble(networks).fit(split, steps=120, lr=0.01, progress=False)
    return data, made, networks


@given(seeds, st.floats(0.05, 20))
@settings(max_examples=30, deadline=None)
def test_a_temperature_changes_no_prediction(seed, T):
    """Card (a)."""
    logits, labels = problem(seed)
    assert torch.equal((logits / T).argmax(1), logits.argmax(1))
    assert nll(logits, labels, 1.0) == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item())
    assert calibration(logits / 1.0, labels).ece == calibration(logits, labels).ece


@given(seeds, st.lists(st.floats(0.05, 20), min_size=3, max_size=3, unique=True))
@settings(max_examples=40, deadline=None)
def test_the_likelihood_is_convex_in_one_over_t(seed, betas):
    """Card (b): below every chord, with a slope that is the derivative and never falls."""
    logits, labels = problem(seed)
    low, middle, high = sorted(betas)
    share = (middle - low) / (high - low)
    ends = [nll(logits, labels, 1 / beta) for beta in (low, high)]
    assert nll(logits, labels, 1 / middle) <= (1 - share) * ends[0] + share * ends[1] + 1e-10
    assert slope(logits, labels, low) <= slope(logits, labels, middle) + 1e-12 <= slope(logits, labels, high) + 2e-12
    step = 1e-5
    difference = (nll(logits, labels, 1 / (middle + step)) - nll(logits, labels, 1 / (middle - step))) / (2 * step)
    assert slope(logits, labels, middle) == pytest.approx(difference, abs=1e-6)


@given(seeds, st.floats(0.5, 6))
@settings(max_examples=30, deadline=None)
def test_at_the_optimum_the_expected_logit_is_that_of_the_label(seed, scale):
    """Card (b): E[Σ_c p_c z_c] = E[z_y]."""
    logits, labels = problem(seed, n=200, scale=scale)
    found = fit_temperature(logits, labels)
    assert found.bound == ""
    probabilities = (logits / found.value).softmax(1)
    assert (probabilities * logits).sum(1).mean() == pytest.approx(
        logits.gather(1, labels[:, None]).mean().item(), abs=1e-5 * scale
    )
    assert found.nll <= nll_curve(logits, labels, torch.logspace(-1.3, 1.3, 50)).min() + 1e-12
    assert fit_temperature(3 * logits, labels).value == pytest.approx(3 * found.value, rel=1e-4)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_where_all_is_right_there_is_no_optimum_and_the_bound_is_flagged(seed):
    """Card (d): NLL → 0 as T → 0; the search ends at its lower bound and says so."""
    logits, labels = problem(seed)
    logits[torch.arange(40), labels] = logits.amax(1) + 0.1
    curve = nll_curve(logits, labels, [1.0, 0.1, 0.01, 0.001])
    assert (curve.diff() < 0).all()
    assert curve[-1] < 1e-12
    for least in (0.5, 0.05, 0.005):
        found = fit_temperature(logits, labels, bounds=(least, 20.0))
        assert (found.value, found.bound) == (least, "lower")


def test_worse_than_chance_ends_at_the_upper_bound():
    logits, labels = problem(0)
    wrong = fit_temperature(-logits, labels)
    assert (wrong.value, wrong.bound) == (20.0, "upper")
    flat = fit_temperature(torch.full((6, 3), 2.0), torch.arange(6) % 3)
    assert (flat.value, flat.bound, round(flat.nll, 6)) == (1.0, "flat", 1.098612)


@pytest.mark.parametrize(
    ("logits", "labels", "bounds", "message"),
    [
        (torch.zeros(3), torch.zeros(3).long(), (0.05, 20), r"\(n, classes\) and \(n,\) are needed"),
        (torch.zeros(0, 3), torch.zeros(0).long(), (0.05, 20), "no examples"),
        (torch.zeros(3, 2), torch.zeros(3).long(), (0.0, 20), "0 < least < greatest"),
        (torch.tensor([[0.0, 1], [torch.nan, 0]]), torch.zeros(2).long(), (0.05, 20), "row 1 are not all finite"),
    ],
)
def test_what_has_no_temperature_is_refused(logits, labels, bounds, message):
    with pytest.raises(ValueError, match=message):
        fit_temperature(logits, labels, bounds=bounds)


def test_nothing_hidden_is_temperature_scaling_and_everything_hidden_knows_frequencies_only(trained):
    """Card (c)."""
    _, made, networks = trained
    alone = logits_of(networks[0], made.images)
    assert torch.equal(masked_logits(networks[0], made.images, 0.0, draws=7, generator=generator()), alone)
    scaled, plain = masked_temperature(networks[0], made, 0.0), fit_temperature(alone, made.labels)
    assert (scaled.value, scaled.nll, scaled.bound) == (plain.value, plain.nll, plain.bound)

    dark = masked_logits(networks[0], made.images, 1.0, draws=3, generator=generator())
    f0 = logits_of(networks[0], torch.zeros_like(made.images[:1]))
    assert torch.allclose(dark, f0.expand(60, -1))
    found = masked_temperature(networks[0], made, 1.0)
    shuffled = made.replace(images=made.images[torch.randperm(20, generator=generator())])
    assert masked_temperature(networks[0], shuffled, 1.0).nll == pytest.approx(found.nll, rel=1e-12)
    # Equal frequencies: certainty about any class can only harm, so that T is as large as it may be.
    assert (found.value, found.bound) == (20.0, "upper")
    tilted = [int(f0.argmax())] * 12 + [int(f0.argmin())] * 8
    frequent = made.replace(labels=torch.tensor(tilted))
    probabilities = torch.zeros(10).index_put((torch.tensor(tilted),), torch.tensor(0.05), accumulate=True)
    expected = fit_temperature(f0.expand(20, -1), torch.tensor(tilted))
    assert masked_temperature(networks[0], frequent, 1.0).value == pytest.approx(expected.value, rel=1e-5)
    if not expected.bound:
        p = (f0[0].double() / expected.value).softmax(0)
        assert (p * f0[0]).sum() == pytest.approx((probabilities * f0[0]).sum().item(), abs=1e-4)


@given(seeds, st.integers(1, 30), st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_calibration_error_lies_between_zero_and_one(seed, n, bins):
    """Card (e)."""
    logits, labels = problem(seed, n=n)
    assert 0 <= calibration(logits, labels, bins).ece <= 1


def test_calibration_error_of_constructions_whose_error_is_known():
    """Card (e): 0 where confidence is accuracy, |confidence − accuracy| where all are in one bin."""
    sure = torch.tensor([[0.75, 0.25]], dtype=torch.float64).log().repeat(4, 1)
    assert calibration(sure, torch.tensor([0, 0, 0, 1]), bins=10).ece == pytest.approx(0, abs=1e-12)
    mixed = torch.cat([sure, torch.tensor([[0.5, 0.5]], dtype=torch.float64).log().repeat(2, 1)])
    assert calibration(mixed, torch.tensor([0, 0, 0, 1, 0, 1]), bins=10).ece == pytest.approx(0, abs=1e-12)
    assert calibration(sure, torch.tensor([0, 1, 1, 1]), bins=10).ece == pytest.approx(0.5)
    logits, labels = problem(3)
    confidence = logits.softmax(1).amax(1).mean().item()
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    assert calibration(logits, labels, bins=1).ece == pytest.approx(abs(confidence - accuracy))


def test_torchmetrics_style_reference_agrees():
    """The sum over bins, written out."""
    logits, labels = problem(7, n=300)
    probabilities = logits.softmax(1)
    confidence, predicted = probabilities.max(1)
    total = 0.0
    for k in range(10):
        inside = (confidence >= k / 10) & ((confidence < (k + 1) / 10) | (k == 9))
        if inside.any():
            right = (predicted == labels)[inside].double().mean()
            total += inside.double().mean().item() * abs(right - confidence[inside].mean()).item()
    assert calibration(logits, labels, bins=10).ece == pytest.approx(total, abs=1e-9)


def test_every_way_of_scaling_is_reported_with_its_bound(trained, tmp_path):
    data, made, networks = trained
    found = calibrate(networks, made, data, ratios=(0.3, 0.7), draws=4)
    assert found.names == ("raw", "TS", "MTS 0.3", "MTS 0.7", "oracle")
    assert found.temperature.shape == found.ece.shape == (5, 2)
    assert (found.temperature[0] == 1).all()
    assert found.bound[1] == ("lower", "lower")
    assert (found.temperature[1] == 0.05).all()
    for k, network in enumerate(networks):
        test = logits_of(network, data.test.inputs)
        for way, ratio in (("TS", 0.0), ("MTS 0.3", 0.3), ("MTS 0.7", 0.7)):
            T = masked_temperature(network, made, ratio, draws=4)
            row = found.way(way)
            assert found.temperature[row, k] == T.value
            assert found.ece[row, k] == pytest.approx(calibration(test / T.value, data.test.labels, 10).ece)
        assert found.accuracy[k] == (test.argmax(1) == data.test.labels).double().mean()
        assert found.nll[4, k] <= found.nll[:, k].min() + 1e-9  # the oracle sees the test images
    assert found.max_logit["distilled"].shape == (2, 20)
    assert found.max_logit["MTS 0.3"].shape == (2, 80)
    assert len(found.to_frame()) == 10
    assert torch.isnan(found.nll_curve[0]).all()
    assert (found.nll_curve[1].diff() >= 0).all()  # on the distilled images smaller is always better
    assert records.open(found.save(tmp_path / "scaling.safetensors")).summary() == found.summary()
    with pytest.raises(ValueError, match="name is 'MTS'"):
        found.way("MTS")
    with pytest.raises(ValueError, match="networks is empty"):
        calibrate([], made, data)
    with pytest.raises(ValueError, match=r"ratios has 0\.0"):
        calibrate(networks, made, data, ratios=(0.0, 0.5))


def test_masks_of_a_larger_ratio_hide_what_those_of_a_smaller_one_hide():
    x = torch.ones(5, 1, 8, 8)
    few, many = (masked(x, ratio, generator(3)) for ratio in (0.3, 0.7))
    assert ((few == 0) <= (many == 0)).all()


def test_each_draw_has_masks_of_its_own(trained):
    _, made, networks = trained
    logits = masked_logits(networks[0], made.images, 0.5, draws=4, generator=generator()).unflatten(0, (4, 20))
    assert len({tuple(one.flatten().tolist()) for one in logits}) == 4
    again = masked_logits(networks[0], made.images, 0.5, draws=4, generator=generator()).unflatten(0, (4, 20))
    assert torch.equal(again, logits)
    with pytest.raises(ValueError, match="draws is 0"):
        masked_logits(networks[0], made.images, 0.5, draws=0, generator=generator())
