"""Each measure against an independent computation, with the invariances it claims and one it does not have."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from tests.analysis.networks_to_compare import Passing, record_with_snapshots, split_of
from workbench import models
from workbench.analysis import PWCCA, RSA, SVCCA, MutualKNN, Procrustes, similarity
from workbench.analysis.compact import compact

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31 - 1)
MEASURES = [SVCCA(), SVCCA(variance=1), PWCCA(), PWCCA(variance=1), Procrustes(), RSA(), MutualKNN(k=4)]
ids = [repr(measure) for measure in MEASURES]
every = pytest.mark.parametrize("measure", MEASURES, ids=ids)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(seed, n=30):
    x = random(n, 5, seed=seed)
    return x, (x @ random(5, 4, seed=seed + 1)).tanh() + 0.3 * random(n, 4, seed=seed + 2)


def value(measure, x, y):
    return measure.compare(measure.prepare(x), measure.prepare(y))


def rotation(d, seed):
    return torch.linalg.qr(random(d, d, seed=seed))[0]


@every
@few
@given(seed=seeds)
def test_one_on_itself_symmetric_and_bounded(measure, seed):
    x, y = pair(seed)
    assert value(measure, x, x) == pytest.approx(1, abs=1e-9)
    assert value(measure, x, y) == pytest.approx(value(measure, y, x), abs=1e-9)
    assert (-1 if measure.name == "rsa" else 0) <= value(measure, x, y) <= 1
    assert value(measure, x, y) < 0.999


@every
@few
@given(seed=seeds, scale=st.floats(1e-3, 1e3))
def test_scale_does_not_matter(measure, seed, scale):
    x, y = pair(seed)
    assert value(measure, scale * x, y) == pytest.approx(value(measure, x, y), abs=1e-8)


@pytest.mark.parametrize("measure", [m for m in MEASURES if m.name != "pwcca"], ids=repr)
@few
@given(seed=seeds)
def test_rotation_does_not_matter(measure, seed):
    x, y = pair(seed)
    assert value(measure, x @ rotation(5, seed + 5), y) == pytest.approx(value(measure, x, y), abs=1e-8)


@pytest.mark.parametrize("measure", [m for m in MEASURES if m.name != "mknn"], ids=repr)
@few
@given(seed=seeds, shift=st.floats(-100, 100))
def test_translation_does_not_matter(measure, seed, shift):
    x, y = pair(seed)
    assert value(measure, x + shift * random(5, seed=seed + 3), y) == pytest.approx(value(measure, x, y), abs=1e-6)


@few
@given(seed=seeds)
def test_cca_does_not_see_invertible_linear_maps_and_the_others_do(seed):
    x, y = pair(seed)
    turn = (
        rotation(5, seed + 1)
        @ torch.diag(torch.tensor([20.0, 5, 1, 1, 0.5], dtype=torch.float64))
        @ rotation(5, seed + 2)
    )
    assert value(SVCCA(variance=1), x @ turn, y) == pytest.approx(value(SVCCA(variance=1), x, y), abs=1e-8)
    one_sided = PWCCA(variance=1, symmetric=False)
    assert value(one_sided, y, x @ turn) == pytest.approx(value(one_sided, y, x), abs=1e-8)
    assert value(Procrustes(), x @ turn, x) < 0.99
    assert value(RSA(), x @ turn, x) < 0.99


@few
@given(seed=seeds)
def test_mutual_knn_does_not_see_the_length_of_an_example(seed):
    x, y = pair(seed)
    lengths = random(30, 1, seed=seed).exp()
    assert value(MutualKNN(k=4), x * lengths, y) == value(MutualKNN(k=4), x, y)


@few
@given(seed=seeds)
def test_cca_against_the_generalised_eigenproblem(seed):
    """ρ² are the eigenvalues of Σxx⁻¹ Σxy Σyy⁻¹ Σyx (Hotelling 1936)."""
    x, y = pair(seed)
    x, y = (each.numpy() - each.numpy().mean(0) for each in (x, y))
    inverse = np.linalg.inv
    squares = np.linalg.eigvals(inverse(x.T @ x) @ x.T @ y @ inverse(y.T @ y) @ y.T @ x).real
    expected = np.sqrt(np.sort(squares.clip(0))[::-1][:4]).mean()
    x, y = map(torch.from_numpy, (x, y))
    assert value(SVCCA(variance=1), x, y) == pytest.approx(float(expected), abs=1e-7)


def test_svcca_keeps_the_directions_that_explain_the_share():
    x = random(200, 4) * torch.tensor([10.0, 5.0, 1.0, 0.1])
    for variance in (0.5, 0.9, 0.99, 0.999, 1.0):
        x0 = x - x.mean(0)
        shares = torch.linalg.svdvals(x0).square() / x0.square().sum()
        expected = next(k for k in range(1, 5) if float(shares[:k].sum()) >= variance - 1e-12)
        assert SVCCA(variance=variance).prepare(x).shape == (200, expected)


@few
@given(seed=seeds)
def test_pwcca_against_its_definition(seed):
    x, y = pair(seed)
    x0, y0 = x - x.mean(0), y - y.mean(0)
    white_x = x0 @ torch.linalg.inv(torch.linalg.cholesky(x0.T @ x0)).T  # another orthonormal basis than the SVD's
    white_y = y0 @ torch.linalg.inv(torch.linalg.cholesky(y0.T @ y0)).T
    u, rho, _ = torch.linalg.svd(white_x.T @ white_y)
    directions = white_x @ u[:, : len(rho)]
    alpha = torch.stack([sum(abs(h @ x0[:, j]) for j in range(5)) for h in directions.T])
    expected = float((alpha * rho).sum() / alpha.sum())
    assert value(PWCCA(variance=1, symmetric=False), x, y) == pytest.approx(expected, abs=1e-8)


@few
@given(seed=seeds)
def test_procrustes_is_the_best_rotation(seed):
    x, y = pair(seed)
    y = torch.cat([y, torch.zeros(30, 1, dtype=torch.float64)], 1)
    a, b = ((each - each.mean(0)) / (each - each.mean(0)).norm() for each in (x, y))
    u, _, v = torch.linalg.svd(a.T @ b)
    found = value(Procrustes(), x, y)
    assert found == pytest.approx(1 - float((a @ u @ v - b).square().sum()) / 2, abs=1e-9)
    for k in range(20):  # no other rotation does better
        assert 1 - float((a @ rotation(5, seed + k) - b).square().sum()) / 2 <= found + 1e-9


@few
@given(seed=seeds)
def test_rsa_is_spearman_of_distances(seed):
    x, y = pair(seed)
    one, other = ([float((z[i] - z[j]).norm()) for i, j in itertools.combinations(range(30), 2)] for z in (x, y))
    assert value(RSA(), x, y) == pytest.approx(spearmanr(one, other).statistic, abs=1e-9)


@few
@given(seed=seeds)
def test_mutual_knn_by_counting(seed):
    x, y = pair(seed)
    total = 0
    for i in range(30):
        near = []
        for z in (x, y):
            cosine = [float(z[i] @ z[j] / z[i].norm() / z[j].norm()) for j in range(30)]
            near.append(set(sorted((j for j in range(30) if j != i), key=lambda j, c=cosine: -c[j])[:4]))
        total += len(near[0] & near[1])
    assert value(MutualKNN(k=4), x, y) == pytest.approx(total / (4 * 30), abs=1e-12)


@pytest.mark.parametrize("measure", [m for m in MEASURES if m.name != "pwcca"], ids=repr)
@few
@given(seed=seeds)
def test_compact_coordinates_give_the_same(measure, seed):
    y = random(20, 3, seed=seed + 1)
    wide = torch.cat([y, random(20, 3, seed=seed)], 1) @ random(6, 300, seed=seed + 2)
    short = compact(wide)
    assert short.shape == (20, 20)
    torch.testing.assert_close(short @ short.T, wide @ wide.T)
    assert value(measure, short, y) == pytest.approx(value(measure, wide, y), abs=1e-7)


@pytest.mark.parametrize("name", ["svcca", "pwcca", "procrustes", "rsa", "mknn"])
def test_map_holds_values_classes_views_and_intervals(name):
    data = split_of(90)
    a = Passing(lambda x: x, torch.zeros_like, lambda x: (x + 1).tanh())
    b = Passing(lambda x: x.tanh(), lambda x: x)
    found = similarity(
        a, b, data, name, layers_a=a.names, layers_b=b.names, interval=10, per_class=True, examples=12, progress=False
    )
    assert found.measure == name
    assert found.masked == {f"1,{j}": "constant features in f1 of Passing" for j in range(2)}
    measure = {m.name: m for m in (SVCCA(), PWCCA(), Procrustes(), RSA(), MutualKNN())}[name]
    assert float(found.values[2, 1]) == pytest.approx(value(measure, (data.inputs + 1).tanh(), data.inputs), abs=1e-6)
    rows = data.labels == 1
    expected = value(measure, (data.inputs[rows] + 1).tanh(), data.inputs[rows])
    assert float(found.per_class[1, 2, 1]) == pytest.approx(expected, abs=1e-6)
    low, high = found.intervals[[0, 2]].unbind(-1)
    assert (low <= found.values[[0, 2]]).all()
    assert (high >= found.values[[0, 2]]).all()
    assert found.views_a.projections.shape == (1, 3, 12, 2)


@pytest.mark.parametrize("name", ["svcca", "pwcca"])
def test_cca_of_as_many_directions_as_examples_is_masked(name):
    wide = random(8, 40, seed=4)
    a, b = Passing(lambda x: x, lambda x: (x @ wide).tanh()), Passing(lambda x: x[:, :2])
    found = similarity(
        a, b, split_of(12), name, variance=1, layers_a=a.names, layers_b=b.names, examples=0, progress=False
    )
    assert found.values.isnan().tolist() == [[False], [True]]
    assert found.masked == {"1,0": "as many directions as examples"}


def test_a_measure_of_ones_own():
    class CosineOfMeans:
        name = "means"
        least = 1

        def prepare(self, features):
            return features.mean(0)

        def compare(self, a, b):
            return float(torch.cosine_similarity(a, b, dim=0))

    net = Passing(lambda x: x, lambda x: -x)
    found = similarity(net, net, split_of(), CosineOfMeans(), layers_a=net.names, layers_b=net.names, progress=False)
    torch.testing.assert_close(found.values, torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))


def test_half_sampling_covers_the_population_value():
    """Procrustes of a layer and a noisy copy; the population value from a very large sample."""
    from workbench.analysis.similarity import _half_sampled

    def sample(n, seed):
        x = random(n, 3, seed=seed)
        return x, x + 0.7 * random(n, 3, seed=seed + 10_000_000)

    truth = value(Procrustes(), *sample(200_000, 1))
    covered = 0
    for run in range(100):
        x, y = sample(200, 1000 + run)
        here = torch.tensor([[value(Procrustes(), x, y)]])
        low, high = _half_sampled(Procrustes(), [x], [y], here, 40, seed=run)[0, 0].tolist()
        covered += low <= truth <= high
    assert 88 <= covered <= 100


def test_snapshots_and_large_features_in_groups(monkeypatch):
    from workbench.analysis import features

    data = split_of(dtype=torch.float32)
    run, fixed = record_with_snapshots(), models.build("mlp", ((8,), 3), seed=3)
    at_once = similarity(run, fixed, data, "procrustes", progress=False, batch_size=25)
    monkeypatch.setattr(features, "FEATURE_BYTES", 1)
    one_by_one = similarity(run, fixed, data, "procrustes", progress=False, batch_size=60)
    assert at_once.epochs == (0, 2, 5)
    torch.testing.assert_close(at_once.values, one_by_one.values)
    single = similarity(run.model_at(2), fixed, data, "procrustes", progress=False)
    torch.testing.assert_close(single.values, at_once.values[1])


def test_wrong_measures_and_settings_are_refused():
    net = Passing(lambda x: x)
    with pytest.raises(ValueError, match="measure='ccc'; it can be cka, svcca"):
        similarity(net, net, split_of(), "ccc")
    with pytest.raises(TypeError, match="mknn has no setting 'neighbours'; it has k"):
        similarity(net, net, split_of(), "mknn", neighbours=3)
    with pytest.raises(ValueError, match="data has 9 examples; mknn needs at least 12"):
        similarity(net, net, split_of(9), "mknn", layers_a="f0", layers_b="f0")
    with pytest.raises(ValueError, match="variance=0"):
        similarity(net, net, split_of(), "svcca", variance=0)
    with pytest.raises(TypeError, match="only be set when measure is a name"):
        similarity(net, net, split_of(), MutualKNN(), k=3)
