"""Products of a kernel matrix with vectors, K(X, Z) @ v, without the matrix where the kernel is a known sum.

RBF and Matérn kernels with a length-scale for all features or one each, scaled or not, of gpytorch or scikit-learn, are
`workbench.kernels.kernel_sums` of rescaled points. Of every other kernel blocks of the matrix are computed and
multiplied.
"""

import math
from typing import Any, NamedTuple

import gpytorch
import torch
from sklearn.gaussian_process import kernels as sklearn_kernels
from torch import Tensor

from workbench.gp.inference.kernels import KernelFace
from workbench.kernels.kernel_sums import Kernel, kernel_sums

_MATERN: dict[float, Kernel] = {0.5: "laplace", 1.5: "matern32", 2.5: "matern52", math.inf: "rbf"}


class Stationary(NamedTuple):
    """scale · φ(‖x / lengths − z / lengths‖), of the named kernel; lengths (1,) or (features,)."""

    name: Kernel
    scale: float
    lengths: Tensor


def product(kernel: KernelFace, X: Tensor, Z: Tensor, vectors: Tensor, block: int) -> Tensor:
    """K(X, Z) @ vectors, without noise.

    Parameters
    ----------
    X, Z
        Shapes (n, features) and (m, features).
    vectors
        Shape (m, p).
    block
        Rows of the matrix that exist at a time, where they must.

    Returns
    -------
    Tensor
        Shape (n, p).
    """
    known = stationary(kernel)
    if known is None:
        parts = [kernel.cross(X[start : start + block], Z) @ vectors for start in range(0, len(X), block)]
        return torch.cat(parts) if parts else vectors.new_zeros(0, vectors.shape[1])
    lengths = known.lengths.to(X)
    with torch.no_grad():
        return known.scale * kernel_sums(X / lengths, Z / lengths, vectors, kernel=known.name)


def stationary(kernel: KernelFace) -> Stationary | None:
    """What kernel sum this is, if it is one."""
    inner: Any = kernel.kernel
    return _of_gpytorch(inner) if isinstance(inner, gpytorch.kernels.Kernel) else _of_sklearn(inner)


def _of_gpytorch(kernel: Any) -> Stationary | None:
    if kernel.active_dims is not None:
        return None
    if type(kernel) is gpytorch.kernels.ScaleKernel:
        inner = _of_gpytorch(kernel.base_kernel)
        return None if inner is None else inner._replace(scale=inner.scale * float(kernel.outputscale.detach()))
    if type(kernel) not in (gpytorch.kernels.RBFKernel, gpytorch.kernels.MaternKernel):
        return None
    return Stationary(_MATERN[getattr(kernel, "nu", math.inf)], 1.0, kernel.lengthscale.detach().reshape(-1))


def _of_sklearn(kernel: object) -> Stationary | None:
    if type(kernel) is sklearn_kernels.Sum:  # noise between different points is nothing
        parts = [part for part in (kernel.k1, kernel.k2) if type(part) is not sklearn_kernels.WhiteKernel]
        return _of_sklearn(parts[0]) if len(parts) == 1 else None
    if type(kernel) is sklearn_kernels.Product:
        parts = [part for part in (kernel.k1, kernel.k2) if type(part) is not sklearn_kernels.ConstantKernel]
        inner = _of_sklearn(parts[0]) if len(parts) == 1 else None
        constant = kernel.k2 if parts and parts[0] is kernel.k1 else kernel.k1
        return None if inner is None else inner._replace(scale=inner.scale * constant.constant_value)
    if type(kernel) is sklearn_kernels.RBF:
        name: Kernel | None = "rbf"
    elif type(kernel) is sklearn_kernels.Matern:
        name = _MATERN.get(kernel.nu)
    else:
        return None
    return None if name is None else Stationary(name, 1.0, torch.as_tensor(kernel.length_scale).reshape(-1))
