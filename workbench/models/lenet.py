"""LeNet and an AlexNet for small images, as in the code of paper 021 (LeCun et al. 1998, Krizhevsky et al. 2012)."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn


class LeNet(nn.Module):
    """Two 5×5 convolutions of 6 and 16 channels, halved after each, and layers of 120 and 84 units.

    Images of 28×28 are padded by two pixels in the first convolution, so that both 28×28 and 32×32 leave 5×5 positions;
    smaller ones in both convolutions.

    Parameters
    ----------
    shape
        (channels, height, width) of one image.
    outputs
        Number of logits.
    """

    def __init__(self, shape: Sequence[int], outputs: int) -> None:
        super().__init__()
        channels, height, width = shape
        first, second = 2 * (min(height, width) < 32), 2 * (min(height, width) < 28)
        sides = [((side + 2 * first - 4) // 2 + 2 * second - 4) // 2 for side in (height, width)]
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=first), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5, padding=second), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.hidden = nn.Sequential(nn.Linear(16 * sides[0] * sides[1], 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU())
        self.linear = nn.Linear(84, outputs)
        self.penultimate = "hidden"

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of images (n, channels, height, width)."""
        return cast("Tensor", self.linear(self.hidden(self.features(x))))


class AlexNet(nn.Module):
    """Two 5×5 convolutions of 64 channels with overlapping maxima and local response normalisation, then 384 and 192
    units: the network of paper 021 for CIFAR-10.

    Parameters
    ----------
    shape
        (channels, height, width) of one image.
    outputs
        Number of logits.
    """

    def __init__(self, shape: Sequence[int], outputs: int) -> None:
        super().__init__()
        channels, *sides = shape
        left = [(side + 3) // 4 for side in sides]  # halved twice, rounded up
        self.features = nn.Sequential(
            nn.Conv2d(channels, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1), _response(),
            nn.Conv2d(64, 64, 5, padding=2), nn.ReLU(), _response(), nn.MaxPool2d(3, 2, padding=1), nn.Flatten(),
        )  # fmt: skip
        self.hidden = nn.Sequential(nn.Linear(64 * left[0] * left[1], 384), nn.ReLU(), nn.Linear(384, 192), nn.ReLU())
        self.linear = nn.Linear(192, outputs)
        self.penultimate = "hidden"

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of images (n, channels, height, width)."""
        return cast("Tensor", self.linear(self.hidden(self.features(x))))


def _response() -> nn.Module:
    return nn.LocalResponseNorm(4, alpha=0.001 / 9.0, beta=0.75, k=1.0)
