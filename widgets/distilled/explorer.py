"""The explorer of distilled sets: what the images are, how they came to be, and how sets differ."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import traitlets
from matplotlib.figure import Figure
from torch import nn

from widgets.core.checks import require_known, require_records
from widgets.core.explaining import Step
from widgets.core.explorer import Explorer, name_in_notebook
from widgets.core.jobs import Job
from widgets.distilled import actions as computing
from widgets.distilled import explain, picture, view
from widgets.distilled.content import content_of
from widgets.distilled.findings import SCORES, Findings, scores_of
from widgets.distilled.lens import LENS_STATE, LensTraits
from widgets.distilled.view import MOMENT, NEAREST, NOTHING, START
from workbench.data import Dataset, Split
from workbench.records import DistilledEvaluation, DistilledLooks, DistilledSet, TemperatureScaling, TrainingRecord


class DistilledImagesExplorer(LensTraits, Explorer):
    """Atlas of the images by class through the history of their distillation, compared with moments, sets, real images.

    Parameters
    ----------
    sets
        One distilled set, or several of images of one shape and the same classes.
    data
        The data they stand for, as a `Dataset` or a `Split`: real images to compare with, and to train and test on.
    looks
        `DistilledLooks` of the set; for several sets a list with one or None each, or a dict by set name.
    evaluation
        `DistilledEvaluation` of the set; for several sets as `looks`, or one that carries the name of its set.
    scaling
        `TemperatureScaling` of the set, made by `workbench.condensation.calibrate`; for several sets as `looks`.
    network
        Whose attributions are asked for: a network of the user's own, or the record of one.
    actions
        Further buttons: a name → a function of a `Job`.
    **options
        `selection` (``{"set", "iteration", "images", "moment"}``: which set, when, the rows of the selected images, and
        the other moment of a comparison), `sort`, `descending`, `by_class`, `classes` (names; empty: all), `against`,
        `compare`, `full_range`, `curve`, `panel` (``"images"`` or ``"teaching"``), `title`; of one image `attribution`
        (``{"method", "target", "baseline", "network"}``, the target ``"label"``, ``"predicted"`` or a class number),
        `opacity`, `pixel_values`; of what it teaches `training` (``{"networks", "seeds", "epochs", "references"}``),
        `judged` (whose figures are shown), `scaled` (whose temperatures), `left_out` (rows by set
        name).

    Raises
    ------
    TypeError
        An unknown option, an empty list, or something that is no distilled set.
    ValueError
        Sets of different shapes or classes, or looks and evaluations that do not belong to the sets.

    Examples
    --------
    >>> import torch
    >>> tiny = DistilledSet(name="tiny", method="DM", images=torch.zeros(2, 1, 4, 4), labels=torch.tensor([0, 1]),
    ...                     classes=("cat", "dog"), mean=torch.zeros(1, 1, 1), std=torch.ones(1, 1, 1))
    >>> explorer = DistilledImagesExplorer(tiny)
    >>> explorer.selection = {"images": [1]}
    >>> explorer.spec()
    "widgets.DistilledImagesExplorer(tiny, selection={'images': [1]})"
    >>> explorer.data()["class"].tolist()
    ['cat', 'dog']
    """

    entry = "distilled/explorer.js"
    sheets = (
        "parts/base.css",
        "parts/matrix.css",
        "parts/chart.css",
        "distilled/explorer.css",
        "distilled/lens.css",
    )

    sort = traitlets.Unicode("class", help="What the images are ordered by.").tag(sync=True, setting=True)
    descending = traitlets.Bool(False, help="The largest first.").tag(sync=True, setting=True)
    by_class = traitlets.Bool(True, help="Keep the images of a class together.").tag(sync=True, setting=True)
    classes: traitlets.List = traitlets.List(traitlets.Unicode(), help="Classes shown; empty: all.").tag(
        sync=True, setting=True
    )
    against = traitlets.Unicode(NOTHING, help="What the images are compared with.").tag(sync=True, setting=True)
    compare = traitlets.Enum(
        ["side by side", "flicker", "difference"], "side by side", help="How two things are compared."
    ).tag(sync=True, setting=True)
    full_range = traitlets.Bool(False, help="Black to white span all values, not 0 to 1.").tag(sync=True, setting=True)
    curve = traitlets.Unicode("loss", help="Which curve the timeline shows beside the accuracy.").tag(
        sync=True, setting=True
    )
    panel = traitlets.Enum(["images", "teaching"], "images", help="What the stage shows.").tag(sync=True, setting=True)
    findings = traitlets.Dict(help="Looks and evaluations, as they become known.").tag(sync=True)
    findings_arrays = traitlets.Dict(help="The arrays that `findings` refers to.").tag(sync=True)

    def __init__(
        self,
        sets: DistilledSet | Sequence[DistilledSet],
        data: Dataset | Split | None = None,
        looks: DistilledLooks | Sequence[DistilledLooks | None] | Mapping[str, DistilledLooks] | None = None,
        evaluation: DistilledEvaluation
        | Sequence[DistilledEvaluation | None]
        | Mapping[str, DistilledEvaluation]
        | None = None,
        network: nn.Module | TrainingRecord | None = None,
        *,
        scaling: TemperatureScaling
        | Sequence[TemperatureScaling | None]
        | Mapping[str, TemperatureScaling]
        | None = None,
        actions: Mapping[str, Callable[[Job], Any]] | None = None,
        **options: Any,
    ) -> None:
        several = [sets] if isinstance(sets, DistilledSet) else list(sets)
        require_records("DistilledImagesExplorer", several, DistilledSet)
        self._sets = _named(several)
        _check_alike(self._sets)
        _check_data(data, several[0])
        self.dataset = data
        self.network = network
        self.known = Findings.given(self._sets, looks, evaluation, scaling)
        content, arrays = content_of(self._sets, data)
        self._content = content
        super().__init__(content=content, arrays=arrays, start=self._nothing(), actions=actions, **options)
        self.publish()
        given = {"data": data, "looks": looks, "evaluation": evaluation, "network": network, "scaling": scaling}
        self.source = _source(sets, several, **given)
        if not self.title:
            names = list(self._sets)
            self.title = f"Images distilled by {names[0]}" if len(names) == 1 else f"{len(names)} distilled sets"

    # What other parts ask for ---------------------------------------------------------------------------------------

    @property
    def sets(self) -> dict[str, DistilledSet]:
        """The distilled sets by the names that the view shows."""
        return dict(self._sets)

    @property
    def record(self) -> DistilledSet:
        """The set that is shown."""
        return self._sets[self.selection["set"]]

    def record_classes(self) -> tuple[str, ...]:
        """The class names; all sets share them."""
        return self.record.classes

    def publish(self) -> None:
        """Send what is known now (`known`) to the browser; pixels are not sent again."""
        plain, arrays = self.known.content()
        attributed, heats = self.known.attributed()
        with self.hold_sync():  # what is as it was does not travel
            self.findings_arrays, self.findings = arrays, plain
            self.attributions_arrays, self.attributions = heats, attributed

    # Checks ---------------------------------------------------------------------------------------------------------

    def _nothing(self) -> dict[str, Any]:
        name = next(iter(self._sets))
        moments = self._moments(name)
        return {"set": name, "iteration": moments[-1], "images": [], "moment": moments[0]}

    def _moments(self, name: str) -> list[int]:
        return next(item["iterations"] for item in self._content["sets"] if item["name"] == name)

    def _checked_selection(self, selection: dict[str, Any]) -> dict[str, Any]:
        start = self._nothing()
        require_known("selection key", list(selection), list(start), several=True)
        whole = start | {key: self.selection[key] for key in start if key in self.selection} | selection
        require_known("set", [whole["set"]], list(self._sets))
        moments = self._moments(whole["set"])
        other = self.selection.get("set", whole["set"]) != whole["set"]
        for key, position in (("iteration", -1), ("moment", 0)):
            if whole[key] not in moments and other and key not in selection:
                whole[key] = moments[position]  # another set was loaded, and its history has other iterations
            require_known(key, [whole[key]], moments)
        count = len(self._sets[whole["set"]])
        if not isinstance(whole["images"], (list, tuple)):
            raise traitlets.TraitError(f"images is {whole['images']!r}; a list of rows in 0..{count - 1} is needed")
        if other and "images" not in selection:
            whole["images"] = [row for row in whole["images"] if row < count]
        for row in whole["images"]:
            if isinstance(row, bool) or not isinstance(row, int) or not 0 <= row < count:
                raise traitlets.TraitError(f"images has {row!r}; the set {whole['set']!r} has images 0 to {count - 1}")
        return whole | {"images": list(dict.fromkeys(whole["images"]))}

    @traitlets.validate("sort")
    def _valid_sort(self, proposal: Any) -> str:
        require_known("sort", [proposal.value], ["class", *self.scores()])
        return proposal.value

    @traitlets.validate("classes")
    def _valid_classes(self, proposal: Any) -> list[str]:
        require_known("class", list(proposal.value), self._content["classes"], several=True)
        return list(dict.fromkeys(proposal.value))

    @traitlets.validate("against")
    def _valid_against(self, proposal: Any) -> str:
        require_known("against", [proposal.value], self.comparable())
        return proposal.value

    @traitlets.validate("curve")
    def _valid_curve(self, proposal: Any) -> str:
        names = list(dict.fromkeys(name for item in self._content["sets"] for name in item["curves"]))
        if names:
            require_known("curve", [proposal.value], names)
        return proposal.value

    def scores(self) -> list[str]:
        """What the images can be sorted by, beside their class: what any set has."""
        known = {name for item in self.known.looks.values() for name in scores_of(item)}
        if any("nearest" in item["real"] for item in self._content["sets"]):
            known.add("nearest_pixels")
        return [name for name in SCORES if name in known]

    def comparable(self) -> list[str]:
        """What the images can be compared with."""
        found = [NOTHING]
        if any(len(item["iterations"]) > 1 for item in self._content["sets"]):
            found.append(MOMENT)
        kinds = {kind for item in self._content["sets"] for kind in item["real"]}
        found += [label for kind, label in (("nearest", NEAREST), ("start", START)) if kind in kinds]
        return found + (list(self._sets) if len(self._sets) > 1 else [])

    # What is seen ---------------------------------------------------------------------------------------------------

    def data(self) -> pd.DataFrame:
        """What is seen, in the order in which it is seen: one row per image, with its scores and if it is selected."""
        return view.images(self)

    def table(self) -> pd.DataFrame:
        """The sets beside one another: one row per set, with its accuracy per network where it was evaluated."""
        return view.sets(self)

    def summary(self) -> str:
        return view.summary(self)

    def explain(self) -> list[Step]:
        return explain.steps(self)

    def figure(self) -> Figure:
        return picture.draw(self)

    def _perform(self, name: str, job: Job) -> Any:
        if name in computing.ACTIONS:
            return computing.perform(self, name, job)
        return super()._perform(name, job)

    def _state_names(self) -> list[str]:
        return [*super()._state_names(), "findings", "findings_arrays", *LENS_STATE]


def _named(sets: Sequence[DistilledSet]) -> dict[str, DistilledSet]:
    """The sets by name, numbered where a name repeats or means something else in a comparison."""
    names = [item.name or item.method for item in sets]
    taken = {NOTHING, MOMENT, NEAREST, START}
    found: dict[str, DistilledSet] = {}
    for k, (name, item) in enumerate(zip(names, sets, strict=True)):
        again = names.count(name) > 1 or name in taken
        found[f"{name} ({names[:k].count(name) + 1})" if again else name] = item
    if len(found) < len(sets):
        raise ValueError(f"sets are called {', '.join(names)}: give each a name of its own")
    return found


def _check_alike(sets: Mapping[str, DistilledSet]) -> None:
    (first, one), *others = sets.items()
    for name, item in others:
        if item.images.shape[1:] != one.images.shape[1:]:
            shapes = ["×".join(map(str, record.images.shape[1:])) for record in (one, item)]
            raise ValueError(
                f"the set {first!r} has images {shapes[0]}, the set {name!r} {shapes[1]}; one explorer shows images of "
                "one shape: open each by itself"
            )
        if item.classes != one.classes:
            raise ValueError(
                f"the sets {first!r} ({len(one.classes)} classes) and {name!r} ({len(item.classes)}) have different "
                "classes: open each by itself"
            )


def _check_data(data: object, record: DistilledSet) -> None:
    if data is None:
        return
    if not isinstance(data, (Dataset, Split)):
        raise TypeError(f"data is a {type(data).__name__}; a Dataset or a Split of one is needed")
    split = data.train if isinstance(data, Dataset) else data
    if split.shape != tuple(record.images.shape[1:]) or split.classes != record.classes:
        shapes = ["×".join(map(str, shape)) for shape in (split.shape, record.images.shape[1:])]
        raise ValueError(
            f"data has {shapes[0]} inputs of {len(split.classes)} classes, the distilled set {shapes[1]} of "
            f"{len(record.classes)}: pass the data that it was distilled from"
        )


def _source(sets: Any, several: Sequence[DistilledSet], **given: Any) -> str:
    """How the code view writes the records: by the notebook's names."""
    names = [name_in_notebook(item, "tiny" if len(several) == 1 else f"tiny_{k + 1}") for k, item in enumerate(several)]
    listed = names[0] if isinstance(sets, DistilledSet) else name_in_notebook(sets, f"[{', '.join(names)}]")
    return ", ".join(
        [listed, *(f"{key}={name_in_notebook(value, key)}" for key, value in given.items() if value is not None)]
    )
