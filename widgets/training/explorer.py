"""The explorer of training records: how several runs went, epoch by epoch and class by class."""

import difflib
from collections.abc import Sequence
from typing import Any

import pandas as pd
import traitlets
from matplotlib.figure import Figure

from widgets.core.arrays import Arrays
from widgets.core.checks import require_records
from widgets.core.explaining import Step
from widgets.core.explorer import Explorer, name_in_notebook
from widgets.training import explain, picture
from workbench.records import TrainingRecord

DASHES = ((), (7, 3), (2, 3), (9, 3, 2, 3))


class TrainingExplorer(Explorer):
    """Curves of several runs under one cursor, with accuracy per class there and a reliability diagram.

    Parameters
    ----------
    records
        One training record, or several.
    roles
        For each record ``"teacher"`` (blue), ``"student"`` (orange) or ``"other"``; by default read off the names, the
        first "teacher" and the first "student" in them.
    **options
        `selection` (``{"epoch", "run"}``; `run` is a name, or None for all), `metric`, `training_curve`, `logarithmic`,
        `title`.

    Raises
    ------
    TypeError
        An unknown option, or something that is no training record.
    ValueError
        A record without a single epoch, or roles that do not fit the records.

    Examples
    --------
    >>> import torch
    >>> run = TrainingRecord(name="teacher", curves={"test_accuracy": torch.tensor([0.5, 0.9])}, state={})
    >>> explorer = TrainingExplorer(run)
    >>> explorer.selection = {"epoch": 1}
    >>> explorer.summary()
    'Accuracy at epoch 1: teacher 50.0 %'
    """

    entry = "training/explorer.js"
    sheets = ("parts/base.css", "parts/matrix.css", "parts/chart.css")
    libraries = ("Plotly",)

    metric = traitlets.Unicode(help="Which curves are drawn.").tag(sync=True, setting=True)
    training_curve = traitlets.Bool(True, help="Draw the training curve beside the test curve.").tag(
        sync=True, setting=True
    )
    logarithmic = traitlets.Bool(False, help="Logarithmic scale for losses.").tag(sync=True, setting=True)

    def __init__(
        self, records: TrainingRecord | Sequence[TrainingRecord], *, roles: Sequence[str] | None = None, **options: Any
    ) -> None:
        several = [records] if isinstance(records, TrainingRecord) else list(records)
        require_records("TrainingExplorer", several, TrainingRecord)
        for item in several:
            if not item.epochs:
                raise ValueError(
                    f"the record {item.name or 'without a name'!r} holds no finished epoch: there is nothing to draw"
                )
        self._names = _distinct([item.name or (item.spec or {}).get("name", "run") for item in several])
        self._records = dict(zip(self._names, several, strict=True))
        arrays = Arrays()
        self._content = _content(self._records, _roles(self._names, roles), arrays)
        super().__init__(
            content=self._content,
            arrays=arrays.packed,
            start={"epoch": _telling(self._records), "run": None},
            **options,
        )
        names = [
            name_in_notebook(item, "run" if len(several) == 1 else f"run_{k + 1}") for k, item in enumerate(several)
        ]
        listed = names[0] if isinstance(records, TrainingRecord) else name_in_notebook(records, f"[{', '.join(names)}]")
        self.source = listed if roles is None else f"{listed}, roles={list(roles)!r}"
        if not self.title:
            self.title = f"Training of {self._names[0]}" if len(several) == 1 else f"{len(several)} training runs"

    @traitlets.default("metric")
    def _first_metric(self) -> str:
        return self._content["metrics"][0]["value"]

    def _checked_selection(self, selection: dict[str, Any]) -> dict[str, Any]:
        whole: dict[str, Any] = {"epoch": _telling(self._records), "run": None}
        if stray := selection.keys() - whole.keys():
            raise traitlets.TraitError(f"selection has no key {min(stray)!r}; it has 'epoch' and 'run'")
        whole |= {key: self.selection[key] for key in whole if key in self.selection} | selection
        epochs = self._content["epochs"]
        if whole["epoch"] not in epochs:
            raise traitlets.TraitError(
                f"epoch is {whole['epoch']!r}; these runs have epochs {epochs[0]} to {epochs[-1]}"
            )
        if whole["run"] is not None and whole["run"] not in self._names:
            near = difflib.get_close_matches(str(whole["run"]), self._names, n=1, cutoff=0.3)
            raise traitlets.TraitError(
                f"run is {whole['run']!r}; "
                + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(self._names)}")
            )
        return whole

    @traitlets.validate("metric")
    def _valid_metric(self, proposal: Any) -> str:
        have = [metric["value"] for metric in self._content["metrics"]]
        if proposal.value not in have:
            raise traitlets.TraitError(f"metric is {proposal.value!r}; these records have {', '.join(have)}")
        return proposal.value

    @property
    def records(self) -> dict[str, TrainingRecord]:
        """The records by the names that the legend shows."""
        return dict(self._records)

    @property
    def shown(self) -> dict[str, Any]:
        """The metric shown now: its value, label, unit, main curve, training curve and whether it is a share."""
        return next(metric for metric in self._content["metrics"] if metric["value"] == self.metric)

    def data(self) -> pd.DataFrame:
        """One row per run and epoch: `run`, `epoch` and the curves of the metric shown."""
        names = [name for name in (self.shown["main"], self.shown["beside"]) if name]
        frames = []
        for run, record in self._records.items():
            curves = {
                name: record.curves[name].detach().cpu().numpy().astype(float)
                for name in names
                if name in record.curves
            }
            frames.append(pd.DataFrame({"run": run, "epoch": range(1, record.epochs + 1), **curves}))
        return pd.concat(frames, ignore_index=True)

    def summary(self) -> str:
        epoch = self.selection["epoch"]
        parts = []
        for run, record in self._records.items():
            curve = record.curves.get(self.shown["main"])
            value = None if curve is None or epoch > len(curve) else float(curve[epoch - 1])
            parts.append(
                f"{run} {'–' if value is None else f'{100 * value:.1f} %' if self.shown['share'] else f'{value:.3f}'}"
            )
        return f"{self.shown['label']} at epoch {epoch}: {', '.join(parts)}"

    def explain(self) -> list[Step]:
        return explain.steps(self)

    def figure(self) -> Figure:
        return picture.draw(self)


