"""What every study starts from and ends with: data, seeds and budget resolved; rows, claims and records as a result."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from workbench.data import Dataset, load
from workbench.records import Claim, Provenance, Record, StudyResult, TrainingRecord
from workbench.training import distributed

Data = TypeVar("Data")


@dataclass(frozen=True)
class Setting(Generic[Data]):
    """A study's arguments, checked and filled in; made by `of`, or by `around` for what is no data set."""

    data: Data
    seeds: list[int]
    budget: str
    device: str
    started: float
    usual: str | None = None
    """What its claims' margins were set on, where the data are something else: there no claim is asserted."""

    @classmethod
    def of(
        cls,
        data: Any,
        *,
        root: Any,
        seeds: int | Sequence[int] | None,
        budget: str,
        device: str,
        seeds_small: int,
        seeds_full: int,
        default: str = "digits",
    ) -> "Setting[Dataset]":
        """Resolve the arguments of a study's `run`.

        Parameters
        ----------
        data
            A `Dataset`, a name or a path that `workbench.data.load` knows; None: `default`.
        root
            Where data files lie.
        seeds
            How many, or which; None: `seeds_small` or `seeds_full` by budget.
        budget
            ``"small"`` or ``"full"``.
        device
            As for `workbench.training.fit`.

        Raises
        ------
        ValueError
            Names the argument, what it was and what would do.

        Examples
        --------
        >>> given = {"root": None, "budget": "small", "device": "cpu", "seeds_small": 2, "seeds_full": 20}
        >>> Setting.of(None, seeds=None, **given).seeds, Setting.of(None, seeds=[5], **given).seeds
        ([0, 1], [5])
        """
        started = time.perf_counter()
        chosen = _seeds(seeds, budget, seeds_small, seeds_full)
        resolved = resolve(data, default, root)
        if not resolved.classes:
            raise ValueError(f"data {resolved.name!r} has no classes; this study compares classifiers")
        other = (data.name if isinstance(data, Dataset) else data) not in (None, default)
        return Setting(resolved, chosen, budget, device, started, default if other else None)

    def at_most(self, examples: int | None) -> "Setting[Data]":
        """The same with no more than so many training examples; None: all."""
        data: Any = self.data
        if examples is None or len(data.train) <= examples:
            return self
        return replace(self, data=data.subset(examples))

    @classmethod
    def around(
        cls,
        make: Callable[[], Data],
        *,
        seeds: int | Sequence[int] | None,
        budget: str,
        device: str,
        seeds_small: int,
        seeds_full: int,
        usual: str | None = None,
    ) -> "Setting[Data]":
        """The same for what `make` returns, which has a ``name``; `usual`: as the attribute."""
        started = time.perf_counter()
        chosen = _seeds(seeds, budget, seeds_small, seeds_full)
        return Setting(make(), chosen, budget, device, started, usual)

    def result(
        self,
        *,
        paper: int,
        title: str,
        rows: Sequence[dict[str, Any]],
        claims: Sequence[Claim],
        teacher: TrainingRecord | None = None,
        records: Mapping[tuple[str, int, int], TrainingRecord] | Mapping[str, Record],
        settings: dict[str, Any],
        notes: str,
    ) -> StudyResult:
        """The study's record. On other data than the usual ones its claims are reported, whatever they ask for.

        Parameters
        ----------
        paper, title, claims, notes
            As in `StudyResult`.
        rows
            The table.
        teacher
            Kept as record ``"teacher"``, with its accuracy among the settings; None: the study has none.
        records
            Further records; of a comparison's, the last one trained of each method is kept, under the method's name.
        settings
            Added to data, seeds, budget and device.
        """
        if self.usual is not None:
            claims = [claim.replace(asserted=False) for claim in claims]
            notes = (
                f"{notes} The margins were set on {self.usual}: on other data, as here, claims are reported and none "
                "is asserted."
            ).lstrip()
        named = {key if isinstance(key, str) else key[0]: record for key, record in records.items()}
        return StudyResult(
            paper=paper,
            title=title,
            table=tuple(rows),
            claims=tuple(claims),
            records=named if teacher is None else {"teacher": teacher, **named},
            settings={
                "data": self.data.name,  # type: ignore[attr-defined]
                "seeds": self.seeds,
                "budget": self.budget,
                "device": self.device,
                **({} if teacher is None else {"teacher accuracy": teacher.accuracy}),
                **settings,
            },
            notes=notes,
            provenance=self._provenance(teacher),
        )

    def _provenance(self, teacher: TrainingRecord | None) -> Provenance:
        if teacher is not None:
            return replace(teacher.provenance, seed=self.seeds[0], wall_time=time.perf_counter() - self.started)
        return Provenance.capture(seed=self.seeds[0], device=distributed.pick(self.device), started=self.started)


def _seeds(seeds: int | Sequence[int] | None, budget: str, small: int, full: int) -> list[int]:
    if budget not in ("small", "full"):
        raise ValueError(f"budget is {budget!r}; it can be 'small' (about a minute) or 'full'")
    wanted = (small if budget == "small" else full) if seeds is None else seeds
    chosen = list(range(wanted)) if isinstance(wanted, int) else list(wanted)
    if not chosen:
        raise ValueError(f"seeds is {seeds!r}; a study needs at least one")
    return chosen


def resolve(data: Any, default: str, root: Any = None, seed: int = 0) -> Dataset:
    """The data of a study: what was passed, a `Dataset` or anything `workbench.data.load` takes, else the default."""
    return data if isinstance(data, Dataset) else load(default if data is None else data, root, seed=seed)
