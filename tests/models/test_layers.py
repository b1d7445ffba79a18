"""Layers by name and glob."""

import pytest
from torch import nn

from workbench.models import LayerNameError, build, layer_names

RESNET = build("resnet20", ((1, 8, 8), 10))
VIT = build("vit", ((1, 8, 8), 10), depth=3)


def test_globs_match_within_a_part_of_a_name():
    assert layer_names(RESNET, "layer*.*.conv2") == tuple(f"layer{s}.{b}.conv2" for s in (1, 2, 3) for b in (0, 1, 2))
    assert layer_names(RESNET, "layer*") == ("layer1", "layer2", "layer3")
    assert layer_names(RESNET, "layer[13]") == ("layer1", "layer3")
    assert layer_names(RESNET, "layer?.0") == ("layer1.0", "layer2.0", "layer3.0")
    assert layer_names(RESNET, "*") == tuple(dict(RESNET.named_children()))


def test_two_stars_match_any_depth():
    assert layer_names(RESNET, "**.conv2") == layer_names(RESNET, "layer*.*.conv2")
    assert layer_names(RESNET, "**") == tuple(name for name, _ in RESNET.named_modules() if name)
    assert layer_names(RESNET, "layer2.**.bn1") == ("layer2.0.bn1", "layer2.1.bn1", "layer2.2.bn1")


def test_a_list_of_layers_stands_for_its_members():
    assert layer_names(VIT, "blocks") == ("blocks.0", "blocks.1", "blocks.2")
    assert layer_names(VIT, "blocks") == layer_names(VIT, "blocks.*")


def test_the_order_is_the_networks_and_nothing_repeats():
    assert layer_names(RESNET, ["linear", "layer1", "layer*", "conv1"]) == (
        "conv1",
        "layer1",
        "layer2",
        "layer3",
        "linear",
    )
    assert layer_names(RESNET, []) == ()


def test_an_unmatched_pattern_names_its_neighbours():
    with pytest.raises(
        LayerNameError, match=r"no layer of ResNet matches 'layer2\.0\.conv3'; nearest: layer2\.0\.conv"
    ):
        layer_names(RESNET, ["layer1", "layer2.0.conv3"])
    with pytest.raises(LayerNameError, match=r"'\*\*\.qkv' would, for example blocks\.0\.attention\.qkv"):
        layer_names(VIT, "qkv")
    with pytest.raises(LayerNameError, match="matches 'zzz'; nearest: patches"):
        layer_names(VIT, "zzz")


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.again = self.first
        self.parts = nn.ModuleDict({"a": nn.ReLU(), "b": nn.ModuleList([nn.Tanh(), nn.Sigmoid()])})


def test_a_shared_module_is_one_layer_with_aliases():
    model = Shared()
    assert layer_names(model, "*") == ("first", "parts.a", "parts.b.0", "parts.b.1")
    assert layer_names(model, "again") == ("again",)


def test_runs_and_parts_are_kept_in_the_name():
    assert layer_names(VIT, ["blocks#2", "head:0"]) == ("blocks.0#2", "blocks.1#2", "blocks.2#2", "head:0")
    assert layer_names(VIT, ["norm", "norm#1", "norm#2:x"]) == ("norm", "norm#1", "norm#2:x")
    with pytest.raises(LayerNameError):
        layer_names(VIT, "norm#0")


def test_a_name_that_holds_a_mark_is_taken_as_it_is():
    model = nn.Module()
    model.add_module("a:b", nn.ReLU())
    assert layer_names(model, "a:b") == ("a:b",)


class Callable(nn.ModuleList):
    def forward(self, x):
        return x


def test_a_list_of_layers_with_a_forward_of_its_own_is_a_layer():
    model = nn.Module()
    model.steps = Callable([nn.ReLU()])
    assert layer_names(model, "steps") == ("steps",)
