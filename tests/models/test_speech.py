"""The speech encoder: padding changes nothing, frames are counted, the convolutions' gradient is scaled."""

import pytest
import torch

import workbench as wb
from workbench.models.speech import count

SMALL = {"width": 16, "depth": 2, "kernels": [10, 8, 4], "strides": [5, 4, 4]}


@pytest.fixture
def net():
    return wb.models.build("speech", ((1200,), 5), seed=1, **SMALL).double().eval()


def test_padding_behind_a_sound_changes_nothing(net):
    wave = torch.randn(3, 900, dtype=torch.float64)
    padded = torch.cat([wave, torch.zeros(3, 333)], 1)
    torch.testing.assert_close(net(padded), net(wave))
    beside = torch.cat([padded, torch.randn(1, 1233, dtype=torch.float64)])
    torch.testing.assert_close(net(beside)[:3], net(wave))


def test_frames_are_those_of_the_convolutions(net):
    wave = torch.randn(2, 1200, dtype=torch.float64)
    seen = wb.models.observe(net, ("front", "frames", "context"))(wave).features
    frames = int(count(torch.tensor(1200), SMALL["kernels"], SMALL["strides"]))
    assert seen["front"].shape == (2, frames, 16)
    assert seen["context"].shape == (2, frames, 16)
    assert seen["frames"].all()
    wave[0, 600:] = 0
    there = wb.models.observe(net, "frames")(wave).features["frames"].sum(1)
    assert there.tolist() == [int(count(torch.tensor(600), SMALL["kernels"], SMALL["strides"])), frames]


def test_the_scaled_gradient_of_the_convolutions():
    wave = torch.randn(2, 1200, dtype=torch.float64)
    found = {}
    for share in (1.0, 0.1):
        net = wb.models.build("speech", ((1200,), 5), seed=1, gradient=share, **SMALL).double()
        net(wave).square().sum().backward()
        found[share] = net.front.convolutions[1].weight.grad, net.project[1].weight.grad
    torch.testing.assert_close(found[0.1][0], 0.1 * found[1.0][0])
    torch.testing.assert_close(found[0.1][1], found[1.0][1])
    assert found[1.0][0].abs().max() > 0


def test_it_is_rebuilt_from_its_spec(net):
    again = wb.models.from_spec(net.spec).double().eval()
    again.load_state_dict(net.state_dict())
    wave = torch.randn(2, 1200, dtype=torch.float64)
    assert torch.equal(again(wave), net(wave))
    assert wb.models.speech_names() == ("speech",)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 8, 8), {}, "waveforms of shape"),
        ((100,), {}, "100 samples are too few"),
        ((1200,), {"heads": 3}, "heads=3"),
        ((1200,), {"kernels": [3]}, r"kernels=\[3\]"),
        ((1200,), {"gradient": 2}, "gradient=2"),
    ],
)
def test_what_cannot_be_meant_is_named(shape, options, message):
    with pytest.raises(ValueError, match=message):
        wb.models.build("speech", (shape, 5), **SMALL | options)


def test_a_sound_too_short_for_a_frame_has_one():
    net = wb.models.build("speech", ((1200,), 5), **SMALL).eval()
    wave = torch.zeros(1, 1200)
    wave[0, :20] = 1
    assert net(wave).isfinite().all()
