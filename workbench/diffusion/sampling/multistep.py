"""Multistep rules on ε̂: iPNDM and DEIS, which remember what the network said at up to three steps before.

    x_s / α_s = x_t / α_t + Σ_j c_j ε̂_{i−j},   d(x/α) = ε̂ dρ,   ρ = σ/α

`IPNDM` weights the outputs as Adams and Bashforth do on even steps, whatever the steps; `DEIS` integrates the
polynomial in t through them. Both are `DDIM` at the first step, and gain an order with each step that they remember.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from workbench.diffusion.sampling.schedules import Schedule, along
from workbench.diffusion.sampling.step import SamplingError, Step

ADAMS = {
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}
"""Weights of the newest output and of those before it."""

NODES = 48
"""Of the quadrature: to 1e-12 in one step from t = 1 to 0 of any schedule here."""


@dataclass(frozen=True)
class IPNDM:
    """iPNDM (Zhang & Chen 2023, after Liu et al. 2022): DDIM with ε̂ replaced by Adams and Bashforth's mean of outputs.

    The order is reached on steps that are even in σ/α only; on others it is a first-order method with a small error.

    Attributes
    ----------
    order
        Outputs that are looked at, 1 to 4; 1 is `DDIM`.

    Examples
    --------
    >>> from workbench.diffusion import ring, sample
    >>> noise = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    >>> bool((sample(ring(), noise, sampler="ipndm", steps=20).norm(dim=1) - 1).abs().max() < 0.4)
    True
    """

    order: int = 4
    calls: int = field(default=1, init=False, repr=False)

    def __post_init__(self) -> None:
        _known(self.order)

    def __call__(self, step: Step) -> Tensor:
        outputs, _ = _remembered(step, self.order)
        if len(outputs) == 1:
            return step.jump()
        alpha, sigma = step.schedule.alpha, step.schedule.sigma
        factor = sigma(step.s) - alpha(step.s) / alpha(step.t) * sigma(step.t)
        return _moved(step, outputs, [factor * weight for weight in ADAMS[len(outputs)][1:]])


@dataclass(frozen=True)
class DEIS:
    """tAB-DEIS (Zhang & Chen 2023): the polynomial in t through the last outputs, integrated over the step.

        c_j = ∫ ℓ_j(t) dρ from ρ_t to ρ_s,   ℓ_j(t) = Π_{k≠j} (t − t_{i−k}) / (t_{i−j} − t_{i−k})

    Attributes
    ----------
    order
        Outputs that are looked at, 1 to 4: the paper's tAB0 to tAB3; 1 is `DDIM`.

    Examples
    --------
    >>> from workbench.diffusion import ring, sample
    >>> noise = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    >>> bool((sample(ring(), noise, sampler="deis", steps=20).norm(dim=1) - 1).abs().max() < 0.4)
    True
    """

    order: int = 4
    calls: int = field(default=1, init=False, repr=False)

    def __post_init__(self) -> None:
        _known(self.order)

    def __call__(self, step: Step) -> Tensor:
        outputs, times = _remembered(step, self.order)
        if len(outputs) == 1:
            return step.jump()
        found = step.schedule.alpha(step.s) * coefficients(step.schedule, times, step.s)
        return _moved(step, outputs, list(found[1:]))


def coefficients(schedule: Schedule, times: Tensor, s: Tensor) -> Tensor:
    """c_j of a step from ``times[0]`` to s, given the times of the outputs, newest first: float64, shape of `times`.

    Gauss and Legendre's quadrature over u = arsinh ρ, in which t(ρ) is smooth from pure noise down to ρ = 0.

    Examples
    --------
    >>> from workbench.diffusion import VPLinear
    >>> t = torch.tensor([0.5, 0.75, 1.0], dtype=torch.float64)
    >>> c, ratio = coefficients(VPLinear(), t, t[0] / 2), VPLinear().sigma(t) / VPLinear().alpha(t)
    >>> ratio_after = VPLinear().sigma(t[0] / 2) / VPLinear().alpha(t[0] / 2)
    >>> bool((c.sum() - (ratio_after - ratio[0])).abs() < 1e-12)  # together they are DDIM's
    True
    """
    low, high = (torch.asinh(schedule.sigma(time) / schedule.alpha(time)) for time in (times[0], s))
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(NODES))
    u = (low + high) / 2 + (high - low) / 2 * nodes
    at = schedule.time(-u.sinh().log())
    measure = (high - low) / 2 * weights * u.cosh()
    found = []
    for j, own in enumerate(times):
        others = torch.cat([times[:j], times[j + 1 :]])
        found.append((measure * ((at[:, None] - others) / (own - others)).prod(1)).sum())
    return torch.stack(found)


def _remembered(step: Step, most: int) -> tuple[list[Tensor], Tensor]:
    """ε̂ of this step and of those before it, newest first, and their times; at most so many."""
    kept = ((step.now.noise, step.t), *step.memory.get("outputs", ()))[:most]
    step.memory["outputs"] = kept
    return [noise for noise, _ in kept], torch.stack([time.to(torch.float64) for _, time in kept])


def _moved(step: Step, outputs: list[Tensor], factors: list[Tensor]) -> Tensor:
    """DDIM's step, which takes all of the newest output, and what the others have of it instead."""
    x = step.jump()
    for factor, output in zip(factors, outputs[1:], strict=True):
        x = x + along(factor, x) * (output - outputs[0])
    return x


def _known(order: int) -> None:
    if order not in ADAMS or isinstance(order, bool):
        raise SamplingError(f"order is {order!r}; it can be 1, 2, 3 or 4")
