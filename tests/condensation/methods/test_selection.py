"""Each baseline chooses what its definition, written out by brute force, chooses."""

from dataclasses import replace
from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench import records
from workbench.condensation import (
    EL2N,
    ClassMeans,
    Forgetting,
    Fresh,
    Herding,
    KCentre,
    Random,
    Run,
    condense,
    examples,
    pretrain,
)
from workbench.condensation.making.networks import embedding
from workbench.condensation.methods.selection import error_norm, forgotten, herd, spread
from workbench.models import build, from_spec
from workbench.training import fit

SMALL = {"width": 4, "depth": 1}
EVERY = [
    Random(ipc=3),
    Herding(ipc=3),
    Herding(ipc=3, network="convnet", options=SMALL),
    KCentre(ipc=3),
    KCentre(ipc=3, network=Fresh("mlp", {"width": 5})),
    Forgetting(ipc=3, epochs=2, networks=2, options=SMALL),
    EL2N(ipc=3, epochs=1, networks=2, options=SMALL),
]


def features(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("method", EVERY, ids=lambda m: f"{m.short}-{getattr(m, 'network', '')}")
def test_chooses_real_images_of_the_class_none_twice_and_the_same_again(tiny, tmp_path, method):
    made = condense(tiny, method, seed=3)
    assert made.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert torch.equal(made.images, tiny.train.inputs[made.source])
    assert torch.equal(made.labels, tiny.train.labels[made.source])
    assert len(set(made.source.tolist())) == 9
    again = condense(tiny, method, seed=3)
    assert torch.equal(again.source, made.source)
    assert made.iterations == 0
    assert made.settings["ipc"] == 3
    opened = records.open(made.save(tmp_path / "chosen.safetensors"))
    assert torch.equal(opened.images, made.images)


def test_random_differs_by_seed(tiny):
    a, b = (condense(tiny, Random(ipc=5), seed=seed).source for seed in (0, 1))
    assert not torch.equal(a, b)


def test_sources_are_positions_in_the_source_of_the_data(tiny):
    later = replace(tiny.train, index=tiny.train.index + 1000)
    made = condense(later, Herding(ipc=2))
    assert torch.equal(made.images, tiny.train.inputs[made.source - 1000])


@given(n=st.integers(1, 12), d=st.integers(1, 4), seed=st.integers(0, 999), share=st.floats(0, 1))
def test_herding_takes_the_image_that_brings_the_mean_closest(n, d, seed, share):
    x, count = features(n, d, seed), max(1, round(share * n))
    taken: list[int] = []
    for _ in range(count):
        left = [i for i in range(n) if i not in taken]
        taken.append(min(left, key=lambda i: (x.mean(0) - x[[*taken, i]].mean(0)).norm().item()))
    assert herd(x, count).tolist() == taken


def test_all_of_a_class_is_its_mean():
    x = features(9, 3, 0)
    torch.testing.assert_close(x[herd(x, 9)].mean(0), x.mean(0))


@given(n=st.integers(2, 9), seed=st.integers(0, 999), count=st.integers(1, 3))
def test_k_centre_takes_the_farthest_and_is_at_most_twice_the_best(n, seed, count):
    x, count = features(n, 2, seed), min(count, n)
    distance = torch.cdist(x, x)
    taken = [int((x - x.mean(0)).norm(dim=1).argmin())]
    while len(taken) < count:
        taken.append(int(distance[taken].amin(0).argmax()))
    assert spread(x, count).tolist() == taken
    radius = distance[taken].amin(0).max()
    best = min(distance[list(some)].amin(0).max() for some in combinations(range(n), count))
    assert radius <= 2 * best + 1e-12


def test_k_centre_takes_none_twice_where_all_are_alike():
    assert sorted(spread(torch.zeros(5, 2), 5).tolist()) == [0, 1, 2, 3, 4]


def test_network_features_are_those_of_the_pool(tiny):
    run = Run(tiny.train, seed=0, device=torch.device("cpu"))
    psi = embedding(run.network("convnet", "features", 0, **SMALL).eval())
    made = condense(tiny, KCentre(ipc=4, network="convnet", options=SMALL))
    for c, rows in enumerate(run.rows):
        expected = rows[spread(psi(tiny.train.inputs[rows]), 4)]
        assert torch.equal(made.source[4 * c : 4 * c + 4], expected)


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=6))
def test_forgetting_events(epochs):
    right = torch.tensor(epochs)
    for i in range(3):
        history = [bool(row[i]) for row in epochs]
        expected = sum(a and not b for a, b in pairwise(history))
        assert forgotten(right)[i] == (expected if any(history) else len(history))


