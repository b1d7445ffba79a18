"""The kinds of network that `build` knows: a row says all that is particular to one, and a new kind is a new row."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from workbench.models.convnet import ConvNet
from workbench.models.denoisers import DenoiserMLP
from workbench.models.dit import DiT
from workbench.models.lenet import AlexNet, LeNet
from workbench.models.lm import LM
from workbench.models.mlp import MLP
from workbench.models.mobile import MobileNetV2, ShuffleNetV1, ShuffleNetV2
from workbench.models.patches import Mixer, ViT
from workbench.models.resnet import ResNet, ResNet18
from workbench.models.speech import SpeechEncoder
from workbench.models.unet import UNet
from workbench.models.vgg import VGG
from workbench.models.wide_resnet import WideResNet

Shape = tuple[int, ...]
Sizes = Callable[[Shape, Any], dict[str, Any]]
"""Options that suit an input of some shape, and the width that was asked for."""


def _fixed(**options: int) -> Sizes:
    return lambda shape, width: dict(options)  # noqa: ARG005 - the same for all


@dataclass(frozen=True)
class Kind:
    """A kind of network.

    Attributes
    ----------
    make
        Its class, called with shape, outputs and options.
    sizes
        Options by default.
    job
        ``"classes"``, or what else it is for.
    reads
        ``"images"``, ``"anything"``, ``"text"`` or ``"sound"``.
    numbered
        Where the name says sizes, how, with the option that each group is; empty: the kind's name is the network's.
    listed, tables
        Names that `names` lists: the usual ones, and those of the tables of papers.
    numbers
        Options that must be whole numbers of at least 1.
    """

    make: type[nn.Module]
    sizes: Sizes
    job: Literal["classes", "denoiser", "language", "speech"] = "classes"
    reads: Literal["images", "anything", "text", "sound"] = "images"
    numbered: tuple[str, tuple[str, ...]] | None = None
    listed: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    numbers: tuple[str, ...] = field(default=("depth", "patch", "blocks", "heads"))

    def says(self, name: str) -> dict[str, int] | None:
        """What the numbers in a name of this kind are; None: it is none."""
        if self.numbered is None or not (match := re.fullmatch(self.numbered[0], name)):
            return None
        return {option: int(value) for option, value in zip(self.numbered[1], match.groups(), strict=False)}

    @property
    def in_name(self) -> set[str]:
        """Options that only a name can say."""
        return set() if self.numbered is None else {"depth", *self.numbered[1]}


def _mlp(shape: Shape, width: Any) -> dict[str, Any]:  # noqa: ARG001 - one width for every input
    return {"width": 128, "depth": len(width) if isinstance(width, Sequence) else 2}


def _convnet(shape: Shape, width: Any) -> dict[str, Any]:  # noqa: ARG001 - as every `Sizes`
    # Three stages take 32×32 to 4×4, four take 64×64 there; two at least.
    return {"width": 32 if _small(shape) else 128, "depth": max(2, round(math.log2(min(shape[1:]) / 4)))}


def _unet(shape: Shape, width: Any) -> dict[str, Any]:  # noqa: ARG001 - as every `Sizes`
    # Halved down to 4 or so: twice there is enough for 16×16, three times for 32×32.
    return {"width": 32 if _small(shape) else 64, "depth": max(2, round(math.log2(min(shape[1:]) / 4)) + 1)}


def _patches(shape: Shape, width: Any) -> dict[str, Any]:  # noqa: ARG001 - as every `Sizes`
    return {"width": 64 if _small(shape) else 128, "depth": 4, "patch": _patch(shape[1], shape[2])}


def _dit(shape: Shape, width: Any) -> dict[str, Any]:
    return _patches(shape, width) | ({"patch": 2} if _small(shape) else {})


def _small(shape: Shape) -> bool:
    return min(shape[1:]) <= 16


def _patch(height: int, width: int) -> int:
    """The patch that cuts the short side into nearest to 4 (up to 16 pixels) or 8 pieces and divides both sides."""
    common, side = math.gcd(height, width), min(height, width)
    pieces = 4 if side <= 16 else 8
    return min((p for p in range(1, common + 1) if common % p == 0), key=lambda p: abs(math.log(side / p / pieces)))


KINDS: Mapping[str, Kind] = {
    "mlp": Kind(MLP, _mlp, reads="anything", listed=("mlp",)),
    "convnet": Kind(ConvNet, _convnet, listed=("convnet",)),
    "resnet": Kind(
        ResNet, _fixed(width=16), numbered=(r"resnet(\d+)(?:x4)?", ("depth",)),
        listed=("resnet8", "resnet14", "resnet20", "resnet32", "resnet56", "resnet110"),
        tables=("resnet8x4", "resnet32x4"),
    ),
    "vit": Kind(ViT, _patches, listed=("vit",)),
    "mixer": Kind(Mixer, _patches, listed=("mixer",)),
    "resnet18": Kind(ResNet18, _fixed(width=64), tables=("resnet18",)),
    "wrn": Kind(
        WideResNet, _fixed(width=16), numbered=(r"wrn-(\d+)-(\d+)", ("depth", "widen")),
        tables=("wrn-16-2", "wrn-40-1", "wrn-40-2", "wrn-28-10"),
    ),
    "vgg": Kind(VGG, _fixed(width=64), numbered=(r"vgg(\d+)", ("depth",)), tables=("vgg8", "vgg13")),
    "shufflenetv1": Kind(ShuffleNetV1, _fixed(width=240), tables=("shufflenetv1",)),
    "shufflenetv2": Kind(ShuffleNetV2, _fixed(width=116), tables=("shufflenetv2",)),
    "mobilenetv2": Kind(MobileNetV2, _fixed(width=16), tables=("mobilenetv2",)),
    "lenet": Kind(LeNet, _fixed(), tables=("lenet",)),
    "alexnet": Kind(AlexNet, _fixed(), tables=("alexnet",)),
    "denoiser-mlp": Kind(DenoiserMLP, _fixed(width=128, depth=3), job="denoiser", reads="anything"),
    # The heads of a U-Net may be none.
    "unet": Kind(UNet, _unet, job="denoiser", numbers=("depth", "patch", "blocks")),
    "dit": Kind(DiT, _dit, job="denoiser"),
    "lm": Kind(LM, _fixed(width=64, depth=2), job="language", reads="text"),
    "speech": Kind(SpeechEncoder, _fixed(width=64, depth=4), job="speech", reads="sound"),
}  # fmt: skip


def named(job: str) -> tuple[str, ...]:
    """The kinds for one job."""
    return tuple(name for name, kind in KINDS.items() if kind.job == job)


def kind_of(name: str) -> tuple[Kind, dict[str, int]] | None:
    """The kind that a network's name means, and what the name's numbers say; None: there is none."""
    if name in KINDS:
        return None if KINDS[name].numbered else (KINDS[name], {})
    return next(((kind, said) for kind in KINDS.values() if (said := kind.says(name)) is not None), None)
