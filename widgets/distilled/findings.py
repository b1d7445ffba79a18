"""What is known about distilled sets beyond their pixels: looks, attributions and evaluations, by the set's name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from widgets.core.arrays import Arrays
from widgets.distilled.inspector.looks import Attributed, attributions_content, check_looks
from widgets.distilled.teaching.content import evaluation_content, without_content
from widgets.distilled.teaching.scaling import check_scaling, scaling_content
from workbench.records import DistilledEvaluation, DistilledLooks, DistilledSet, TemperatureScaling

SCORES = {
    "loss": "loss",
    "gradient_norm": "gradient norm",
    "influence": "influence",
    "nearest_pixels": "distance to nearest real, pixels",
    "nearest_features": "distance to nearest real, features",
}
"""What images can be sorted by beside their class: value of the trait `sort` → how it is called."""


@dataclass(frozen=True)
class Without:
    """What networks learn without some images: `rows` left out, and the evaluations before and after."""

    rows: tuple[int, ...]
    before: DistilledEvaluation
    after: DistilledEvaluation


@dataclass
class Findings:
    """Grows while the explorer is open: whatever is computed on demand is put here and published.

    `taught` holds the iteration whose images an evaluation is of (None: the final ones), `networks` the evaluators
    trained so far.
    """

    looks: dict[str, DistilledLooks] = field(default_factory=dict)
    evaluations: dict[str, DistilledEvaluation] = field(default_factory=dict)
    attributions: list[Attributed] = field(default_factory=list)
    taught: dict[str, int | None] = field(default_factory=dict)
    without: dict[str, Without] = field(default_factory=dict)
    networks: dict[tuple[Any, ...], nn.Module] = field(default_factory=dict)
    scalings: dict[str, TemperatureScaling] = field(default_factory=dict)

    @classmethod
    def given(cls, sets: Mapping[str, DistilledSet], looks: Any, evaluation: Any, scaling: Any) -> "Findings":
        """What the caller brought along, checked against the sets."""
        found = cls(
            looks=by_set("looks", looks, DistilledLooks, sets),
            evaluations=by_set("evaluation", evaluation, DistilledEvaluation, sets),
            scalings=by_set("scaling", scaling, TemperatureScaling, sets),
        )
        for name, fitted in found.scalings.items():
            check_scaling(fitted, sets[name], name)
        for name, item in found.looks.items():
            check_looks(item, sets[name], name)
            found.attributions += [
                Attributed(name, None, item.network, attribution) for attribution in item.attributions.values()
            ]
        for name, evaluated in found.evaluations.items():
            if evaluated.classes != sets[name].classes:
                raise ValueError(
                    f"evaluation of the set {name!r} has {len(evaluated.classes)} classes; the set has "
                    f"{len(sets[name].classes)}: pass the evaluation of this set"
                )
        return found

    def attributed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The attributions, apart from all else: one more of them sends no thumbnails again."""
        arrays = Arrays()
        return {"known": attributions_content(self.attributions, arrays)}, arrays.packed

    def content(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Plain values and the arrays they refer to. These are sent whenever something is found; pixels are not."""
        arrays = Arrays()
        plain: dict[str, Any] = {
            "looks": {name: _look(item, arrays) for name, item in self.looks.items()},
            "evaluations": {name: evaluation_content(item, arrays) for name, item in self.evaluations.items()},
            "scalings": {name: scaling_content(item, arrays) for name, item in self.scalings.items()},
        }
        plain["taught"] = {name: {"iteration": iteration} for name, iteration in self.taught.items()}
        plain["without"] = {
            name: without_content(item.rows, item.before, item.after, arrays) for name, item in self.without.items()
        }
        return plain, arrays.packed


def scores_of(looks: DistilledLooks) -> dict[str, Tensor]:
    """One number per image, by the names of `SCORES`; influence is the mean over the classes it is known for."""
    scores = {"loss": looks.loss, "gradient_norm": looks.gradient_norm}
    if looks.influence is not None:
        scores["influence"] = torch.nanmean(looks.influence, 1)
    for kind in ("pixels", "features"):
        distances = getattr(looks, f"nearest_{kind}_distance")
        if distances.shape[1]:
            scores[f"nearest_{kind}"] = distances[:, 0]
    return {name: score.detach().cpu().double() for name, score in scores.items()}


def by_set(what: str, given: Any, kind: type, sets: Mapping[str, DistilledSet]) -> dict[str, Any]:
    """`given` (a record, a list with one or None per set, or a dict by set name) as a dict by set name.

    Raises
    ------
    TypeError
        Something that is no record of type `kind`.
    ValueError
        It does not say which set it belongs to.
    """
    names = list(sets)
    if given is None:
        return {}
    if isinstance(given, Mapping):
        if stray := [name for name in given if name not in sets]:
            raise ValueError(f"{what} names the set {stray[0]!r}; there are {', '.join(map(repr, names))}")
        pairs = list(given.items())
    elif isinstance(given, Sequence) and not isinstance(given, str):
        if len(given) != len(names):
            raise ValueError(f"{what} has {len(given)} entries for {len(names)} sets: give one each, or None")
        pairs = list(zip(names, given, strict=True))
    elif len(names) == 1 or not isinstance(given, kind):
        pairs = [(names[0], given)]
    else:
        own = [name for name in names if name == getattr(given, "name", None)]
        if not own:
            raise ValueError(
                f"{what} is one {kind.__name__} for {len(names)} sets: say whose it is, as in "
                f"{what}={{{names[0]!r}: …}}"
            )
        pairs = [(own[0], given)]
    found = {name: item for name, item in pairs if item is not None}
    for name, item in found.items():
        if not isinstance(item, kind):
            raise TypeError(f"{what} of the set {name!r} is a {type(item).__name__}; it must be a {kind.__name__}")
    return found


def _look(looks: DistilledLooks, arrays: Arrays) -> dict[str, Any]:
    """Mirrors `DistilledLooks` field by field; `scores` are what the atlas can be sorted by."""

    def packed(value: Tensor | None, dtype: str) -> str | None:
        return None if value is None else arrays.add(value, dtype)

    return {
        "network": looks.network,
        "scores": {name: arrays.add(score, "float32") for name, score in scores_of(looks).items()},
        "probabilities": packed(looks.probabilities, "float32"),
        "real": packed(looks.real, "uint8"),
        "real_labels": packed(looks.real_labels, "int32"),
        "real_index": packed(looks.real_index, "int32"),
        "real_is_test": packed(looks.real_is_test, "uint8"),
        "nearest_pixels": packed(looks.nearest_pixels, "int32"),
        "nearest_pixels_distance": packed(looks.nearest_pixels_distance, "float32"),
        "nearest_features": packed(looks.nearest_features, "int32"),
        "nearest_features_distance": packed(looks.nearest_features_distance, "float32"),
        "influence": packed(looks.influence, "float32"),
        "influence_rows": packed(looks.influence_rows, "int32"),
        "influence_values": packed(looks.influence_values, "float32"),
    }
