"""Score identity distillation: a one-step generator whose samples, diffused, have the teacher's scores.

With φ the teacher's x̂₀, ψ the fake network's (of the generator's samples x_g) and x_t = α x_g + σ ε, the Fisher
divergence of the diffused distributions, E ‖φ − E[x_g | x_t]‖², has two estimates without an intractable score,

    L⁽¹⁾ = E ‖φ − ψ‖²,     L⁽²⁾ = E (φ − ψ)ᵀ(φ − x_g),      L = L⁽²⁾ − α_SiD L⁽¹⁾,

and mixing them cancels most of what the fake's error adds. Gradients reach the generator through x_g *and* through x_t
into both networks. Zhou et al., “Score identity Distillation”, ICML 2024; paper 114.

The value of the loss is (1 − α_SiD) times the divergence where ψ is exact: zero at 1, negative above. It tells nothing.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from workbench.diffusion.making.levels import EvenLevels, Levels, at_ratio
from workbench.diffusion.making.making import adam
from workbench.diffusion.making.run import DiffusionRun
from workbench.diffusion.methods.dmd import fake_updates
from workbench.diffusion.sampling.denoiser import Denoiser, NetworkDenoiser
from workbench.diffusion.sampling.schedules import Schedule, along


@dataclass(frozen=True, kw_only=True)
class SiD:
    """Train a one-step generator by score identity distillation.

    The teacher must be differentiable in the state; of its answers the gradient is taken, too.

    Attributes
    ----------
    alpha
        α_SiD: 1.2, or 1 in the paper; 0 leaves L⁽²⁾ alone.
    ratio
        σ_init: the generator is the denoiser at the time where σ/α has this value, asked about as much noise.
    fake_steps
        Steps of the fake network before each of the generator's.
    levels, fake_levels
        Noise levels at which scores are compared, and at which the fake is trained; the paper's are `EDMLevels` and
        `LogNormalLevels`.
    sigma_data
        σ_d of EDM's weights of the fake's loss, 0.5 in the paper; None: its loss is even in its own output.
    guidance
        Scale of classifier-free guidance of the teacher; 1 in the paper.
    kind, lr, fake_lr, decay, clip
        As for `workbench.diffusion.DMD`; the paper's rates are 1e-5 and less.

    Examples
    --------
    >>> import workbench as wb
    >>> teacher = wb.diffusion.ring()
    >>> start = wb.diffusion.regress(teacher, steps=5, kind="x0", progress=False)
    >>> student = wb.diffusion.distill(teacher, SiD(steps=3, batch=16), network=start, progress=False)
    >>> [round(t, 3) for t in student.times.tolist()]
    [0.714, 0.0]
    """

    short: ClassVar[str] = "SiD"

    alpha: float = 1.2
    ratio: float = 2.5
    steps: int = 1500
    batch: int = 512
    fake_steps: int = 1
    levels: Levels = field(default_factory=EvenLevels)
    fake_levels: Levels = field(default_factory=EvenLevels)
    sigma_data: float | None = None
    guidance: float = 1.0
    kind: str = "velocity"
    lr: float = 5e-4
    fake_lr: float = 1e-3
    decay: float = 0.0
    clip: float | None = None

    def __post_init__(self) -> None:
        if not self.ratio > 0:
            raise ValueError(f"ratio is {self.ratio}; σ/α is positive")
        if self.sigma_data is not None and not self.sigma_data > 0:
            raise ValueError(f"sigma_data is {self.sigma_data}; a standard deviation is positive, or None")

    @property
    def name(self) -> str:
        return f"SiD, α = {self.alpha:g}"

    @property
    def sampling(self) -> dict[str, Any]:
        return {"sampler": "ddim"}

    def finish(self, run: DiffusionRun) -> dict[str, Any]:
        return {"times": self.times(run.teacher.schedule)}

    def times(self, schedule: Schedule) -> Tensor:
        """The generator's one step, float64, shape (2,)."""
        first = at_ratio(torch.tensor(math.log(self.ratio), dtype=torch.float64), schedule)
        return torch.stack([first, torch.zeros_like(first)])

    def networks(self, run: DiffusionRun) -> dict[str, NetworkDenoiser]:
        return {"student": run.start(self.kind), "fake": run.start(self.kind)}

    def optimizers(self, networks: dict[str, Any]) -> dict[str, torch.optim.Optimizer]:
        return adam(networks, {"student": self.lr, "fake": self.fake_lr}, betas=(0.0, 0.999))

    def losses(self, run: DiffusionRun) -> Iterator[tuple[str, Tensor]]:
        def make(purpose: str) -> tuple[Tensor, Tensor | None]:
            return self.make(run, purpose)

        yield from fake_updates(run, make, self.fake_steps, self.fake_levels, self.sigma_data)
        samples, condition = make("student")
        t = self.levels(run, len(samples), "level of student")
        state = run.teacher.schedule.diffuse(samples, run.noise(len(samples), "disturbance of student"), t)
        fake: Any = run.networks["fake"]
        terms = sid_terms(samples, state, t, run.guided(self.guidance), fake, condition)
        run.log(squared=terms.squared.detach().mean(), projected=terms.projected.detach().mean())
        yield "student", self.objective(terms)

    def objective(self, terms: "SiDTerms") -> Tensor:
        """What the generator descends, a scalar."""
        return terms.loss(self.alpha)

    def make(self, run: DiffusionRun, purpose: str) -> tuple[Tensor, Tensor | None]:
        """G_θ(z): what the student believes at its one time, and the classes asked for."""
        noise, schedule = run.noise(self.batch, f"noise of {purpose}"), run.teacher.schedule
        condition = run.conditions(self.batch, f"classes of {purpose}")
        first = self.times(schedule)[0]
        return run.student(along(schedule.sigma(first), noise) * noise, first, condition).x0, condition


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
