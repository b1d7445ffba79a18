"""The explorer of diffusion targets: what teacher and students believe the final image to be, and when they decide."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import traitlets
from matplotlib.figure import Figure

from widgets.checks import require_known, require_records
from widgets.explorer import Explorer, name_in_notebook
from widgets.jobs import Job
from widgets.targets.actions import ACTIONS
from widgets.targets.content import content_of, named
from widgets.targets.panel import PANEL_SETTINGS, PANEL_STATE, PanelTraits
from workbench.diffusion import Denoiser
from workbench.records import HandOver, TargetTrajectories

SAMPLE = "sample"
"""The step after the last one: what came out."""


class TargetTrajectoryExplorer(PanelTraits, Explorer):
    """Diffusion targets x̂₀ of one or several sampling runs: as a strip of pictures, and as points that move in a plane.

    Parameters
    ----------
    records
        One run, or several of the same seeds and shape: teacher, students, hybrids.
    teacher
        The model of the first run of role ``"teacher"``: its density and field are drawn, and it can be asked again.
    students
        The models of the runs of role ``"student"``: one, a list in the order of the runs, or a dict by run name.
    hand_over
        What happens when the base hands over to the student, `workbench.diffusion.hand_over`.
    models
        Models of further runs by run name.
    actions
        Further buttons: a name → a function of a `Job`.
    **options
        `selection` (``{"step": 1… or "sample", "seeds": rows, "run": whose steps are counted, "switch": hand-over}``),
        `view` (``"plane"``, ``"strip"`` or ``"hand-over"``), `title`.

    Raises
    ------
    TypeError
        An unknown option, an empty list, or something that is no `TargetTrajectories`.
    ValueError
        Runs of different shapes or numbers of seeds.
    """

    entry = "targets/explorer.js"
    sheets = ("parts/base.css", "targets/explorer.css", "targets/panel.css")
    settings = ("selection", "view", *PANEL_SETTINGS)

    view = traitlets.Enum(["plane", "strip", "hand-over"], "plane", help="What the stage shows.").tag(sync=True)

    def __init__(
        self,
        records: TargetTrajectories | Sequence[TargetTrajectories],
        teacher: Denoiser | None = None,
        students: Denoiser | Sequence[Denoiser] | Mapping[str, Denoiser] | None = None,
        hand_over: HandOver | None = None,
        models: Mapping[str, Denoiser] | None = None,
        *,
        actions: Mapping[str, Callable[[Job], Any]] | None = None,
        **options: Any,
    ) -> None:
        several = [records] if isinstance(records, TargetTrajectories) else list(records)
        require_records("TargetTrajectoryExplorer", several, TargetTrajectories)
        self._runs = named(several)
        self.teacher = teacher
        self.record_hand_over = hand_over
        self.models = dict(models or {})
        self._revision = 0
        content, arrays = content_of(self._runs, self.models)
        super().__init__(content=content, arrays=arrays, start=self._nothing(), actions=actions, **options)
        self.source = name_in_notebook(records, "run")
        if not self.title:
            self.title = "Diffusion targets"

    @property
    def runs(self) -> dict[str, TargetTrajectories]:
        """The runs by the names that the view shows."""
        return dict(self._runs)

    @property
    def run(self) -> TargetTrajectories:
        """The run whose steps the timeline counts."""
        return self._runs[self.selection["run"]]

    def show_runs(self, runs: Mapping[str, TargetTrajectories]) -> None:
        """Put other runs in place of those of the same names, and add the rest; the selection stays where it can."""
        self._runs = self._runs | dict(runs)
        self._revision += 1
        content, arrays = content_of(self._runs, self.models, self._revision)
        with self.hold_sync():
            self.arrays, self.content = arrays, content
            step = self.selection["step"]
            if step != SAMPLE and step > self.run.steps:
                self.selection = {"step": SAMPLE}

    def _nothing(self) -> dict[str, Any]:
        clock = max(self._runs, key=lambda name: self._runs[name].steps)
        return {"step": 1, "seeds": [], "run": clock, "switch": None}

    def _checked_selection(self, selection: dict[str, Any]) -> dict[str, Any]:
        start = self._nothing()
        require_known("selection key", list(selection), list(start), several=True)
        whole = start | {key: self.selection[key] for key in start if key in self.selection} | selection
        require_known("run", [whole["run"]], list(self._runs))
        steps, step = self._runs[whole["run"]].steps, whole["step"]
        moved = self.selection.get("run", whole["run"]) != whole["run"]
        if moved and "step" not in selection and step != SAMPLE:
            step = whole["step"] = min(step, steps)
        if step != SAMPLE and (isinstance(step, bool) or not isinstance(step, int) or not 1 <= step <= steps):
            raise traitlets.TraitError(f"step is {step!r}; it can be 1 to {steps} or {SAMPLE!r}")
        count = len(self.run if "run" in self.selection else next(iter(self._runs.values())))
        if not isinstance(whole["seeds"], (list, tuple)):
            raise traitlets.TraitError(f"seeds is {whole['seeds']!r}; a list of rows in 0..{count - 1} is needed")
        for seed in whole["seeds"]:
            if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < count:
                raise traitlets.TraitError(f"seeds has {seed!r}; the runs have seeds 0 to {count - 1}")
        return whole | {"seeds": list(dict.fromkeys(whole["seeds"])), "switch": self.checked_switch(whole["switch"])}

    def data(self) -> pd.DataFrame:
        raise NotImplementedError

    def summary(self) -> str:
        return self.run.summary()

    def figure(self) -> Figure:
        raise NotImplementedError

    def _perform(self, name: str, job: Job) -> Any:
        if name in ACTIONS:
            return ACTIONS[name](self, job)
        return super()._perform(name, job)

    def _state_names(self) -> list[str]:
        return [*super()._state_names(), *PANEL_STATE]
