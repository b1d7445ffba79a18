"""What each training example does to a loss on trusted examples: influence functions (Koh & Liang 2017).

    I_i = −∇L_v(θ̂)ᵀ H⁻¹ ∇ℓ_i(θ̂),    H = (1/n) Σ_i ∇²ℓ_i + δ 1,    L_v = mean loss on the trusted examples

I_i is dL_v / dε when example i is given the weight 1 + n ε: negative is helpful, and leaving i out changes L_v by about
−I_i / n. s = H⁻¹ ∇L_v is solved for once, and all n products s·∇ℓ_i are one forward-mode derivative of the losses in
the direction s; so the cost is that of the solution, not of n gradients and not of n trainings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits (n, classes) and targets (n, ...) → a loss per example (n,)."""

Solver = Literal["exact", "cg", "lissa"]
Curvature = Literal["hessian", "gauss-newton"]

MOST_PARAMETERS = 5000
"""Up to which H is written out and solved exactly."""


@dataclass(frozen=True)
class Inverse:
    """How H⁻¹∇L_v is found.

    Attributes
    ----------
    damping
        δ ≥ 0: the L2 penalty δ/2 ‖θ‖² that the network was trained with, or more where H alone is not positive.
    solver
        ``"exact"`` writes H out; ``"cg"``, conjugate gradients, and ``"lissa"``, the recursion
        h ← v + h − H h / scale, only multiply by it.
    curvature
        ``"hessian"``, or ``"gauss-newton"``, which is positive for every network and equal to it for a linear one.
    iterations, tolerance
        Of CG and LiSSA: at most so many, until the residual is so small in proportion.
    scale
        Of LiSSA; larger than H's largest eigenvalue / 2. (The public code's recursion with δ = 0.01 and scale 25 is
        this one with a damping of 0.25.)
    """

    damping: float = 0.01
    solver: Solver = "exact"
    curvature: Curvature = "hessian"
    iterations: int = 200
    tolerance: float = 1e-6
    scale: float = 25.0

    def __post_init__(self) -> None:
        if self.solver not in ("exact", "cg", "lissa"):
            raise ValueError(f"solver is {self.solver!r}; it can be exact, cg or lissa")
        if self.curvature not in ("hessian", "gauss-newton"):
            raise ValueError(f"curvature is {self.curvature!r}; it can be hessian or gauss-newton")
        if not self.damping >= 0:
            raise ValueError(f"damping is {self.damping}; it must be 0 or more")
        if not self.scale > 0:
            raise ValueError(f"scale is {self.scale}; it must be positive")

    def solve(self, multiply: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
        """(H + δ)⁻¹ v, where `multiply` multiplies a vector by H without δ."""

        def damped(x: Tensor) -> Tensor:
            return multiply(x) + self.damping * x

        if self.solver == "exact":
            if len(v) > MOST_PARAMETERS:
                raise ValueError(
                    f"solver is 'exact' for {len(v):,} parameters, more than {MOST_PARAMETERS:,}: use cg, or head_only"
                )
            H = torch.func.vmap(damped, chunk_size=64)(torch.eye(len(v), dtype=v.dtype, device=v.device))
            return torch.linalg.solve(H, v)
        return self._cg(damped, v) if self.solver == "cg" else self._lissa(damped, v)

    def _cg(self, multiply: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
        x, r = torch.zeros_like(v), v.clone()
        p, rr = r.clone(), r @ r
        for _ in range(self.iterations):
            if rr.sqrt() <= self.tolerance * v.norm():
                break
            Hp = multiply(p)
            curve = p @ Hp
            if curve <= 0:
                raise ValueError(
                    "H is not positive along a direction of the search: use more damping, or curvature='gauss-newton'"
                )
            step = rr / curve
            x, r = x + step * p, r - step * Hp
            rr, before = r @ r, rr
            p = r + rr / before * p
        return x

    def _lissa(self, multiply: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
        h = v.clone()
        for _ in range(self.iterations):
            new = v + h - multiply(h) / self.scale
            if not bool(new.norm().isfinite()):
                raise ValueError(f"the recursion grows without end: scale is {self.scale}, too small for this network")
            done = (new - h).norm() <= self.tolerance * h.norm()
            h = new
            if done:
                break
        return h / self.scale


def influences(
    network: nn.Module,
    loss: Loss,
    train: tuple[Tensor, Tensor],
    trusted: tuple[Tensor, Tensor],
    *,
    trusted_loss: Loss | None = None,
    inverse: Inverse | None = None,
    weights: Tensor | None = None,
    head_only: bool = False,
) -> Tensor:
    """I_i of every training example, shape (n,): negative where more weight on it lowers the loss on the trusted ones.

    Parameters
    ----------
    network
        In eval mode, at or near an optimum of the (weighted, damped) training loss; only there I_i means what it says.
    loss
        ℓ, of the training examples: for a student the loss of what its teacher says.
    train, trusted
        Inputs and targets; the trusted ones must be neither training nor test examples.
    trusted_loss
        Of the trusted examples; None: cross-entropy with class labels.
    inverse
        How H⁻¹ is applied; None: exactly, with δ = 0.01.
    weights
        w (n,) that the network was trained with: H = (1/n) Σ w_i ∇²ℓ_i + δ; None: all 1.
    head_only
        Only the last linear layer counts as parameters: for networks too large for more. What it reads is computed
        once.

    Examples
    --------
    >>> from torch.nn import functional
    >>> generator = torch.Generator().manual_seed(0)
    >>> x = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    >>> y = (x[:, 0] > 0).long()
    >>> def ce(logits, labels): return functional.cross_entropy(logits, labels, reduction="none")
    >>> influences(nn.Linear(3, 2).double(), ce, (x[:40], y[:40]), (x[40:], y[40:])).shape
    torch.Size([40])
    """
    inverse = Inverse() if inverse is None else inverse
    (x, targets), (x_v, y_v) = train, trusted
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        if head_only:
            name, head = _head(network)
            x, x_v = (_read_by(network, name, inputs) for inputs in (x, x_v))
            network = head
        names = [name for name, _ in network.named_parameters()]
        shapes = [value.shape for value in network.parameters()]
        theta = torch.cat([value.detach().flatten() for value in network.parameters()])

        def logits(theta: Tensor, inputs: Tensor) -> Tensor:
            parts = theta.split([shape.numel() for shape in shapes])
            state = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
            found: Tensor = torch.func.functional_call(network, state, (inputs,))
            return found

        def losses(theta: Tensor) -> Tensor:
            return loss(logits(theta, x), targets)

        def total(theta: Tensor) -> Tensor:
            each = losses(theta)
            return (each if weights is None else weights * each).mean()

        def on_trusted(theta: Tensor) -> Tensor:
            return (trusted_loss or _cross_entropy)(logits(theta, x_v), y_v).mean()

        def of_logits(z: Tensor) -> Tensor:
            each = loss(z, targets)
            return (each if weights is None else weights * each).mean()

        def gauss_newton(v: Tensor) -> Tensor:
            z, Jv = torch.func.jvp(lambda t: logits(t, x), (theta,), (v,))  # type: ignore[misc]  # without has_aux: two
            HJv = torch.func.jvp(torch.func.grad(of_logits), (z,), (Jv,))[1]
            found: Tensor = torch.func.vjp(lambda t: logits(t, x), theta)[1](HJv)[0]
            return found

        def hessian(v: Tensor) -> Tensor:
            found: Tensor = torch.func.jvp(torch.func.grad(total), (theta,), (v,))[1]
            return found

        multiply = hessian if inverse.curvature == "hessian" else gauss_newton
        with torch.no_grad():
            s = inverse.solve(multiply, torch.func.grad(on_trusted)(theta))
            products: Tensor = torch.func.jvp(losses, (theta,), (s,))[1]
        return -products
    finally:
        for part, mode in modes:
            part.training = mode


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, labels, reduction="none")


def _head(network: nn.Module) -> tuple[str, nn.Linear]:
    linear = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(f"head_only is True, but {type(network).__name__} has no linear layer")
    return linear[-1]


@torch.no_grad()
def _read_by(network: nn.Module, name: str, inputs: Tensor, batch_size: int = 512) -> Tensor:
    """What a layer reads of each input, (n, D)."""
    seen: list[Tensor] = []
    handle = network.get_submodule(name).register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    try:
        for batch in inputs.split(batch_size):
            network(batch)
    finally:
        handle.remove()
    return torch.cat(seen)
