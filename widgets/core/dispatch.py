"""From a record, or a fitted Gaussian process, to the explorer that draws it."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from widgets.core.explorer import Explorer
from widgets.features import FeatureSimilarityExplorer
from widgets.training import TrainingExplorer
from workbench.records import (
    DistilledEvaluation,
    DistilledLooks,
    DistilledSet,
    PosteriorPath,
    Record,
    SimilarityMap,
    StudyResult,
    TargetTrajectories,
    TemperatureScaling,
    TrainingRecord,
)


def _posterior(posterior: Any, **options: Any) -> Explorer:
    from widgets.posterior import PosteriorExplorer  # noqa: PLC0415 - gpytorch takes a second, and only this one needs it

    return PosteriorExplorer(posterior, **options)


def _distilled(sets: Any, **options: Any) -> Explorer:
    from widgets.distilled import DistilledImagesExplorer  # noqa: PLC0415 - it loads all that can be trained

    return DistilledImagesExplorer(sets, **options)


def _targets(runs: Any, **options: Any) -> Explorer:
    from widgets.targets import TargetTrajectoryExplorer  # noqa: PLC0415 - it loads what samples again

    return TargetTrajectoryExplorer(runs, **options)


EXPLORERS: dict[type[Record], Callable[..., Explorer]] = {
    SimilarityMap: FeatureSimilarityExplorer,
    TrainingRecord: TrainingExplorer,
    PosteriorPath: _posterior,
    DistilledSet: _distilled,
    TargetTrajectories: _targets,
}

BESIDE: dict[type[Record], str] = {
    DistilledLooks: "looks",
    DistilledEvaluation: "evaluation",
    TemperatureScaling: "scaling",
}
"""What has no explorer of its own: the argument by which it is shown beside another record."""


def explore(record: Any, **options: Any) -> Explorer:
    """The explorer of a record, of several records of one type, or of a fitted Gaussian process.

    Two similarity maps of different networks are compared cell by cell; maps of one pair of networks under several
    measures become a switch; several training records become several curves; of several distilled sets one is shown at
    a time, beside another where that is asked for; several sampling runs from the same noise move beside one another.
    A `SelfDistilledGPR` or `SelfDistilledGPC`, alone or last in a pipeline or search, opens like its path, and its
    kernel and points can move.

    Parameters
    ----------
    record
        A `SimilarityMap`, a `TrainingRecord`, a `DistilledSet`, a `TargetTrajectories` or a `PosteriorPath`; a sequence
        of records of one of the first four; or a fitted estimator.
    **options
        Settings of the explorer, as its ``.spec()`` writes them.

    Raises
    ------
    TypeError
        No explorer draws such a record, the records are of several types, or an option is unknown.

    Examples
    --------
    >>> import torch, widgets
    >>> from workbench.records import SimilarityMap
    >>> similar = SimilarityMap(values=torch.eye(2), layers_a=("c1", "c2"), layers_b=("f1", "f2"), measure="cka", n=100)
    >>> widgets.explore(similar, diagonal=True).diagonal
    True
    """
    if _is_process(record):
        return _posterior(record, **options)
    records = [record] if isinstance(record, Record) else list(record) if isinstance(record, Sequence) else None
    if not records or not all(isinstance(item, Record) for item in records):
        raise TypeError(f"explore() takes a record or a list of records, not {_name(record)}; {_can()}")
    kinds = {type(item) for item in records}
    if len(kinds) > 1:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise TypeError(f"explore() shows records of one type together; these are {names}: explore each type by itself")
    (kind,) = kinds
    for base in kind.__mro__:
        if base in EXPLORERS:
            return EXPLORERS[base](record if isinstance(record, Record) else records, **options)
    if isinstance(records[0], StudyResult):
        held = ", ".join(map(repr, records[0].records)) or "none"
        raise TypeError(
            "a StudyResult is a table of claims; explore one of its records, as in explore(result.records[name]); "
            f"this one holds {held}"
        )
    if beside := BESIDE.get(kind):
        raise TypeError(f"a {kind.__name__} is shown beside its distilled set, as in explore(distilled, {beside}=…)")
    raise TypeError(f"no explorer draws a {kind.__name__}; {_can()}")


def _is_process(posterior: Any) -> bool:
    """A fitted Gaussian process, or what has one in it: such a thing exists only once `workbench.gp` is imported."""
    module = sys.modules.get("workbench.gp")
    best = getattr(posterior, "best_estimator_", posterior)
    steps = getattr(best, "steps", None)
    last = best[-1] if isinstance(steps, list) and steps else best
    return module is not None and isinstance(last, module.SelfDistilledGPR | module.SelfDistilledGPC)


def _can() -> str:
    return f"explorers exist for {', '.join(kind.__name__ for kind in EXPLORERS)} and fitted self-distilled processes"


def _name(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"a {type(value).__name__} of {', '.join(sorted({type(item).__name__ for item in value})) or 'nothing'}"
    return f"a {type(value).__name__}"
