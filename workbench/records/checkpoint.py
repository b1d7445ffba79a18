"""The record of a long run under way whose state is no single record: several networks at once, a table half filled."""

from dataclasses import dataclass, field
from typing import Any

from workbench.records.base import Record


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint(Record):
    """What a run that takes ``checkpoint=PATH`` keeps there; pass the file as its ``resume=`` to go on.

    Attributes
    ----------
    what
        The call that was under way, such as ``"Ensemble.fit"``.
    done, total
        How far it was, in its own unit.
    settings
        Its arguments as plain values, by which a later call knows that it continues the same run.
    state
        Tensors, plain values and records, as the run needs them.
    """

    what: str
    done: int
    total: int
    settings: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def interrupted(self) -> bool:
        """The run was not complete."""
        return self.done < self.total

    def summary(self) -> str:
        where = "complete" if not self.interrupted else "pass it as resume= to go on"
        return f"checkpoint of {self.what}: {self.done:,} of {self.total:,}; {where}"
