"""The inspector's pictures: principal components aligned over epochs, Gram matrices, examples by class, and size."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analysis.networks_to_compare import Passing, record_with_snapshots, split_of
from workbench import data as datasets
from workbench import models
from workbench.analysis import cka
from workbench.analysis.views import ViewBuilder, spread_over_classes


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def views(*clouds):
    """Views of one layer at several moments."""
    builder = ViewBuilder(torch.zeros(len(clouds[0]), dtype=torch.int64), total=len(clouds))
    for cloud in clouds:
        gram = (cloud @ cloud.T)[None]
        builder.add(gram, gram)
    return builder.result()


def test_projections_are_principal_components():
    cloud = random(30, 5) * torch.tensor([5.0, 3.0, 1.0, 0.5, 0.2])
    found = views(cloud)
    centred = cloud - cloud.mean(0)
    _, values, right = torch.linalg.svd(centred, full_matrices=False)
    expected = centred @ right[:2].T
    torch.testing.assert_close(found.projections[0, 0].double().abs(), expected.abs(), atol=1e-5, rtol=0)
    share = (values.square() / values.square().sum())[:2]
    torch.testing.assert_close(found.explained[0, 0].double(), share, atol=1e-6, rtol=0)


def test_one_feature_has_one_component():
    found = views(random(10, 1))
    assert found.projections[0, 0, :, 1].abs().max() < 1e-6
    torch.testing.assert_close(found.explained[0, 0], torch.tensor([1.0, 0.0]))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_a_rotated_or_mirrored_cloud_does_not_move_between_epochs(seed):
    cloud = random(20, 4, seed=seed) * torch.tensor([3.0, 2.9, 1.0, 1.0])
    turn = torch.linalg.qr(random(4, 4, seed=seed + 1))[0]
    found = views(cloud, cloud @ turn, -cloud).projections
    torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(found[2], found[0], atol=1e-4, rtol=0)


def test_axes_that_swap_rank_do_not_swap_in_the_picture():
    cloud = random(40, 2)
    before, after = cloud * torch.tensor([1.1, 1.0]), cloud * torch.tensor([1.0, 1.1])
    first, second = views(before, after).projections[:, 0]
    assert (first - second).norm() < 0.2 * first.norm()


def test_gram_matrices_are_centred_and_scaled_to_a_byte():
    cloud = random(12, 3)
    found = views(cloud)
    centred = cloud - cloud.mean(0)
    gram = centred @ centred.T
    expected = (gram / gram.abs().max() * 127).round().to(torch.int8)
    assert found.grams.dtype == torch.int8
    assert torch.equal(found.grams[0, 0], expected)


def test_examples_come_evenly_from_all_classes_in_order():
    labels = torch.tensor([0] * 50 + [1] * 3 + [2] * 50)[
        torch.randperm(103, generator=torch.Generator().manual_seed(0))
    ]
    rows = spread_over_classes(labels, 23)
    assert labels[rows].tolist() == [0] * 10 + [1] * 3 + [2] * 10
    assert len(set(rows.tolist())) == 23


def test_examples_point_back_into_the_split_and_show_its_images():
    data = datasets.load("digits").test
    model = models.build("mlp", (data.shape, 10))
    found = cka(model, model, data, examples=50, batch_size=100, progress=False)
    assert torch.equal(found.examples.labels, data.labels[found.examples.index])
    assert torch.equal(found.examples.images, data.images()[found.examples.index])
    assert (found.examples.labels.diff() >= 0).all()
    assert (found.views_a.gram_examples.diff() > 0).all()
    assert cka(model, model, data, examples=0, progress=False).views_a is None
    table = split_of(40)
    assert cka(Passing(lambda x: x), Passing(lambda x: x), table, layers_a="f0", layers_b="f0").examples.images is None


@pytest.mark.parametrize("epochs", [1, 20])
def test_a_large_map_stays_a_few_megabytes(epochs):
    builders = [ViewBuilder(torch.arange(200) // 20, total=36 * epochs) for _ in range(2)]
    size = 0
    for builder, layers in zip(builders, (27, 9), strict=True):
        gram = torch.eye(200).expand(layers, 200, 200)
        for _ in range(min(epochs, 2)):
            builder.add(gram, gram)
        found = builder.result()
        size += sum(t.numel() * t.element_size() for t in (found.projections, found.explained, found.grams)) * (
            epochs / len(found.grams)
        )
        assert found.grams.shape[-1] >= 32
    assert size < 6e6


def test_snapshots_of_a_record_are_aligned_with_each_other():
    data = split_of(dtype=torch.float32)
    run = record_with_snapshots()
    found = cka(run, models.build("mlp", ((8,), 3)), data, progress=False).views_a.projections
    for e in (1, 2):
        for layer in range(found.shape[1]):
            # the best rotation of one picture onto the one before is: none
            u, _, v = torch.linalg.svd(found[e, layer].T @ found[e - 1, layer])
            torch.testing.assert_close(u @ v, torch.eye(2), atol=1e-3, rtol=0)
