"""The record of a study: a paper's comparison run end to end, with each of its claims checked."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from workbench.records.base import Record
from workbench.records.repetitions import over_seeds

RELATIONS = {
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Claim(Record):
    """One sentence of a paper, held against numbers.

    Attributes
    ----------
    statement
        The claim in words, with its setting ("PLD beats cross-entropy at 60 labels").
    left
        The measured quantity, a mean over `seeds` (for differences: paired by seed).
    relation
        ``">"``, ``">="``, ``"<"`` or ``"<="``.
    right
        The margin it is held against.
    interval
        95 % interval of `left` over seeds.
    seeds
        Number of independent repetitions behind `left`.
    asserted
        True when the claim is known to show at this scale, so that a run in which it does not is a failure;
        False when it is only reported.
    note
        What a reader must know to judge it (where it shows, why it may not here).
    """

    statement: str
    left: float
    relation: str
    right: float
    interval: tuple[float, float]
    seeds: int
    asserted: bool
    note: str = ""

    def __post_init__(self) -> None:
        if self.relation not in RELATIONS:
            raise ValueError(f"relation is {self.relation!r}; it can be {', '.join(RELATIONS)}")

    @property
    def holds(self) -> bool:
        """The whole interval stands in the relation to the margin; a mean alone says little."""
        return all(RELATIONS[self.relation](end, self.right) for end in self.interval)

    @property
    def settled(self) -> bool:
        """The whole interval lies on one side of the margin: more seeds would hardly change the answer."""
        low, high = self.interval
        return RELATIONS[self.relation](low, self.right) == RELATIONS[self.relation](high, self.right)

    @property
    def verdict(self) -> str:
        """Of an asserted claim ``"holds"`` or ``"fails"``; of a reported one ``"shows here"``, ``"does not show here"``
        or ``"too few seeds"``, where the margin lies within the interval.
        """
        if self.asserted:
            return "holds" if self.holds else "fails"
        return "shows here" if self.holds else "does not show here" if self.settled else "too few seeds"

    def summary(self) -> str:
        low, high = self.interval
        return (
            f"{self.verdict}: {self.statement} ({self.left:.4g} {self.relation} {self.right:.4g}, "
            f"95 % interval {low:.4g} to {high:.4g}, {self.seeds} seeds)"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class StudyResult(Record):
    """What a study leaves behind.

    Attributes
    ----------
    paper
        Number of the paper in papers.toml.
    title
        What the study asks, as a question.
    table
        Tidy rows, one dict of plain values per observation (method, seed, size, metric columns, …).
    claims
        The claims checked.
    records
        Records worth opening in an explorer, by name.
    settings
        Data, budget, seeds and training length the study ran with.
    deviations
        What differs from the paper's card, a sentence each.
    cost
        What the full budget costs, in words; empty: unknown.
    made_on
        The data on which the margins were set, where these are others; empty: these.
    notes
        What else a reader must know, in prose.
    """

    paper: int
    title: str
    table: tuple[dict[str, Any], ...] = ()
    claims: tuple[Claim, ...] = ()
    records: dict[str, Record] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    deviations: tuple[str, ...] = ()
    cost: str = ""
    made_on: str = ""
    notes: str = ""

    @property
    def passed(self) -> bool:
        """No asserted claim fails."""
        return all(claim.holds or not claim.asserted for claim in self.claims)

    def summary(self) -> str:
        lines = [f"Paper {self.paper:03d}: {self.title}", *(f"  {claim.summary()}" for claim in self.claims)]
        return "\n".join(lines)

    def to_frame(self) -> pd.DataFrame:
        return pd.DataFrame(list(self.table))

    def over_seeds(self) -> pd.DataFrame:
        """One row per method and setting: the mean over seeds of each measure, and half its 95 % interval."""
        return over_seeds(self.to_frame())

    def claims_frame(self) -> pd.DataFrame:
        """One row per claim."""
        return pd.DataFrame(
            [
                {
                    "claim": claim.statement,
                    "measured": claim.left,
                    "relation": claim.relation,
                    "margin": claim.right,
                    "low": claim.interval[0],
                    "high": claim.interval[1],
                    "seeds": claim.seeds,
                    "asserted": claim.asserted,
                    "verdict": claim.verdict,
                }
                for claim in self.claims
            ]
        )
