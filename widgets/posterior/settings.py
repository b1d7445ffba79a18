"""Checks of settings that regression and classification views share."""

import math
from collections.abc import Mapping
from typing import Any

import traitlets

from widgets.core.checks import require_known


def positive(name: str, value: Any) -> float:
    """A finite number above zero; None, which means "as fitted", never gets here."""
    if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
        raise traitlets.TraitError(f"{name} is {value!r}; it must be a positive number, or None for as fitted")
    return float(value)


def share(name: str, value: Any) -> float:
    """A number in 0..1."""
    if not (isinstance(value, int | float) and 0 <= value <= 1):
        raise traitlets.TraitError(f"{name} is {value!r}; the weight of the true targets lies in 0..1")
    return float(value)


def held_values(value: Any, features: list[str]) -> dict[str, float]:
    """Values of features that are not on an axis, by name."""
    if not isinstance(value, Mapping):
        raise traitlets.TraitError(f"held is {value!r}; it must be a dict of feature names and numbers")
    require_known("held feature", list(value), features)
    for name, number in value.items():
        if not (isinstance(number, int | float) and math.isfinite(number)):
            raise traitlets.TraitError(f"held[{name!r}] is {number!r}; it must be a finite number")
    return {name: float(number) for name, number in value.items()}
