"""What `condense` and its methods refuse at the door: settings that cannot be meant, and runs that no memory holds."""

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.condensation.making.method import Choosing, Matching
from workbench.training import doors

MOST_BYTES = 8 * 2**30
"""What the history of one run may take: its loss, its curves, and pictures of its images."""

CURVES = 4
"""Curves beside the loss that a method is taken to log, in the estimate of a run's history."""

METHODS = {
    "dm": "DistributionMatching", "dc": "GradientMatching", "dsa": "GradientMatching", "idc": "idc", "mtt": "MTT",
    "ftd": "FTD", "dd": "DD", "bptt": "DD", "datadam": "DataDAM", "ncfm": "NCFM", "dream": "DREAM", "fyi": "FYI",
    "mdt": "MDT", "rded": "RDED", "random": "Random", "herding": "Herding", "kcentre": "KCentre", "k-center": "KCentre",
}  # fmt: skip
"""What a method is called for short, and in the code."""


def checked_method(method: Any) -> Any:
    """The method.

    Raises
    ------
    TypeError
        It is a name, a class, or something that is no method.

    Examples
    --------
    >>> checked_method("dm")
    Traceback (most recent call last):
    TypeError: method is 'dm'; pass the method itself: DistributionMatching(ipc=10), from workbench.condensation
    """
    if isinstance(method, str):
        known = METHODS.get(method.lower())
        known = known or next((name for name in METHODS.values() if name.lower() == method.lower()), None)
        names = ", ".join(dict.fromkeys(METHODS.values()))
        what = f"{known}(ipc=10), from workbench.condensation" if known else f"one of {names}, with its settings"
        raise TypeError(f"method is {method!r}; pass the method itself: {what}")
    if isinstance(method, type):
        raise TypeError(f"method is the class {method.__name__}; call it: {method.__name__}(ipc=10)")
    if not isinstance(method, Matching | Choosing):
        raise TypeError(
            f"method is a {type(method).__name__}; it must be a method such as DistributionMatching(ipc=10), or have "
            "ipc, and either choose() or iterations, start(), optimizers() and losses()"
        )
    return method


def check(
    method: object, *, whole: Mapping[str, int] | None = None, positive: Sequence[str] = (), least: Sequence[str] = ()
) -> None:
    """Refuse settings of a method that cannot be meant.

    Parameters
    ----------
    method
        The method.
    whole
        Names of attributes that must be whole numbers, with the least one; None is let through.
    positive, least
        Names of those that must be positive numbers, and of those that must be numbers of at least 0.

    Raises
    ------
    ValueError
        Names the attribute, what it was and what would do.
    """
    for name, smallest in (whole or {}).items():
        if getattr(method, name) is not None:
            doors.whole(name, getattr(method, name), smallest)
    for name in positive:
        doors.number(name, getattr(method, name), above=0)
    for name in least:
        doors.number(name, getattr(method, name), least=0)


def check_history(iterations: int, pictures: int, image_bytes: int) -> None:
    """Refuse a run whose history no memory would hold.

    Parameters
    ----------
    iterations
        Of the run.
    pictures
        States of the images that are kept.
    image_bytes
        Of one of them.

    Raises
    ------
    ValueError
        Says how much it would be, and what would fit.
    """
    per_iteration = 8 * (1 + CURVES)
    if iterations * per_iteration > MOST_BYTES:
        raise ValueError(
            f"iterations is {iterations:,}; the losses of so many alone would take "
            f"{iterations * per_iteration / 2**30:,.0f} GiB: at most {MOST_BYTES // per_iteration:,} can be kept, and "
            "longer runs be made in parts with resume="
        )
    if pictures * image_bytes > MOST_BYTES:
        raise ValueError(
            f"snapshots would keep {pictures:,} states of the images, {pictures * image_bytes / 2**30:,.1f} GiB: at "
            f"most {max(2, MOST_BYTES // max(1, image_bytes)):,} fit"
        )
