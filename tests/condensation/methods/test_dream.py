"""DREAM is its host with other real batches and another start."""

import pytest
import torch

from workbench.condensation import (
    DREAM,
    MTT,
    DistributionMatching,
    Experts,
    GradientMatching,
    InnerTraining,
    Run,
    condense,
    idc,
)
from workbench.condensation.making.batches import representative
from workbench.condensation.making.initial import tiled
from workbench.condensation.making.networks import embedding
from workbench.condensation.making.synthetic import Tiles

SMALL = {"width": 4, "depth": 1}
INNER = InnerTraining(on="real", steps=1, batch=8)

EXPERTS = Experts(count=2, epochs=2, lr=0.05, batch_size=8, network="mlp", options={"width": 8, "depth": 1})


def run_of(data, seed=0):
    return Run(data.train, seed=seed, device=torch.device("cpu"))


def first_loss(method, run):
    synthetic = method.start(run)
    loss = next(iter(method.losses(run, synthetic)))
    return loss, torch.autograd.grad(loss, synthetic.pixels)[0]


def test_images_equal_to_the_selected_batch_match_it_exactly(tiny):
    """ipc = batch size: the start and the first batch are both the picks of k-means in the first network."""
    host = GradientMatching(ipc=4, real_batch=4, distance="squared", options=SMALL)
    run = run_of(tiny)
    method = DREAM(host=host)
    synthetic = method.start(run)
    batch = representative(run, 4, embedding(run.network("convnet", **SMALL)), purpose="initial kmeans")
    assert torch.equal(synthetic.pixels.detach(), run.split.inputs[batch.rows].flatten(0, 1))
    with torch.no_grad():  # the selector draws its own start of k-means
        chosen = representative(run, 4, embedding(run.network("convnet", **SMALL)))
        synthetic.pixels.copy_(run.split.inputs[chosen.rows].flatten(0, 1))
    loss = next(iter(method.losses(run, synthetic)))
    assert loss.item() < 1e-25
    assert torch.autograd.grad(loss, synthetic.pixels)[0].abs().max() < 1e-13


def test_with_whole_classes_selection_does_not_matter(tiny):
    """Batches as large as the class, kept for ever: the target is the class's own gradient, whatever was drawn."""
    host = GradientMatching(ipc=1, real_batch=16, distance="squared", options=SMALL)
    losses = []
    for seed in (0, 1):
        run, data = run_of(tiny, seed), run_of(tiny)
        run.network = data.network  # same network, other draws
        selected = DREAM(host=host, interval=10**9)
        synthetic = selected.start(data)
        losses.append(next(iter(selected.losses(run, synthetic))))
    random = next(host.losses(run_of(tiny), synthetic))
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(losses[0], random)


@pytest.mark.parametrize(
    "host",
    [
        GradientMatching(ipc=1, real_batch=4, matches=4, training=INNER, options=SMALL),
        DistributionMatching(ipc=1, real_batch=4, options=SMALL),
        idc(ipc=1, real_batch=4, matches=4, training=INNER, options={"width": 4, "depth": 2}),
        MTT(ipc=1, steps=2, span=1, latest=2, lr_images=0.1, experts=EXPERTS),
    ],
)
def test_any_host_runs_and_resumes_exactly(tiny, host):
    method = DREAM(host=host, interval=3)
    whole = condense(tiny, method, iterations=7, progress=False)
    rest = condense(
        tiny, method, iterations=7, resume=condense(tiny, method, iterations=5, progress=False), progress=False
    )
    assert torch.equal(rest.images, whole.images)
    assert whole.method == "DREAM"


def test_a_representative_batch_is_another_target_than_a_random_one(tiny):
    host = DistributionMatching(ipc=2, real_batch=4, options=SMALL)
    selected = DREAM(host=host).matching
    assert not torch.equal(first_loss(host, run_of(tiny))[0], first_loss(selected, run_of(tiny))[0])


def test_tiles_start_from_shrunk_images_in_the_order_they_are_read(tiny):
    images = torch.arange(8.0)[:, None, None, None].expand(8, 1, 6, 6)
    grid = tiled(images, 2)
    assert grid.shape == (2, 1, 6, 6)
    seen, labels = Tiles(2)(grid, torch.tensor([0, 1]), torch.Generator())
    assert torch.equal(seen, images)
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    made = idc(ipc=1, options=SMALL).start(run_of(tiny))
    assert made.by_class(torch.Generator()).shape == (3, 4, 1, 6, 6)


def test_tiles_fit_sides_that_do_not_divide():
    assert tiled(torch.rand(9, 3, 8, 7), 3).shape == (1, 3, 8, 7)


def test_on_trajectory_matching_start_and_experts_images_are_representative(tiny):
    method = DREAM(host=MTT(ipc=2, steps=2, span=1, latest=2, experts=EXPERTS), expert_images=3)
    run = run_of(tiny)
    synthetic = method.start(run)
    chosen = representative(run, 3, embedding(run.network("mlp", **EXPERTS.options)), purpose="experts' images")
    experts = EXPERTS.train(tiny.train.take(chosen.rows.unique()), seed=0, device="cpu", progress=False)
    torch.testing.assert_close(run.made["experts"].at(1, 2), experts.at(1, 2))
    features = embedding(experts.network(0, 0))
    expected = representative(run, 2, features, purpose="initial kmeans").rows.flatten()
    assert torch.equal(synthetic.pixels.detach(), tiny.train.inputs[expected])
    assert set(method.finish(run, synthetic)) == {"step_size", "spec"}
    with pytest.raises(ValueError, match="expert_images is 3; it can be a number of images"):
        DREAM(host=MTT(experts=experts, span=1, latest=2), expert_images=3)
    with pytest.raises(ValueError, match="expert_images is 0"):
        DREAM(host=MTT(experts=EXPERTS, span=1, latest=2), expert_images=0)