def test_error_norm_is_the_distance_to_the_label():
    logits, labels = features(6, 3, 0), torch.tensor([0, 1, 2, 0, 1, 2])
    expected = [(torch.softmax(z, 0) - torch.eye(3)[y]).norm() for z, y in zip(logits, labels, strict=True)]
    torch.testing.assert_close(error_norm(logits, labels), torch.stack(expected).double())
    assert error_norm(torch.tensor([[9e9, 0.0]]), torch.tensor([0])).item() == 0
    assert error_norm(torch.tensor([[9e9, 0.0]]), torch.tensor([1])).item() == pytest.approx(2**0.5)


def scores_by_hand(tiny, epochs, networks):
    """Networks as EL2N trains them, one by one with `fit`, and their logits of the training images by epoch."""
    run = Run(tiny.train, seed=0, device=torch.device("cpu"))
    seed = int(torch.randint(2**31, (), generator=run.generator("pretrain", 0)))
    found = []
    for record in pretrain(tiny.train, "convnet", networks, epochs, seed=seed, options=SMALL, snapshots="all"):
        each = []
        for k in range(1, epochs + 1):
            network = from_spec(record.spec)
            network.load_state_dict({name: stack[k] for name, stack in record.snapshots.items()})
            each.append(network.double().eval()(tiny.train.inputs).detach())
        found.append(torch.stack(each))
    return torch.stack(found)  # (networks, epochs, n, classes)


@pytest.mark.parametrize("hardest", [True, False])
def test_el2n_and_forgetting_rank_by_what_networks_said(tiny, hardest):
    logits, labels = scores_by_hand(tiny, 4, 3), tiny.train.labels
    el2n = (logits[:, -1].softmax(2) - torch.eye(3)[labels]).norm(dim=2).mean(0)
    right = logits.argmax(3) == labels
    events = (right[:, :-1] & ~right[:, 1:]).sum(1) + 4 * (~right.any(1)).long()
    options = {"ipc": 2, "epochs": 4, "networks": 3, "options": SMALL, "hardest": hardest}
    for method, score in ((EL2N(**options), el2n), (Forgetting(**options), events.sum(0))):
        made = condense(tiny, method)
        for c in range(3):
            mine = score[labels == c].double()
            chosen = score[made.source[made.labels == c]].double()
            expected = mine.sort(descending=hardest).values[:2]
            torch.testing.assert_close(chosen, expected)


def test_class_means(tiny):
    made = condense(tiny, ClassMeans())
    for c in range(3):
        torch.testing.assert_close(made.images[c], tiny.train.inputs[tiny.train.labels == c].mean(0))
    assert made.source.tolist() == [-1] * 3
    several = condense(tiny, ClassMeans(ipc=4))
    for c in range(3):
        x = tiny.train.inputs[tiny.train.labels == c].flatten(1)
        centres = several.images[4 * c : 4 * c + 4].flatten(1)
        nearest = torch.cdist(x, centres).argmin(1)
        for k in range(4):
            torch.testing.assert_close(centres[k], x[nearest == k].mean(0))


def test_examples_train_a_network_like_any_split(tiny):
    made = condense(tiny, Random(ipc=3))
    plain, tiled = examples(made), examples(made.replace(view={"tiles": 2}))
    assert torch.equal(plain.inputs, made.images)
    assert len(tiled) == 36
    assert tiled.labels.tolist() == [c for c in range(3) for _ in range(12)]
    soft = made.replace(labels=torch.nn.functional.one_hot(made.labels, 3).float() * 0.7 + 0.1)
    assert torch.equal(examples(soft).labels, made.labels)
    assert fit(build("convnet", tiny, **SMALL).double(), plain, epochs=1, progress=False).epochs == 1
