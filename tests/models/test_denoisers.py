"""Networks of diffusion models: shape in, shape out, classes and times seen, the rest as `build` has it."""

import pytest
import torch

from workbench.models import build, denoiser_names, from_spec


def inputs(shape, n=3, classes=0):
    generator = torch.Generator().manual_seed(0)
    x, t = torch.randn(n, *shape, generator=generator), torch.rand(n, generator=generator)
    return (x, t, torch.tensor([0, 1, -1])[:n]) if classes else (x, t)


def shaken(network):
    """With random weights everywhere: parts that start at zero would hide what they do."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


@pytest.mark.parametrize("name", denoiser_names())
@pytest.mark.parametrize("classes", [0, 2])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 8)])
def test_the_output_has_the_shape_of_the_state_and_depends_on_all_it_is_given(name, classes, shape):
    network = shaken(build(name, (shape, classes)))
    x, t, *rest = inputs(shape, classes=classes)
    out = network(x, t, *rest)
    assert out.shape == x.shape
    assert bool((network(x, t + 0.1, *rest) - out).flatten(1).norm(dim=1).gt(1e-4).all())
    moved = x.clone()
    moved[:, :, -1, -1] += 1  # a far corner is seen by the first pixel
    assert bool((network(moved, t, *rest) - out)[:, 0, 0, 0].abs().gt(1e-6).all())
    alone = network(x[1:2], t[1:2], *(part[1:2] for part in rest))
    torch.testing.assert_close(alone, out[1:2], atol=1e-5, rtol=1e-4)
    if classes:
        other = network(x, t, torch.tensor([1, 1, 0]))
        assert (other - out).flatten(1).norm(dim=1).gt(1e-4).tolist() == [True, False, True]
        torch.testing.assert_close(network(x, t, torch.full((3,), -1)), network(x, t))


@pytest.mark.parametrize("name", denoiser_names())
def test_the_spec_rebuilds_the_network(name):
    network = shaken(build(name, ((1, 8, 8), 2), seed=3, width=16))
    twin = from_spec(network.spec)
    twin.load_state_dict(network.state_dict())
    assert torch.equal(network(*inputs((1, 8, 8), classes=2)), twin.eval()(*inputs((1, 8, 8), classes=2)))


def test_points_have_a_network_too():
    network = build("denoiser-mlp", ((2,), 0), width=8)
    assert network(*inputs((2,))).shape == (3, 2)
    assert network.spec["classes"] == 0


def test_a_fresh_network_for_images_says_nothing():
    for name in ("unet", "dit"):
        assert not bool(build(name, ((1, 8, 8), 0))(*inputs((1, 8, 8))).any())


def test_sides_need_not_be_even():
    assert shaken(build("unet", ((1, 7, 9), 0), width=8))(*inputs((1, 7, 9))).shape == (3, 1, 7, 9)


@pytest.mark.parametrize(
    ("name", "data", "options", "message"),
    [
        ("unet", ((2,), 0), {}, "reads images of shape"),
        ("dit", ((1, 8, 8), 0), {"patch": 3}, "patch=3 must divide both sides"),
        ("dit", ((1, 8, 8), 0), {"width": 30}, "heads=4 must divide width=30"),
        ("unet", ((1, 8, 8), 0), {"depth": 4}, "to less than two pixels"),
        ("unet", ((1, 8, 8), 0), {"width": 9}, "heads=4 must divide the 18 channels"),
        ("unet", ((1, 8, 8), 0), {"norm": "batch"}, "unet has no option 'norm'"),
        ("denoiser-mlp", ((2,), -1), {}, "must be at least 1"),
        ("mlp", ((2,), 0), {}, "number of classes must be at least 1"),
    ],
)
def test_what_cannot_be_built_is_refused(name, data, options, message):
    with pytest.raises(ValueError, match=message):
        build(name, data, **options)
