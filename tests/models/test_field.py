"""The networks of the tables of distillation on CIFAR-100: as many parameters as published, and shapes."""

import pytest
import torch

from workbench import models
from workbench.models.building import FIELD

COUNTS = {
    "resnet8x4": 1_233_540,
    "resnet32x4": 7_433_860,
    "wrn-16-2": 703_284,
    "wrn-40-1": 569_780,
    "wrn-40-2": 2_255_156,
    "vgg8": 3_965_028,
    "vgg13": 9_462_180,
    "shufflenetv1": 949_258,
    "shufflenetv2": 1_355_528,
    "mobilenetv2": 812_836,
    "resnet18": 11_220_132,
}
"""Of the public tables' networks at 100 classes."""

MILLIONS = {"resnet20": 0.28, "resnet32": 0.47, "resnet56": 0.86, "resnet110": 1.73, "wrn-28-10": 36.5}
"""As published; our small resnets have shortcuts without parameters, as the paper's, and the tables' have some."""


def parameters(name):
    return sum(p.numel() for p in models.build(name, ((3, 32, 32), 100)).parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_it_has_as_many_parameters_as_published(name):
    assert parameters(name) == COUNTS[name]


def test_the_networks_of_dataset_distillation_have_as_many_parameters_as_published():
    def count(name, shape):
        return sum(p.numel() for p in models.build(name, (shape, 10)).parameters())

    assert count("lenet", (1, 28, 28)) == 61_706
    assert count("lenet", (1, 32, 32)) == 61_706
    assert count("alexnet", (3, 32, 32)) == 1_756_426


@pytest.mark.parametrize("name", MILLIONS)
def test_it_has_as_many_millions_as_published(name):
    assert parameters(name) / 1e6 == pytest.approx(MILLIONS[name], abs=0.006 if name != "wrn-28-10" else 0.06)


@pytest.mark.parametrize("name", [name for name in FIELD if name != "wrn-28-10"])
def test_it_scores_images_and_is_rebuilt_from_its_spec(name):
    built = models.build(name, ((3, 16, 16), 7), seed=3).eval()
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    seen = models.observe(built, built.penultimate)(images)
    assert seen.logits.shape == (2, 7)
    torch.testing.assert_close(built.linear(seen.features[built.penultimate]), seen.logits)
    again = models.from_spec(built.spec).eval()
    again.load_state_dict(built.state_dict())
    torch.testing.assert_close(again(images), seen.logits)


def test_widths_are_options_and_depths_are_names():
    assert models.build("vgg8", ((1, 8, 8), 3), width=4)(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    with pytest.raises(ValueError, match="its name says the depth"):
        models.build("wrn-16-1", ((1, 8, 8), 3), depth=16)
    for name in ("wrn-17-2", "vgg9", "resnet9x4"):
        with pytest.raises(ValueError, match=r"must be 6n|not one of vgg8"):
            models.build(name, ((1, 8, 8), 3))
    for name in ("wrn", "vgg", "resnet", "resnet50x2"):
        with pytest.raises(ValueError, match="is not one of"):
            models.build(name, ((1, 8, 8), 3))
