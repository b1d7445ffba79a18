"""The steps by which an explorer explains itself: one sentence each, about one part, in the state it speaks of."""

import math
import re
from dataclasses import dataclass, field
from typing import Any

from widgets.core.naming import cut


@dataclass(frozen=True)
class Step:
    """One step of an explanation.

    Attributes
    ----------
    part
        The ``data-testid`` of what it speaks of; all else is dimmed.
    text
        One sentence, with numbers computed from the record.
    state
        Traits the view has meanwhile; of ``selection`` only the keys that differ. Traits that Python must answer for
        (a refit, another sampler) cannot be among them: a page without a kernel explains itself as well.
    fold
        The part is behind this line, which opens.
    """

    part: str
    text: str
    state: dict[str, Any] = field(default_factory=dict)
    fold: str = ""

    def plain(self) -> dict[str, Any]:
        """As it travels to the browser."""
        return {"part": self.part, "text": self.text, "state": self.state, "fold": self.fold}


def named(name: object) -> str:
    """A name from a record as a sentence can hold it."""
    return cut(str(name), 40)


def share(value: float) -> str:
    """A share in percent, as sentences write it."""
    return "–" if math.isnan(value) else f"{100 * value:.1f} %".replace("-", "−")


def number(value: float, digits: int = 3) -> str:
    """A number with a few significant digits and a real minus sign."""
    return (
        "–"
        if math.isnan(value)
        else re.sub(r"e([+-])0*", lambda sign: f"e{sign[1]}".replace("+", ""), f"{value:.{digits}g}").replace("-", "−")
    )
