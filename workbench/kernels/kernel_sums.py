"""Sums of a kernel between two sets of points, K(x, y) @ weights, without the n × m matrix.

    rbf         exp(−u / 2)                                u = ‖x − y‖² / bandwidth², r = √u
    laplace     exp(−r)                                    Matérn ½
    matern32    (1 + √3 r) exp(−√3 r)
    matern52    (1 + √5 r + 5 u / 3) exp(−√5 r)

Maximum mean discrepancies, kernel densities, predictions of Gaussian processes and mean embeddings are such sums. The
gradients with respect to points, weights and bandwidth are sums of the kernel's slope φ'(u), hence sums again: they
are computed the same way, and may be differentiated further. A kernel whose slope is infinite where two points coincide
has slope 0 there.

Cost, for n × m pairs of d features and p columns of weights: n m (d + p) multiply-adds and n m exponentials; points
and sums alone need be moved; gradients to points hold m p (d + 1) numbers besides. The plain version computes blocks of
rows of the matrix, `BLOCK` elements at a time; the fused one keeps tiles of it in registers, with the distances summed
feature by feature, without cancellation, for up to `FEATURES` features; beyond, a GPU too runs blocks, whose products
the BLAS does faster. On a CPU the exponentials take most of the time: RBF sums take 0.15 of the whole matrix's time and
less than 0.01 of its memory (10,000 × 10,000 points; ``BENCHMARKS.md``), and 1.4 times as long as what
`torch.compile` makes of it, which needs a compiler. On an H100 (20,000 × 20,000 points, with gradient) 12 times as fast
as the expression and 2.7 times as fast compiled at 3 features, 2.6 and 0.6 times at 64 (``BENCHMARKS-GPU.md``), where
the expression takes its distances from a product in single precision, which loses digits.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from workbench.kernels.dispatch import INTERPRETED, runs_fused

__all__ = ["KERNELS", "Kernel", "kernel_sums", "mmd"]

Kernel = Literal["rbf", "laplace", "matern32", "matern52"]
KERNELS = ("rbf", "laplace", "matern32", "matern52")

BLOCK = {"cpu": 1 << 18, "cuda": 1 << 24}
"""Elements of the matrix that exist at a time."""

FEATURES = 128

FEW = 3
"""Features up to which distances in single precision are added up one by one: as fast as a product, and exact."""

MOST = {torch.float32: 87.0, torch.float64: 708.0}
"""What an exponential can fall by before it is no normal number."""


def kernel_sums(
    x: Tensor, y: Tensor, weights: Tensor | None = None, *, kernel: Kernel = "rbf", bandwidth: float | Tensor = 1.0
) -> Tensor:
    """Σ_j k(x_i, y_j) weights_j for every i.

    Parameters
    ----------
    x, y
        Points, shapes (n, d) and (m, d).
    weights
        Shape (m,) or (m, p); None: 1 for each.
    kernel
        One of `KERNELS`.
    bandwidth
        Positive; a tensor of one element to have its gradient.

    Returns
    -------
    Tensor
        Shape (n,), or (n, p). Half precision is raised to float32.

    Raises
    ------
    ValueError
        Shapes that do not fit, an unknown kernel, a bandwidth that is not positive.

    Examples
    --------
    >>> kernel_sums(torch.tensor([[0.0]]), torch.tensor([[0.0], [2.0]]))
    tensor([1.1353])
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"x has shape {tuple(x.shape)}, y {tuple(y.shape)}; they must be (n, d) and (m, d)")
    if kernel not in KERNELS:
        raise ValueError(f"kernel is {kernel!r}; it can be {', '.join(KERNELS)}")
    if weights is None:
        weights = x.new_ones(len(y))
    if weights.ndim not in (1, 2) or len(weights) != len(y):
        raise ValueError(f"weights have shape {tuple(weights.shape)}; they must be (m,) or (m, p) with m = {len(y)}")
    wide = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    if not isinstance(bandwidth, Tensor):
        if not bandwidth > 0:
            raise ValueError(f"bandwidth is {bandwidth}; it must be positive")
        x, y = x.to(wide) / bandwidth, y.to(wide) / bandwidth
    else:  # its gradient comes from that of the scaled points
        scale = bandwidth.reshape(()).to(wide)
        x, y = x.to(wide) / scale, y.to(wide) / scale
    # Distances do not see a common shift, but their digits do.
    middle = y.detach().mean(0) if len(y) else 0
    columns = weights.to(wide).reshape(len(y), -1 if weights.numel() else weights.shape[1:].numel())
    sums = _Sums.apply(x - middle, y - middle, columns, kernel, 0)
    return sums.squeeze(1) if weights.ndim == 1 else sums


