"""Flat minima: sharpness-aware steps (GSAM) for many networks at once, and how sharp a minimum is.

    e = ρ θ² ⊙ g / ‖ |θ| ⊙ g ‖   (adaptive; else e = ρ g / ‖g‖),     g = ∇L(θ),  g_p = ∇L(θ + e) on the same batch,
    v = g − cos(g, g_p) ‖g‖ g_p / ‖g_p‖,                             θ ← θ − η (g_p − a v).

Zhuang et al., “Surrogate Gap Minimization Improves Sharpness-Aware Training”, ICLR 2022, as the experts of paper 028
use it. a = 0 is SAM (adaptive: ASAM), ρ = 0 plain descent. Norms are over all weights of a network.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

EPS = 1e-12


@dataclass(frozen=True)
class GSAM:
    """A `GradientRule` for `Ensemble.fit`.

    Attributes
    ----------
    rho
        ρ ≥ 0, how far to climb. Adaptive steps scale with θ², so that 0.01 is next to nothing for small weights.
    a
        Weight of the part of g that is orthogonal to g_p.
    adaptive
        Scale the climb by |θ|.
    """

    rho: float = 0.01
    a: float = 0.4
    adaptive: bool = True

    def __post_init__(self) -> None:
        if not self.rho >= 0:
            raise ValueError(f"rho is {self.rho}; it is a length and cannot be negative")

    @torch.no_grad()
    def __call__(self, parameters: Sequence[nn.Parameter], again: Callable[[], None]) -> None:
        g = [_gradient(parameter) for parameter in parameters]
        kept = [parameter.detach().clone() for parameter in parameters]
        for parameter, climb in zip(parameters, self.ascent(parameters, g), strict=True):
            parameter.add_(climb)
        with torch.enable_grad():
            again()
        g_p = [_gradient(parameter) for parameter in parameters]
        for parameter, before in zip(parameters, kept, strict=True):
            parameter.copy_(before)  # not minus e, which rounds
        for parameter, gradient in zip(parameters, self.descent(g, g_p), strict=True):
            parameter.grad = gradient

    def ascent(self, weights: Sequence[Tensor], g: Sequence[Tensor]) -> list[Tensor]:
        """e, for weights and gradients with a leading axis of networks."""
        if not self.adaptive:
            return [self.rho * _per(norms(g), part) * part for part in g]
        scaled = [weight.abs() * part for weight, part in zip(weights, g, strict=True)]
        size = norms(scaled)
        return [self.rho * _per(size, part) * weight.abs() * part for weight, part in zip(weights, scaled, strict=True)]

    def descent(self, g: Sequence[Tensor], g_p: Sequence[Tensor]) -> list[Tensor]:
        """g_p − a v, of gradients with a leading axis of networks."""
        if not self.a:
            return list(g_p)
        return [there - self.a * v for there, v in zip(g_p, orthogonal(g, g_p), strict=True)]


def orthogonal(g: Sequence[Tensor], g_p: Sequence[Tensor]) -> list[Tensor]:
    """v, the part of g that is orthogonal to g_p, of gradients with a leading axis of networks."""
    along = dots(g, g_p) / dots(g_p, g_p).clamp_min(EPS**2)
    return [here - along.view(-1, *[1] * (here.ndim - 1)) * there for here, there in zip(g, g_p, strict=True)]


def dots(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Inner product over all tensors of each network, shape (K,)."""
    return torch.stack([(x * y).flatten(1).sum(1) for x, y in zip(a, b, strict=True)]).sum(0)


def norms(a: Sequence[Tensor]) -> Tensor:
    """Euclidean norm over all tensors of each network, shape (K,)."""
    return dots(a, a).sqrt()


def ascent_gap(loss: Callable[[Tensor], Tensor], weights: Tensor, rho: float, *, adaptive: bool = False) -> Tensor:
    """Sharpness as SAM sees it: how much the loss rises under the ascent step, L(θ + e) − L(θ).

    Parameters
    ----------
    loss
        Function from weights (K, P) to losses (K,).
    weights
        Shape (K, P).
    rho, adaptive
        As for `GSAM`.

    Returns
    -------
    Tensor
        Shape (K,). To first order in ρ it is ρ ‖g‖, adaptive ρ ‖ |θ| ⊙ g ‖.
    """
    here = weights.detach().requires_grad_()
    value = loss(here)
    (g,) = torch.autograd.grad(value.sum(), here)
    (climb,) = GSAM(rho, adaptive=adaptive).ascent([weights.detach()], [g])
    with torch.no_grad():
        gap: Tensor = loss(weights.detach() + climb) - value.detach()
    return gap


def top_eigenvalue(
    loss: Callable[[Tensor], Tensor], weights: Tensor, *, iterations: int = 20, generator: torch.Generator | None = None
) -> Tensor:
    """Largest eigenvalue in magnitude of the loss's Hessian at each of K weights, by power iteration; shape (K,).

    Arguments as for `ascent_gap`.

    Examples
    --------
    >>> curvature = torch.tensor([1.0, 3.0, 2.0])
    >>> round(top_eigenvalue(lambda w: (curvature * w.square()).sum(1) / 2, torch.zeros(1, 3)).item(), 3)
    3.0
    """
    here = weights.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(here).sum(), here, create_graph=True)
    direction = torch.randn(
        weights.shape, generator=generator or torch.Generator().manual_seed(0), dtype=weights.dtype
    ).to(weights.device)
    value = torch.zeros(len(weights))
    for _ in range(iterations):
        direction = direction / direction.norm(dim=1, keepdim=True).clamp_min(EPS)
        (curved,) = torch.autograd.grad(g, here, direction, retain_graph=True)
        value = (curved * direction).sum(1)
        direction = curved
    return value.detach()


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _per(size: Tensor, like: Tensor) -> Tensor:
    """1 / size, broadcast against one of the tensors."""
    return (1 / (size + EPS)).view(-1, *[1] * (like.ndim - 1))
