"""`@study`: a paper's comparison, declared. What it runs on, how large and with which seeds stands above it; what it
does, below.

    @study(seeds=(8, 20), small=Scale(steps=400), full=Scale(steps=4000), deviates=("a perceptron, not a ResNet",))
    def run(s: Setting[Dataset, Scale]) -> Outcome: ...

The paper's number comes from the file's name (``p092_pld.py``), the title from the first line of its docstring.
"""

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from workbench.data import Dataset, load
from workbench.records import Claim, Provenance, Record, StudyResult, TrainingRecord
from workbench.training import distributed

Source = TypeVar("Source")
Scale = TypeVar("Scale")

log = logging.getLogger("workbench.studies")
"""Where a long study says how far it is; ``workbench run`` shows it."""


@dataclass(frozen=True)
class Setting(Generic[Source, Scale]):
    """What a study's `run` is given.

    Attributes
    ----------
    data
        A `Dataset`, or what the study's `source` makes of the user's choice.
    scale
        How large everything is: the study's own dataclass, of the budget.
    seeds
        Of the repetitions, none twice.
    budget
        ``"small"`` or ``"full"``.
    device
        As for `workbench.training.fit`.
    default
        The data are those that the study was made on.
    """

    data: Source
    scale: Scale
    seeds: list[int]
    budget: str
    device: str
    default: bool
    started: float = field(default_factory=time.perf_counter)

    def tell(self, what: str) -> None:
        """Say how far the study is: one line, with the seconds since its start."""
        log.info("%5.0f s  %s", time.perf_counter() - self.started, what)


@dataclass(frozen=True)
class Outcome:
    """What a study's `run` returns.

    Attributes
    ----------
    rows
        The table: one dict of plain values per observation.
    claims
        See `asserted` and `reported`.
    records
        Worth opening in an explorer, by name; of keys that are tuples the first entry is the name.
    teacher
        Kept as record ``"teacher"``, with its accuracy among the settings; None: the study has none.
    settings
        Added to data, seeds, budget and device.
    deviates
        What differs from the card and is only known now, after the decorator's.
    notes
        What a reader must know, in prose.
    """

    rows: Sequence[dict[str, Any]]
    claims: Sequence[Claim]
    records: Mapping[Any, Record] = field(default_factory=dict)
    teacher: TrainingRecord | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    deviates: tuple[str, ...] = ()
    notes: str = ""


def dataset(data: Any, root: Any, budget: str) -> Dataset:  # noqa: ARG001 - a source may depend on the budget
    """The usual source: a `Dataset`, or a name or path that `workbench.data.load` takes; with classes.

    Raises
    ------
    ValueError
        There are no classes.
    """
    found = data if isinstance(data, Dataset) else load(data, root, seed=0)
    if not found.classes:
        raise ValueError(f"data {found.name!r} has no classes; this study compares classifiers")
    return found


