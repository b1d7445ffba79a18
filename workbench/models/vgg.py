"""VGG-8 and VGG-13 with batch norm for CIFAR, as in the tables of distillation (after Simonyan & Zisserman 2015)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

REPEATS = {8: 1, 11: 0, 13: 2}
"""Depth → convolutions per stage; VGG-11 has one in its first two stages and two in the others."""


class VGG(nn.Module):
    """Stages ``stage1`` … ``stage5`` of 3×3 convolutions with batch norm, halved after the first three, and a head.

    Parameters
    ----------
    shape
        (channels, height, width) of one image.
    outputs
        Number of logits.
    depth
        8, 11 or 13.
    width
        Channels of the first stage: 64; the others have 2, 4, 8 and 8 times as many.
    """

    def __init__(self, shape: Sequence[int], outputs: int, *, depth: int = 8, width: int = 64) -> None:
        super().__init__()
        if depth not in REPEATS:
            raise ValueError(f"vgg{depth} is not one of {', '.join(f'vgg{known}' for known in REPEATS)}")
        channels = shape[0]
        for stage, times in enumerate((1, 2, 4, 8, 8)):
            repeats = REPEATS[depth] or (1 if stage < 2 else 2)
            layers: list[nn.Module] = []
            for a, b in pairwise([channels] + [times * width] * repeats):
                layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
            if stage < 3:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            self.add_module(f"stage{stage + 1}", nn.Sequential(*layers))
            channels = times * width
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.linear = nn.Linear(channels, outputs)
        self.penultimate = "pool"
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(cast("Tensor", module.bias))

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of images (n, channels, height, width)."""
        for stage in range(1, 6):
            x = self.get_submodule(f"stage{stage}")(x)
        return cast("Tensor", self.linear(self.pool(x)))
