"""Faster ways to run the layers of stacked networks than what ``vmap`` makes of them.

``vmap`` copies the weights of a linear layer once per example when its input has more than two axes (tokens), turns N
convolutions into one grouped convolution, and leaves pooling and norms a layout that is slow on a CPU. Here a linear
layer is one batched matrix product; and, on a CPU, images are kept channels last, a convolution of few inputs is one
batched matrix product, and a norm is plain sums. Values are the same up to rounding.

Every function takes tensors with a leading member axis N; one that all members share has 1 there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.training.stacked_layers import AverageLast, GroupNormLast

FEW = 64  # inputs of one output value up to which copying them side by side costs less than a convolution kernel


@dataclass(frozen=True)
class Lowering:
    """How to run one kind of layer for all members at once.

    Attributes
    ----------
    run
        The stacked function of (inputs, *arguments).
    arguments
        What `run` needs of the layer.
    fits
        Whether it can stand in for this very layer.
    anywhere
        Whether it pays inside ``vmap`` and on any device; otherwise on a CPU only, or only without ``vmap``.
    """

    run: Callable[..., Tensor]
    arguments: Callable[[Any], tuple[Any, ...]]
    fits: Callable[[Any], bool] = lambda module: True  # noqa: ARG005
    anywhere: bool = False
    in_vmap: bool = True


def lower(template: nn.Module, device: torch.device, *, direct: bool) -> None:
    """Give the template's layers the forward that is fast on this device.

    With `direct` they take and give tensors with the member axis in front, without ``vmap``; else one member's.
    """
    for module in template.modules():
        lowering = LOWERINGS.get(type(module))
        if lowering is None:
            continue
        module.__dict__.pop("forward", None)
        usable = direct or (lowering.in_vmap and (lowering.anywhere or device.type == "cpu"))
        if usable and lowering.fits(module):
            module.forward = partial(_forward, lowering, module, direct)


def _forward(lowering: Lowering, module: nn.Module, direct: bool, x: Tensor) -> Tensor:
    if direct:
        return lowering.run(x, *lowering.arguments(module))
    if isinstance(module, nn.Linear) and x.ndim <= 2:  # this much vmap does as well itself
        return F.linear(x, module.weight, module.bias)
    result: Tensor = _InVmap.apply(lowering.run, x, *lowering.arguments(module))
    return result


class _InVmap(torch.autograd.Function):
    """A function of tensors with a member axis, called inside ``vmap`` with one member's."""

    @staticmethod
    def forward(run: Callable[..., Tensor], *arguments: Any) -> Tensor:
        return run(*(a.unsqueeze(0) if isinstance(a, Tensor) else a for a in arguments)).squeeze(0)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], run: Callable[..., Tensor], *arguments: Any) -> tuple[Tensor, int]:  # noqa: ARG004
        placed = (
            a if not isinstance(a, Tensor) else a.unsqueeze(0) if axis is None else a.movedim(axis, 0)
            for a, axis in zip(arguments, in_dims[1:], strict=True)
        )
        return run(*placed), 0


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Inputs (N or 1, ..., in), weights (N, out, in) → (N, ..., out)."""
    rows = (x.flatten(1, -2) if x.ndim > 3 else x).expand(len(weight), -1, -1)
    turned = weight.transpose(1, 2)
    product = torch.bmm(rows, turned) if bias is None else torch.baddbmm(bias[:, None], rows, turned)
    return product.unflatten(1, x.shape[1:-1]) if x.ndim > 3 else product


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int] | str
) -> Tensor:
    """Images (N or 1, B, C, H, W), weights (N, O, C, h, w) → (N, B, O, H', W'), channels last."""
    members, out, channels, height, width = weight.shape
    pads = (padding[0], padding[1]) if not isinstance(padding, str) else (0, 0)
    if channels * height * width > FEW and not (stride == (height, width) and pads == (0, 0)):
        return _wide_convolution(x.expand(members, *x.shape[1:]), weight, bias, stride, pads)
    last = F.pad(x.permute(0, 1, 3, 4, 2), (0, 0, pads[1], pads[1], pads[0], pads[0]))
    rows = (last.shape[2] - height) // stride[0] + 1
    columns = (last.shape[3] - width) // stride[1] + 1
    down, right = stride[0] * (rows - 1) + 1, stride[1] * (columns - 1) + 1
    windows = [
        last[:, :, i : i + down : stride[0], j : j + right : stride[1]] for i in range(height) for j in range(width)
    ]
    kernel = weight.permute(0, 3, 4, 2, 1).reshape(members, -1, out)
    if bias is not None:  # one more input, which is always 1
        windows.append(last.new_ones(()).expand(*last.shape[:2], rows, columns, 1))
        kernel = torch.cat([kernel, bias[:, None]], 1)
    inputs = torch.cat(windows, -1).view(len(x), -1, kernel.shape[1])
    product = torch.bmm(inputs.expand(members, -1, -1), kernel)
    return product.view(members, x.shape[1], rows, columns, out).permute(0, 1, 4, 2, 3)


def _wide_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], pads: tuple[int, int]
) -> Tensor:
    """As `convolution`, by PyTorch's kernel: grouped where its blocked form takes it, else member by member."""
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


