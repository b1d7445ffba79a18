"""Distribution matching distillation: a sample moves from where too many are made to where too few are.

Diffused to time t, the student's samples have a score S_ψ, which a *fake* network learns by denoising them, and the
data a score S_T, which the teacher knows. The gradient of KL(p_θ,t ‖ p_T,t) in a sample x is their difference,

    g ∝ S_ψ(x_t) − S_T(x_t) = (α/σ²) (x̂_F − x̂_T),       x_t = α x + σ ε,

here divided by the mean of |x_t − x̂_T|. Yin et al., “One-step Diffusion with Distribution Matching Distillation”, CVPR
2024; for few steps “Improved Distribution Matching Distillation” (DMD2), NeurIPS 2024. The baseline of papers 091, 114.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.diffusion.denoiser import Denoiser, NetworkDenoiser
from workbench.diffusion.predictions import Prediction, write


def dmd_gradient(
    state: Tensor,
    t: Tensor,
    teacher: Denoiser,
    fake: Denoiser,
    condition: Tensor | None = None,
    *,
    scale: str = "state",
    samples: Tensor | None = None,
) -> Tensor:
    """The direction that leads a sample away from the data: x̂_F − x̂_T, divided by a scale; detached.

    Parameters
    ----------
    state
        x_t = α x + σ ε, shape (n, ...), of the student's samples x.
    t
        Shape () or (n,).
    teacher, fake
        Of the data (guided, if the student is to be) and of the student's samples (never guided).
    scale
        ``"state"``: the mean over coordinates of |x_t − x̂_T|, as the code of paper 091 has it; ``"sample"``: of
        |x − x̂_T|, as DMD2; ``"none"``: 1, so that (α/σ)² g is the gradient of the KL divergence.
    samples
        x, for ``"sample"``.

    Returns
    -------
    Tensor
        g, shape of `state`; zero where the scale is.
    """
    with torch.no_grad():
        real, made = teacher(state, t, condition).x0, fake(state, t, condition).x0
        match scale:
            case "state":
                size = _spread(state - real)
            case "sample":
                if samples is None:
                    raise ValueError("scale is 'sample': pass the samples")
                size = _spread(samples - real)
            case "none":
                return made - real
            case _:
                raise ValueError(f"scale is {scale!r}; it can be 'state', 'sample' or 'none'")
        return ((made - real) / size).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def surrogate(samples: Tensor, gradient: Tensor) -> Tensor:
    """½ mean (x − sg[x − g])²: a scalar whose gradient in the samples is g / n, n the number of their entries."""
    return 0.5 * F.mse_loss(samples, (samples - gradient).detach())


def fake_loss(
    fake: NetworkDenoiser, samples: Tensor, t: Tensor, noise: Tensor, condition: Tensor | None = None
) -> Tensor:
    """Denoising of the student's samples, in the terms of the fake's own output: the mean over (n, ...), a scalar.

    For a velocity on rectified flow ‖u_ψ(x_t, t) − (ε − x)‖². No gradient reaches the samples.
    """
    clean = samples.detach()
    state = fake.schedule.diffuse(clean, noise, t)
    wanted = write(Prediction(clean, noise), fake.kind, t, fake.schedule)
    return F.mse_loss(fake.output(state, t.to(state).expand(len(state)), condition), wanted)


def _spread(difference: Tensor) -> Tensor:
    """The mean over coordinates of |difference|, shape (n, 1, ...)."""
    return difference.abs().flatten(1).mean(1).view(-1, *([1] * (difference.ndim - 1)))
