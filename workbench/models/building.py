"""`build`: a network by its name, sized for the data, with seeded weights."""

import inspect
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from workbench.data import Dataset, Split
from workbench.models.convnet import ConvNet
from workbench.models.mlp import MLP
from workbench.models.patches import Mixer, ViT
from workbench.models.resnet import ResNet

_NAMES = (
    "mlp",
    "convnet",
    "resnet8",
    "resnet14",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "vit",
    "mixer",
)
_CLASSES: dict[str, type[nn.Module]] = {"mlp": MLP, "convnet": ConvNet, "resnet": ResNet, "vit": ViT, "mixer": Mixer}


def names() -> tuple[str, ...]:
    """Names that `build` knows (and ``resnet{6n+2}`` for any n)."""
    return _NAMES


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

    Every network has ``spec`` (a plain dict from which `from_spec` rebuilds it) and ``penultimate`` (the name of the
    layer whose output, shape (n, features), the head sees).

    Parameters
    ----------
    name
        ``"mlp"``, ``"convnet"``, ``"resnet20"`` (32, 56, 110; any 6n+2), ``"vit"`` or ``"mixer"``.
    data
        A dataset or split, or ``(shape, classes)``; gives the input shape and the number of logits (1 for regression).
    seed
        Seed of the weights; the global random state is neither read nor changed.
    width
        Units or channels; by default sized for the image (ConvNet: 128 as in the papers, 32 up to 16×16). For ``"mlp"``
        also a sequence, one per hidden layer.
    depth
        Hidden layers, stages or blocks; fixed by the name for a ResNet.
    options
        ConvNet: `norm`, `activation`, `pooling`. ResNet: `norm`. ViT: `patch`, `heads`. Mixer: `patch`. MLP: `activation`.

    Returns
    -------
    nn.Module
        On the data's device.

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
    """
    shape, outputs, device = _wanted(data)
    family, settings = _settings(name, shape, width, depth, options)
    model = _construct(family, shape, outputs, settings, seed)
    model.spec = {"name": name, "shape": list(shape), "classes": outputs, "options": settings}  # type: ignore[assignment]
    return model.to(device)


def from_spec(spec: Mapping[str, Any]) -> nn.Module:
    """Rebuild a network from its ``spec``; the weights are those of seed 0, to be replaced by ``load_state_dict``."""
    missing = {"name", "shape", "classes", "options"} - set(spec)
    if missing:
        raise ValueError(f"spec lacks {', '.join(sorted(missing))}: it is the .spec of a network made by build")
    options = {
        key: value for key, value in spec["options"].items() if key != "depth" or not _resnet_depth(spec["name"])
    }
    return build(spec["name"], (tuple(spec["shape"]), spec["classes"]), **options)


def _wanted(data: Any) -> tuple[tuple[int, ...], int, torch.device]:
    if isinstance(data, Dataset | Split):
        return data.shape, len(data.classes) or 1, data.device
    try:
        shape, outputs = data
        return tuple(int(side) for side in shape), int(outputs), torch.device("cpu")
    except (TypeError, ValueError):
        raise ValueError(f"data={data!r} must be a Dataset, a Split or (shape, classes)") from None


def _resnet_depth(name: str) -> int | None:
    match = re.fullmatch(r"resnet(\d+)", name)
    return int(match[1]) if match else None


def _settings(
    name: str, shape: tuple[int, ...], width: Any, depth: int | None, options: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The network's family, and its keyword arguments with the defaults for this shape filled in."""
    family = "resnet" if _resnet_depth(name) else name
    if family not in _CLASSES or name == "resnet":
        raise ValueError(f"name={name!r} is not one of {', '.join(_NAMES)}")
    if family != "mlp" and len(shape) != 3:
        raise ValueError(f"{name} reads images of shape (channels, height, width), not {shape}: use 'mlp'")
    if family != "mlp" and width is not None and not isinstance(width, int):
        raise ValueError(f"width={width!r} must be one whole number for {name}")
    small = family != "mlp" and min(shape[1:]) <= 16
    settings: dict[str, Any]
    match family:
        case "mlp":
            if isinstance(width, Sequence):
                if depth not in (None, len(width)):
                    raise ValueError(f"depth={depth} does not fit width={tuple(width)}: leave depth out")
                settings = {"widths": list(width)}
            else:
                settings = {"widths": [width or 128] * (2 if depth is None else depth)}
            if "widths" in options:  # a spec carries them so
                settings = {}
        case "convnet":
            stages = max(2, round(math.log2(max(1, min(shape[1:]) / 4))))
            settings = {"width": width or (32 if small else 128), "depth": depth or stages}
        case "resnet":
            fixed = _resnet_depth(name)
            if depth not in (None, fixed):
                raise ValueError(f"depth={depth} contradicts {name}: leave it out, or use 'resnet{depth}'")
            settings = {"width": width or 16, "depth": fixed}
        case _:
            settings = {
                "width": width or (64 if small else 128),
                "depth": depth or 4,
                "patch": _default_patch(shape[1], shape[2]),
            }
    accepted = set(inspect.signature(_CLASSES[family]).parameters) - {"shape", "outputs"}
    unknown = set(options) - accepted
    if unknown:
        raise ValueError(f"{name} has no option {', '.join(sorted(unknown))}: it takes {', '.join(sorted(accepted))}")
    return family, settings | options


def _default_patch(height: int, width: int) -> int:
    """A patch that cuts the short side into four to eight where the sides allow it."""
    common = math.gcd(height, width)
    fitting = [p for p in range(1, common + 1) if common % p == 0]
    return min(fitting, key=lambda p: abs(min(height, width) / p - (4 if common <= 8 else 8)))


def _construct(family: str, shape: tuple[int, ...], outputs: int, settings: dict[str, Any], seed: int) -> nn.Module:
    # Only the CPU generator is used and restored: torch.manual_seed would also reseed every accelerator.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return _CLASSES[family](shape, outputs, **settings)