def group_norm(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    """Images (N or 1, B, C, H, W), weight and bias (N, C)."""
    if x.ndim != 5 or x.stride(2) != 1 or x.shape[2] == 1:  # not channels last: PyTorch's own kernel is the fast one
        each = zip(x.expand(len(weight), *x.shape[1:]).unbind(), weight.unbind(), bias.unbind(), strict=True)
        return torch.stack([F.group_norm(one, groups, w, b, eps) for one, w, b in each])
    members, batch, channels, height, width = x.shape
    last = x.permute(0, 1, 3, 4, 2).reshape(members, batch, height * width, groups, channels // groups)
    result: Tensor = GroupNormLast.apply(last, weight, bias, eps)
    return result.view(-1, batch, height, width, channels).permute(0, 1, 4, 2, 3)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None, shape: tuple[int, ...], eps: float) -> Tensor:
    """Inputs (N or 1, ..., *shape), weight and bias (N, *shape)."""
    between = (len(weight), *[1] * (x.ndim - len(shape) - 1), *shape)
    scaled = F.layer_norm(x, shape, None, None, eps) * weight.view(between)
    return scaled if bias is None else scaled + bias.view(between)


def average(x: Tensor, side: int) -> Tensor:
    """Images (N, B, C, H, W) → means of their side × side squares."""
    result: Tensor = AverageLast.apply(x.flatten(0, 1), side)
    return result.unflatten(0, x.shape[:2])


def mean(x: Tensor) -> Tensor:
    """Images (N, B, C, H, W) → (N, B, C, 1, 1)."""
    return x.mean((-2, -1), keepdim=True)


def flatten(x: Tensor) -> Tensor:
    """(N, B, ...) → (N, B, values)."""
    return x.flatten(2)


LOWERINGS: dict[type[nn.Module], Lowering] = {
    nn.Linear: Lowering(linear, lambda m: (m.weight, m.bias), anywhere=True),
    nn.Conv2d: Lowering(
        convolution,
        lambda m: (m.weight, m.bias, m.stride, m.padding),
        lambda m: m.groups == 1 and m.dilation == (1, 1) and m.padding_mode == "zeros" and m.padding != "same",
    ),
    nn.GroupNorm: Lowering(
        group_norm, lambda m: (m.weight, m.bias, m.num_groups, m.eps), lambda m: m.affine and m.bias is not None
    ),
    nn.AvgPool2d: Lowering(
        average,
        lambda m: (m.kernel_size,),
        lambda m: (
            isinstance(m.kernel_size, int)
            and m.stride == m.kernel_size
            and m.padding == 0
            and not m.ceil_mode
            and m.divisor_override is None
        ),
    ),
    nn.AdaptiveAvgPool2d: Lowering(mean, lambda m: (), lambda m: m.output_size in (1, (1, 1))),  # noqa: ARG005
    nn.LayerNorm: Lowering(
        layer_norm,
        lambda m: (m.weight, m.bias, m.normalized_shape, m.eps),
        lambda m: m.elementwise_affine,
        in_vmap=False,
    ),
    nn.Flatten: Lowering(flatten, lambda m: (), lambda m: (m.start_dim, m.end_dim) == (1, -1), in_vmap=False),  # noqa: ARG005
}
