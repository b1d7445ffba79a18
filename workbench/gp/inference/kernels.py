"""One face for gpytorch's and scikit-learn's kernels: Gram matrices without noise, and derivatives of what uses them.

Both kinds answer `gram`, `cross`, `diagonal`, `covariance` with torch tensors, and expose their free parameters as one
vector θ (logarithms of positive parameters, as scikit-learn has it), so that one optimiser serves both.
"""

import copy
from collections.abc import Callable
from typing import Any

import gpytorch
import numpy as np
import torch
from sklearn.base import clone
from sklearn.gaussian_process.kernels import Kernel as SklearnKernelBase
from torch import Tensor

BOUNDS = (1e-5, 1e5)
NAMES: dict[str, Callable[[], gpytorch.kernels.Kernel]] = {
    "rbf": gpytorch.kernels.RBFKernel,
    "matern": gpytorch.kernels.MaternKernel,
    "periodic": gpytorch.kernels.PeriodicKernel,
    "linear": gpytorch.kernels.LinearKernel,
    "rational-quadratic": gpytorch.kernels.RQKernel,
}
Pullback = Callable[[Tensor], np.ndarray]


class GPyTorchKernel:
    """A gpytorch kernel; its parameters keep the constraints it was given, within 1e-5 to 1e5."""

    white = 0.0

    def __init__(self, kernel: gpytorch.kernels.Kernel) -> None:
        self.kernel = kernel
        self._free = [
            (parameter, constraint)
            for _, parameter, constraint in kernel.named_parameters_and_constraints()
            if parameter.requires_grad
        ]

    def gram(self, X: Tensor) -> Tensor:
        with torch.no_grad():
            return self.kernel(X).to_dense()

    def cross(self, X: Tensor, Z: Tensor) -> Tensor:
        with torch.no_grad():
            return self.kernel(X, Z).to_dense()

    def diagonal(self, X: Tensor) -> Tensor:
        with torch.no_grad():
            return self.kernel(X, diag=True)

    def covariance(self, X: Tensor) -> Tensor:
        return self.gram(X)

    @property
    def theta(self) -> np.ndarray:
        parts = []
        for parameter, constraint in self._free:
            value = parameter if constraint is None else constraint.transform(parameter)
            value = value.detach().double().reshape(-1)
            parts.append((value.log() if _positive(constraint) else value).cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros(0)

    @theta.setter
    def theta(self, theta: np.ndarray) -> None:
        start = 0
        for parameter, constraint in self._free:
            part = torch.as_tensor(theta[start : start + parameter.numel()]).reshape(parameter.shape).to(parameter)
            start += parameter.numel()
            part = part.exp() if _positive(constraint) else part
            parameter.data.copy_(part if constraint is None else constraint.inverse_transform(part))

    @property
    def bounds(self) -> np.ndarray:
        """Lower and upper bound of each entry of θ, shape (len(θ), 2)."""
        rows: list[tuple[float, float]] = []
        for parameter, constraint in self._free:
            if constraint is not None and _positive(constraint):
                low = np.log(max(BOUNDS[0], float(constraint.lower_bound) * (1 + 1e-9)))
                high = np.log(min(BOUNDS[1], float(constraint.upper_bound) * (1 - 1e-9)))
            else:
                low, high = -np.inf, np.inf
            rows += [(low, high)] * parameter.numel()
        return np.array(rows).reshape(-1, 2)

    def gram_and_pullback(self, X: Tensor) -> tuple[Tensor, Pullback]:
        """The Gram matrix, and a function from dL/dK to dL/dθ."""
        parameters = [parameter for parameter, _ in self._free]
        with torch.enable_grad():
            gram = self.kernel(X).to_dense()

        def pullback(sensitivity: Tensor) -> np.ndarray:
            slopes = torch.autograd.grad(gram, parameters, sensitivity, allow_unused=True)
            return np.concatenate([self._to_theta(*pair) for pair in zip(self._free, slopes, strict=True)])

        return gram.detach(), pullback

    def white_slope(self) -> np.ndarray:
        return np.zeros(len(self.theta))

    def log_prior(self) -> tuple[float, np.ndarray]:
        """Log density of the kernel's own priors, and its slope in θ; zero where it has none."""
        priors = list(self.kernel.named_priors())
        if not priors:
            return 0.0, np.zeros(len(self.theta))
        with torch.enable_grad():
            total = torch.stack([prior.log_prob(value(module)).sum() for _, module, prior, value, _ in priors]).sum()
        slopes = torch.autograd.grad(total, [parameter for parameter, _ in self._free], allow_unused=True)
        return float(total), np.concatenate([self._to_theta(*pair) for pair in zip(self._free, slopes, strict=True)])

    @staticmethod
    def _to_theta(free: tuple[torch.nn.Parameter, Any], slope: Tensor | None) -> np.ndarray:
        parameter, constraint = free
        if slope is None:
            return np.zeros(parameter.numel())
        if _positive(constraint):
            raw = parameter.detach().requires_grad_()
            with torch.enable_grad():
                value = constraint.transform(raw)
            (stretch,) = torch.autograd.grad(value.sum(), raw)
            slope = slope / stretch * value.detach()
        return slope.detach().double().reshape(-1).cpu().numpy()

    def describe(self) -> str:
        return _describe(self.kernel)

    def values(self) -> dict[str, Any]:
        """Each parameter's value by its gpytorch name, without ``raw_``."""
        found = {}
        for name, parameter, constraint in self.kernel.named_parameters_and_constraints():
            value = parameter if constraint is None else constraint.transform(parameter)
            found[name.replace("raw_", "")] = value.detach().reshape(-1).tolist()
        return found

    def copy(self) -> "GPyTorchKernel":
        return GPyTorchKernel(copy.deepcopy(self.kernel))


class SklearnKernel:
    """A scikit-learn kernel. What a ``WhiteKernel`` adds to the diagonal counts as noise (`white`), not as function."""

    def __init__(self, kernel: SklearnKernelBase, like: Tensor) -> None:
        self.kernel = kernel
        self._like = like.new_empty(0)
        self._probe = np.zeros((1, like.shape[1]))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=self._like.dtype, device=self._like.device)

    def gram(self, X: Tensor) -> Tensor:
        points = X.cpu().numpy()
        return self._tensor(self.kernel(points, points))

    def cross(self, X: Tensor, Z: Tensor) -> Tensor:
        return self._tensor(self.kernel(X.cpu().numpy(), Z.cpu().numpy()))

    def diagonal(self, X: Tensor) -> Tensor:
        return self._tensor(self.kernel.diag(X.cpu().numpy()))

    def covariance(self, X: Tensor) -> Tensor:
        return self._tensor(self.kernel(X.cpu().numpy()))

    @property
    def white(self) -> float:
        return float(self.kernel(self._probe)[0, 0] - self.kernel(self._probe, self._probe)[0, 0])

    @property
    def theta(self) -> np.ndarray:
        return self.kernel.theta

    @theta.setter
    def theta(self, theta: np.ndarray) -> None:
        self.kernel = self.kernel.clone_with_theta(theta)

    @property
    def bounds(self) -> np.ndarray:
        return self.kernel.bounds.reshape(-1, 2)

    def gram_and_pullback(self, X: Tensor) -> tuple[Tensor, Pullback]:
        gram, slopes = self.kernel(X.cpu().numpy(), eval_gradient=True)
        noise_slope = self.white_slope()
        gram[np.diag_indices_from(gram)] -= self.white

        def pullback(sensitivity: Tensor) -> np.ndarray:
            weight = sensitivity.double().cpu().numpy()
            return np.tensordot(weight, slopes, axes=2) - np.trace(weight) * noise_slope

        return self._tensor(gram), pullback

    def white_slope(self) -> np.ndarray:
        """The slope of `white` in θ, by central differences of a smooth function that costs one 1 × 1 Gram matrix."""
        theta, slope = self.theta, np.zeros(len(self.theta))
        if self.white == 0:
            return slope
        for i in range(len(theta)):
            step = np.zeros(len(theta))
            step[i] = 1e-5
            ends = [SklearnKernel(self.kernel.clone_with_theta(theta + sign * step), self._row()) for sign in (1, -1)]
            slope[i] = (ends[0].white - ends[1].white) / 2e-5
        return slope

    def _row(self) -> Tensor:
        return self._like.new_empty(1, self._probe.shape[1])

    def log_prior(self) -> tuple[float, np.ndarray]:
        return 0.0, np.zeros(len(self.theta))

    def describe(self) -> str:
        return str(self.kernel)

    def values(self) -> dict[str, Any]:
        names = [h.name for h in self.kernel.hyperparameters for _ in range(h.n_elements if not h.fixed else 0)]
        found: dict[str, Any] = {}
        for name, value in zip(names, np.exp(self.theta), strict=True):
            found.setdefault(name, []).append(float(value))
        return found

    def copy(self) -> "SklearnKernel":
        return SklearnKernel(clone(self.kernel), self._row())


