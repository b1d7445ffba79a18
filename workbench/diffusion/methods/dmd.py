"""Distribution matching distillation: a sample moves from where too many are made to where too few are.

Diffused to time t, the student's samples have a score S_ψ, which a *fake* network learns by denoising them, and the
data a score S_T, which the teacher knows. The gradient of KL(p_θ,t ‖ p_T,t) in a sample x is their difference,

    g ∝ S_ψ(x_t) − S_T(x_t) = (α/σ²) (x̂_F − x̂_T),       x_t = α x + σ ε,

here divided by the mean of |x_t − x̂_T|. Yin et al., “One-step Diffusion with Distribution Matching Distillation”, CVPR
2024; for few steps “Improved Distribution Matching Distillation” (DMD2), NeurIPS 2024. The baseline of papers 091, 114.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.diffusion.making.chain import check_times, follow, leave
from workbench.diffusion.making.levels import EvenLevels, Levels
from workbench.diffusion.making.making import adam
from workbench.diffusion.making.run import DiffusionRun
from workbench.diffusion.sampling.denoiser import Denoiser, NetworkDenoiser
from workbench.diffusion.sampling.predictions import Prediction, write
from workbench.diffusion.sampling.schedules import along

Maker = Callable[[str], tuple[Tensor, Tensor | None]]
"""Samples of the student and their classes, drawn for a purpose."""


@dataclass(frozen=True, kw_only=True)
class DMD:
    """Train a student of one or a few steps by distribution matching alone.

    Attributes
    ----------
    times
        The student's, falling to 0; the default four follow where a ring's structure is decided. One step: two times.
    rollout
        ``"ode"``: the student goes all its steps by DDIM, with gradients through all of them. ``"exit"``: one of its
        steps, drawn anew each time, after re-noised ones without gradients, as DMD2 has it; such a student is used with
        re-noising.
    fake_steps
        Steps of the fake network before each of the student's; 5 in the papers.
    levels
        At which noise levels samples are compared.
    scale
        What the gradient is divided by; see `dmd_gradient`.
    guidance
        Scale of classifier-free guidance of the teacher; the fake is never guided.
    kind
        What a network predicts that is fitted to the teacher first.
    lr, fake_lr
        Of Adam without momentum, on student and fake; the papers' 1e-5 and less are for networks of their size.
    decay
        Of the moving average of the student's weights; 0: none.
    clip
        Largest norm of a gradient.

    Examples
    --------
    >>> import workbench as wb
    >>> method = DMD(steps=3, batch=16)
    >>> teacher = wb.diffusion.ring()
    >>> start = wb.diffusion.regress(teacher, steps=5, progress=False)
    >>> wb.diffusion.distill(teacher, method, network=start, progress=False).summary()
    'DMD: denoiser-mlp of ... weights for 4 steps by ddim, 3 iterations, ...'
    """

    short: ClassVar[str] = "DMD"

    times: tuple[float, ...] = (0.99, 0.25, 0.15, 0.08, 0.0)
    rollout: str = "ode"
    steps: int = 1000
    batch: int = 256
    fake_steps: int = 2
    levels: Levels = field(default_factory=EvenLevels)
    scale: str = "state"
    guidance: float = 1.0
    kind: str = "velocity"
    lr: float = 5e-4
    fake_lr: float = 1e-3
    decay: float = 0.0
    clip: float | None = 1.0

    def __post_init__(self) -> None:
        check_times(self.times)
        if self.rollout not in ("ode", "exit"):
            raise ValueError(f"rollout is {self.rollout!r}; it can be 'ode' or 'exit'")

    @property
    def name(self) -> str:
        return "DMD" if self.rollout == "ode" else "DMD2"

    @property
    def sampling(self) -> dict[str, Any]:
        return {
            "times": torch.tensor(self.times, dtype=torch.float64),
            "sampler": "ddim" if self.rollout == "ode" else "consistency",
        }

    def networks(self, run: DiffusionRun) -> dict[str, NetworkDenoiser]:
        return {"student": run.start(self.kind), "fake": run.start(self.kind)}

    def optimizers(self, networks: dict[str, Any]) -> dict[str, torch.optim.Optimizer]:
        return adam(networks, {"student": self.lr, "fake": self.fake_lr}, betas=(0.0, 0.99))

    def losses(self, run: DiffusionRun) -> Iterator[tuple[str, Tensor]]:
        def make(purpose: str) -> tuple[Tensor, Tensor | None]:
            return self.make(run, purpose)

        yield from fake_updates(run, make, self.fake_steps, self.levels)
        samples, condition = make("student")
        yield "student", matching_loss(run, samples, condition, self.levels, run.guided(self.guidance), self.scale)

    def make(self, run: DiffusionRun, purpose: str) -> tuple[Tensor, Tensor | None]:
        """Samples of the student as it is, with their gradients."""
        times, noise = self.sampling["times"], run.noise(self.batch, f"noise of {purpose}")
        condition = run.conditions(self.batch, f"classes of {purpose}")
        if self.rollout == "ode":
            return follow(run.student, noise, times, condition)[0], condition
        number = int(run.integers(1, len(times) - 1, f"exit of {purpose}"))
        source = run.generator(f"redraws of {purpose}")

        def draw() -> Tensor:
            return torch.randn(noise.shape, generator=source).to(noise)

        return leave(run.student, noise, times, number, draw, condition), condition


def fake_updates(
    run: DiffusionRun, make: Maker, count: int, levels: Levels, sigma_data: float | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Losses of `count` steps of the network ``"fake"``, each on samples that are made for it; see `fake_loss`."""
    for number in range(count):
        with torch.no_grad():
            samples, condition = make(f"fake {number}")
        t = levels(run, len(samples), f"level of fake {number}")
        noise = run.noise(len(samples), f"disturbance of fake {number}")
        fake: Any = run.networks["fake"]
        yield "fake", fake_loss(fake, samples, t, noise, condition, sigma_data=sigma_data)


