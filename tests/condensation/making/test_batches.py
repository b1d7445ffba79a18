"""Representative batches are DREAM's selector; the k-means under them is scikit-learn's from the same start."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from workbench.condensation import RandomBatches, RepresentativeBatches, Run
from workbench.condensation.making import clusters
from workbench.condensation.making.batches import representative
from workbench.data import Split


def flat(images):
    return images.flatten(1)


def run_of(tiny, seed=0):
    return Run(tiny.train, seed=seed, device=torch.device("cpu"))


def points(seed, classes=2, n=20, d=3):
    return torch.randn(classes, n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def nearest_distances(x, centres):
    rows = clusters.nearest(x, centres)[..., 0]
    return (x[torch.arange(len(x))[:, None], rows] - centres).norm(dim=2)


@given(seed=st.integers(0, 10_000), k=st.integers(1, 8))
def test_centres_are_those_of_scikit_learn_from_the_same_start(seed, k):
    x = points(seed)
    initial = x[:, :k].clone()
    ours = clusters.kmeans(x, k, generator(), initial=initial)
    for c in range(2):
        theirs = KMeans(k, init=initial[c].numpy(), n_init=1, tol=0, algorithm="lloyd").fit(x[c].numpy())
        if len(set(theirs.labels_)) == k:  # scikit-learn moves empty clusters, here they keep their centres
            torch.testing.assert_close(ours[c], torch.from_numpy(theirs.cluster_centers_))


@given(seed=st.integers(0, 10_000))
def test_centres_turn_and_move_with_the_features_and_ignore_the_order_of_rows(seed):
    x = points(seed)
    initial = x[:, :4].clone()
    centres = clusters.kmeans(x, 4, generator(), initial=initial)
    turn = torch.linalg.qr(points(seed + 1, 1, 3, 3)[0]).Q
    moved = clusters.kmeans(x @ turn + 5, 4, generator(), initial=initial @ turn + 5)
    torch.testing.assert_close(moved, centres @ turn + 5)
    order = torch.randperm(20, generator=generator(seed))
    torch.testing.assert_close(clusters.kmeans(x[:, order], 4, generator(), initial=initial), centres)
    # A centre halfway between two examples has two nearest ones, so how near they are is compared.
    distances = nearest_distances(x, centres)
    torch.testing.assert_close(nearest_distances(x @ turn + 5, moved), distances)
    torch.testing.assert_close(nearest_distances(x[:, order], centres), distances)


def test_padding_is_never_chosen_and_changes_nothing():
    x = points(0)
    x[1, 12:] = 1e3
    centres = clusters.kmeans(x, 3, generator(1), sizes=[20, 12])
    assert centres[1].abs().max() < 10
    assert clusters.nearest(x, centres, 2, sizes=[20, 12])[1].max() < 12
    alone = clusters.kmeans(x[1:, :12], 3, generator(), initial=centres[1:])
    torch.testing.assert_close(alone, centres[1:])


def test_more_clusters_than_examples_are_refused():
    with pytest.raises(ValueError, match="clusters is 21; it can be 1 to 20"):
        clusters.kmeans(points(0), 21, generator())


def test_starts_are_spread_over_far_clusters():
    centres = torch.tensor([[-100.0], [0.0], [100.0]], dtype=torch.float64)
    x = (centres[:, None] + 0.01 * points(0, 3, 10, 1)).reshape(1, 30, 1)
    for seed in range(5):
        found = clusters.kmeans(x, 3, generator(seed)).flatten().sort().values
        torch.testing.assert_close(found, centres.flatten(), atol=0.1, rtol=0)


def test_a_class_no_larger_than_the_batch_is_taken_whole_whatever_the_seed(tiny):
    batches = [representative(run_of(tiny, seed), 16, flat) for seed in (0, 1)]
    values = tiny.train.inputs
    for batch in batches:
        for c in range(3):
            kept = batch.weights[c] > 0
            assert sorted(batch.rows[c][kept].tolist()) == (tiny.train.labels == c).nonzero().flatten().tolist()
    means = [batch.mean(values[batch.rows]) for batch in batches]
    torch.testing.assert_close(*means)
    whole = torch.stack([values[tiny.train.labels == c].mean(0) for c in range(3)])
    torch.testing.assert_close(means[0], whole)


@pytest.mark.parametrize("per_cluster", [1, 2])
def test_chosen_examples_belong_to_their_class(tiny, per_cluster):
    batch = representative(run_of(tiny), 6, flat, per_cluster=per_cluster)
    assert batch.rows.shape == (3, 6)
    assert bool((tiny.train.labels[batch.rows] == torch.arange(3)[:, None]).all())
    torch.testing.assert_close(batch.weights.sum(1), torch.ones(3, dtype=torch.float64))


def test_examples_with_equal_features_are_interchangeable(tiny):
    split = tiny.train
    twice = Split(split.inputs.repeat(2, 1, 1, 1), split.labels.repeat(2), split.classes, split.mean, split.std)
    run = Run(twice, seed=0, device=torch.device("cpu"))
    batch = representative(run, 4, flat)
    other = (batch.rows + len(split)) % len(twice)
    assert torch.equal(twice.inputs[batch.rows], twice.inputs[other])


def test_a_batch_is_kept_for_an_interval_then_chosen_anew(tiny):
    run, selector, seen = run_of(tiny), RepresentativeBatches(interval=3), []
    for run.iteration in range(6):
        torn = run.generator("features").manual_seed(run.iteration)
        mix = torch.randn(36, 4, generator=torn, dtype=torch.float64)
        seen.append(selector.draw(run, 5, lambda images, mix=mix: flat(images) @ mix).rows)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[3], seen[5])
    assert not torch.equal(seen[0], seen[3])


def test_random_batches_differ_by_iteration_and_hold_a_small_class_once(tiny):
    run = run_of(tiny)
    first = RandomBatches().draw(run, 5, flat)
    run.iteration = 1
    assert not torch.equal(first.rows, RandomBatches().draw(run, 5, flat).rows)
    whole = RandomBatches().draw(run, 99, flat)
    assert whole.rows.shape == (3, 16)
    torch.testing.assert_close(
        whole.mean(tiny.train.inputs[whole.rows])[1], tiny.train.inputs[tiny.train.labels == 1].mean(0)
    )


def test_bad_arguments_name_what_would_do(tiny):
    with pytest.raises(ValueError, match="interval is 0; it must be a whole number of at least 1"):
        RepresentativeBatches(interval=0)
    with pytest.raises(ValueError, match="per_class is 5; it must be a multiple of per_cluster, 2"):
        representative(run_of(tiny), 5, flat, per_cluster=2)
