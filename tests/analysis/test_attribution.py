"""Attribution: exact on linear networks, complete for Integrated Gradients, repeatable, and without side effects."""

import numpy as np
import pytest
import torch
from torch import nn

from workbench import models
from workbench.analysis import attribute
from workbench.analysis.attribution import METHODS


class Linear(nn.Module):
    """Logits linear in the pixels, so that every method has a closed form."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(3, 32, generator=generator, dtype=torch.float64))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T


@pytest.fixture
def images():
    return torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("baseline", ["mean", "black", "white", "noise"])
def test_linear_network_has_closed_forms(images, baseline):
    network, mean, std = Linear(), torch.tensor([0.2, 0.4]).view(2, 1, 1), torch.tensor([0.5, 0.8]).view(2, 1, 1)
    target = torch.tensor([0, 1, 2, 1, 0])
    w = network.weight.detach()[target].view_as(images)
    against = {
        "mean": torch.zeros_like(images),
        "black": (-mean / std).expand_as(images).double(),
        "white": ((1 - mean) / std).expand_as(images).double(),
    }

    def run(method, **options):
        return attribute(network, images, target, method, baseline, mean=mean, std=std, **options)

    if baseline in against:
        wanted = ((images - against[baseline]) * w).float()
        for method in ("integrated_gradients", "gradient_shap"):
            torch.testing.assert_close(run(method).values, wanted)
        whole = run("occlusion", window=4).values  # the window is the image: everything falls at once
        torch.testing.assert_close(whole[:, 0, 0, 0], wanted.flatten(1).sum(1))
    found = run("integrated_gradients")
    assert found.delta.abs().max() < 1e-5
    assert found.baseline == baseline
    torch.testing.assert_close(run("saliency").values, w.abs().float())
    torch.testing.assert_close(run("input_x_gradient").values, (w * images).float())
    assert run("saliency").baseline == ""


def test_integrated_gradients_are_complete_on_a_convnet():
    network = models.build("convnet", ((1, 8, 8), 4), width=8, seed=3).double()
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    coarse, fine = (attribute(network, x, 2, steps=steps) for steps in (8, 256))
    with torch.no_grad():
        difference = (network(x) - network(torch.zeros_like(x)))[:, 2]
    torch.testing.assert_close(fine.values.flatten(1).sum(1) - difference.float(), fine.delta, atol=1e-5, rtol=0)
    assert fine.delta.abs().max() < coarse.delta.abs().max()
    assert fine.delta.abs().max() < 0.02 * difference.abs().max()


@pytest.mark.parametrize("method", METHODS)
def test_repeatable_and_without_side_effects(method):
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(),
                            nn.Linear(256, 3))  # fmt: skip
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    kept = x.clone()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    runs = [attribute(network, x, None, method, "noise", seed=seed, samples=4, steps=8) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert torch.equal(runs[0].values, runs[1].values)
    assert torch.equal(runs[0].values, runs[2].values) == (method in ("saliency", "input_x_gradient"))
    assert network.training
    assert not x.requires_grad
    assert torch.equal(x, kept)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    network.eval()
    assert torch.equal(runs[0].target, network(x).argmax(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "lime"}, "integrated_gradients"),
        ({"baseline": "grey"}, "black"),
        ({"baseline": torch.zeros(7, 1, 8, 8)}, "broadcast"),
        ({"target": 4}, r"0\.\.3"),
        ({"target": torch.tensor([1, 2])}, "one for each of 3"),
        ({"steps": 0}, "steps"),
        ({"images": torch.full((3, 1, 8, 8), torch.nan)}, "not finite"),
        ({"images": torch.zeros(1, 8, 8)}, "shape"),
    ],
)
def test_bad_input_is_named(options, message):
    network = models.build("mlp", ((1, 8, 8), 4), width=4)
    with pytest.raises(ValueError, match=message):
        attribute(network, **{"images": torch.zeros(3, 1, 8, 8)} | options)