def _roles(names: Sequence[str], given: Sequence[str] | None) -> list[str]:
    if given is not None:
        if len(given) != len(names) or not set(given) <= {"teacher", "student", "other"}:
            raise ValueError(
                f"roles is {list(given)!r}; it needs one of 'teacher', 'student', 'other' "
                f"for each of the {len(names)} records"
            )
        return list(given)
    roles = ["other"] * len(names)
    for role in ("teacher", "student"):
        first = next((k for k, name in enumerate(names) if role in name.lower()), None)
        if first is not None:
            roles[first] = role
    return roles


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, numbered where several are the same: a legend must tell its curves apart."""
    return [
        f"{name} ({list(names[:k]).count(name) + 1})" if list(names).count(name) > 1 else name
        for k, name in enumerate(names)
    ]


def _content(records: dict[str, TrainingRecord], roles: Sequence[str], arrays: Arrays) -> dict[str, Any]:
    runs: list[dict[str, Any]] = []
    for (name, record), role in zip(records.items(), roles, strict=True):
        others = sum(run["role"] == "other" for run in runs)
        found = record.calibration
        runs.append(
            {
                "name": name,
                "role": role,
                "other": others,
                "dash": list(DASHES[(1 + others) % len(DASHES)]) if role == "other" else [],
                "curves": {key: arrays.add(curve, "float32") for key, curve in record.curves.items()},
                "epochs": record.epochs,
                "interrupted": record.interrupted,
                "per_class": None
                if record.per_class_accuracy is None
                else arrays.add(record.per_class_accuracy, "float32"),
                "calibration": None
                if found is None
                else {
                    "confidence": arrays.add(found.confidence, "float32"),
                    "accuracy": arrays.add(found.accuracy, "float32"),
                    "count": arrays.add(found.count, "int32"),
                    "ece": float(found.ece),
                    "nll": float(found.nll),
                },
            }
        )
    longest = max(record.epochs for record in records.values())
    classes = max((record.classes for record in records.values()), key=len)
    return {"runs": runs, "classes": list(classes), "epochs": list(range(1, longest + 1)), "metrics": _metrics(records)}


def _telling(records: dict[str, TrainingRecord]) -> int:
    """The epoch to open at: where the best of the runs is best on the test split; the last where none was tested."""
    tested = [record.curves["test_accuracy"] for record in records.values() if "test_accuracy" in record.curves]
    if not tested:
        return max(record.epochs for record in records.values())
    return int(max(tested, key=lambda curve: float(curve.max())).argmax()) + 1


def _metrics(records: dict[str, TrainingRecord]) -> list[dict[str, Any]]:
    """What the switch offers: accuracy, loss, then every other curve that a run logged."""
    names = list(dict.fromkeys(key for record in records.values() for key in record.curves))
    metrics = []
    for value, label, unit, share in (("accuracy", "Accuracy", "", True), ("loss", "Loss", "nats", False)):
        main = next((name for name in (f"test_{value}", f"train_{value}") if name in names), None)
        if main:
            beside = f"train_{value}" if main.startswith("test_") and f"train_{value}" in names else None
            metrics.append(
                {"value": value, "label": label, "unit": unit, "main": main, "beside": beside, "share": share}
            )
    told = {name for metric in metrics for name in (metric["main"], metric["beside"])}
    metrics += [
        {
            "value": name,
            "label": name.replace("_", " ").capitalize(),
            "unit": "",
            "main": name,
            "beside": None,
            "share": "accuracy" in name,
        }
        for name in names
        if name not in told
    ]
    return metrics
