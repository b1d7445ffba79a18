"""Group norm and average pooling, channels last, with backward passes that touch memory as little as can be."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


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
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
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


class AverageLast(torch.autograd.Function):
    """Average pooling of images (n, C, H, W), channels last, whose backward pass writes every pixel once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, side: int) -> Tensor:
        ctx.side, ctx.size = side, x.shape[2:]
        return F.avg_pool2d(x, side)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        side, (height, width) = ctx.side, ctx.size
        n, channels, rows, columns = grad.shape
        last = (grad / side**2).permute(0, 2, 3, 1)[:, :, None, :, None]
        spread = last.expand(n, rows, side, columns, side, channels).reshape(n, rows * side, columns * side, channels)
        # Pixels left over at the lower and right edge are in no square.
        over = (0, 0, 0, width - columns * side, 0, height - rows * side)
        return (F.pad(spread, over) if any(over) else spread).permute(0, 3, 1, 2), None


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.view(len(values), 1, 1, *x.shape[3:])
