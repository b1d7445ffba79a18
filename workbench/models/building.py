"""`build`: a network by its name, sized for the data, with seeded weights."""

import inspect
import math
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from workbench.data import Dataset, Split, TextSplit
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

_CLASSES: dict[str, type[nn.Module]] = {
    "mlp": MLP,
    "convnet": ConvNet,
    "resnet": ResNet,
    "vit": ViT,
    "mixer": Mixer,
    "resnet18": ResNet18,
    "wrn": WideResNet,
    "vgg": VGG,
    "shufflenetv1": ShuffleNetV1,
    "shufflenetv2": ShuffleNetV2,
    "mobilenetv2": MobileNetV2,
    "lenet": LeNet,
    "alexnet": AlexNet,
}
_DENOISERS: dict[str, type[nn.Module]] = {"denoiser-mlp": DenoiserMLP, "unet": UNet, "dit": DiT}
_LANGUAGE: dict[str, type[nn.Module]] = {"lm": LM}
_SPEECH: dict[str, type[nn.Module]] = {"speech": SpeechEncoder}
_ALL = _CLASSES | _DENOISERS | _LANGUAGE | _SPEECH

_SEEDING = threading.Lock()


def names() -> tuple[str, ...]:
    """Names that `build` knows; it also takes ``resnet{6n+2}``, ``resnet{6n+2}x4`` and ``wrn-{6n+4}-{k}`` for all n."""
    small = ("mlp", "convnet", "resnet8", "resnet14", "resnet20", "resnet32", "resnet56", "resnet110", "vit", "mixer")
    return (*small, *FIELD)


FIELD = (
    "resnet8x4", "resnet32x4", "resnet18", "wrn-16-2", "wrn-40-1", "wrn-40-2", "wrn-28-10", "vgg8", "vgg13",
    "shufflenetv1", "shufflenetv2", "mobilenetv2", "lenet", "alexnet",
)  # fmt: skip
"""The networks of the tables of distillation on CIFAR-100 (Tian et al. 2020), beside the resnets; and of paper 021."""


def denoiser_names() -> tuple[str, ...]:
    """Names of networks for diffusion models, which `build` knows too: a state and its time in, the state's shape out.

    They are called with (x, t), or (x, t, condition) where they were built for classes.
    """
    return tuple(_DENOISERS)


def language_names() -> tuple[str, ...]:
    """Names of causal language models, which `build` knows too: token ids in, logits of every next token out.

    They are called as those of `transformers` are.
    """
    return tuple(_LANGUAGE)


def speech_names() -> tuple[str, ...]:
    """Names of encoders of waveforms, which `build` knows too: (n, samples) in, logits of a head on them out."""
    return tuple(_SPEECH)


