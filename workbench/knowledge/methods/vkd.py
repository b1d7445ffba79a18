"""V_kD: an orthogonal projector lets the student's features turn towards the teacher's, and nothing else.

A free projector between student and teacher features can do the student's learning for it. An orthogonal one leaves
every relation among the student's features as it is, so whatever the loss asks for the student itself must learn; and
the teacher's features, never the student's, are normalised to suit the task:

    L = α · SmoothL1(P z_s, z̄_t),     PᵀP = I,     P = [exp(A − Aᵀ)]_{:, 1:d_s},
    z̄_t = LayerNorm(z_t)   (discriminative tasks)   or   Σ^{−1/2}(z_t − μ)   (generation)

    (Z_s Pᵀ)(Z_s Pᵀ)ᵀ = Z_s Z_sᵀ

with pooled features z_s of d_s and z_t of d_t ≥ d_s dimensions. Paper 054 (Miles, Elezi & Deng 2024), Eq. 3 to 6. The
whole objective is ``KL(temperature=1) + VKD(student_layer, teacher_layer)`` beside cross-entropy.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from workbench.models import Outputs
from workbench.signals.features import FeatureSignal, pooled
from workbench.signals.signal import seeded

Projector = Literal["orthogonal", "orthogonal (torch)", "linear", "linear+BN", "MLP", "none"]
Normalisation = Literal["none", "standardise", "whiten"]
PROJECTORS: tuple[Projector, ...] = ("orthogonal", "orthogonal (torch)", "linear", "linear+BN", "MLP", "none")


@dataclass(frozen=True)
class VKD(FeatureSignal):
    """Feature matching through a projector; the paper's method with the defaults, its rivals with others.

    Attributes
    ----------
    student, teacher
        The layers compared (usually the last before the classifier), pair by pair; pooled over positions.
    projector
        ``"orthogonal"`` (exponential of a skew matrix, as in the paper), ``"orthogonal (torch)"`` (torch's
        parametrisation, as in the code), and for comparison ``"linear"``, ``"linear+BN"``, ``"MLP"`` (two layers)
        and ``"none"`` (the student's features, padded with zeros).
    normalise
        Of the teacher's features: ``"standardise"``, ``"whiten"`` or ``"none"``.
    shrinkage
        ρ in 0..1 for ``"whiten"``, see `whiten`; a batch of no more examples than d_t needs ρ > 0.
    affine
        Adds a learned scale and bias per teacher channel after the projection, as the paper does for detection.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> small = Outputs(torch.zeros(8, 3), {"hidden": torch.randn(8, 4)})
    >>> large = Outputs(torch.zeros(8, 3), {"hidden": torch.randn(8, 6)})
    >>> labels = torch.zeros(8, dtype=torch.int64)
    >>> loss = VKD("hidden", "hidden").bind(small, large, labels, generator=torch.Generator().manual_seed(0))
    >>> loss(small, large, labels).shape
    torch.Size([8])
    """

    projector: Projector = "orthogonal"
    normalise: Normalisation = "standardise"
    shrinkage: float = 0.0
    affine: bool = False

    def __post_init__(self) -> None:
        if self.projector not in PROJECTORS:
            raise ValueError(f"projector is {self.projector!r}; it can be {', '.join(PROJECTORS)}")
        if self.normalise not in ("none", "standardise", "whiten"):
            raise ValueError(f"normalise is {self.normalise!r}; it can be none, standardise or whiten")

    def bind(self, student: Outputs, teacher: Outputs, labels: Tensor, *, generator: torch.Generator) -> "BoundVKD":  # noqa: ARG002
        """Makes one projector per pair of layers. Warns where d_s > d_t: such a map is no isometry."""
        projectors = []
        for F_s, F_t in self.pairs(student, teacher):
            z_s, z_t = pooled(F_s), pooled(F_t)
            module = build_projector(self.projector, z_s.shape[1], z_t.shape[1], generator=generator)
            if self.affine:
                module = nn.Sequential(module, ChannelAffine(z_t.shape[1]))
            projectors.append(module.to(device=z_s.device, dtype=z_s.dtype))
        return BoundVKD(self, projectors)

    def target(self, features: Tensor) -> Tensor:
        """z̄_t: the teacher's features (n, …) pooled and normalised, shape (n, d_t), without gradient."""
        z_t = pooled(features).detach()
        match self.normalise:
            case "standardise":
                return standardise(z_t)
            case "whiten":
                return whiten(z_t, shrinkage=self.shrinkage)
        return z_t


class BoundVKD(nn.Module):
    """`VKD` with its projectors. After each call `logged` holds the loss, which `fit` draws as ``"feature loss"``."""

    def __init__(self, signal: VKD, projectors: Sequence[nn.Module]) -> None:
        super().__init__()
        self.signal = signal
        self.projectors = nn.ModuleList(projectors)
        self.logged: dict[str, Tensor] = {}

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,): Smooth L1, averaged over channels and summed over pairs."""
        losses = [
            nn.functional.smooth_l1_loss(P(pooled(F_s)), self.signal.target(F_t), reduction="none").mean(1)
            for P, (F_s, F_t) in zip(self.projectors, self.signal.pairs(student, teacher), strict=True)
        ]
        loss = sum(losses[1:], losses[0])
        self.logged = {"feature loss": loss.detach().mean()}
        return loss


class OrthogonalProjector(nn.Module):
    """z ↦ P z with P = [exp(A − Aᵀ)] cut to (d_t, d_s): orthonormal columns for every A, so any optimizer keeps them.

    A = 0 gives the identity block. Weight decay on A pulls P towards it: keep this module out of weight decay.

    Parameters
    ----------
    d_s, d_t
        Dimensions in and out. With d_s > d_t the rows are orthonormal instead: the map forgets directions and is no
        isometry, of which a warning tells.
    generator
        Draws the start, A ~ N(0, 1/d); None starts at A = 0.

    Examples
    --------
    >>> import torch
    >>> P = OrthogonalProjector(2, 4, generator=torch.Generator().manual_seed(0)).matrix
    >>> bool(torch.allclose(P.T @ P, torch.eye(2), atol=1e-6))
    True
    """

    def __init__(self, d_s: int, d_t: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        _warn_if_wide(d_s, d_t)
        self.d_s, self.d_t = d_s, d_t
        d = max(d_s, d_t)
        start = torch.zeros(d, d) if generator is None else _normal(d, d, generator) * d**-0.5
        self.A = nn.Parameter(start)

    @property
    def matrix(self) -> Tensor:
        """P, shape (d_t, d_s)."""
        return torch.linalg.matrix_exp(self.A - self.A.T)[: self.d_t, : self.d_s]

    def forward(self, z: Tensor) -> Tensor:
        return z @ self.matrix.T


class TorchOrthogonalProjector(nn.Module):
    """z ↦ P z with torch's `orthogonal` parametrisation of a bias-free linear layer, as in the paper's code.

    Arguments as `OrthogonalProjector`. The Cayley map is asked for: torch's own choice for a tall matrix, Householder
    reflections, keeps their signs on the raw matrix's diagonal, which weight decay rounds to 0, and P with it.
    """

    def __init__(self, d_s: int, d_t: int, *, generator: torch.Generator) -> None:
        super().__init__()
        _warn_if_wide(d_s, d_t)
        with seeded(generator):
            linear = nn.Linear(d_s, d_t, bias=False)
            nn.init.orthogonal_(linear.weight)
            self.linear = parametrizations.orthogonal(linear, orthogonal_map="cayley")

    @property
    def matrix(self) -> Tensor:
        """P, shape (d_t, d_s)."""
        return torch.as_tensor(self.linear.weight)

    def forward(self, z: Tensor) -> Tensor:
        return self.linear(z)


class ChannelAffine(nn.Module):
    """A learned scale and bias per channel, started as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, z: Tensor) -> Tensor:
        return self.scale * z + self.bias


