"""Checks of a signal's numbers, where they enter: what is no finite number in its range is refused by name."""

import math
from collections.abc import Callable
from typing import Any


def number(name: str, value: Any, fits: Callable[[float], bool] = lambda _: True, what: str = "finite") -> None:
    """Refuse what is no finite number, or one that does not fit.

    Raises
    ------
    ValueError
        Names the argument, what it was and what would do.

    Examples
    --------
    >>> number("weight", "4")
    Traceback (most recent call last):
    ValueError: weight is '4'; it must be a number (finite)
    """
    try:
        sound = not isinstance(value, str | bool) and math.isfinite(value)
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise ValueError(f"{name} is {value!r}; it must be a number ({what})")
    if not fits(value):
        raise ValueError(f"{name} is {value}; it must be {what}")


def positive(**values: Any) -> None:
    """Each is a finite number above 0.

    Examples
    --------
    >>> positive(temperature=0)
    Traceback (most recent call last):
    ValueError: temperature is 0; it must be positive
    """
    for name, value in values.items():
        number(name, value, lambda x: x > 0, "positive")


def at_least_zero(**values: Any) -> None:
    """Each is a finite number, 0 or more."""
    for name, value in values.items():
        number(name, value, lambda x: x >= 0, "0 or more")


def share(**values: Any) -> None:
    """Each is a number in 0..1."""
    for name, value in values.items():
        number(name, value, lambda x: 0 <= x <= 1, "in 0..1")