def build(
    name: str,
    data: Dataset | Split | tuple[Sequence[int], int],
    *,
    seed: int = 0,
    width: int | Sequence[int] | None = None,
    depth: int | None = None,
    **options: Any,
) -> nn.Module:
    """Build a network for the data at hand.

    Every network has ``spec``, a plain dict from which `from_spec` rebuilds it, and ``penultimate``, the name of the
    layer whose output, shape (n, features), the last linear layer sees.

    Parameters
    ----------
    name
        ``"mlp"``, ``"convnet"``, ``"resnet20"`` (32, 56, 110; any 6n+2), ``"vit"`` or ``"mixer"``; ``"resnet8x4"``,
        ``"resnet18"``, ``"wrn-40-2"``, ``"vgg13"``, ``"shufflenetv1"``, ``"mobilenetv2"`` … (see `names`); or one of
        `denoiser_names`, `language_names` or `speech_names`.
    data
        A dataset or split, or ``(shape, classes)``; gives the input shape and the number of logits (1 for regression),
        or of the classes a denoiser can be asked for (0: none). Of a language model the shape is (context,), or
        (prompt, response) as text has it, and the vocabulary is what it scores.
    seed
        Seed of the weights; the global random state is neither read nor changed.
    width
        Units or channels; by default sized for the image. For ``"mlp"`` also a sequence, one per hidden layer.
    depth
        Hidden layers, stages or blocks; of a ResNet the name says it.
    options
        ConvNet: `norm`, `activation`, `pooling`. ResNet: `norm`. ViT and DiT: `patch`, `heads`. Mixer: `patch`.
        MLP and denoiser-mlp: `activation`. UNet: `blocks`, `heads`. lm: `heads`, `dropout`. speech: `heads`,
        `channels`, `kernels`, `strides`, `position`, `groups`, `gradient`, `dropout`.

    Returns
    -------
    nn.Module
        On the data's device, in training mode.

    Raises
    ------
    ValueError
        Names the argument, what it was and what would do.

    Examples
    --------
    >>> import workbench as wb
    >>> student = wb.models.build("convnet", wb.data.load("digits"), width=8)
    >>> student.penultimate, sum(p.numel() for p in student.parameters())
    ('flatten', 1026)
    >>> student.spec
    {'name': 'convnet', 'shape': [1, 8, 8], 'classes': 10, 'options': {'width': 8, 'depth': 2}}
    """
    shape, outputs, device = _wanted(data, least=0 if name in _DENOISERS else 1)
    family, fixed = _family(name)
    if family not in _ALL or (family == name and name in ("resnet", "wrn", "vgg")):
        known = (*names(), *denoiser_names(), *language_names(), *speech_names())
        raise ValueError(f"name={name!r} is not one of {', '.join(known)}")
    if isinstance(data, Dataset | Split) and (data.task == "text") != (name in _LANGUAGE):
        raise ValueError(f"name={name!r} reads {'text' if name in _LANGUAGE else 'no text'}, unlike data={data!r}")
    anything = "denoiser-mlp" if name in _DENOISERS else "mlp"
    if family in _SPEECH and len(shape) != 1:
        raise ValueError(f"{name} reads waveforms of shape (samples,), not {shape}: load a folder of WAV files")
    if family not in (anything, *_LANGUAGE, *_SPEECH) and len(shape) != 3:
        raise ValueError(
            f"{name} reads images of shape (channels, height, width), not {shape}: {anything!r} reads anything"
        )
    settings = _defaults(family, shape, width) | (WIDER if name.endswith("x4") else {}) | options
    settings |= {key: value for key, value in (("width", width), ("depth", depth)) if value is not None}
    _check_settings(name, family, settings)
    # Only the CPU generator is seeded, and restored: torch.manual_seed would reseed every accelerator too. There is one
    # for all threads.
    with _SEEDING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = _ALL[family](shape, outputs, **settings, **fixed)
    spec = {"name": name, "shape": list(shape), "classes": outputs, "options": settings}
    model.spec = spec  # type: ignore[assignment]  # a plain attribute, which nn.Module's stubs do not foresee
    return model.to(device)


def from_spec(spec: Mapping[str, Any]) -> nn.Module:
    """Rebuild a network from its ``spec``; the weights are those of seed 0, to be replaced by ``load_state_dict``.

    Examples
    --------
    >>> net = build("mlp", ((1, 8, 8), 10), width=[64, 12])
    >>> from_spec(net.spec).hidden
    ModuleList(
      (0): Sequential(
        (0): Linear(in_features=64, out_features=64, bias=True)
        (1): ReLU()
      )
      (1): Sequential(
        (0): Linear(in_features=64, out_features=12, bias=True)
        (1): ReLU()
      )
    )
    """
    missing = {"name", "shape", "classes", "options"} - set(spec)
    if missing:
        raise ValueError(f"spec lacks {', '.join(sorted(missing))}: it is the .spec of a network made by build")
    return build(spec["name"], (spec["shape"], spec["classes"]), **spec["options"])


WIDER = {"width": 64, "stem": 32, "shortcut": "conv"}
"""What makes a resnet one of the tables' four times wider ones."""


def _family(name: str) -> tuple[str, dict[str, int]]:
    """The class that a name means, and what its numbers say."""
    if name not in _CLASSES:
        if match := re.fullmatch(r"resnet(\d+)(x4)?", name):
            return "resnet", {"depth": int(match[1])}
        if match := re.fullmatch(r"wrn-(\d+)-(\d+)", name):
            return "wrn", {"depth": int(match[1]), "widen": int(match[2])}
        if match := re.fullmatch(r"vgg(\d+)", name):
            return "vgg", {"depth": int(match[1])}
    return name, {}


