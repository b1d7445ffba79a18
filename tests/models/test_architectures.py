"""Each architecture is the one its papers' code has."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from workbench.models import build
from workbench.models.resnet import OptionA


def reference_convnet(channels, classes, width, depth, norm, side):
    """ConvNet as the public code of DC, DM and MTT builds it, in this test's own words."""
    layers, height = [], 32 if side == 28 else side
    for d in range(depth):
        layers.append(nn.Conv2d(channels, width, 3, padding=3 if channels == 1 and d == 0 and side == 28 else 1))
        shape = [width, height, height]
        layers += {
            "batch": [nn.BatchNorm2d(width)],
            "layer": [nn.LayerNorm(shape)],
            "instance": [nn.GroupNorm(width, width)],
            "group": [nn.GroupNorm(4, width)],
            "none": [],
        }[norm]
        layers += [nn.ReLU(), nn.AvgPool2d(2)]
        channels, height = width, height // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * height * height, classes))


@pytest.mark.parametrize("norm", ["instance", "group", "batch", "layer", "none"])
@pytest.mark.parametrize(("channels", "side", "depth"), [(1, 8, 2), (1, 28, 3), (3, 32, 3), (3, 64, 4), (1, 16, 2)])
def test_convnet_computes_what_the_public_code_computes(norm, channels, side, depth):
    ours = build("convnet", ((channels, side, side), 10), width=8, depth=depth, norm=norm).double()
    theirs = reference_convnet(channels, 10, 8, depth, norm, side).double()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(3, channels, side, side, dtype=torch.float64)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize(
    ("shape", "depth", "width"),
    [((3, 32, 32), 3, 128), ((3, 64, 64), 4, 128), ((1, 28, 28), 3, 128), ((1, 8, 8), 2, 32)],
)
def test_convnet_has_the_papers_size_by_default(shape, depth, width):
    options = build("convnet", (shape, 10)).spec["options"]
    assert (options["depth"], options["width"]) == (depth, width)


def test_convnet_d3_has_the_papers_number_of_parameters():
    # 320,010 for CIFAR-10 and 317,706 for MNIST: the sizes that the papers' own code prints.
    for shape, count in (((3, 32, 32), 320_010), ((1, 28, 28), 317_706)):
        assert sum(p.numel() for p in build("convnet", (shape, 10)).parameters()) == count


@pytest.mark.parametrize("norm", ["instance", "group", "batch", "layer", "none"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_convnet_trains_on_digits_with_every_norm_and_depth(norm, depth):
    model = build("convnet", ((1, 8, 8), 10), width=4, depth=depth, norm=norm)
    functional.cross_entropy(model(torch.randn(6, 1, 8, 8)), torch.arange(6)).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("pooling", ["avg", "max", "none"])
def test_convnet_pools_as_asked(pooling):
    model = build("convnet", ((1, 8, 8), 10), width=4, pooling=pooling)
    assert model.head.in_features == (4 * 64 if pooling == "none" else 16)


@pytest.mark.parametrize(
    ("name", "count"), [("resnet20", 269_722), ("resnet32", 464_154), ("resnet56", 853_018), ("resnet110", 1_727_962)]
)
def test_resnets_have_the_papers_number_of_parameters(name, count):
    # 0.27M, 0.46M, 0.85M, 1.7M in He et al. (2016), table 6.
    assert sum(p.numel() for p in build(name, ((3, 32, 32), 10)).parameters()) == count


def test_resnet_halves_twice_and_has_the_public_checkpoints_names():
    model = build("resnet20", ((3, 32, 32), 10))
    names = set(model.state_dict())
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer3.2.bn2.bias", "linear.weight"} <= names
    assert not any("shortcut" in name or "pool" in name for name in names)
    x = torch.zeros(2, 3, 32, 32)
    sizes = []
    for stage in ("layer1", "layer2", "layer3"):
        model.get_submodule(stage).register_forward_hook(lambda m, a, out: sizes.append(tuple(out.shape[1:])))
    model(x)
    assert sizes == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


@given(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7))
def test_option_a_takes_every_second_pixel_and_pads_channels_with_zeros(channels, height, width):
    x = torch.randn(2, channels, height, width, dtype=torch.float64)
    out = OptionA(2, channels)(x)
    before = channels // 2
    assert out.shape == (2, 2 * channels, -(-height // 2), -(-width // 2))
    assert torch.equal(out[:, before : before + channels], x[:, :, ::2, ::2])
    assert not out[:, :before].any()
    assert not out[:, before + channels :].any()


def test_attention_is_scaled_dot_product_attention():
    model = build("vit", ((1, 8, 8), 10), width=16, heads=4).double()
    attention = model.blocks[0].attention
    x = torch.randn(3, 17, 16, dtype=torch.float64)
    q, k, v = (part.reshape(3, 17, 4, 4).transpose(1, 2) for part in attention.qkv(x).chunk(3, -1))
    wanted = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(3, 17, 16)
    torch.testing.assert_close(attention(x), attention.out(wanted))


def test_patches_are_cut_row_by_row():
    model = build("mixer", ((1, 8, 8), 10), width=3, patch=4, depth=1)
    embed = model.patches.embed
    x = torch.randn(1, 1, 8, 8)
    tokens = model.patches(x)
    for token, (row, column) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
        patch = x[0, 0, row : row + 4, column : column + 4]
        torch.testing.assert_close(tokens[0, token], (embed.weight[:, 0] * patch).sum((1, 2)) + embed.bias)


def test_a_vit_without_positions_is_blind_to_the_order_of_patches_and_with_them_is_not():
    model = build("vit", ((1, 8, 8), 10), patch=4, width=16, depth=2).double().eval()
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    swapped = x.flip(2).reshape(2, 1, 2, 4, 8).flip(3).reshape(2, 1, 8, 8)  # lower half above the upper
    assert (model(x) - model(swapped)).abs().max() > 1e-6
    nn.init.zeros_(model.position)
    torch.testing.assert_close(model(x), model(swapped))


def test_a_mixer_block_mixes_along_both_axes():
    model = build("mixer", ((1, 8, 8), 10), patch=4, width=6, depth=1).double()
    x = torch.randn(1, 4, 6, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.blocks[0](x)[0, 0, 0], x)
    assert bool((gradient != 0).all())
