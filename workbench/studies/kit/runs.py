"""Students trained one method at a time, where each seed has its own teacher or examples; judged as in `compare`.

Of one method all seeds are trained as one ensemble. Within a seed the caller gives every method the same weights to
start from, and the batch order is that of the seed, so that differences are paired.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from workbench.data import Split
from workbench.knowledge.making.distill import SignalLike, distill_many
from workbench.records import TrainingRecord
from workbench.studies.kit.compare import Comparison, Length
from workbench.studies.kit.judge import Measure, StudentMetrics


class Runs:
    """Trains, judges, and keeps a row for each student.

    Parameters
    ----------
    test
        Judges.
    seeds
        One student each.
    device
        As for `workbench.training.fit`.
    measures
        As for `StudentMetrics`.
    columns
        Constant columns of every row.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(50)
    >>> teacher = wb.models.build("mlp", data, seed=1)
    >>> runs = Runs(data.test, [0, 1], device="cpu")
    >>> students = [wb.models.build("mlp", data, width=8, seed=seed) for seed in runs.seeds]
    >>> trained = runs.train("KL", teacher, students, data.train, wb.knowledge.KL(4), Length(2, 1e-2))
    >>> runs.table.mean("KL").seeds
    2
    """

    def __init__(
        self,
        test: Split,
        seeds: Sequence[int],
        *,
        device: str = "auto",
        measures: Mapping[str, Measure] | None = None,
        columns: Mapping[str, Any] | None = None,
    ) -> None:
        self.seeds, self.device, self.columns = list(seeds), device, dict(columns or {})
        self.rows: list[dict[str, Any]] = []
        self.records: dict[tuple[str, int, int], TrainingRecord] = {}
        self._judge = StudentMetrics(test, measures)

    def train(
        self,
        name: str,
        teachers: Sequence[nn.Module | None] | nn.Module | None,
        students: Sequence[nn.Module],
        data: Sequence[Split] | Split,
        signal: SignalLike | None,
        length: Length,
        *,
        labels_weight: float | None = None,
        judged: bool = True,
        **columns: Any,
    ) -> list[TrainingRecord]:
        """Train one student per seed, and keep their rows unless they are only a stage of something.

        Parameters
        ----------
        name
            Of the method.
        teachers, students, data, signal, labels_weight
            As for `workbench.knowledge.distill_many`.
        length
            Of training.
        columns
            Further columns of these rows.
        """
        trained = distill_many(
            teachers,
            students,
            data,
            signal,
            labels_weight=labels_weight,
            seeds=self.seeds,
            steps=length.steps,
            lr=length.lr,
            device=self.device,
            **{"progress": False, "evaluate_every": 0, "name": name} | dict(length.options),
        )
        if judged:
            size = len(data if isinstance(data, Split) else data[0])
            fixed = {"size": size, "steps": length.steps, "lr": length.lr, **columns}
            self.keep(name, [record.model for record in trained], teachers, **fixed)
            self.records.setdefault((name, fixed["size"], fixed["steps"]), trained[0])
        return trained

    def keep(
        self,
        name: str,
        networks: Sequence[nn.Module],
        teachers: Sequence[nn.Module | None] | nn.Module | None = None,
        **columns: Any,
    ) -> None:
        """StudentMetrics one network per seed, and keep their rows."""
        each = list(teachers) if isinstance(teachers, Sequence) else [teachers] * len(networks)
        for seed, network, teacher in zip(self.seeds, networks, each, strict=True):
            fixed = {"method": name, "size": 0, "steps": 0, "lr": 0.0} | columns
            self.rows.append({**fixed, "seed": seed, **self._judge(network, teacher), **self.columns})

    @property
    def table(self) -> Comparison:
        """The rows, to take means and paired differences of."""
        return Comparison(tuple(self.rows), dict(self.records))
