"""Normalisation and activation layers by name, under the conventions of dataset distillation's public code."""

from torch import nn

NORMS = ("instance", "group", "batch", "layer", "none")
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}


def norm_layer(norm: str, channels: int, height: int, width: int) -> nn.Module:
    """The normalisation of a feature map of shape (channels, height, width).

    ``"instance"`` is a group normalisation with one channel per group and ``"group"`` one with 4 groups, both affine,
    as the public code of DC, DM and MTT has them.
    """
    match norm:
        case "instance":
            return nn.GroupNorm(channels, channels)
        case "group":
            if channels % 4:
                raise ValueError(f"width={channels} must be a multiple of 4 for norm='group' (4 groups)")
            return nn.GroupNorm(4, channels)
        case "batch":
            return nn.BatchNorm2d(channels)
        case "layer":
            return nn.LayerNorm([channels, height, width])
        case "none":
            return nn.Identity()
    raise ValueError(f"norm={norm!r} is not one of {', '.join(NORMS)}")


def activation_layer(activation: str) -> nn.Module:
    """An activation that does not work in place, so that the features before it stay observable."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation={activation!r} is not one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[activation]()