def mmd(
    x: Tensor, y: Tensor, *, kernel: Kernel = "rbf", bandwidth: float | Tensor = 1.0, unbiased: bool = False
) -> Tensor:
    """Squared maximum mean discrepancy of two samples (Gretton et al. 2012).

    Parameters
    ----------
    x, y
        Shapes (n, d) and (m, d).
    kernel, bandwidth
        As for `kernel_sums`.
    unbiased
        Leave out the pairs of a point with itself (needs two points on either side; may be negative).

    Returns
    -------
    Tensor
        Shape (), differentiable.

    Examples
    --------
    >>> points = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    >>> bool(mmd(points, points.flip(0)).abs() < 1e-6), bool(mmd(points, points + 3) > 0.5)
    (True, True)
    """
    n, m = len(x), len(y)
    if min(n, m) < 1 + unbiased:
        raise ValueError(f"there are {n} and {m} points; {'two' if unbiased else 'one'} on either side is the least")

    def total(a: Tensor, b: Tensor) -> Tensor:
        return kernel_sums(a, b, kernel=kernel, bandwidth=bandwidth).sum()

    own = [(total(each, each) - unbiased * len(each)) / (len(each) * (len(each) - unbiased)) for each in (x, y)]
    return own[0] + own[1] - 2 * total(x, y) / (n * m)


def profile(u: Tensor, room: Tensor, kernel: str, order: int) -> Tensor:
    """φ (`order` 0), or its derivative of that order with respect to u ≥ 0; overwrites `u` and `room`, as large.

    The RBF takes −u / 2, as `squared_distances` gives them for it: one pass less.
    """
    # Exponentials below the least normal number take 25 times as long and are nothing beside others: none is smaller.
    most = MOST[u.dtype]
    match kernel, order:
        case "rbf", _:
            decay = u.clamp_(min=-most).exp_()
            return decay.mul_((-0.5) ** order) if order else decay
        case "laplace", 0:
            return u.sqrt_().clamp_(max=most).neg_().exp_()
        case "laplace", _:  # of order 2: (1 + 1/r) e^(−r) / 4 r² = (1 + r) e^(−r) / 4 r³
            decay = torch.neg(u.sqrt_().clamp_(max=most), out=room).exp_()
            if order == 1:
                return _over(decay.mul_(-0.5), u)
            if order == 2:
                decay.mul_(0.25)
                return _over(decay.addcmul_(decay, u), u.pow_(3))
        case "matern32", _:
            decay = torch.neg(u.mul_(3).sqrt_().clamp_(max=most), out=room).exp_()
            if order == 0:
                return decay.addcmul_(decay, u)
            return decay.mul_(-1.5) if order == 1 else _over(decay.mul_(2.25), u)
        case "matern52", _:
            decay = torch.neg(u.mul_(5).sqrt_().clamp_(max=most), out=room).exp_()
            if order == 0:
                return decay.addcmul_(decay, u.addcmul_(u, u, value=1 / 3))
            return decay.mul_(u.add_(1).mul_(-5 / 6)) if order == 1 else decay.mul_(25 / 12)
    raise NotImplementedError(f"{kernel} has no derivative of order {order} here")


def _over(a: Tensor, b: Tensor) -> Tensor:
    """The quotient, in `a`, and 0 where two points coincide."""
    return a.div_(b).masked_fill_(b == 0, 0)


