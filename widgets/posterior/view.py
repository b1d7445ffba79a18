"""What a PosteriorExplorer asks of the thing it draws, be it a regression or a classification."""

from typing import Any, Protocol

import pandas as pd
from matplotlib.figure import Figure

from widgets.core.jobs import Job
from widgets.posterior.source import Ask, Feature
from workbench.records import PosteriorPath


class View(Protocol):
    """What the explorer asks of a regression or a classification.

    `asked` names the settings that only Python can answer; all others are evaluated where they are drawn.
    """

    asked: tuple[str, ...]
    has_limit: bool
    base: PosteriorPath
    features: list[Feature]
    outputs: tuple[str, ...]

    def first(self) -> tuple[dict[str, Any], dict[str, Any]]: ...
    def look(self, ask: Ask, job: Job | None = None) -> tuple[dict[str, Any], dict[str, Any]]: ...
    def rows(self) -> int: ...
    def second_feature(self) -> str: ...
    def title(self) -> str: ...
    def checked(self, name: str, value: Any) -> Any: ...
    def check(self, explorer: Any) -> list[dict[str, Any]]: ...
    def data(self, explorer: Any) -> pd.DataFrame: ...
    def summary(self, explorer: Any) -> str: ...
    def figure(self, explorer: Any) -> Figure: ...
