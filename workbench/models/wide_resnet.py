"""Wide ResNets (Zagoruyko & Komodakis 2016): 6n+4 layers, pre-activation blocks, k times the channels."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional


class WideBlock(nn.Module):
    """Norm, ReLU and convolution, twice; a 1×1 convolution of the activated input is added where channels change."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.shortcut = None if channels == planes else nn.Conv2d(channels, planes, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) → (n, planes, ⌈h/stride⌉, ⌈w/stride⌉)."""
        active = functional.relu(self.bn1(x))
        out = self.conv2(functional.relu(self.bn2(self.conv1(active))))
        return cast("Tensor", out + (x if self.shortcut is None else self.shortcut(active)))


class WideResNet(nn.Module):
    """``conv1``, stages ``layer1`` … ``layer3``, ``bn``, average ``pool`` and ``linear``: ``wrn-40-2`` and others.

    Parameters
    ----------
    shape
        (channels, height, width) of one image.
    outputs
        Number of logits.
    depth
        6n + 4.
    widen
        k ≥ 1: stages have 16k, 32k and 64k channels (at a `width` of 16).
    width
        Channels of the first convolution.
    """

    def __init__(self, shape: Sequence[int], outputs: int, *, depth: int = 40, widen: int = 2, width: int = 16) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6 or widen < 1:
            raise ValueError(f"wrn-{depth}-{widen}: the depth must be 6n + 4 (16, 28, 40), the widening 1 or more")
        self.conv1 = nn.Conv2d(shape[0], width, 3, padding=1, bias=False)
        channels = width
        for stage in range(3):
            planes = width * widen * 2**stage
            blocks = []
            for block in range((depth - 4) // 6):
                blocks.append(WideBlock(channels, planes, 2 if stage and not block else 1))
                channels = planes
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.bn = nn.BatchNorm2d(channels)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.linear = nn.Linear(channels, outputs)
        self.penultimate = "pool"
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of images (n, channels, height, width)."""
        x = self.conv1(x)
        for stage in (1, 2, 3):
            x = self.get_submodule(f"layer{stage}")(x)
        return cast("Tensor", self.linear(self.pool(functional.relu(self.bn(x)))))
