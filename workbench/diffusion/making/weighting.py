"""How much each time counts in a loss: weights of squared errors by how much signal and noise a state holds."""

from collections.abc import Callable

import torch
from torch import Tensor

from workbench.diffusion.sampling.schedules import Schedule

WEIGHTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "even": lambda alpha, sigma: torch.ones_like(alpha),  # noqa: ARG005 - all have the same arguments
    "snr": lambda alpha, sigma: (alpha / sigma).square(),
    "min_snr": lambda alpha, sigma: (alpha / sigma).square().clamp_max(5.0),
    "snr+1": lambda alpha, sigma: (alpha / sigma).square() + 1,
    "signal": lambda alpha, sigma: alpha.square() / (alpha.square() + sigma.square()),
}


def time_weight(name: str, t: Tensor, schedule: Schedule) -> Tensor:
    """w(t) by name, shape of t.

    Parameters
    ----------
    name
        ``"even"``: 1. Of errors in x̂₀: ``"snr"``, (α/σ)², makes them errors in ε̂; ``"snr+1"``, in v (Salimans & Ho
        2022); ``"min_snr"``, (α/σ)² up to 5, keeps late times from drowning the others (Hang et al. 2023).
        ``"signal"``: α² / (α² + σ²).

    Raises
    ------
    ValueError
        No weight has this name.

    Examples
    --------
    >>> from workbench.diffusion import RectifiedFlow
    >>> time_weight("min_snr", torch.tensor([0.5, 0.1]), RectifiedFlow()).tolist()
    [1.0, 5.0]
    """
    if name not in WEIGHTS:
        raise ValueError(f"weight is {name!r}; it can be {', '.join(WEIGHTS)}")
    return WEIGHTS[name](schedule.alpha(t), schedule.sigma(t))
