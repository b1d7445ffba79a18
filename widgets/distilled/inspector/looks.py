"""Attributions of distilled images as they travel to the browser, and looks checked against their set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from widgets.core.arrays import Arrays
from workbench.records import Attribution, DistilledLooks, DistilledSet

METHODS = {
    "integrated_gradients": "Integrated Gradients",
    "saliency": "Saliency",
    "input_x_gradient": "Input × Gradient",
    "occlusion": "Occlusion",
    "gradient_shap": "GradientShap",
}
WITH_BASELINE = ("integrated_gradients", "occlusion", "gradient_shap")
MAGNITUDES = ("saliency",)
"""Methods whose values are magnitudes, not signed shares of the logit."""
BASELINES = {"mean": "mean of the data", "black": "black", "white": "white", "noise": "noise"}


@dataclass(frozen=True)
class Attributed:
    """An attribution, and what it is of.

    Attributes
    ----------
    of
        Name of the set.
    iteration
        The snapshot whose images they are; None: the final ones.
    network
        What the network is called.
    found
        The attribution.
    asked
        How its target class was asked for: ``"label"``, ``"predicted"`` or a class; None where nobody knows.
    made
        Of an evaluator, how it was trained; another one is another network.
    """

    of: str
    iteration: int | None
    network: str
    found: Attribution
    asked: str | int | None = None
    made: str = ""


def attributions_content(known: Sequence[Attributed], arrays: Arrays) -> list[dict[str, Any]]:
    """Attributions, each summed over channels: heat of shape (rows, height, width) in logits."""
    return [
        {
            "set": item.of,
            "iteration": item.iteration,
            "network": item.network,
            "asked": item.asked,
            "made": item.made,
            "method": item.found.method,
            "baseline": item.found.baseline,
            "signed": item.found.method not in MAGNITUDES,
            "rows": item.found.rows.tolist(),
            "targets": item.found.target.tolist(),
            "delta": None if item.found.delta is None else [float(value) for value in item.found.delta],
            "heat": arrays.add(item.found.heat, "float32"),
        }
        for item in known
    ]


def check_looks(looks: DistilledLooks, of: DistilledSet, name: str) -> DistilledLooks:
    """Refuse looks that are not of this set."""
    if not isinstance(looks, DistilledLooks):
        raise TypeError(f"looks={type(looks).__name__} is no DistilledLooks: make one by workbench.condensation.look")
    if len(looks) != len(of) or looks.probabilities.shape[1] != len(of.classes):
        raise ValueError(
            f"looks are of {len(looks)} images and {looks.probabilities.shape[1]} classes, but {name} has {len(of)} "
            f"images and {len(of.classes)} classes: pass the looks of this set"
        )
    for key, item in looks.attributions.items():
        if item.values.shape[2:] != of.images.shape[2:] or not 0 <= int(item.rows.min()) <= int(item.rows.max()) < len(
            of
        ):
            raise ValueError(
                f"attribution {key!r} has images {tuple(item.values.shape[2:])} and rows up to {int(item.rows.max())}; "
                f"{name} has {len(of)} images {tuple(of.images.shape[2:])}"
            )
    return looks
