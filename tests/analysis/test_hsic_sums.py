"""Sums of HSIC: order and grouping do not matter, intervals cover, broken layers are set aside."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.analysis.hsic_sums import HSICSums

few = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**31 - 1)


def batch(seed, n=8, layers=3):
    x = torch.randn(layers, n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x @ x.mT


def sums(seed, interval=True, debiased=True):
    out = HSICSums.empty(3, 2, interval=interval, debiased=debiased)
    out.update(batch(seed), batch(seed + 1, layers=2), weight=1 + seed % 3)
    return out


def same(one, other):
    assert (one.n, one.weight) == (other.n, other.weight)
    for name in ("cross", "self_a", "self_b", "moments"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-12, atol=1e-12)


@few
@given(seed=seeds)
def test_merge_is_associative_and_commutative_with_a_neutral_element(seed):
    a, b, c = (sums(seed + 10 * k) for k in range(3))
    same(a.merge(b).merge(c), a.merge(b.merge(c)))
    same(a.merge(b), b.merge(a))
    same(a.merge(HSICSums.empty(3, 2, interval=True)), a)


@few
@given(seed=seeds, debiased=st.booleans())
def test_shards_merge_to_what_one_stream_gives(seed, debiased):
    stream = HSICSums.empty(3, 2, debiased=debiased, interval=True)
    shards = [HSICSums.empty(3, 2, debiased=debiased, interval=True) for _ in range(2)]
    for k in range(5):
        one, other = batch(seed + k), batch(seed - k - 1, layers=2)
        stream.update(one, other)
        shards[k % 2].update(one, other)
    merged = shards[1].merge(shards[0])
    torch.testing.assert_close(merged.result(), stream.result())
    torch.testing.assert_close(merged.interval(), stream.interval())


def test_sums_of_different_kinds_do_not_merge():
    with pytest.raises(ValueError, match="cannot merge"):
        sums(0).merge(sums(1, debiased=False))
    with pytest.raises(ValueError, match="interval=True"):
        sums(0, interval=False).interval()


def test_interval_equals_the_jackknife_written_out():
    """Leave each example out by hand, take the delta method's linearisation by finite differences of CKA."""
    n, batches = 9, 3
    grams = [(batch(k, n, 1), batch(k + 50, n, 1) + 0.5 * batch(k, n, 1)) for k in range(batches)]
    whole = HSICSums.empty(1, 1, interval=True)
    for pair in grams:
        whole.update(*pair)
    variance = 0.0
    totals = torch.stack([whole.cross[0, 0], whole.self_a[0], whole.self_b[0]])

    def cka(t):
        return t[0] / (t[1] * t[2]).sqrt()

    gradient = torch.func.grad(cka)(totals)
    for k in range(batches):
        changes = []
        for i in range(n):
            stay = [j for j in range(n) if j != i]
            part = HSICSums.empty(1, 1)
            part.update(*(g[:, stay][:, :, stay] for g in grams[k]))
            changes.append(torch.stack([part.cross[0, 0], part.self_a[0], part.self_b[0]]))
        linear = torch.stack(changes) @ gradient
        variance += (n - 1) / n * (linear - linear.mean()).square().sum()
    from scipy.stats import t

    low, high = whole.interval()[0, 0]
    assert float(high - low) / 2 == pytest.approx(t.ppf(0.975, n * batches - 1) * float(variance) ** 0.5, rel=1e-9)


@pytest.mark.parametrize(("batch_size", "mixing"), [(30, 0.5), (30, 1.0), (120, 0.5)])
def test_interval_covers_the_population_value(batch_size, mixing):
    """Gaussian features with known covariances: CKA = ‖Σ_xy‖² / (‖Σ_xx‖ ‖Σ_yy‖).

    The jackknife is a little too wide where batches are small (98 % at 30), never too narrow.
    """
    make = torch.Generator().manual_seed(1)
    d, n, runs = 6, 120, 300
    map_x, map_y = torch.randn(2, d, d, generator=make, dtype=torch.float64)
    map_y = mixing * map_x + map_y
    xx, yy, xy = map_x.T @ map_x, map_y.T @ map_y + 0.5 * torch.eye(d), map_x.T @ map_y
    truth = float(xy.square().sum() / (xx.norm() * yy.norm()))
    assert 0.1 < truth < 0.9
    covered, values, widths = 0, [], []
    for _ in range(runs):
        z, noise = torch.randn(2, n, d, generator=make, dtype=torch.float64)
        x, y = z @ map_x, z @ map_y + 0.5**0.5 * noise
        statistics = HSICSums.empty(1, 1, interval=True)
        for rows in torch.arange(n).split(batch_size):
            statistics.update((x[rows] @ x[rows].T)[None], (y[rows] @ y[rows].T)[None])
        low, high = statistics.interval()[0, 0].tolist()
        covered += low <= truth <= high
        values.append(float(statistics.result()))
        widths.append(high - low)
    assert 0.92 <= covered / runs <= 0.995
    spread = float(torch.tensor(values).std())
    assert 0.9 <= sum(widths) / runs / (2 * 1.96 * spread) <= 1.25
    assert sum(values) / runs == pytest.approx(truth, abs=0.02)


def test_a_layer_against_itself_is_one_with_certainty():
    statistics = HSICSums.empty(2, 2, interval=True)
    for k in range(3):
        statistics.update(batch(k, 20, 2), batch(k, 20, 2))
    torch.testing.assert_close(statistics.result().diagonal(), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(statistics.interval()[[0, 1], [0, 1]], torch.ones(2, 2, dtype=torch.float64))


def test_unrelated_wide_features_are_near_zero_only_when_debiased():
    make = torch.Generator().manual_seed(0)
    found = {}
    for debiased in (True, False):
        statistics = HSICSums.empty(1, 1, debiased=debiased)
        for _ in range(4):
            x, y = torch.randn(2, 1, 50, 500, generator=make, dtype=torch.float64)
            statistics.update(x @ x.mT, y @ y.mT)
        found[debiased] = float(statistics.result())
    assert abs(found[True]) < 0.05
    assert found[False] > 0.8


def test_broken_and_constant_layers_are_named_and_leave_the_rest_alone():
    good = batch(0, 10, 3)
    bad = good.clone()
    bad[1, 2, 3] = torch.nan
    bad[2] = 5.0
    statistics = HSICSums.empty(3, 3, interval=True)
    statistics.update(bad, good)
    assert statistics.reasons_a == {1: "NaN activations", 2: "constant features"}
    assert statistics.reasons_b == {}
    assert statistics.result()[1:].isnan().all()
    assert not statistics.result()[0].isnan().any()
    assert statistics.interval()[1:].isnan().all()
    bad[1, 2, 3] = torch.inf
    statistics = HSICSums.empty(3, 3)
    statistics.update(bad, good)
    assert statistics.reasons_a[1] == "infinite activations"
