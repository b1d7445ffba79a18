"""Faster ways to run the convolutions and norms of stacked networks on a CPU.

``vmap`` turns N convolutions into one grouped convolution, and pooling and norms run on whatever layout that leaves.
For the small images and few channels of small networks it is several times faster to keep channels last, to write a
convolution of few inputs as one batched matrix product, and to normalise by plain sums. Values are the same up to
rounding; on other devices nothing is changed.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

FEW = 64  # inputs of one output value up to which copying them side by side costs less than a convolution kernel


def lower(template: nn.Module, device: torch.device) -> None:
    """Give the template's convolutions and norms their fast forward on a CPU, and their own on any other device."""
    for module in template.modules():
        module.__dict__.pop("forward", None)
        if device.type != "cpu":
            continue
        if type(module) is nn.Conv2d and _plain(module):
            module.forward = partial(_convolution, module)  # type: ignore[method-assign]
        elif type(module) is nn.GroupNorm:
            module.forward = partial(_group_norm, module)  # type: ignore[method-assign]


def _plain(conv: nn.Conv2d) -> bool:
    return conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros" and conv.padding != "same"


def stacked(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function of tensors with a leading member axis, callable inside ``vmap`` with one member's tensors.

    A tensor that all members share arrives with a leading axis of 1.
    """

    class Stacked(torch.autograd.Function):
        @staticmethod
        def forward(*arguments: Any) -> Tensor:
            return function(*(a.unsqueeze(0) if isinstance(a, Tensor) else a for a in arguments)).squeeze(0)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            pass

        @staticmethod
        def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:  # noqa: ARG004
            placed = (
                a if not isinstance(a, Tensor) else a.unsqueeze(0) if axis is None else a.movedim(axis, 0)
                for a, axis in zip(arguments, in_dims, strict=True)
            )
            return function(*placed), 0

    return Stacked.apply  # type: ignore[no-any-return]


def _convolution(module: nn.Conv2d, x: Tensor) -> Tensor:
    return _stacked_convolution(x, module.weight, module.bias, module.stride, module.padding)


@stacked
def _stacked_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int] | str
) -> Tensor:
    """Images (N or 1, B, C, H, W), weights (N, O, C, h, w) → (N, B, O, H', W'), channels last."""
    members, out, channels, height, width = weight.shape
    pads = (0, 0) if padding == "valid" else padding
    if channels * height * width > FEW and not (stride == (height, width) and pads == (0, 0)):
        images = x.expand(members, *x.shape[1:]).unbind()
        biases = [None] * members if bias is None else bias.unbind()
        results = [
            F.conv2d(one.contiguous(memory_format=torch.channels_last), w, b, stride, pads)
            for one, w, b in zip(images, weight.unbind(), biases, strict=True)
        ]
        return torch.stack([result.permute(0, 2, 3, 1) for result in results]).permute(0, 1, 4, 2, 3)
    last = F.pad(x.permute(0, 1, 3, 4, 2), (0, 0, pads[1], pads[1], pads[0], pads[0]))
    rows = (last.shape[2] - height) // stride[0] + 1
    columns = (last.shape[3] - width) // stride[1] + 1
    windows = torch.cat(
        [
            last[
                :, :, i : i + stride[0] * (rows - 1) + 1 : stride[0], j : j + stride[1] * (columns - 1) + 1 : stride[1]
            ]
            for i in range(height)
            for j in range(width)
        ],
        -1,
    ).view(len(x), -1, height * width * channels)
    windows = windows.expand(members, -1, -1)
    kernel = weight.permute(0, 3, 4, 2, 1).reshape(members, -1, out)
    product = torch.bmm(windows, kernel) if bias is None else torch.baddbmm(bias[:, None], windows, kernel)
    return product.view(members, x.shape[1], rows, columns, out).permute(0, 1, 4, 2, 3)


def _group_norm(module: nn.GroupNorm, x: Tensor) -> Tensor:
    if x.ndim != 4 or not module.affine:
        return F.group_norm(x, module.num_groups, module.weight, module.bias, module.eps)
    return _stacked_group_norm(x, module.weight, module.bias, module.num_groups, module.eps)


@stacked
def _stacked_group_norm(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    """Images (N, B, C, H, W), weight and bias (N, C)."""
    members, batch, channels, height, width = x.shape
    if x.stride(2) != 1 or channels == 1:  # not channels last: PyTorch's own kernel is the fast one
        images = x.expand(len(weight), *x.shape[1:]).unbind()
        each = zip(images, weight.unbind(), bias.unbind(), strict=True)
        return torch.stack([F.group_norm(one, groups, w, b, eps) for one, w, b in each])
    last = x.permute(0, 1, 3, 4, 2).reshape(members, batch, height * width, groups, channels // groups)
    result: Tensor = GroupNormLast.apply(last, weight, bias, eps)
    return result.view(-1, batch, height, width, channels).permute(0, 1, 4, 2, 3)


class GroupNormLast(torch.autograd.Function):
    """Group normalisation of (N, B, pixels, groups, channels per group), with weight and bias (N, C), by plain sums."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        over = (2, 4)
        centred = x - x.mean(over, keepdim=True)
        variance = centred.square().mean(over, keepdim=True)
        scale = (variance + eps).rsqrt_()
        gain = _per_channel(weight, x)
        ctx.save_for_backward(centred, scale, gain)
        return torch.addcmul(_per_channel(bias, x), centred, scale * gain)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        centred, scale, gain = ctx.saved_tensors
        # Sums over the pixels of each channel; groups then sum their channels.
        total = grad.sum(2, keepdim=True)
        along = (grad * centred).sum(2, keepdim=True)
        to_bias = total.sum(1).flatten(1)
        to_weight = (along * scale).sum(1).flatten(1)
        to_x = None
        if ctx.needs_input_grad[0]:
            size = centred.shape[2] * centred.shape[4]
            shift = -scale * (gain * total).sum(4, keepdim=True) / size
            slope = -(scale**3) * (gain * along).sum(4, keepdim=True) / size
            to_x = torch.addcmul(shift, centred, slope).addcmul_(grad, scale * gain)
        return to_x, to_weight, to_bias, None


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.view(len(values), 1, 1, *x.shape[3:])
