"""ConvNet-D, the network of dataset distillation (Gidaris & Komodakis 2018; DC, DM, MTT and their successors)."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from workbench.models.norms import activation_layer, norm_layer


class ConvNet(nn.Module):
    """`depth` stages of 3×3 convolution, normalisation, activation and 2×2 average pooling, then a linear ``head``.

    Stages are ``stage1`` … ``stageD``, each with ``conv``, ``norm``, ``act`` and ``pool``; ``flatten`` is what the head
    sees. As in the public code, a grey 28×28 image is padded to 32×32 by the first convolution (padding 3).

    Parameters
    ----------
    shape
        (channels, height, width) of one image.
    outputs
        Number of logits.
    width
        Channels of every stage (128 in the papers).
    depth
        Number of stages: 3 for 32×32, 4 for 64×64 in the papers.
    norm
        ``"instance"`` (default), ``"group"`` (4 groups), ``"batch"``, ``"layer"`` or ``"none"``.
    activation
        ``"relu"``, ``"tanh"``, ``"gelu"`` or ``"silu"``.
    pooling
        ``"avg"`` (default), ``"max"`` or ``"none"``.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        *,
        width: int = 128,
        depth: int = 3,
        norm: str = "instance",
        activation: str = "relu",
        pooling: str = "avg",
    ) -> None:
        super().__init__()
        channels, height, across = shape
        if pooling not in ("avg", "max", "none"):
            raise ValueError(f"pooling={pooling!r} is not one of avg, max, none")
        if pooling != "none" and min(height, across) >> (depth - 1) < 2:
            raise ValueError(
                f"depth={depth} halves a {height}×{across} image to less than one pixel: "
                f"at most {min(height, across).bit_length() - 1} stages fit"
            )
        self.depth = depth
        for stage in range(1, depth + 1):
            padding = 3 if stage == 1 and (channels, height, across) == (1, 28, 28) else 1
            height, across = height + 2 * padding - 2, across + 2 * padding - 2
            layers: dict[str, nn.Module] = {
                "conv": nn.Conv2d(channels, width, 3, padding=padding),
                "norm": norm_layer(norm, width, height, across),
                "act": activation_layer(activation),
            }
            if pooling != "none":
                layers["pool"] = nn.AvgPool2d(2) if pooling == "avg" else nn.MaxPool2d(2)
                height, across = height // 2, across // 2
            self.add_module(f"stage{stage}", nn.Sequential(OrderedDict(layers)))
            channels = width
        self.flatten = nn.Flatten()
        self.head = nn.Linear(width * height * across, outputs)
        self.penultimate = "flatten"

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of images (n, channels, height, width)."""
        for stage in range(1, self.depth + 1):
            x = self.get_submodule(f"stage{stage}")(x)
        return cast("Tensor", self.head(self.flatten(x)))
