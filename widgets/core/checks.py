"""What every explorer asks at the door: records of its type, and names that its record has."""

import difflib
from collections.abc import Sequence
from typing import Any

import traitlets


def require_records(explorer: str, found: Sequence[object], kind: type) -> None:
    """Refuse an empty list and anything in it that is not a record of type `kind`."""
    if not found:
        raise TypeError(f"{explorer} draws a {kind.__name__} or a list of them; the list is empty")
    for item in found:
        if not isinstance(item, kind):
            raise TypeError(f"{explorer} draws a {kind.__name__} or a list of them, not a {type(item).__name__}")


def require_known(what: str, asked: list[Any], have: list[Any], *, several: bool = False) -> None:
    """Refuse what is asked for and not there, naming what was probably meant."""
    for value in asked:
        if value in have:
            continue
        near = difflib.get_close_matches(str(value), map(str, have), n=1, cutoff=0.5)
        shown = ", ".join(map(str, have[:12])) + (", …" if len(have) > 12 else "")
        hint = f"did you mean {near[0]!r}?" if near else f"there {'are' if len(have) != 1 else 'is'} {shown or 'none'}"
        raise traitlets.TraitError(
            f"{what} {value!r} is not one of this explorer's; {hint}"
            if several
            else f"{what} is {value!r}, which this record does not have; {hint}"
        )
