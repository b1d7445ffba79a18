"""Refusals at the door of a training run: a setting that cannot be meant is named, with what would do."""

import difflib
import functools
import inspect
import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def whole(name: str, value: Any, least: int | None = None) -> int:
    """`value` as an int.

    Raises
    ------
    ValueError
        It is no whole number, or smaller than `least`.

    Examples
    --------
    >>> whole("epochs", 1.5, 0)
    Traceback (most recent call last):
    ValueError: epochs is 1.5; it must be a whole number of at least 0
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or (least is not None and value < least):
        raise ValueError(
            f"{name} is {value!r}; it must be a whole number{'' if least is None else f' of at least {least}'}"
        )
    return int(value)


def number(name: str, value: Any, *, above: float | None = None, least: float | None = None) -> float:
    """`value` as a float.

    Raises
    ------
    ValueError
        It is no finite number, not above `above`, or smaller than `least`.

    Examples
    --------
    >>> number("lr", "0.1", above=0)
    Traceback (most recent call last):
    ValueError: lr is '0.1'; it must be a positive number
    """
    given = not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(value)
    if not given or (above is not None and value <= above) or (least is not None and value < least):
        kind = "a positive number" if above == 0 else "a finite number"
        limit = f" of at least {least:g}" if least is not None else f" above {above:g}" if above else ""
        raise ValueError(f"{name} is {value!r}; it must be {kind}{limit}")
    return float(value)


def check_keywords(call: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a keyword that a call does not know.

    Raises
    ------
    TypeError
        The message names the one that was probably meant.

    Examples
    --------
    >>> check_keywords("fit", ["epoch"], ["epochs", "steps"])
    Traceback (most recent call last):
    TypeError: fit has no argument 'epoch': did you mean 'epochs'?
    """
    known = list(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            begins = [other for other in known if other.startswith(name)]
            meant = begins[0] if begins else near[0] if near else None
            hint = f"did you mean {meant!r}?" if meant else f"it takes {', '.join(known)}"
            raise TypeError(f"{call} has no argument {name!r}: {hint}")


def hinted(function: Callable[P, R]) -> Callable[P, R]:
    """The function, refusing a keyword that it does not have with a hint at the nearest one.

    Examples
    --------
    >>> @hinted
    ... def train(model, *, epochs=1): ...
    >>> train(None, epoch=3)
    Traceback (most recent call last):
    TypeError: train has no argument 'epoch': did you mean 'epochs'?
    """
    known = [name for name in inspect.signature(function).parameters if name != "self"]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        check_keywords(function.__qualname__, kwargs, known)
        return function(*args, **kwargs)

    return checked
