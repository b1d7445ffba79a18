"""CKA of networks: against the formula written out, its invariances, snapshots, and all that can be wrong."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset

from tests.analysis.networks_to_compare import Passing, record_with_snapshots, split_of
from tests.kernels.test_hsic import hsic0, hsic1
from workbench import models, records
from workbench.analysis import cka, similarity
from workbench.data import load

few = settings(max_examples=10, deadline=None)
seeds = st.integers(0, 2**31 - 1)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(d, seed):
    return torch.linalg.qr(random(d, d, seed=seed))[0]


def compare(a, b, data, **how):
    return cka(a, b, data, layers_a=a.names, layers_b=b.names, **{"progress": False, "examples": 0} | how)


def by_hand(x, y, batches, formula):
    sums = torch.zeros(3, dtype=torch.float64)
    for rows in batches:
        K, L = x[rows] @ x[rows].T, y[rows] @ y[rows].T
        sums += torch.stack([formula(K, L), formula(K, K), formula(L, L)])
    return float(sums[0] / (sums[1] * sums[2]).sqrt())


@pytest.mark.parametrize("debiased", [True, False])
@pytest.mark.parametrize("batch_size", [12, 20, 60])
def test_equals_minibatch_cka_by_hand(debiased, batch_size):
    data = split_of(60)
    maps = random(2, 8, 5)
    a = Passing(lambda x: x @ maps[0], lambda x: (x @ maps[0]).relu())
    b = Passing(lambda x: x @ maps[1])
    found = compare(a, b, data, debiased=debiased, batch_size=batch_size, seed=None)
    formula = hsic1 if debiased else hsic0
    batches = torch.arange(60).split(batch_size)
    for i, layer in enumerate((data.inputs @ maps[0], (data.inputs @ maps[0]).relu())):
        assert float(found.values[i, 0]) == pytest.approx(
            by_hand(layer, data.inputs @ maps[1], batches, formula), abs=1e-6
        )
    assert found.n == 60


def test_biased_cka_of_all_examples_is_kornblith_2019():
    data = split_of(40)
    x, y = data.inputs, data.inputs[:, :3].square()
    found = compare(Passing(lambda x: x), Passing(lambda x: x[:, :3].square()), data, debiased=False, batch_size=40)
    x, y = x - x.mean(0), y - y.mean(0)
    expected = (y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())
    assert float(found.values) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("debiased", [True, False])
@few
@given(seed=seeds, scale=st.floats(1e-2, 1e2), shift=st.floats(-100, 100))
def test_invariances(kernel, debiased, seed, scale, shift):
    data = split_of(36, seed=seed)
    turn, mix = rotation(8, seed + 1), random(8, 6, seed=seed + 2)
    base = Passing(lambda x: x, lambda x: scale * (x @ turn) + shift)
    other = Passing(lambda x: (x @ mix).tanh(), lambda x: x)
    how = {"kernel": kernel, "debiased": debiased, "batch_size": 12, "seed": seed}
    found = compare(base, other, data, **how).values.double()
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=0)  # rotation, scale, translation
    assert float(found[0, 1]) == pytest.approx(1, abs=1e-6)  # itself
    torch.testing.assert_close(compare(other, base, data, **how).values.double().T, found)  # symmetry
    assert found.abs().max() <= 1 + 1e-6
    if not debiased:
        assert found.min() >= 0


def test_linear_maps_in_general_change_it():
    stretch = torch.diag(torch.tensor([50.0, *[1.0] * 7], dtype=torch.float64))
    assert float(compare(Passing(lambda x: x), Passing(lambda x: x @ stretch), split_of(60, classes=1)).values) < 0.9


def test_batches_are_shuffled_so_that_sorted_data_gives_the_same_as_mixed_data():
    data = split_of(300, classes=3)
    order = data.labels.argsort()
    a, b = Passing(lambda x: x), Passing(lambda x: x.tanh())
    mixed, ordered = (compare(a, b, each, batch_size=100).values for each in (data, data.take(order)))
    unshuffled = compare(a, b, data.take(order), batch_size=100, seed=None).values
    assert abs(float(mixed - ordered)) < 0.02
    assert abs(float(mixed - unshuffled)) > 0.05


def test_same_seed_same_bits_and_global_random_state_untouched():
    data, before = split_of(), torch.get_rng_state()
    a, b = Passing(lambda x: x), Passing(lambda x: x.tanh())
    assert torch.equal(compare(a, b, data, batch_size=20).values, compare(a, b, data, batch_size=20).values)
    assert torch.equal(torch.get_rng_state(), before)


def test_per_class_is_cka_of_that_class_alone():
    data = split_of(60)
    a, b = Passing(lambda x: x), Passing(lambda x: x.tanh())
    found = compare(a, b, data, per_class=True, batch_size=60).per_class
    assert found.shape == (3, 1, 1)
    for c in range(3):
        alone = compare(a, b, data.of_class(c), batch_size=60).values
        torch.testing.assert_close(found[c], alone)
    rare = split_of(60)
    rare = rare.take((rare.labels != 2) | (torch.arange(60) < 6))
    found = compare(a, b, rare, per_class=True).per_class
    assert found[2].isnan().all()
    assert not found[:2].isnan().any()


def test_masked_layers_say_why_and_the_map_can_be_saved(tmp_path):
    def spoil(x):
        return x.masked_fill(torch.arange(len(x))[:, None] == 3, torch.nan)

    a = Passing(lambda x: x, lambda x: torch.ones_like(x) * 0.1, spoil)
    found = compare(a, Passing(lambda x: x), split_of(), examples=20, batch_size=20, interval=True)
    assert found.values.isnan().flatten().tolist() == [False, True, True]
    assert found.masked == {"1,0": "constant features in f1 of Passing", "2,0": "NaN activations in f2 of Passing"}
    again = records.open(found.save(tmp_path / "map.safetensors"))
    assert again.masked == found.masked
    assert again.views_a.projections.isfinite().all()


def test_default_layers_are_used_and_training_mode_comes_back():
    data = split_of(dtype=torch.float32)
    model = models.build("mlp", ((8,), 3)).train()
    model.hidden[0].eval()
    found = cka(model, model, data, progress=False)
    assert found.layers_a == ("hidden.0", "hidden.1", "head") or found.layers_a[-1] == "head"
    assert model.training
    assert not model.hidden[0].training
    assert not any(module._forward_hooks for module in model.modules())


def test_snapshots_stack_along_epochs():
    data = split_of(dtype=torch.float32)
    run, other = record_with_snapshots(), record_with_snapshots(epochs=(2, 5, 7), seed=1)
    fixed = models.build("mlp", ((8,), 3), seed=9)
    found = cka(run, fixed, data, interval=True, per_class=True, batch_size=20, progress=False)
    assert found.epochs == (0, 2, 5)
    assert found.values.shape == (3, len(found.layers_a), len(found.layers_b))
    assert found.per_class.shape == (3, 3, *found.values.shape[1:])
    assert found.views_a.projections.shape[0] == 3
    assert found.views_b.projections.shape[0] == 1
    for e, epoch in enumerate(found.epochs):
        single = cka(run.model_at(epoch), fixed, data, batch_size=20, progress=False)
        torch.testing.assert_close(single.values, found.values[e])
    both = cka(run, other, data, batch_size=20, progress=False)
    assert both.epochs == (2, 5)
    single = cka(run.model_at(5), other.model_at(5), data, batch_size=20, progress=False)
    torch.testing.assert_close(single.values, both.values[1])
    assert cka(run, other, data, epochs=(), progress=False).epochs == ()
    assert cka(fixed, run, data, epochs=(5, 0), progress=False).epochs == (0, 5)
    same = cka(run, run, data, epochs=(0, 5), progress=False)
    torch.testing.assert_close(same.values.diagonal(dim1=1, dim2=2), torch.ones(2, len(same.layers_a)))


def test_records_that_share_a_live_network_are_not_mixed_up():
    data, live = split_of(dtype=torch.float32), models.build("mlp", ((8,), 3), width=16)
    one, other = (record_with_snapshots(seed=seed).with_model(live) for seed in (0, 1))
    found = cka(one, other, data, epochs=(0, 5), progress=False).values
    assert (found.diagonal(dim1=1, dim2=2) < 0.999).all()


def test_regression_targets_are_grouped_into_fifths():
    from dataclasses import replace

    split = replace(split_of(60), labels=torch.arange(60).flip(0) * 0.5, classes=())
    found = compare(
        Passing(lambda x: x), Passing(lambda x: x.tanh()), split, examples=10, per_class=True, batch_size=60
    )
    assert found.classes[0] == "lowest fifth"
    assert found.per_class.shape == (5, 1, 1)
    assert found.examples.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert (split.labels[found.examples.index[:2]] < 6).all()


def test_networks_whose_output_is_an_object_with_logits():
    from types import SimpleNamespace

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(8, 3).double()

        def forward(self, x):
            return SimpleNamespace(logits=self.inner(x))

    model = Wrapped()
    assert float(cka(model, model, split_of(), progress=False).values) == pytest.approx(1)


def test_epochs_without_a_snapshot_are_refused():
    data = split_of(dtype=torch.float32)
    run = record_with_snapshots()
    with pytest.raises(ValueError, match="there is no snapshot at 3"):
        cka(run, run, data, epochs=(0, 3))
    with pytest.raises(ValueError, match="none in common"):
        cka(run, record_with_snapshots(epochs=(1, 3)), data)


@pytest.mark.parametrize(
    ("how", "n", "message"),
    [
        ({}, 3, "data has 3 examples; debiased CKA needs at least 4"),
        ({"interval": True}, 4, "data has 4 examples; debiased CKA with an interval needs at least 5"),
        ({"batch_size": 3}, 60, "batch_size=3; debiased CKA needs at least 4"),
        ({"kernel": "cosine"}, 60, "kernel='cosine'"),
        ({"kernel": "rbf", "bandwidth": 0.0}, 60, "bandwidth=0.0"),
        ({"debiased": False}, 1, "biased CKA needs at least 2"),
    ],
)
def test_bad_settings_are_refused_at_the_door(how, n, message):
    data = split_of(60).take(slice(0, n))
    with pytest.raises(ValueError, match=message):
        compare(Passing(lambda x: x), Passing(lambda x: x), data, **how)


def test_wrong_layers_are_refused_with_a_way_out():
    data, good = split_of(), Passing(lambda x: x)
    with pytest.raises(models.LayerNameError, match="f0"):
        cka(good, good, data, layers_a="f9")
    pair = Passing(lambda x: (x, x))
    with pytest.raises(models.LayerOutputError, match="layer 'f0' of Passing returns a tuple"):
        compare(pair, good, data)
    with pytest.raises(models.LayerOutputError, match="first axis must be the examples"):
        compare(Passing(lambda x: x.T), good, data)
    silent = nn.Sequential(nn.Linear(8, 8)).double()
    silent.unused = nn.Linear(8, 8)
    silent.forward = silent[0].forward
    with pytest.raises(models.LayerOutputError, match="'unused' of Sequential is never called"):
        cka(silent, good, data, layers_a="unused", layers_b="f0")
    with pytest.raises(TypeError, match="a is a str; a torch module or a TrainingRecord"):
        cka("resnet", good, data)
    with pytest.raises(TypeError, match="data is a list"):
        cka(good, good, [1, 2])


def test_an_output_changed_in_place_afterwards_does_not_count():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(8, 8).double()

        def forward(self, x):
            return self.first(x).zero_()

    model, data = InPlace(), split_of()
    for measure in ("cka", "procrustes"):
        found = similarity(model, model, data, measure, layers_a="first", layers_b="first", progress=False)
        assert float(found.values) == pytest.approx(1)


def test_memory_does_not_hold_features():
    """While a batch is seen, nothing of the batches before it stays but sums."""
    import gc
    import warnings

    wide = Passing(lambda x: x.repeat(1, 2000))
    seen = []

    def forward(x):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some objects warn when looked at
            tensors = [each for each in gc.get_objects() if type(each) is torch.Tensor]
        seen.append(sum(each.numel() for each in tensors if each.numel() > 50_000))
        return x

    compare(wide, Passing(forward), split_of(200), batch_size=20)
    assert max(seen) < 3 * 20 * 16_000


def test_what_a_torch_user_has_gives_the_same_map():
    data = load("digits").subset(80)
    a, b = (models.build("mlp", data, width=8, seed=seed) for seed in (0, 1))
    x, y = data.test.inputs, data.test.labels
    wanted = cka(a, b, data).values
    for held in ((x, y), (x.numpy(), y.numpy()), {"x": x, "y": y}, TensorDataset(x, y), ((x[:9], y[:9]), (x, y)), x):
        assert torch.equal(cka(a, b, held).values, wanted)
    with pytest.raises(TypeError, match=r"data is 'digits', a name: pass wb\.data\.load"):
        cka(a, b, "digits")
