"""Faster ways to run the layers of stacked networks than what ``vmap`` makes of them.

``vmap`` copies the weights of a linear layer once per example when its input has more than two axes (tokens), turns N
convolutions into one grouped convolution, and leaves pooling and norms a layout that is slow on a CPU. Here a linear
layer is one batched matrix product; and, on a CPU, images are kept channels last, a convolution of few inputs is one
batched matrix product, and a norm is plain sums. Values are the same up to rounding.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

LOWERED = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
FEW = 64  # inputs of one output value up to which copying them side by side costs less than a convolution kernel


def lower(template: nn.Module, device: torch.device) -> None:
    """Give the template's layers their fast forward on this device, or their own where that is the fast one."""
    for module in template.modules():
        if type(module) not in LOWERED:
            continue
        module.__dict__.pop("forward", None)
        if type(module) is nn.Linear:
            module.forward = partial(_linear, module)  # type: ignore[method-assign]
        if device.type != "cpu":
            continue
        if type(module) is nn.Conv2d and _plain(module):
            module.forward = partial(_convolution, module)  # type: ignore[method-assign]
        elif type(module) is nn.GroupNorm:
            module.forward = partial(_group_norm, module)  # type: ignore[method-assign]
        elif type(module) is nn.AvgPool2d and _squares(module):
            module.forward = partial(_average, module)  # type: ignore[method-assign]
        elif type(module) is nn.AdaptiveAvgPool2d and module.output_size in (1, (1, 1)):
            module.forward = _mean  # type: ignore[method-assign]


def _plain(conv: nn.Conv2d) -> bool:
    return conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros" and conv.padding != "same"


def _squares(pool: nn.AvgPool2d) -> bool:
    return (
        isinstance(pool.kernel_size, int)
        and pool.stride == pool.kernel_size
        and pool.padding == 0
        and not pool.ceil_mode
    )


def _mean(x: Tensor) -> Tensor:
    return x.mean((-2, -1), keepdim=True)


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


def _linear(module: nn.Linear, x: Tensor) -> Tensor:
    if x.ndim <= 2:
        return F.linear(x, module.weight, module.bias)
    return _stacked_linear(x, module.weight, module.bias)


@stacked
def _stacked_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Inputs (N or 1, ..., in), weights (N, out, in) → (N, ..., out)."""
    rows = x.flatten(1, -2).expand(len(weight), -1, -1)
    turned = weight.transpose(1, 2)
    product = torch.bmm(rows, turned) if bias is None else torch.baddbmm(bias[:, None], rows, turned)
    return product.unflatten(1, x.shape[1:-1])


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
        return _wide_convolution(x.expand(members, *x.shape[1:]), weight, bias, stride, pads)
    last = F.pad(x.permute(0, 1, 3, 4, 2), (0, 0, pads[1], pads[1], pads[0], pads[0]))
    rows = (last.shape[2] - height) // stride[0] + 1
    columns = (last.shape[3] - width) // stride[1] + 1
    # The bias is one more input, which is always 1.
    constant = [] if bias is None else [last.new_ones(()).expand(*last.shape[:2], rows, columns, 1)]
    windows = torch.cat(
        [
            last[
                :, :, i : i + stride[0] * (rows - 1) + 1 : stride[0], j : j + stride[1] * (columns - 1) + 1 : stride[1]
            ]
            for i in range(height)
            for j in range(width)
        ]
        + constant,
        -1,
    ).view(len(x), -1, height * width * channels + (bias is not None))
    kernel = weight.permute(0, 3, 4, 2, 1).reshape(members, -1, out)
    if bias is not None:
        kernel = torch.cat([kernel, bias[:, None]], 1)
    product = torch.bmm(windows.expand(members, -1, -1), kernel)
    return product.view(members, x.shape[1], rows, columns, out).permute(0, 1, 4, 2, 3)


def _wide_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], pads: tuple[int, int]
) -> Tensor:
    """As `_stacked_convolution`, by PyTorch's kernel: grouped where its blocked form takes it, else member by member."""
    members, batch, channels, height, width = x.shape
    out = weight.shape[1]
    if channels % 8 or out % 8:
        biases = [None] * members if bias is None else bias.unbind()
        each = [
            F.conv2d(one.contiguous(memory_format=torch.channels_last), w, b, stride, pads).permute(0, 2, 3, 1)
            for one, w, b in zip(x.unbind(), weight.unbind(), biases, strict=True)
        ]
        return torch.stack(each).permute(0, 1, 4, 2, 3)
    side_by_side = x.permute(1, 3, 4, 0, 2).reshape(batch, height, width, members * channels).permute(0, 3, 1, 2)
    flat = None if bias is None else bias.flatten()
    result = F.conv2d(side_by_side, weight.flatten(0, 1), flat, stride, pads, groups=members).permute(0, 2, 3, 1)
    apart = result.reshape(*result.shape[:3], members, out).permute(3, 0, 1, 2, 4).contiguous()
    return apart.permute(0, 1, 4, 2, 3)


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
        # Memory traffic is what this costs, so `x` is kept as it is, and a tensor that has served is written over.
        mean = x.mean((2, 4), keepdim=True)
        room = (x - mean).square_()
        scale = room.mean((2, 4), keepdim=True).add_(eps).rsqrt_()
        gain = scale * _per_channel(weight, x)
        ctx.save_for_backward(x, mean, scale, weight)
        return torch.addcmul(_per_channel(bias, x) - mean * gain, x, gain, out=room)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, mean, scale, weight = ctx.saved_tensors
        own = _per_channel(weight, x)
        # Sums over the pixels of each channel; groups then sum their channels.
        total = grad.sum(2, keepdim=True)
        room = grad * x
        along = room.sum(2, keepdim=True) - mean * total
        to_bias = total.sum(1).flatten(1)
        to_weight = (along * scale).sum(1).flatten(1)
        size = x.shape[2] * x.shape[4]
        slope = -(scale**3) * (own * along).sum(4, keepdim=True) / size
        shift = -scale * (own * total).sum(4, keepdim=True) / size - slope * mean
        to_x = torch.addcmul(shift, x, slope, out=room).addcmul_(grad, scale * own)
        return to_x, to_weight, to_bias, None


def _average(module: nn.AvgPool2d, x: Tensor) -> Tensor:
    return _stacked_average(x, module.kernel_size)


@stacked
def _stacked_average(x: Tensor, side: int) -> Tensor:
    """Images (N, B, C, H, W) → means of their side × side squares."""
    result: Tensor = AverageLast.apply(x.flatten(0, 1), side)
    return result.unflatten(0, x.shape[:2])


class AverageLast(torch.autograd.Function):
    """Average pooling of images (n, C, H, W), channels last, whose backward pass writes every pixel once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, side: int) -> Tensor:
        ctx.side, ctx.size = side, x.shape[2:]
        return F.avg_pool2d(x, side)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        side, (height, width) = ctx.side, ctx.size
        n, channels, rows, columns = grad.shape
        last = (grad / side**2).permute(0, 2, 3, 1)[:, :, None, :, None]
        spread = last.expand(n, rows, side, columns, side, channels).reshape(n, rows * side, columns * side, channels)
        # Pixels left over at the lower and right edge are in no square.
        over = (0, 0, 0, width - columns * side, 0, height - rows * side)
        return (F.pad(spread, over) if any(over) else spread).permute(0, 3, 1, 2), None


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.view(len(values), 1, 1, *x.shape[3:])