class Study(Generic[Source, Scale]):
    """A declared study; calling it runs it.

    Attributes
    ----------
    paper, title
        From the file's name and docstring.
    default
        The data it was made on, by name.
    data_full
        What the full budget takes by itself, where the paper's data are others.
    scales
        By budget.
    seeds
        How many, by budget.
    deviates
        What differs from the paper's card, a sentence each; printed with the result.
    cost
        What the full budget costs, measured on a step and extrapolated, in words.
    trained
        Makes the source of a teacher of the user's; None: the study takes none.
    """

    def __init__(
        self,
        run: Callable[[Setting[Source, Scale]], Outcome],
        source: Callable[[Any, Any, str], Source],
        default: str,
        seeds: tuple[int, int],
        scales: dict[str, Scale],
        deviates: tuple[str, ...],
        cost: str,
        trained: Callable[[Any, Any, Any, str], Source] | None = None,
        data_full: str = "",
    ) -> None:
        module = run.__globals__
        match = re.search(r"\bp(\d{3})_\w+$", module["__name__"])
        if match is None:
            raise ValueError(f"{module['__name__']} declares a study: its file must be called pNNN_SHORT.py")
        self.paper = int(match[1])
        self.title = " ".join(module["__doc__"].strip().partition("\n\n")[0].split())
        self.run, self.source, self.default, self.scales = run, source, default, scales
        self.seeds = dict(zip(("small", "full"), seeds, strict=True))
        self.deviates, self.cost, self.trained = deviates, cost, trained
        self.data_full = data_full or default
        self.__doc__ = run.__doc__

    def __call__(
        self,
        data: Any = None,
        *,
        root: Any = None,
        seeds: int | Sequence[int] | None = None,
        budget: str = "small",
        device: str = "auto",
        scale: Scale | None = None,
        teacher: Any = None,
    ) -> StudyResult:
        """Run the study.

        Parameters
        ----------
        data
            What the study's source takes, mostly a `Dataset`, a name or a path; None: what it was made on, or at the
            full budget the paper's data, where those are others.
        root
            Where data files lie.
        seeds
            How many, or which; None: as declared for the budget.
        budget
            ``"small"`` or ``"full"``.
        device
            As for `workbench.training.fit`.
        scale
            Instead of the budget's, for a quick look: ``replace(study.scales["small"], steps=10)``.
        teacher
            A trained model to start from instead of what is made of the data, for studies that take one.

        Raises
        ------
        ValueError
            Names the argument, what it was and what would do.
        """
        if budget not in self.scales:
            raise ValueError(f"budget is {budget!r}; it can be 'small' (about a minute) or 'full'")
        started = time.perf_counter()
        chosen = self._seeds(seeds, budget)
        own = self.default if budget == "small" else self.data_full
        wanted = own if data is None else data
        named = wanted.name if isinstance(wanted, Dataset) else wanted
        default = isinstance(named, str) and named == self.default
        if teacher is None:
            found = self.source(wanted, root, budget)
        elif self.trained is None:
            raise ValueError(f"teacher is {teacher!r}; the study of paper {self.paper} takes none")
        else:
            found, default = self.trained(teacher, data, root, budget), False
        size = self.scales[budget] if scale is None else scale
        setting = Setting(found, size, chosen, budget, device, default, started)
        setting.tell(f"paper {self.paper:03d}, {budget} budget, seeds {', '.join(map(str, chosen))}: data are ready")
        return self._result(setting, self.run(setting))

    def _seeds(self, seeds: int | Sequence[int] | None, budget: str) -> list[int]:
        wanted = self.seeds[budget] if seeds is None else seeds
        chosen = list(range(wanted)) if isinstance(wanted, int) else [int(seed) for seed in wanted]
        if not chosen or len(set(chosen)) < len(chosen):
            raise ValueError(f"seeds is {seeds!r}; a study needs at least one, and none twice")
        return chosen

    def _result(self, setting: Setting[Source, Scale], found: Outcome) -> StudyResult:
        claims, teacher = list(found.claims), found.teacher
        if not setting.default:  # margins were set on the default data: elsewhere a claim is evaluated, not asserted
            claims = [claim.replace(asserted=False) for claim in claims]
        named = {key if isinstance(key, str) else key[0]: record for key, record in found.records.items()}
        if teacher is None:
            made = Provenance.capture(
                seed=setting.seeds[0], device=distributed.pick(setting.device), started=setting.started
            )
        else:
            taken = time.perf_counter() - setting.started
            made = replace(teacher.provenance, seed=setting.seeds[0], wall_time=taken)
        return StudyResult(
            paper=self.paper,
            title=self.title,
            table=tuple(found.rows),
            claims=tuple(claims),
            records=named if teacher is None else {"teacher": teacher, **named},
            settings={
                "data": getattr(setting.data, "name", str(setting.data)),
                "seeds": setting.seeds,
                "budget": setting.budget,
                "device": setting.device,
                **({} if teacher is None else {"teacher accuracy": teacher.accuracy}),
                **found.settings,
            },
            deviations=self.deviates + found.deviates,
            cost=self.cost,
            made_on="" if setting.default else self.default,
            notes=found.notes,
            provenance=made,
        )


def study(
    *,
    seeds: tuple[int, int],
    small: Scale,
    full: Scale,
    data: str = "digits",
    data_full: str = "",
    source: Callable[[Any, Any, str], Any] = dataset,
    deviates: Sequence[str] = (),
    cost: str = "",
    trained: Callable[[Any, Any, Any, str], Any] | None = None,
) -> Callable[[Callable[[Setting[Any, Scale]], Outcome]], Study[Any, Scale]]:
    """Declare the function below as its file's study.

    Parameters
    ----------
    seeds
        How many at the small and at the full budget.
    small, full
        How large everything is: what a minute on a laptop buys, and the paper's own setting.
    data
        What it is made on; its claims' margins hold there.
    data_full
        The paper's data, which the full budget takes by itself; empty: `data`.
    source
        Makes what `run` gets as ``s.data`` from the user's data, its root and the budget; the default takes data with
        classes.
    deviates
        What differs from the paper's card: a method's setting, a size, a part left out. A sentence each.
    cost
        What the full budget costs, in words, from the time of a measured step.
    trained
        Makes what `run` gets of a trained model of the user's, and their data, root and budget.
    """

    def declare(run: Callable[[Setting[Any, Scale]], Outcome]) -> Study[Any, Scale]:
        return Study(
            run, source, data, seeds, {"small": small, "full": full}, tuple(deviates), cost, trained, data_full
        )

    return declare