class Padding(nn.Module):
    """No projector: z with zeros appended up to d_t channels."""

    def __init__(self, d_s: int, d_t: int) -> None:
        super().__init__()
        if d_s > d_t:
            raise ValueError(f"padding leads from fewer to more channels, and the student has {d_s}, the teacher {d_t}")
        self.missing = d_t - d_s

    def forward(self, z: Tensor) -> Tensor:
        return nn.functional.pad(z, (0, self.missing))


def build_projector(kind: Projector, d_s: int, d_t: int, *, generator: torch.Generator) -> nn.Module:
    """A projector (n, d_s) → (n, d_t) by its name in `VKD`; all are free of bias except the MLP's."""
    match kind:
        case "orthogonal":
            return OrthogonalProjector(d_s, d_t, generator=generator)
        case "orthogonal (torch)":
            return TorchOrthogonalProjector(d_s, d_t, generator=generator)
        case "none":
            return Padding(d_s, d_t)
    with seeded(generator):
        match kind:
            case "linear":
                return nn.Linear(d_s, d_t, bias=False)
            case "linear+BN":
                # no running statistics: the projector lives during training only, and many are trained as one
                return nn.Sequential(nn.Linear(d_s, d_t, bias=False), nn.BatchNorm1d(d_t, track_running_stats=False))
            case "MLP":
                return nn.Sequential(nn.Linear(d_s, d_t), nn.ReLU(), nn.Linear(d_t, d_t))
    raise ValueError(f"projector is {kind!r}; it can be {', '.join(PROJECTORS)}")