def squared_distances(x: Tensor, y: Tensor, out: Tensor, room: Tensor, scale: float = 1.0) -> Tensor:
    """‖x_i − y_j‖² · `scale` into `out` (n, m): by one product or, of few features in single precision, one by one."""
    if 0 < x.shape[1] <= FEW and x.dtype != torch.float64:
        torch.sub(x[:, :1], y.mT[:1], out=out).square_()
        if scale != 1:
            out *= scale
        for a, b in zip(x.mT[1:], y.mT[1:], strict=True):
            torch.sub(a[:, None], b[None], out=room)
            out.addcmul_(room, room, value=scale)
        return out
    own, others = (scale * each.square().sum(1) for each in (x, y))
    torch.addmm(others.expand(len(x), -1), x, y.mT, alpha=-2 * scale, out=out)
    out.add_(own[:, None])
    return out.clamp_(min=0) if scale > 0 else out.clamp_(max=0)


def plain(x: Tensor, y: Tensor, columns: Tensor, kernel: str, order: int) -> Tensor:
    """Σ_j φ^(order)(‖x_i − y_j‖²) columns_j by blocks of rows: (n, p)."""
    out = x.new_empty(len(x), columns.shape[1])
    rows = min(len(x), max(1, BLOCK.get(x.device.type, BLOCK["cuda"]) // max(1, len(y))))
    # Kept from block to block: memory that is new to a process takes as long as what is done with it.
    u, room = x.new_empty(2, rows, len(y))
    for start in range(0, len(x), max(1, rows)):
        part = x[start : start + rows]
        squared = squared_distances(part, y, u[: len(part)], room[: len(part)], -0.5 if kernel == "rbf" else 1.0)
        torch.mm(profile(squared, room[: len(part)], kernel, order), columns, out=out[start : start + rows])
    return out


class _Sums(torch.autograd.Function):
    """S = φ^(order)(u) @ c. With A = φ^(order+1)(u): ∂⟨g, S⟩/∂x_i = 2 Σ_j A_ij ⟨g_i, c_j⟩ (x_i − y_j), and so on."""

    @staticmethod
    def forward(x: Tensor, y: Tensor, c: Tensor, kernel: str, order: int) -> Tensor:
        if x.device.type != "cpu" or INTERPRETED:
            refused = "" if x.shape[1] <= FEATURES else f"more than {FEATURES} features are left to the BLAS"
            if c.shape[1] and len(x) and runs_fused("kernel_sums", x, y, c, refused=refused):
                from workbench.kernels.fused import kernel_sums as fused  # noqa: PLC0415 - only where Triton is

                return fused.sums(x, y, c, KERNELS.index(kernel), order)
        return plain(x, y, c, kernel, order)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[object, ...], output: Tensor) -> None:  # noqa: ARG004
        x, y, c, ctx.kernel, ctx.order = inputs
        ctx.save_for_backward(x, y, c)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y, c = ctx.saved_tensors
        for_x, for_y, for_c = ctx.needs_input_grad[:3]
        return (
            _toward(x, y, g, c, ctx.kernel, ctx.order + 1) if for_x else None,
            _toward(y, x, c, g, ctx.kernel, ctx.order + 1) if for_y else None,
            _Sums.apply(y, x, g, ctx.kernel, ctx.order) if for_c else None,
            None,
            None,
        )


def _toward(x: Tensor, y: Tensor, g: Tensor, c: Tensor, kernel: str, order: int) -> Tensor:
    """2 Σ_j A_ij ⟨g_i, c_j⟩ (x_i − y_j), (n, d), from sums of A with the columns c and c ⊗ y."""
    d = x.shape[1]
    columns = torch.cat([c, (c.unsqueeze(2) * y.unsqueeze(1)).flatten(1)], 1)
    sums = _Sums.apply(x, y, columns, kernel, order)
    near, centres = sums[:, : c.shape[1]], sums[:, c.shape[1] :].unflatten(1, (-1, d))
    return 2 * ((g * near).sum(1, keepdim=True) * x - (g.unsqueeze(2) * centres).sum(1))
