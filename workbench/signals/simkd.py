"""SimKD: the student keeps the teacher's own classifier and learns nothing but the features that it reads.

    L = mean over elements of (P(F_s) − F_t)²,    prediction = W_t pool(P(F_s)) + b_t

P is a projector (1×1, 3×3 and 1×1 convolutions, half as wide in the middle) that stays with the student, W_t and b_t
the teacher's last layer, which is not trained. Chen et al. 2022 (Eq. 2); there is no label term and no temperature.

    student = reuse(student, teacher, data, "stage3", "stage3")
    distill(teacher, student, data, SimKD("stage3"))
"""

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from workbench.data import Dataset
from workbench.models import Outputs, observe
from workbench.signals.features import as_maps, same_size, select
from workbench.signals.signal import Signal, seeded


@dataclass(frozen=True)
class SimKD(Signal):
    """Projected features against the teacher's; the whole loss of a student made by `reuse`.

    Attributes
    ----------
    teacher
        The teacher's layer that its classifier reads, before averaging over positions.
    student
        The projector's name in the student.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> out = Outputs(torch.zeros(2, 3), {"projector": torch.randn(2, 4, 5, 5)})
    >>> SimKD("projector")(out, out, torch.zeros(2, dtype=torch.int64))
    tensor([0., 0.])
    """

    teacher: str
    student: str = "projector"
    complete: ClassVar[bool] = True

    @property
    def student_layers(self) -> tuple[str, ...]:
        return (self.student,)

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        return (self.teacher,)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,)."""
        (P,), (F_t,) = select(student.features, self.student_layers), select(teacher.features, self.teacher_layers)
        guess, target = same_size(as_maps(P), as_maps(F_t))
        if guess.shape != target.shape:
            raise ValueError(
                f"the student's {self.student!r} has {guess.shape[1]} channels and the teacher's {self.teacher!r} "
                f"{target.shape[1]}: make the student with reuse(student, teacher, data, …)"
            )
        return (guess - target).square().mean((1, 2, 3))


class Reused(nn.Module):
    """A student's layers up to one, a projector, and the teacher's classifier; made by `reuse`."""

    def __init__(self, encoder: nn.Module, layer: str, projector: nn.Module, classifier: nn.Linear) -> None:
        super().__init__()
        self.encoder, self.projector, self.classifier = encoder, projector, classifier
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, classes)."""
        maps = self.projector(as_maps(observe(self.encoder, self.layer)(inputs).features[self.layer]))
        wide = maps.shape[1] != self.classifier.in_features  # its teacher reads every position
        logits: Tensor = self.classifier(maps.flatten(1) if wide else maps.mean((2, 3)))
        return logits


def reuse(
    student: nn.Module,
    teacher: nn.Module,
    data: Dataset,
    student_layer: str,
    teacher_layer: str,
    *,
    classifier: str | None = None,
    seed: int = 0,
) -> Reused:
    """A student that ends in the teacher's classifier, to be trained with `SimKD`.

    Parameters
    ----------
    student, teacher
        Networks; neither is changed, the student becomes part of what is returned.
    data
        For the shapes of the layers.
    student_layer, teacher_layer
        The layer that is projected, and the teacher's whose average (or whose values) its classifier reads.
    classifier
        Name of the teacher's last linear layer; by default the last there is.
    seed
        Of the projector's weights.

    Raises
    ------
    ValueError
        The teacher's classifier is no linear layer, or does not read `teacher_layer`.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(100)
    >>> teacher, small = (wb.models.build("convnet", data, width=width) for width in (8, 4))
    >>> reuse(small, teacher, data, "stage2", "stage2")(data.test.inputs[:2]).shape
    torch.Size([2, 10])
    """
    linear = [name for name, module in teacher.named_modules() if isinstance(module, nn.Linear)]
    name = classifier or (linear[-1] if linear else "")
    head = dict(teacher.named_modules()).get(name)
    if not isinstance(head, nn.Linear):
        known = ", ".join(linear)
        raise ValueError(  # noqa: TRY004 - one error for all arguments
            f"classifier is {classifier!r}; it must name a linear layer of teacher: {known}"
        )
    modes = [(part, part.training) for network in (student, teacher) for part in network.modules()]
    one = data.train.inputs[:2]
    with torch.no_grad():
        F_s = as_maps(observe(student.eval(), student_layer)(one).features[student_layer])
        F_t = as_maps(observe(teacher.eval(), teacher_layer)(one).features[teacher_layer])
    for part, mode in modes:
        part.training = mode
    channels, height, width = F_t.shape[1:]
    if head.in_features not in (channels, channels * height * width):
        raise ValueError(
            f"teacher_layer is {teacher_layer!r}, of shape {(channels, height, width)}; the classifier {name!r} reads "
            f"{head.in_features} numbers, neither one per channel nor all of them"
        )
    averaged = head.in_features == channels  # then positions may be fewer, as in the authors' code
    size = (min(F_s.shape[2], height), min(F_s.shape[3], width)) if averaged else (height, width)
    with seeded(torch.Generator().manual_seed(seed)):
        projector = Projector(F_s.shape[1], F_t.shape[1], size)
    return Reused(student, student_layer, projector, copy.deepcopy(head).requires_grad_(False))


class Projector(nn.Module):
    """Three convolutions with batch norm and ReLU, on maps pooled to `size`."""

    def __init__(self, channels: int, out: int, size: tuple[int, int]) -> None:
        super().__init__()
        middle = max(out // 2, 1)
        self.size = size
        layers: list[nn.Module] = []
        for a, b, side in ((channels, middle, 1), (middle, middle, 3), (middle, out, 1)):
            layers += [nn.Conv2d(a, b, side, padding=side // 2, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        """(n, channels, h, w) → (n, out, *size)."""
        result: Tensor = self.layers(functional.adaptive_avg_pool2d(maps, self.size))
        return result
