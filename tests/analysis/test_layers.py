"""Default layers: blocks where there are some, else stages, else whatever has weights."""

import pytest
from torch import nn

from workbench import models
from workbench.analysis import default_layers


def block():
    return nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU())


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.act = nn.ReLU()


class Wrapper(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner


SHAPE = ((3, 32, 32), 10)


@pytest.mark.parametrize(("name", "blocks"), [("resnet20", 9), ("resnet56", 27)])
def test_resnets_show_their_blocks_and_the_classifier(name, blocks):
    found = default_layers(models.build(name, SHAPE))
    assert len(found) == blocks + 1
    assert found[0] == "layer1.0"
    assert found[-2:] == (f"layer3.{blocks // 3 - 1}", "linear")


def test_convnet_shows_its_stages():
    assert default_layers(models.build("convnet", SHAPE)) == ("stage1", "stage2", "stage3", "head")


def test_transformers_show_their_blocks():
    found = default_layers(models.build("vit", SHAPE, depth=4))
    assert found[:4] == ("blocks.0", "blocks.1", "blocks.2", "blocks.3")


@pytest.mark.parametrize("name", models.names())
def test_every_network_of_ours_runs_with_its_defaults(name):
    import torch

    model = models.build(name, ((3, 16, 16), 4))
    layers = default_layers(model)
    assert len(layers) >= 2
    with torch.no_grad():
        assert set(models.observe(model.eval(), layers)(torch.zeros(2, 3, 16, 16)).features) == set(layers)


def test_networks_of_ones_own():
    assert default_layers(nn.ModuleList([Residual(), Residual()])) == ("0", "1")
    assert default_layers(Wrapper(nn.Sequential(Residual(), Residual()))) == ("inner.0", "inner.1")
    assert default_layers(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))) == ("0", "2")
    assert default_layers(Wrapper(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))) == ("inner.0", "inner.1")
    assert default_layers(nn.Linear(3, 3)) == ("",)
    nested = nn.Sequential(nn.Sequential(Residual(), Residual()), nn.Sequential(Residual()), nn.Linear(3, 2))
    assert default_layers(nested) == ("0.0", "0.1", "1.0", "2")