def standardise(z: Tensor, *, eps: float = 1e-8) -> Tensor:
    """LayerNorm without parameters: each row of (n, d) to mean 0 and variance 1; unmoved by z ↦ a z + b 1 with a > 0.

    Examples
    --------
    >>> import torch
    >>> standardise(torch.tensor([[1.0, 3.0], [10.0, 30.0]]))
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    return nn.functional.layer_norm(z, z.shape[-1:], eps=eps)


def whiten(z: Tensor, *, shrinkage: float = 0.0) -> Tensor:
    """Σ^{−1/2}(z − μ) over the batch: mean 0 and identity covariance; the square root is the symmetric one.

    Parameters
    ----------
    z
        Shape (n, d).
    shrinkage
        ρ in 0..1: Σ is replaced by (1 − ρ) Σ + ρ (tr Σ / d) I.

    Returns
    -------
    Tensor
        Shape (n, d). Directions in which the batch does not vary stay 0 (the pseudo-inverse root). Any invertible
        linear change of z changes the result by a rotation only.

    Raises
    ------
    ValueError
        n ≤ d without shrinkage: every such batch whitens to the same Gram matrix, whatever the features say.
    """
    n, d = z.shape
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage is {shrinkage}; it must lie in 0..1")
    if n <= d and shrinkage == 0:
        raise ValueError(
            f"a batch of {n} examples cannot whiten {d} features: use a larger batch, or shrinkage (0.1, say)"
        )
    centred = z - z.mean(0)
    covariance = centred.T @ centred / n
    mean_variance = covariance.diagonal().mean()
    covariance = (1 - shrinkage) * covariance + shrinkage * mean_variance * torch.eye(d, dtype=z.dtype, device=z.device)
    values, vectors = torch.linalg.eigh(covariance)
    floor = d * torch.finfo(z.dtype).eps * values[-1]
    roots = torch.where(values > floor, values.clamp_min(torch.finfo(z.dtype).tiny).rsqrt(), 0)
    return centred @ (vectors * roots) @ vectors.T


def _normal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    return torch.randn(rows, columns, generator=generator, device=generator.device)


def _warn_if_wide(d_s: int, d_t: int) -> None:
    if d_s > d_t:
        warnings.warn(
            f"the student's features ({d_s}) are wider than the teacher's ({d_t}): the projector has orthonormal rows, "
            "is no isometry, and can hide differences from the loss",
            stacklevel=3,
        )
