"""Distribution matching is the public code's loop over the classes, done at once."""

import pytest
import torch

from workbench.condensation import DistributionMatching, Fresh, Run, Siamese, condense
from workbench.condensation.making.networks import pool
from workbench.models import observe

SMALL = {"width": 4, "depth": 1}


def run_of(tiny, seed=0):
    return Run(tiny.train, seed=seed, device=torch.device("cpu"))


@pytest.mark.parametrize("augment", [None, Siamese(), Siamese("color+crop", mode="all")])
def test_loss_and_gradient_are_those_of_a_loop_over_the_classes(tiny, augment):
    method = DistributionMatching(ipc=2, real_batch=5, augment=augment, options=SMALL)
    run = run_of(tiny)
    synthetic = method.start(run)
    (loss,) = method.losses(run, synthetic)
    (gradient,) = torch.autograd.grad(loss, synthetic.pixels)

    network = run.network("convnet", **SMALL)
    features = observe(network, "flatten")
    pixels = synthetic.pixels.detach().clone().requires_grad_()
    real, generator = run.real(5), run.generator("augment")
    expected = torch.zeros((), dtype=torch.float64)
    for c in range(3):
        theirs, ours = real[c], pixels[2 * c : 2 * c + 2]
        if augment is not None:
            change = augment.shared(generator)
            theirs, ours = change(theirs), change(ours)
        means = [features(images).features["flatten"].mean(0) for images in (theirs.detach(), ours)]
        expected = expected + (means[0] - means[1]).square().sum()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, pixels)[0])


def test_loss_is_zero_where_synthetic_and_real_are_the_same_images(tiny):
    few = tiny.per_class(4)
    method = DistributionMatching(ipc=4, real_batch=4, options=SMALL)
    run = Run(few.train, seed=0, device=torch.device("cpu"))
    synthetic = method.start(run)
    (loss,) = method.losses(run, synthetic)
    assert loss.item() < 1e-20


def test_loss_falls(tiny):
    made = condense(tiny, DistributionMatching(ipc=1, lr=0.1, options=SMALL), iterations=60, progress=False)
    assert made.loss[-10:].mean() < 0.7 * made.loss[:10].mean()


def test_options_are_for_networks_by_name():
    with pytest.raises(ValueError, match="options are for an architecture by name"):
        pool(Fresh("mlp"), {"width": 3})
