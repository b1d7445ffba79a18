"""`build`: a network by its name, sized for the data, with seeded weights."""

import inspect
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from workbench.data import Dataset, Split, TextSplit
from workbench.models.kinds import KINDS, Kind, kind_of, named

_SEEDING = threading.Lock()


def names() -> tuple[str, ...]:
    """Names that `build` knows; it also takes ``resnet{6n+2}``, ``resnet{6n+2}x4`` and ``wrn-{6n+4}-{k}`` for all n."""
    return (*(name for kind in KINDS.values() for name in kind.listed), *FIELD)


FIELD = tuple(name for kind in KINDS.values() for name in kind.tables)
"""The networks of the tables of distillation on CIFAR-100 (Tian et al. 2020), beside the resnets; and of paper 021."""


def denoiser_names() -> tuple[str, ...]:
    """Names of networks for diffusion models, which `build` knows too: a state and its time in, the state's shape out.

    They are called with (x, t), or (x, t, condition) where they were built for classes.
    """
    return named("denoiser")


def language_names() -> tuple[str, ...]:
    """Names of causal language models, which `build` knows too: token ids in, logits of every next token out.

    They are called as those of `transformers` are.
    """
    return named("language")


def speech_names() -> tuple[str, ...]:
    """Names of encoders of waveforms, which `build` knows too: (n, samples) in, logits of a head on them out."""
    return named("speech")


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
    found = kind_of(name)
    shape, outputs, device = _wanted(data, least=0 if found is not None and found[0].job == "denoiser" else 1)
    if found is None:
        known = (*names(), *denoiser_names(), *language_names(), *speech_names())
        raise ValueError(f"name={name!r} is not one of {', '.join(known)}")
    kind, fixed = found
    _check_reads(name, kind, shape, data)
    settings = kind.sizes(shape, width) | (WIDER if name.endswith("x4") else {}) | options
    settings |= {key: value for key, value in (("width", width), ("depth", depth)) if value is not None}
    _check_settings(name, kind, settings)
    # Only the CPU generator is seeded, and restored: torch.manual_seed would reseed every accelerator too. There is one
    # for all threads.
    with _SEEDING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = kind.make(shape, outputs, **settings, **fixed)
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


def _check_reads(name: str, kind: Kind, shape: tuple[int, ...], data: Any) -> None:
    text = kind.reads == "text"
    if isinstance(data, Dataset | Split) and (data.task == "text") != text:
        raise ValueError(f"name={name!r} reads {'text' if text else 'no text'}, unlike data={data!r}")
    if kind.reads == "sound" and len(shape) != 1:
        raise ValueError(f"{name} reads waveforms of shape (samples,), not {shape}: load a folder of WAV files")
    if kind.reads == "images" and len(shape) != 3:
        anything = next(name for name, other in KINDS.items() if (other.job, other.reads) == (kind.job, "anything"))
        raise ValueError(
            f"{name} reads images of shape (channels, height, width), not {shape}: {anything!r} reads anything"
        )


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


def _check_settings(name: str, kind: Kind, settings: dict[str, Any]) -> None:
    accepted = set(inspect.signature(kind.make).parameters) - {"shape", "outputs", "classes"}
    if "depth" in kind.in_name & settings.keys():
        raise ValueError(f"depth={settings['depth']} is not taken by {name}: its name says the depth")
    accepted -= kind.in_name
    unknown = sorted(set(settings) - accepted)
    if unknown:
        raise ValueError(f"{name} has no option {unknown[0]!r}: it takes {', '.join(sorted(accepted)) or 'none'}")
    if kind is KINDS["mlp"] and isinstance(settings["width"], Sequence) and not isinstance(settings["width"], str):
        widths = settings["width"] = list(settings["width"])
        if len(widths) != settings["depth"]:
            raise ValueError(f"width={widths} has {len(widths)} entries, but depth={settings['depth']}")
    else:
        widths = [settings["width"]] if "width" in settings else []
    numbers = [("width", w) for w in widths] + [(key, settings[key]) for key in kind.numbers if key in settings]
    for key, value in numbers:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{key}={value!r} must be a whole number of at least 1")