KernelFace = GPyTorchKernel | SklearnKernel


def wrap(kernel: object, X: Tensor) -> KernelFace:
    """A private copy of `kernel`, on X's device and in its precision, behind the common face.

    Parameters
    ----------
    kernel
        A gpytorch kernel without batch shape, a scikit-learn kernel, a name (``"rbf"``, ``"matern"``, ``"periodic"``,
        ``"linear"``, ``"rational-quadratic"``: that kernel times an amplitude), or None for ``"rbf"``.
    X
        Training inputs, shape (n, features).

    Raises
    ------
    ValueError
        Unknown name, a batch kernel, or ARD dimensions that are not X's.
    TypeError
        Anything else.

    Examples
    --------
    >>> wrap("matern", torch.zeros(5, 2)).describe()
    '0.693 · Matern(nu=2.5, lengthscale=0.693)'
    """
    if kernel is None or isinstance(kernel, str):
        name = kernel or "rbf"
        if name not in NAMES:
            raise ValueError(f"kernel is {name!r}; by name it can be {', '.join(map(repr, NAMES))}")
        kernel = gpytorch.kernels.ScaleKernel(NAMES[name]())
    if isinstance(kernel, SklearnKernelBase):
        return SklearnKernel(clone(kernel), X)
    if not isinstance(kernel, gpytorch.kernels.Kernel):
        what = f"the class {kernel.__name__}" if isinstance(kernel, type) else f"a {type(kernel).__name__}"
        raise TypeError(f"kernel is {what}; it must be a gpytorch kernel, a scikit-learn kernel, a name or None")
    if len(kernel.batch_shape):
        raise ValueError(f"kernel has batch shape {tuple(kernel.batch_shape)}; it must be a single kernel")
    for part in kernel.modules():
        wide, active = getattr(part, "ard_num_dims", None), getattr(part, "active_dims", None)
        seen = X.shape[1] if active is None else len(active)
        if wide not in (None, 1, seen):
            raise ValueError(f"kernel {type(part).__name__} has ard_num_dims={wide}, but it sees {seen} features of X")
        if active is not None and int(active.max()) >= X.shape[1]:
            raise ValueError(
                f"kernel {type(part).__name__} has active_dims {active.tolist()}, but X has {X.shape[1]} features"
            )
    return GPyTorchKernel(copy.deepcopy(kernel).to(dtype=X.dtype, device=X.device).eval())


def _positive(constraint: Any) -> bool:
    return constraint is not None and float(constraint.lower_bound) >= 0


def _describe(kernel: Any) -> str:
    if isinstance(kernel, gpytorch.kernels.ScaleKernel):
        inner = _describe(kernel.base_kernel)
        return f"{float(kernel.outputscale.detach()):.3g} · {f'({inner})' if ' + ' in inner else inner}"
    if isinstance(kernel, gpytorch.kernels.AdditiveKernel):
        return " + ".join(map(_describe, kernel.kernels))
    if isinstance(kernel, gpytorch.kernels.ProductKernel):
        return " × ".join(f"({text})" if " + " in text else text for text in map(_describe, kernel.kernels))
    parts = [f"nu={kernel.nu}"] if hasattr(kernel, "nu") else []
    for name, parameter, constraint in kernel.named_parameters_and_constraints():
        value = (parameter if constraint is None else constraint.transform(parameter)).detach().reshape(-1).tolist()
        shown = f"{value[0]:.3g}" if len(value) == 1 else "[" + ", ".join(f"{v:.3g}" for v in value) + "]"
        parts.append(f"{name.replace('raw_', '')}={shown}")
    return f"{type(kernel).__name__.removesuffix('Kernel')}({', '.join(parts)})"