def matching_loss(
    run: DiffusionRun,
    samples: Tensor,
    condition: Tensor | None,
    levels: Levels,
    teacher: Denoiser,
    scale: str = "state",
) -> Tensor:
    """The student's loss on samples with gradients: their surrogate at levels and noise drawn for it, a scalar."""
    t = levels(run, len(samples), "level of student")
    state = teacher.schedule.diffuse(samples.detach(), run.noise(len(samples), "disturbance of student"), t)
    fake: Any = run.networks["fake"]
    gradient = dmd_gradient(state, t, teacher, fake, condition, scale=scale, samples=samples.detach())
    return surrogate(samples, gradient)


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
    fake: NetworkDenoiser,
    samples: Tensor,
    t: Tensor,
    noise: Tensor,
    condition: Tensor | None = None,
    *,
    sigma_data: float | None = None,
) -> Tensor:
    """Denoising of the student's samples: the mean over (n, ...), a scalar. No gradient reaches the samples.

    In the terms of the fake's own output, for a velocity on rectified flow ‖u_ψ(x_t, t) − (ε − x)‖². With `sigma_data`
    in those of EDM, (σ² + σ_d²) / (σ σ_d)² ‖ψ − x‖² with σ/α for σ (Karras et al. 2022, Table 1), as paper 114 has it:
    what a network in EDM's frame has left to say counts alike at all levels.
    """
    clean = samples.detach()
    state = fake.schedule.diffuse(clean, noise, t)
    if sigma_data is not None:
        level = along(fake.schedule.sigma(t) / fake.schedule.alpha(t), clean)
        weight = (level.square() + sigma_data**2) / (level * sigma_data).square()
        return (weight * (fake(state, t, condition).x0 - clean).square()).mean()
    wanted = write(Prediction(clean, noise), fake.kind, t, fake.schedule)
    return F.mse_loss(fake.output(state, t.to(state).expand(len(state)), condition), wanted)


def _spread(difference: Tensor) -> Tensor:
    """The mean over coordinates of |difference|, shape (n, 1, ...)."""
    return difference.abs().flatten(1).mean(1).view(-1, *([1] * (difference.ndim - 1)))
