"""Score identity distillation: a one-step generator whose samples, diffused, have the teacher's scores.

With φ the teacher's x̂₀, ψ the fake network's (of the generator's samples x_g) and x_t = α x_g + σ ε, the Fisher
divergence of the diffused distributions, E ‖φ − E[x_g | x_t]‖², has two estimates without an intractable score,

    L⁽¹⁾ = E ‖φ − ψ‖²,     L⁽²⁾ = E (φ − ψ)ᵀ(φ − x_g),      L = L⁽²⁾ − α_SiD L⁽¹⁾,

and mixing them cancels most of what the fake's error adds. Gradients reach the generator through x_g *and* through x_t
into both networks. Zhou et al., “Score identity Distillation”, ICML 2024, Eqs. 20–23 and Algorithm 1; paper 114.

The value of the loss is (1 − α_SiD) times the divergence where ψ is exact: zero at 1, negative above. It tells nothing.
"""

from typing import NamedTuple

from torch import Tensor

from workbench.diffusion.denoiser import Denoiser


class SiDTerms(NamedTuple):
    """Per example, summed over coordinates, shape (n,).

    Attributes
    ----------
    projected
        (φ − ψ)ᵀ(φ − x_g), whose mean is L⁽²⁾.
    squared
        ‖φ − ψ‖², whose mean is L⁽¹⁾.
    size
        Mean over coordinates of |x_g − φ|, at least 1e-5, detached: what the loss is divided by.
    """

    projected: Tensor
    squared: Tensor
    size: Tensor

    def loss(self, alpha: float = 1.2) -> Tensor:
        """(L⁽²⁾ − `alpha` L⁽¹⁾) / size, a scalar: the mean over those examples for which it is finite."""
        each = (self.projected - alpha * self.squared) / self.size
        return each[each.isfinite()].mean()


def sid_terms(
    samples: Tensor, state: Tensor, t: Tensor, teacher: Denoiser, fake: Denoiser, condition: Tensor | None = None
) -> SiDTerms:
    """Both estimates of the Fisher divergence.

    Parameters
    ----------
    samples
        x_g, shape (n, ...).
    state
        x_t, a differentiable function of the samples. Detached, the gradient in x_g that is left is ψ − φ: the one of
        distribution matching (`workbench.diffusion.dmd_gradient`).
    t
        Shape () or (n,).
    teacher, fake
        φ and ψ. Differentiable in the state, so not to be called under `torch.no_grad`.
    """
    phi, psi = teacher(state, t, condition).x0.flatten(1), fake(state, t, condition).x0.flatten(1)
    apart, x = phi - psi, samples.flatten(1)
    size = (x - phi).detach().abs().mean(1).clamp_min(1e-5)
    return SiDTerms((apart * (phi - x)).sum(1), apart.square().sum(1), size)