def _wanted(data: Any, least: int) -> tuple[tuple[int, ...], int, torch.device]:
    split = data.train if isinstance(data, Dataset) else data
    if isinstance(split, TextSplit):
        return split.shape, len(split.vocabulary), split.device
    if isinstance(data, Dataset | Split):
        return data.shape, len(data.classes) or least, data.device
    try:
        sides, outputs = data
        shape, outputs = tuple(int(side) for side in sides), int(outputs)
    except (TypeError, ValueError):
        raise ValueError(f"data={data!r} must be a Dataset, a Split or (shape, classes)") from None
    if outputs < least or not shape or min(shape) < 1:
        what = "every side" if least == 0 else "every side and the number of classes"
        raise ValueError(f"data={data!r}: {what} must be at least 1")
    return shape, outputs, torch.device("cpu")


def _defaults(family: str, shape: tuple[int, ...], width: Any) -> dict[str, Any]:
    """Sizes that suit the input: those of the papers from 28×28 up, a quarter to a half of that for smaller images."""
    if family == "denoiser-mlp":
        return {"width": 128, "depth": 3}
    if family == "lm":
        return {"width": 64, "depth": 2}
    if family == "speech":
        return {"width": 64, "depth": 4}
    if family == "mlp":
        return {"width": 128, "depth": len(width) if isinstance(width, Sequence) else 2}
    side = min(shape[1:])
    small = side <= 16
    if family == "unet":
        # Halved down to 4 or so: twice there is enough for 16×16, three times for 32×32.
        return {"width": 32 if small else 64, "depth": max(2, round(math.log2(side / 4)) + 1)}
    if family == "dit":
        return {"width": 64 if small else 128, "depth": 4, "patch": 2 if small else _default_patch(shape[1], shape[2])}
    if family == "convnet":
        # Three stages take 32×32 to 4×4, four take 64×64 there; two at least.
        return {"width": 32 if small else 128, "depth": max(2, round(math.log2(side / 4)))}
    if family in ("lenet", "alexnet"):
        return {}
    if family in _WIDTHS:
        return {"width": _WIDTHS[family]}
    return {"width": 64 if small else 128, "depth": 4, "patch": _default_patch(shape[1], shape[2])}


_WIDTHS = {
    "resnet": 16,
    "resnet18": 64,
    "wrn": 16,
    "vgg": 64,
    "shufflenetv1": 240,
    "shufflenetv2": 116,
    "mobilenetv2": 16,
}


def _default_patch(height: int, width: int) -> int:
    """The patch that cuts the short side into nearest to 4 (up to 16 pixels) or 8 pieces and divides both sides."""
    common, side = math.gcd(height, width), min(height, width)
    pieces = 4 if side <= 16 else 8
    return min((p for p in range(1, common + 1) if common % p == 0), key=lambda p: abs(math.log(side / p / pieces)))


def _check_settings(name: str, family: str, settings: dict[str, Any]) -> None:
    accepted = set(inspect.signature(_ALL[family]).parameters) - {"shape", "outputs", "classes"}
    if family in ("resnet", "wrn", "vgg"):
        if "depth" in settings:
            raise ValueError(f"depth={settings['depth']} is not taken by {name}: its name says the depth")
        accepted -= {"depth", "widen"}
    unknown = sorted(set(settings) - accepted)
    if unknown:
        raise ValueError(f"{name} has no option {unknown[0]!r}: it takes {', '.join(sorted(accepted)) or 'none'}")
    if family == "mlp" and isinstance(settings["width"], Sequence) and not isinstance(settings["width"], str):
        widths = settings["width"] = list(settings["width"])
        if len(widths) != settings["depth"]:
            raise ValueError(f"width={widths} has {len(widths)} entries, but depth={settings['depth']}")
    else:
        widths = [settings["width"]] if "width" in settings else []
    numbers = [("width", w) for w in widths] + [(k, settings[k]) for k in ("depth", "patch", "blocks") if k in settings]
    if family != "unet":
        numbers += [("heads", settings["heads"])] if "heads" in settings else []
    for key, value in numbers:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{key}={value!r} must be a whole number of at least 1")
