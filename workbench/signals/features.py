"""What feature and relation signals share: finding a layer's features, and reading any layer as maps or as vectors.

Three kinds of features occur: maps ``(n, c, h, w)`` of a convolution, tokens ``(n, t, d)`` of a transformer or mixer,
and vectors ``(n, d)``. `as_maps` reads all of them as maps, `as_vectors` as one vector per example.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from workbench.models import Outputs
from workbench.models.layers import matches
from workbench.signals.signal import Signal

Layers = str | tuple[str, ...]


@dataclass(frozen=True)
class FeatureSignal(Signal):
    """Base of the signals that compare student layers with teacher layers, pair by pair.

    Attributes
    ----------
    student, teacher
        A layer's ``named_modules()`` name, a glob, or a tuple of those; they must name equally many layers, which are
        paired in order. The loss is the sum over pairs.
    """

    student: Layers
    teacher: Layers

    @property
    def student_layers(self) -> tuple[str, ...]:
        return as_tuple(self.student)

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        return as_tuple(self.teacher)

    def pairs(self, student: Outputs, teacher: Outputs) -> list[tuple[Tensor, Tensor]]:
        """The features to compare, student first."""
        of_student = select(student.features, self.student_layers)
        of_teacher = select(teacher.features, self.teacher_layers)
        if len(of_student) != len(of_teacher):
            raise ValueError(
                f"{type(self).__name__} pairs layers one to one, but student={self.student!r} names {len(of_student)} "
                f"layers and teacher={self.teacher!r} names {len(of_teacher)}"
            )
        return list(zip(of_student, of_teacher, strict=True))


def as_tuple(layers: Layers) -> tuple[str, ...]:
    """One name or several, as a tuple."""
    return (layers,) if isinstance(layers, str) else tuple(layers)


def select(features: Mapping[str, Tensor], patterns: tuple[str, ...]) -> list[Tensor]:
    """The features of the layers that the patterns name, in the patterns' order and then the network's.

    Patterns are those of `workbench.models.layer_names`: ``"layer*.0"`` finds ``layer1.0`` but not ``layer1.0.conv1``,
    ``**`` stands for any number of parts, and a list of layers (``"blocks"``) for its members.

    Raises
    ------
    KeyError
        A pattern names none of the observed layers.
    """
    return list(named(features, patterns).values())


def named(features: Mapping[str, Tensor], patterns: tuple[str, ...]) -> dict[str, Tensor]:
    """As `select`, by layer name."""
    found: dict[str, Tensor] = {}
    for pattern in patterns:
        names = layer_matches(list(features), pattern)
        if not names:
            raise KeyError(f"no features of {pattern!r} were observed; there are {', '.join(features) or 'none'}")
        found |= {name: features[name] for name in names}
    return found


def as_maps(feature: Tensor) -> Tensor:
    """Any features as maps (n, c, h, w).

    Vectors (n, d) become (n, d, 1, 1). Tokens (n, t, d) become (n, d, √t, √t) where t is a square; where t − 1 is, the
    first token is a class token, which has no place in the picture and is left out; otherwise they become (n, d, t, 1).
    """
    if feature.ndim == 4:
        return feature
    if feature.ndim == 2:
        return feature[:, :, None, None]
    if feature.ndim != 3:
        raise ValueError(
            f"features have shape {tuple(feature.shape)}; they can be (n, c, h, w), (n, tokens, d) or (n, d)"
        )
    tokens = feature.shape[1]
    if math.isqrt(tokens) ** 2 != tokens and math.isqrt(tokens - 1) ** 2 == tokens - 1:
        feature, tokens = feature[:, 1:], tokens - 1
    side = math.isqrt(tokens)
    grid = (side, side) if side * side == tokens else (tokens, 1)
    return feature.transpose(1, 2).unflatten(2, grid)


def same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps (n, c, h, w) at the smaller of their sizes, by average pooling (as the attention-transfer code does)."""
    size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    return _pooled(student, size), _pooled(teacher, size)


def as_vectors(feature: Tensor) -> Tensor:
    """Any features as one vector per example: everything after the first axis flattened, shape (n, d)."""
    return feature.flatten(1)


def pooled(feature: Tensor) -> Tensor:
    """Any features averaged over their positions, shape (n, channels)."""
    return as_maps(feature).flatten(2).mean(2)


def _pooled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return maps if maps.shape[2:] == size else functional.adaptive_avg_pool2d(maps, size)


def layer_matches(names: list[str], pattern: str) -> list[str]:
    """Those of `names` that `pattern` addresses."""
    if pattern in names:
        return [pattern]
    found = [name for name in names if matches(name.split("."), pattern.split("."))]
    return found or [name for name in names if matches(name.split("."), [*pattern.split("."), "*"])]
