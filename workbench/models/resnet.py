"""ResNets for small images: those of He et al. (2016, section 4.2) for CIFAR, 6n+2 layers in three stages, shortcuts
without parameters; the four times wider ones of the tables of distillation; and ResNet-18 with a stem for CIFAR.
"""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from workbench.models.norms import norm_layer


class OptionA(nn.Module):
    """The shortcut without parameters: every second pixel, and zeros for the new channels (half before, half after)."""

    def __init__(self, stride: int, extra: int) -> None:
        super().__init__()
        self.stride = stride
        self.extra = extra

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) → (n, c + extra, ⌈h/stride⌉, ⌈w/stride⌉)."""
        before = self.extra // 2
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.extra - before))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions, and the input added to their result before the last ReLU.

    Where the shape changes the input passes `OptionA` (``"pad"``), or a 1×1 convolution with a norm (``"conv"``).
    """

    def __init__(
        self, channels: int, planes: int, stride: int, size: tuple[int, int], norm: str, shortcut: str = "pad"
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = norm_layer(norm, planes, *size)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = norm_layer(norm, planes, *size)
        if stride == 1 and channels == planes:
            self.shortcut: nn.Module = nn.Identity()
        elif shortcut == "pad":
            self.shortcut = OptionA(stride, planes - channels)
        else:
            convolution = nn.Conv2d(channels, planes, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(convolution, norm_layer(norm, planes, *size))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) → (n, planes, ⌈h/stride⌉, ⌈w/stride⌉)."""
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet(nn.Module):
    """``conv1``, ``bn1``, stages ``layer1`` … ``layer3`` of n blocks, global average ``pool``, and the head ``linear``.

    Layer names and shapes are those of the public ``resnet20`` … ``resnet110`` checkpoints.

    Parameters
    ----------
    shape
        (channels, height, width) of one image.
    outputs
        Number of logits.
    depth
        6n + 2: 8, 14, 20, 32, 44, 56, 110, …
    width
        Channels of the first stage; the next two have twice and four times as many. 16 in the paper.
    norm
        ``"batch"`` (default), ``"group"``, ``"instance"``, ``"layer"`` or ``"none"``.
    stem
        Channels before the first stage; None: `width`.
    shortcut
        ``"pad"`` or ``"conv"``: see `BasicBlock`.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        *,
        depth: int = 20,
        width: int = 16,
        norm: str = "batch",
        stem: int | None = None,
        shortcut: str = "pad",
    ) -> None:
        super().__init__()
        if shortcut not in ("pad", "conv"):
            raise ValueError(f"shortcut={shortcut!r} is not one of pad, conv")
        channels, height, across = shape
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth={depth} must be 6n + 2: 8, 14, 20, 32, 44, 56, 110")
        before = width if stem is None else stem
        self.conv1 = nn.Conv2d(channels, before, 3, padding=1, bias=False)
        self.bn1 = norm_layer(norm, before, height, across)
        channels = before
        for stage, planes in enumerate((width, 2 * width, 4 * width), start=1):
            blocks = []
            for block in range((depth - 2) // 6):
                stride = 2 if stage > 1 and block == 0 else 1
                height, across = -(-height // stride), -(-across // stride)
                blocks.append(BasicBlock(channels, planes, stride, (height, across), norm, shortcut))
                channels = planes
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.linear = nn.Linear(channels, outputs)
        self.penultimate = "pool"
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of images (n, channels, height, width)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        for stage in (1, 2, 3):
            x = self.get_submodule(f"layer{stage}")(x)
        return cast("Tensor", self.linear(self.pool(x)))


class ResNet18(nn.Module):
    """ResNet-18 with one 3×3 convolution of stride 1 and no pooling before ``layer1`` … ``layer4`` of two blocks.

    11.22 million parameters at 100 classes and a width of 64.

    Parameters
    ----------
    shape
        (channels, height, width) of one image.
    outputs
        Number of logits.
    width
        Channels of the first stage, doubled from stage to stage.
    """

    def __init__(self, shape: Sequence[int], outputs: int, *, width: int = 64) -> None:
        super().__init__()
        channels, height, across = shape
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for stage in range(4):
            blocks, planes = [], width * 2**stage
            for block in range(2):
                stride = 2 if stage and not block else 1
                height, across = -(-height // stride), -(-across // stride)
                blocks.append(BasicBlock(channels, planes, stride, (height, across), "batch", "conv"))
                channels = planes
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.linear = nn.Linear(channels, outputs)
        self.penultimate = "pool"
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of images (n, channels, height, width)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        for stage in (1, 2, 3, 4):
            x = self.get_submodule(f"layer{stage}")(x)
        return cast("Tensor", self.linear(self.pool(x)))
