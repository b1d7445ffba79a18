"""The explorer of Gaussian-process posteriors: what each step of self-distillation believes, and why."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import traitlets
from matplotlib.figure import Figure

from widgets.core.explaining import Step
from widgets.core.explorer import Explorer, name_in_notebook
from widgets.core.jobs import Job
from widgets.core.listening import Listening
from widgets.posterior.classes import ClassificationView
from widgets.posterior.kernels import FITTED
from widgets.posterior.regression import RegressionView
from widgets.posterior.source import Ask, opened
from widgets.posterior.view import View
from workbench.gp import SelfDistilledGPC

LIMIT = "limit"


class PosteriorExplorer(Listening, Explorer):
    """Posterior of a self-distilled Gaussian process, step by step, under sliders.

    Steps, noise and mixing are evaluated in the browser from the eigensystem of the training Gram matrix; kernel,
    length-scale, amplitude and training points go to Python and back.

    Parameters
    ----------
    posterior
        A fitted `SelfDistilledGPR` or `SelfDistilledGPC` (alone, or last in a pipeline or search), or a
        `PosteriorPath`.
    test
        ``(X_test, y_test)``, for errors and calibration over the steps. A path has its own.
    truth
        The noise-free function, from inputs (n, features) to (n,): errors are then measured against it, and bias² and
        variance over resampled noise are exact.
    actions
        As in `FeatureSimilarityExplorer`: names of buttons → functions of a `Job`.
    **options
        `selection` (``{"step": 1… or "limit", "point": number of a training row or None}``), `approach` (``"data"``,
        ``"distribution"`` or ``"both"``), `steps`, `noise`, `mixing`, `kernel`, `length_scale`, `amplitude`, `points`,
        `feature`, `held`, `output`, `fan`, `targets`, `samples`, `equivalent`, `resampled`, and for classification
        `mode`, `show`, `feature_y`, `class_name`; `title`.

    Raises
    ------
    TypeError
        Nothing that has a posterior, an estimator that is not fitted, or an unknown option.

    Examples
    --------
    >>> import numpy as np, workbench as wb
    >>> X = np.linspace(0, 1, 11)[:, None]
    >>> model = wb.gp.SelfDistilledGPR(noise=0.2, steps=6, hyperparameters="fixed").fit(X, np.sin(6 * X[:, 0]))
    >>> explorer = PosteriorExplorer(model, noise=0.5)
    >>> explorer.selection = {"step": 3}
    >>> explorer.spec()
    "widgets.PosteriorExplorer(model, selection={'step': 3}, noise=0.5)"
    >>> explorer.data().columns.tolist()
    ['approach', 'x', 'mean', 'std']
    """

    entry = "posterior/explorer.js"
    sheets = ("parts/base.css", "posterior/explorer.css")

    approach = traitlets.Enum(["data", "distribution", "both"], "data", help="What a step is given.").tag(
        sync=True, setting=True
    )
    steps = traitlets.Int(1, help="How many steps are drawn.").tag(sync=True, setting=True)
    noise = traitlets.Float(None, allow_none=True, help="γ of every step; None: as fitted.").tag(
        sync=True, setting=True
    )
    mixing = traitlets.Float(None, allow_none=True, help="α of every step; None: as fitted.").tag(
        sync=True, setting=True
    )
    kernel = traitlets.Unicode(FITTED, help="Kernel by name, or as fitted.").tag(sync=True, setting=True)
    length_scale = traitlets.Float(None, allow_none=True, help="None: as fitted.").tag(sync=True, setting=True)
    amplitude = traitlets.Float(None, allow_none=True, help="None: as fitted.").tag(sync=True, setting=True)
    points: traitlets.List = traitlets.List(
        default_value=None, allow_none=True, help="Training points [x, y]; None: as fitted."
    ).tag(sync=True, setting=True)
    feature = traitlets.Unicode(help="The feature on the axis.").tag(sync=True, setting=True)
    feature_y = traitlets.Unicode("", help="The feature on the second axis of a map.").tag(sync=True, setting=True)
    held = traitlets.Dict(help="Values of features that are not on an axis; others are at their median.").tag(
        sync=True, setting=True
    )
    output = traitlets.Unicode(help="Which output is drawn.").tag(sync=True, setting=True)
    mode = traitlets.Enum(
        ["duplicate", "scaled", "sequential"],
        "duplicate",
        help="Of the distribution-centric approach to classification.",
    ).tag(sync=True, setting=True)
    show = traitlets.Enum(["probability", "mean", "std"], "probability", help="What a map shows.").tag(
        sync=True, setting=True
    )
    class_name = traitlets.Unicode("", help="Whose probability or latent function a map shows.").tag(
        sync=True, setting=True
    )
    fan = traitlets.Bool(True, help="Draw the means of all steps and of the limit.").tag(sync=True, setting=True)
    targets = traitlets.Bool(True, help="Draw what the step was fitted to.").tag(sync=True, setting=True)
    samples = traitlets.Int(0, help="How many functions are drawn from the posterior.").tag(sync=True, setting=True)
    equivalent = traitlets.Bool(False, help="Overlay the ordinary Gaussian process with the same mean.").tag(
        sync=True, setting=True
    )
    resampled = traitlets.Bool(False, help="Bias² and variance over resampled noise.").tag(sync=True, setting=True)

    def __init__(
        self,
        posterior: Any,
        *,
        test: Any = None,
        truth: Callable[[Any], Any] | None = None,
        actions: Mapping[str, Callable[[Job], Any]] | None = None,
        **options: Any,
    ) -> None:
        model, _, record = opened(posterior)
        self._view: View
        if isinstance(model, SelfDistilledGPC) or (record is not None and record.task == "classification"):
            if truth is not None:
                raise ValueError("truth is a function that a regression estimates; classification has test=(X, y)")
            self._view = ClassificationView(posterior, test)
        else:
            self._view = RegressionView(posterior, test, truth)
        self._turn = threading.Lock()
        self._revision = 0
        content, arrays = self._view.first()
        super().__init__(
            content=content,
            arrays=arrays,
            start={"step": self._view.telling(), "point": None},
            actions=actions,
            **options,
        )
        self._listening = True
        if any(getattr(self, name) != self._defaults[name] for name in self._view.asked):
            self._recompute({})
        name = name_in_notebook(posterior, "path" if record is not None else "model")
        given = {"test": test, "truth": truth}
        more = [f"{key}={_written(value, key)}" for key, value in given.items() if value is not None]
        self.source = ", ".join([name, *more])
        if not self.title:
            self.title = self._view.title()

    # Defaults and checks --------------------------------------------------------------------------------------------

    @traitlets.default("approach")
    def _first_approach(self) -> str:
        return self._view.base.approach

    @traitlets.default("steps")
    def _first_steps(self) -> int:
        return self._view.base.steps

    @traitlets.default("feature")
    def _first_feature(self) -> str:
        return self._view.features[0].name

    @traitlets.default("feature_y")
    def _second_feature(self) -> str:
        return self._view.second_feature()

    @traitlets.default("output")
    def _first_output(self) -> str:
        return self._view.outputs[0]

    @traitlets.default("mode")
    def _first_mode(self) -> str:
        return self._view.base.settings.get("mode", "duplicate")

    @traitlets.default("class_name")
    def _last_class(self) -> str:
        return self._view.outputs[-1] if self._view.base.classes else ""

    @traitlets.validate(
        *[
            name
            for name, trait in list(locals().items())
            if isinstance(trait, traitlets.TraitType)
            and trait.metadata.get("setting")
            and name not in ("show", "fan", "targets", "equivalent")
        ]
    )
    def _valid_setting(self, proposal: Any) -> Any:
        return self._view.checked(proposal.trait.name, proposal.value)

    def _checked_selection(self, selection: dict[str, Any]) -> dict[str, Any]:
        whole = {"step": self.steps, "point": None} | {key: self.selection[key] for key in self.selection} | selection
        if unknown := set(whole) - {"step", "point"}:
            raise traitlets.TraitError(f"selection has no {min(unknown)!r}; it has 'step' and 'point'")
        step, point = whole["step"], whole["point"]
        limit = self._view.has_limit and step == LIMIT
        if not limit and not (isinstance(step, int) and not isinstance(step, bool) and 1 <= step <= self.steps):
            more = f" or {LIMIT!r}" if self._view.has_limit else ""
            raise traitlets.TraitError(f"step is {step!r}; it can be 1 to {self.steps}{more}")
        count = self._view.rows()
        if point is not None and not (isinstance(point, int) and 0 <= point < count):
            raise traitlets.TraitError(f"point is {point!r}; the training rows are 0 to {count - 1}")
        return whole

    @traitlets.observe("steps")
    def _keep_step(self, _: Any) -> None:
        step = self.selection.get("step")
        if isinstance(step, int) and step > self.steps:
            self.selection = {"step": self.steps}

    # Asking the estimator -------------------------------------------------------------------------------------------

    @traitlets.observe(traitlets.All)
    def _asked(self, change: Any) -> None:
        if not self._listening or change.name not in self._view.asked:
            return
        with self.or_back(change):
            self._recompute({})

    def _ask(self, changes: dict[str, Any]) -> dict[str, Any]:
        """The settings that only Python can answer, with `changes` checked and put in."""
        for name in changes:
            if name not in self._view.asked:
                raise ValueError(f"{name!r} is nothing that this view can be asked to change")
        checked = {name: self._view.checked(name, value) for name, value in changes.items()}
        return {name: getattr(self, name) for name in self._view.asked} | checked

    def _recompute(self, changes: dict[str, Any], job: Job | None = None) -> None:
        """Compute what is seen under changed settings, then change all of it at once. The last request wins."""
        with self._turn:
            if job is not None:
                job.progress()
            asked = self._ask(changes)
            points = asked.get("points")
            ask = Ask(**asked | ({"points": tuple(map(tuple, points))} if points is not None else {}))
            content, arrays = self._view.look(ask, job)
            if job is not None:
                job.progress()
            with self.unheard(), self.hold_sync():
                self._revision += 1
                self.arrays, self.content = arrays, content | {"revision": self._revision}
                for name in changes:
                    setattr(self, name, asked[name])
                point = self.selection.get("point")
                if point is not None and point >= self._view.rows():
                    self.selection = {"point": None}

    def _perform(self, name: str, job: Job) -> Any:
        if name == "refit":
            self._recompute(job.details, job)
            return None
        if name == "check":
            return self._view.check(self)
        return super()._perform(name, job)

    # What is seen ---------------------------------------------------------------------------------------------------

    def data(self) -> pd.DataFrame:
        """What is drawn at the selected step: one row per approach and place along the axis (or on the map)."""
        return self._view.data(self)

    def summary(self) -> str:
        return self._view.summary(self)

    def explain(self) -> list[Step]:
        return self._view.explain(self)

    def figure(self) -> Figure:
        return self._view.figure(self)


def _written(value: Any, fallback: str) -> str:
    """How the code view writes an argument: by the notebook's names."""
    if isinstance(value, tuple):
        names = [name_in_notebook(item, f"{letter}_test") for item, letter in zip(value, "Xy", strict=False)]
        return f"({', '.join(names)})"
    return name_in_notebook(value, fallback)
