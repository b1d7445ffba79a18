"""FSP: the flow of the solution procedure, i.e. how the channels of two layers of one network go together.

    L = ‖ G_s − G_t ‖²_F / (c₁ c₂),   G = (1 / h w) Σ_positions F₁ F₂ᵀ   of shape (c₁, c₂)

Yim et al. 2017 (Eq. 1 and 2, there a sum); paper 037, method 6. The mean over the matrix makes the loss comparable
across layer sizes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workbench.models import Outputs
from workbench.signals.features import as_maps, same_size, select
from workbench.signals.hint import Regressor
from workbench.signals.signal import Bound, Signal


@dataclass(frozen=True)
class FSP(Signal):
    """Flow signal between an early and a late layer.

    The matrices are channels × channels, so the paper takes pairs of equal width. Where the student is narrower,
    `bind` puts a 1×1 convolution (as a hint's regressor) on each of its two layers.

    Attributes
    ----------
    student, teacher
        Names of the early and the late layer. The larger map of the two is average-pooled to the smaller one.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> out = Outputs(torch.zeros(2, 3), {"stage1": torch.randn(2, 4, 8, 8), "stage2": torch.randn(2, 6, 4, 4)})
    >>> FSP(("stage1", "stage2"), ("stage1", "stage2"))(out, out, torch.zeros(2, dtype=torch.int64))
    tensor([0., 0.])
    """

    student: tuple[str, str]
    teacher: tuple[str, str]

    @property
    def student_layers(self) -> tuple[str, ...]:
        return self.student

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        return self.teacher

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,)."""
        return _distance(*self.ends(student, teacher))

    def bind(self, student: Outputs, teacher: Outputs, labels: Tensor, *, generator: torch.Generator) -> nn.Module:  # noqa: ARG002
        """The signal itself for layers of equal width, else with a regressor on each student layer."""
        ends = list(zip(*self.ends(student, teacher), strict=True))
        if all(F_s.shape[1] == F_t.shape[1] for F_s, F_t in ends):
            return Bound(self)
        return BoundFSP(self, [Regressor(F_s.shape[1], F_t.shape[1], F_s, generator) for F_s, F_t in ends])

    def ends(self, student: Outputs, teacher: Outputs) -> tuple[list[Tensor], list[Tensor]]:
        """The maps of the student's two layers, and those of the teacher's."""
        return _two(student, self.student), _two(teacher, self.teacher)


class BoundFSP(nn.Module):
    """FSP with a regressor on each of the student's two layers."""

    def __init__(self, signal: FSP, regressors: list[Regressor]) -> None:
        super().__init__()
        self.signal = signal
        self.regressors = nn.ModuleList(regressors)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,)."""
        of_student, of_teacher = self.signal.ends(student, teacher)
        widened = [regress(maps) for regress, maps in zip(self.regressors, of_student, strict=True)]
        return _distance(widened, of_teacher)


def flow(early: Tensor, late: Tensor) -> Tensor:
    """The FSP matrix of maps (n, c₁, h, w) and (n, c₂, h', w'), shape (n, c₁, c₂)."""
    F_1, F_2 = (maps.flatten(2) for maps in same_size(early, late))
    return torch.einsum("nap,nbp->nab", F_1, F_2) / F_1.shape[2]


def _distance(of_student: list[Tensor], of_teacher: list[Tensor]) -> Tensor:
    G_s, G_t = flow(*of_student), flow(*of_teacher)
    if G_s.shape != G_t.shape:
        raise ValueError(
            f"FSP matrices have shapes {tuple(G_s.shape[1:])} (student) and {tuple(G_t.shape[1:])} (teacher): bind the "
            "signal, so that regressors bring the student's layers to the teacher's width"
        )
    return (G_s - G_t).square().mean((1, 2))


def _two(outputs: Outputs, layers: tuple[str, str]) -> list[Tensor]:
    maps = [as_maps(feature) for feature in select(outputs.features, layers)]
    if len(maps) != 2:
        raise ValueError(f"FSP reads two layers of each network, but {layers!r} names {len(maps)}")
    return maps
