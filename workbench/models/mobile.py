"""Networks of separable convolutions for CIFAR: ShuffleNet v1 and v2 and a half-width MobileNetV2, as the tables of
distillation have them (Zhang et al. 2018, Ma et al. 2018, Sandler et al. 2018; strides for 32×32 images).
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


def shuffled(x: Tensor, groups: int) -> Tensor:
    """Channels (n, g·c, h, w) in the order that takes one of each group in turn."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def pointwise(channels: int, out: int, groups: int = 1) -> nn.Sequential:
    """1×1 convolution and batch norm."""
    return nn.Sequential(nn.Conv2d(channels, out, 1, groups=groups, bias=False), nn.BatchNorm2d(out))


def depthwise(channels: int, stride: int) -> nn.Sequential:
    """3×3 convolution of each channel by itself, and batch norm."""
    convolution = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels))


class _Classifier(nn.Module):
    """Features, average ``pool`` and ``linear``; a subclass makes ``stem``, ``layer1`` … and perhaps ``last``."""

    stages: int

    def _end(self, channels: int, outputs: int) -> None:
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.linear = nn.Linear(channels, outputs)
        self.penultimate = "pool"

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of images (n, channels, height, width)."""
        x = self.get_submodule("stem")(x).relu()
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        last = self._modules.get("last")
        return cast("Tensor", self.linear(self.pool(x if last is None else last(x).relu())))


class ShuffleUnit(nn.Module):
    """Grouped 1×1, depthwise 3×3 and grouped 1×1 convolutions beside the input, added or (at stride 2) joined to it."""

    def __init__(self, channels: int, out: int, stride: int, groups: int, *, first: bool) -> None:
        super().__init__()
        self.stride, middle = stride, out // 4
        self.groups = 1 if first else groups  # the stem's few channels are not grouped
        self.reduce = pointwise(channels, middle, self.groups)
        self.spread = depthwise(middle, stride)
        self.expand = pointwise(middle, out, groups)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) → (n, out, h, w), or at stride 2 (n, channels + out, ⌈h/2⌉, ⌈w/2⌉)."""
        out = self.spread(shuffled(self.reduce(x).relu(), self.groups)).relu()
        out = self.expand(out)
        if self.stride == 1:
            return functional.relu(out + x)
        return functional.relu(torch.cat([out, functional.avg_pool2d(x, 3, 2, 1)], 1))


class ShuffleNetV1(_Classifier):
    """ShuffleNet v1 with three groups; 0.95 million parameters at 100 classes.

    Parameters
    ----------
    shape, outputs
        (channels, height, width) of one image, and the number of logits.
    width
        Channels of the first stage, a multiple of 12; doubled from stage to stage.
    """

    stages = 3

    def __init__(self, shape: Sequence[int], outputs: int, *, width: int = 240) -> None:
        super().__init__()
        if width % 12 or width < 36:
            raise ValueError(f"width={width} must be a multiple of 12 and at least 36: there are three groups")
        self.stem = pointwise(shape[0], 24)
        channels = 24
        for stage, blocks in enumerate((4, 8, 4)):
            out = width * 2**stage
            units = [ShuffleUnit(channels, out - channels, 2, 3, first=channels == 24)]
            units += [ShuffleUnit(out, out, 1, 3, first=False) for _ in range(blocks - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*units))
            channels = out
        self._end(channels, outputs)


class SplitUnit(nn.Module):
    """Half of the channels pass three convolutions, half pass by; at stride 2 all pass two ways of them."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        half = out // 2
        inner = channels if stride == 2 else half
        self.by = nn.Sequential(depthwise(channels, 2), pointwise(channels, half), nn.ReLU()) if stride == 2 else None
        self.through = nn.Sequential(
            pointwise(inner, half), nn.ReLU(), depthwise(half, stride), pointwise(half, half), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) → (n, out, ⌈h/stride⌉, ⌈w/stride⌉)."""
        left, right = x.chunk(2, 1) if self.by is None else (self.by(x), x)
        return shuffled(torch.cat([left, self.through(right)], 1), 2)


class ShuffleNetV2(_Classifier):
    """ShuffleNet v2; 1.36 million parameters at 100 classes.

    Parameters
    ----------
    shape, outputs
        (channels, height, width) of one image, and the number of logits.
    width
        Channels of the first stage, an even number; doubled from stage to stage.
    """

    stages = 3

    def __init__(self, shape: Sequence[int], outputs: int, *, width: int = 116) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"width={width} must be even: half of the channels pass by")
        self.stem = pointwise(shape[0], 24)
        channels = 24
        for stage, blocks in enumerate((3, 7, 3)):
            out = width * 2**stage
            units = [SplitUnit(channels, out, 2), *(SplitUnit(out, out, 1) for _ in range(blocks))]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*units))
            channels = out
        self.last = pointwise(channels, 1024)
        self._end(1024, outputs)


class InvertedResidual(nn.Module):
    """Widen six times, convolve each channel, narrow; the input is added where the shape stays."""

    def __init__(self, channels: int, out: int, stride: int, factor: int) -> None:
        super().__init__()
        wide = channels * factor
        self.adds = stride == 1 and channels == out
        self.body = nn.Sequential(
            pointwise(channels, wide), nn.ReLU(), depthwise(wide, stride), nn.ReLU(), pointwise(wide, out)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) → (n, out, ⌈h/stride⌉, ⌈w/stride⌉)."""
        return cast("Tensor", self.body(x) + x if self.adds else self.body(x))


class MobileNetV2(_Classifier):
    """MobileNetV2 at half width; 0.81 million parameters at 100 classes.

    Parameters
    ----------
    shape, outputs
        (channels, height, width) of one image, and the number of logits.
    width
        Channels of the first convolution: 16, half of the paper's; the others go with it.
    """

    stages = 7

    def __init__(self, shape: Sequence[int], outputs: int, *, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(shape[0], width, 3, 2, 1, bias=False), nn.BatchNorm2d(width))
        channels = width
        plan = (
            (1, 16, 1, 1),
            (6, 24, 2, 1),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        )
        for stage, (factor, wide, blocks, stride) in enumerate(plan, start=1):
            units = []
            for block in range(blocks):
                out = wide * width // 32
                units.append(InvertedResidual(channels, out, 1 if block else stride, factor))
                channels = out
            self.add_module(f"layer{stage}", nn.Sequential(*units))
        self.last = pointwise(channels, 1280)
        self._end(1280, outputs)
