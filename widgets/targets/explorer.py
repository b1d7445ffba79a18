"""The explorer of diffusion targets: what teacher and students believe the final image to be, and when they decide."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import traitlets
from matplotlib.figure import Figure

from widgets.core.checks import require_known, require_records
from widgets.core.explaining import Step
from widgets.core.explorer import Explorer, name_in_notebook
from widgets.core.jobs import Job
from widgets.targets import explain, picture, view
from widgets.targets.actions import ACTIONS
from widgets.targets.content import content_of, is_images
from widgets.targets.given import Model, asked, check_alike, models_of, named
from widgets.targets.hand_over import view as hand_over_view
from widgets.targets.panel import PANEL_STATE, PanelTraits
from widgets.targets.timeline import measures
from widgets.targets.timeline.measures import MEASURES
from widgets.targets.view import SAMPLE
from workbench.diffusion.trajectories.measures import errors, measured
from workbench.records import HandOver, TargetTrajectories


class TargetTrajectoryExplorer(PanelTraits, Explorer):
    """Diffusion targets x̂₀ of one or several sampling runs: as a strip of pictures, and as points that move in a plane.

    Parameters
    ----------
    records
        One run, or several of the same seeds and shape: teacher, students, hybrids.
    teacher
        The model of the first run of role ``"teacher"``, or the record of one that was trained: its density and field
        are drawn, and it can be asked again.
    students
        The models of the runs of role ``"student"``: one, a list in the order of the runs, or a dict by run name.
    hand_over
        What happens when the base hands over to the student, `workbench.diffusion.hand_over`.
    models
        Models of further runs by run name.
    adapter
        A low-rank change, `workbench.records.Adapter`, that a slider puts on every model that has its layers.
    actions
        Further buttons: a name → a function of a `Job`.
    **options
        `selection` (``{"step": 1… or "sample", "seeds": rows, "run": whose steps are counted, "switch": hand-over}``),
        `view` (``"plane"``, ``"strip"`` or ``"hand-over"``); of the plane `show` (``"targets"`` or ``"states"``),
        `arrange` (``"side by side"`` or ``"together"``), `field` (``"nothing"``, ``"velocity"`` or ``"score"``),
        `density`, `colour` (``"model"`` or ``"class"``), `paths`; of the strip `rows`, `ghost`, `all_steps`; `curve` of
        the timeline; of sampling again `sampling` (run → ``{"sampler", "steps", "guidance"}``, as far as they differ),
        `adapter_scale`, `tuned`, `launched` and `launch_class`; of the hand-over `sharing`; `title`.

    Raises
    ------
    TypeError
        An unknown option, an empty list, or something that is no `TargetTrajectories`.
    ValueError
        Runs of different shapes or numbers of seeds, or a model that does not fit its run.

    Examples
    --------
    >>> import torch
    >>> from workbench import diffusion
    >>> noise = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    >>> base = diffusion.target_trajectories(diffusion.ring(), noise, steps=20, name="base", role="teacher")
    >>> explorer = TargetTrajectoryExplorer(base, teacher=diffusion.ring())
    >>> explorer.selection = {"step": 1, "seeds": [3]}
    >>> explorer.summary()
    'Diffusion targets of 64 seeds; base: step 1 of 20, t = 0.999, 50% committed; 1 selected'
    >>> explorer.data().columns.tolist()
    ['run', 'step', 'time', 'seed', 'selected', 'x', 'y', 'target_x', 'target_y', 'distance']
    """

    entry = "targets/explorer.js"
    sheets = (
        "parts/base.css",
        "parts/matrix.css",
        "parts/chart.css",
        "targets/explorer.css",
        "targets/panel.css",
    )

    view = traitlets.Enum(["plane", "strip", "hand-over"], help="What the stage shows.").tag(sync=True, setting=True)
    show = traitlets.Enum(["targets", "states"], "targets", help="What the points of the plane are.").tag(
        sync=True, setting=True
    )
    arrange = traitlets.Enum(
        ["side by side", "together"], "side by side", help="A plane for each run, or one for all."
    ).tag(sync=True, setting=True)
    field = traitlets.Enum(["nothing", "velocity", "score"], "nothing", help="Arrows of the plane.").tag(
        sync=True, setting=True
    )
    density = traitlets.Bool(True, help="Shade the plane by the density of the data, or of the noisy data.").tag(
        sync=True, setting=True
    )
    colour = traitlets.Enum(["model", "class"], "model", help="What the colour of a point means.").tag(
        sync=True, setting=True
    )
    paths = traitlets.Bool(True, help="Draw the paths of the selected seeds.").tag(sync=True, setting=True)
    rows = traitlets.Int(4, help="How many seeds the strip shows where none is selected.").tag(sync=True, setting=True)
    ghost = traitlets.Bool(True, help="Show the noisy state under each target.").tag(sync=True, setting=True)
    all_steps = traitlets.Bool(False, help="Show every step in the strip, however small.").tag(sync=True, setting=True)
    curve = traitlets.Enum(list(MEASURES), "commitment", help="Which curve the timeline shows.").tag(
        sync=True, setting=True
    )
    curves = traitlets.Dict(help="What was measured of each run, by run and measure.").tag(sync=True)
    curves_arrays = traitlets.Dict(help="The arrays that `curves` refers to.").tag(sync=True)
    measurable = traitlets.List(traitlets.Unicode(), help="Runs whose step error can be computed.").tag(sync=True)

    def __init__(
        self,
        records: TargetTrajectories | Sequence[TargetTrajectories],
        teacher: Model | None = None,
        students: Model | Sequence[Model] | Mapping[str, Model] | None = None,
        hand_over: HandOver | None = None,
        models: Mapping[str, Model] | None = None,
        *,
        actions: Mapping[str, Callable[[Job], Any]] | None = None,
        **options: Any,
    ) -> None:
        several = [records] if isinstance(records, TargetTrajectories) else list(records)
        require_records("TargetTrajectoryExplorer", several, TargetTrajectories)
        self._runs = named(several)
        check_alike(self._runs)
        self.teacher = None if teacher is None else asked(teacher, "teacher")
        self.models = models_of(self._runs, self.teacher, students, models)
        self.handed = hand_over
        self.known = {name: measured(run) for name, run in self._runs.items()}
        self._revision = 0
        content, arrays = content_of(self._runs, self.models, self.teacher)
        super().__init__(content=content, arrays=arrays, start=self._nothing(), actions=actions, **options)
        self._publish_curves()
        given: dict[str, Any] = {"teacher": teacher, "students": students, "hand_over": hand_over, "models": models}
        given["adapter"] = self.adapter
        self.source = _source(records, several, **given)
        if not self.title:
            names = list(self._runs)
            self.title = f"What {names[0]} believes" if len(names) == 1 else f"What {len(names)} samplers believe"

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
        together = self._runs | dict(runs)
        check_alike(together)
        self.known |= {name: measured(run) for name, run in runs.items()}
        content, arrays = content_of(together, self.models, self.teacher, self._revision + 1)
        self._runs, self._revision = together, self._revision + 1
        step = self.selection["step"]
        with self.hold_sync():
            self.arrays, self.content = arrays, content
            self._publish_curves()
            if step != SAMPLE and step > self.run.steps:
                self.selection = {"step": SAMPLE}

    def _publish_curves(self) -> None:
        plain, arrays = measures.packed(self.known)
        with self.hold_sync():
            self.curves_arrays, self.curves = arrays, plain
            self.measurable = measures.measurable(self._runs, self.models, self.known)

    def measure(self, watch: Callable[[float, str], None] = lambda _share, _name: None) -> pd.DataFrame:
        """Follow the exact flow beside every run that has a model and one path; returns `table` with their errors.

        Each step is compared with the flow from its own beginning (``error``) and from that of the run (``drift``),
        for the first 64 seeds. `watch` is told how much is done and which run is next; what it raises ends the work.
        """
        wanted = list(self.measurable)
        for k, name in enumerate(wanted):
            watch(k / len(wanted), name)
            self.known[name] = self.known[name] | errors(self._runs[name], self.models[name])
        watch(1.0, "")
        self._publish_curves()
        return self.table()

    # Checks ---------------------------------------------------------------------------------------------------------

    @traitlets.default("view")
    def _first_view(self) -> str:
        return "strip" if is_images(next(iter(self._runs.values()))) else "plane"

    @traitlets.validate("rows")
    def _valid_rows(self, proposal: Any) -> int:
        if not 1 <= proposal.value <= 64:
            raise traitlets.TraitError(f"rows is {proposal.value}; the strip shows 1 to 64 seeds")
        return proposal.value

    def _nothing(self) -> dict[str, Any]:
        clock = max(self._runs, key=lambda name: self._runs[name].steps)
        return {"step": (self._runs[clock].steps + 1) // 2, "seeds": [], "run": clock, "switch": self.first_switch()}

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

    # What is seen ---------------------------------------------------------------------------------------------------

    def data(self) -> pd.DataFrame:
        """What is seen: one row per run and seed at the step of the timeline, with its places in the plane.

        Of a hand-over one row per way of sharing the steps, with what was measured.
        """
        return hand_over_view.ways(self) if self.hands_over else view.seeds(self)

    def table(self) -> pd.DataFrame:
        """The curves: one row per run and step, with commitment, spread, distance, curvature and what else is known."""
        return view.steps(self)

    def summary(self) -> str:
        return hand_over_view.summary(self) if self.hands_over else view.summary(self)

    def explain(self) -> list[Step]:
        return explain.steps(self)

    def figure(self) -> Figure:
        return hand_over_view.draw(self) if self.hands_over else picture.draw(self)

    def _perform(self, name: str, job: Job) -> Any:
        if name == "step error":
            self.measure(job.progress)
            return None
        if name in ACTIONS:
            return ACTIONS[name](self, job)
        return super()._perform(name, job)

    def _state_names(self) -> list[str]:
        return [*super()._state_names(), "curves", "curves_arrays", "measurable", *PANEL_STATE]


def _source(records: Any, several: Sequence[TargetTrajectories], **given: Any) -> str:
    """How the code view writes the records: by the notebook's names."""
    names = [name_in_notebook(item, "run" if len(several) == 1 else f"run_{k + 1}") for k, item in enumerate(several)]
    alone = isinstance(records, TargetTrajectories)
    listed = names[0] if alone else name_in_notebook(records, f"[{', '.join(names)}]")
    return ", ".join(
        [listed, *(f"{key}={name_in_notebook(value, key)}" for key, value in given.items() if value is not None)]
    )
