"""What is computed when a slider moves or a place is clicked: runs made again, launches, hand-overs."""

import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import traitlets

from widgets.core.checks import require_known
from widgets.core.explorer import name_in_notebook
from widgets.core.jobs import Job
from widgets.targets.controls.choices import MOST_STEPS, changed, checked_scale
from widgets.targets.hand_over.content import handed_content
from widgets.targets.inspector.launches import checked_launches, flown, launches_content
from workbench.diffusion import Denoiser
from workbench.diffusion.sampling.wrapping import adapted, takes
from workbench.diffusion.trajectories.again import Choice, again, samplers
from workbench.diffusion.trajectories.levels import levels
from workbench.diffusion.trajectories.plane import SeedPlane
from workbench.records import Adapter, TargetTrajectories

if TYPE_CHECKING:
    from widgets.targets import TargetTrajectoryExplorer


class Resampler:
    """Keeps the runs as they were given, and how they are made now.

    Several requests may be under way, each in a thread: what one has computed is shown in one go, unless it was
    stopped.

    Parameters
    ----------
    runs, models
        By run name; only runs that have a model can be made again.
    adapter
        A low-rank change for the models that have its layers.
    """

    def __init__(
        self, runs: Mapping[str, TargetTrajectories], models: Mapping[str, Denoiser], adapter: Adapter | None
    ) -> None:
        self.given = dict(runs)
        self.models = dict(models)
        self.adapter = adapter
        self.first = {name: Choice.given(run, models.get(name)) for name, run in runs.items()}
        self.taking = [name for name, model in models.items() if adapter is not None and takes(model, adapter)]
        self.choices = dict(self.first)
        self.scale = 0.0
        self.flights: dict[Any, TargetTrajectories] = {}
        self._turn = threading.RLock()

    # Checks ---------------------------------------------------------------------------------------------------------

    def checked_sampling(self, sampling: Any) -> dict[str, dict[str, Any]]:
        """What differs from how the runs were given, run by run."""
        if not isinstance(sampling, Mapping):
            raise traitlets.TraitError(f"sampling is {sampling!r}; a dict from run names to settings is needed")
        found = {}
        for name, changes in sampling.items():
            require_known("run", [name], list(self.given))
            if not isinstance(changes, Mapping):
                raise traitlets.TraitError(f"sampling[{name!r}] is {changes!r}; a dict is needed")
            first, wanted = self.first[name], changed(self.first[name], changes)
            differs = {key: getattr(wanted, key) for key in changes if getattr(wanted, key) != getattr(first, key)}
            if differs and name not in self.models:
                raise traitlets.TraitError(f"the run {name!r} has no model here, so it cannot be sampled again")
            if "guidance" in differs and not self._guided(name):
                raise traitlets.TraitError(f"the run {name!r} cannot be guided: {self._unguided_because(name)}")
            if differs:
                found[name] = differs
        return found

    def checked_scale(self, scale: Any) -> float:
        """The scale of the adapter."""
        value = checked_scale(scale)
        if value and not self.taking:
            why = "no adapter was given" if self.adapter is None else "no model has the layers that it changes"
            raise traitlets.TraitError(f"adapter_scale is {value:g}, but {why}")
        return value

    def checked_launches(self, value: Any) -> list[dict[str, Any]]:
        """Launches as a trait holds them."""
        found = checked_launches(value, next(iter(self.given.values())).samples.shape[1:], self._classes())
        if found and not self.models:
            raise traitlets.TraitError("launched needs models: pass teacher=, students= or models=")
        return found

    def _classes(self) -> tuple[str, ...]:
        """Names of the classes that a launch can ask for."""
        asked = (run for name, run in self.given.items() if name in self.models and run.condition is not None)
        return next((run.classes for run in asked if run.classes), ())

    def _guided(self, name: str) -> bool:
        return bool(getattr(self.models.get(name), "classes", 0)) and self.given[name].condition is not None

    def _unguided_because(self, name: str) -> str:
        if not getattr(self.models.get(name), "classes", 0):
            return "its model has no classes, and so no unconditional branch"
        return "it was made without classes"

    def offer(self) -> dict[str, Any]:
        """What can be computed, as the browser is told."""
        runs = {
            name: {
                "sampler": self.first[name].sampler,
                "steps": self.first[name].steps,
                "guidance": self.first[name].guidance,
                "samplers": samplers(self.first[name].sampler),
                "most": max(MOST_STEPS, self.first[name].steps),
                "guided": self._guided(name),
                "why_unguided": "" if self._guided(name) else self._unguided_because(name),
                "own_times": len(self.given[name].settings.get("times", [])) > 1
                and not self.given[name].settings.get("spacing"),
            }
            for name in self.models
        }
        adapter = None
        if self.adapter is not None:
            adapter = {"name": self.adapter.name or "adapter", "rank": self.adapter.rank, "runs": self.taking}
        base, students = pair(self.given, self.models)
        return {
            "runs": runs,
            "adapter": adapter,
            "launch": bool(self.models),
            "launch_classes": list(self._classes()),
            "hand_over": {"base": base, "students": students},
        }

    # Computing ------------------------------------------------------------------------------------------------------

    def model(self, name: str, scale: float) -> Denoiser:
        """The model of a run, with the adapter in it where it takes one."""
        model = self.models[name]
        if self.adapter is None or name not in self.taking:
            return model
        return adapted(model, self.adapter, scale)

    def resample(
        self, explorer: "TargetTrajectoryExplorer", changes: Mapping[str, Any], job: Job | None = None
    ) -> None:
        """Make what `changes` to `sampling`, `adapter_scale` and `launched` ask for, then show all of it at once."""
        progress: Callable[[float | None, str], None] = (lambda *_: None) if job is None else job.progress
        with self._turn:
            progress(None, "")
            shown, shown_scale = dict(self.choices), self.scale
            sampling = self.checked_sampling(changes.get("sampling", explorer.sampling))
            scale = self.checked_scale(changes.get("adapter_scale", explorer.adapter_scale))
            launches = self.checked_launches(changes.get("launched", explorer.launched))
        wanted = {name: changed(choice, sampling.get(name, {})) for name, choice in self.first.items()}
        scales = {name: scale if name in self.taking else 0.0 for name in self.models}
        before = {name: shown_scale if name in self.taking else 0.0 for name in self.models}
        stale = [n for n in self.models if (wanted[n], scales[n]) != (shown[n], before[n])]
        models = {name: self.model(name, scale) for name in (self.models if launches else stale)}
        found: dict[str, TargetTrajectories] = {}
        for k, name in enumerate(stale):
            if wanted[name] == self.first[name] and scales[name] == 0:
                found[name] = self.given[name]
                continue

            def watch(share: float, k: int = k, name: str = name) -> None:
                progress((k + share) / len(stale), name)

            found[name] = again(self.given[name], models[name], wanted[name], watch=watch)
        made = {name: (wanted[name], scales[name]) for name in self.models}
        given = {name: self.given[name] for name in self.models}
        flights = flown(launches, given, models, made, self.flights, lambda share: progress(share, "launches"))
        with self._turn:
            progress(1.0, "")
            self.choices, self.scale, self.flights = wanted, scale, flights
            settings = {"sampling": sampling, "adapter_scale": scale, "launched": launches}
            plane = SeedPlane.of(list((explorer.runs | found).values()))
            content = launches_content(launches, given, list(given), made, flights, plane)
            # Fields and errors are those of the models as they are now.
            explorer.models |= {name: models[name] for name in found}
            self._show(explorer, found, content, settings)

    def _show(
        self,
        explorer: "TargetTrajectoryExplorer",
        found: dict[str, TargetTrajectories],
        launches: tuple[dict[str, Any], dict[str, Any]],
        settings: Mapping[str, Any],
    ) -> None:
        with explorer.unheard(), explorer.hold_sync():
            if found:
                step = step_kept(explorer, found)
                explorer.show_runs(found)
                explorer.selection = {"step": step}
                self.publish_hand_over(explorer)
            explorer.launches, explorer.launches_arrays = launches
            for name, value in settings.items():
                setattr(explorer, name, value)

    def sweep(self, explorer: "TargetTrajectoryExplorer", student: Any, job: Job) -> None:
        """Compute the hand-over from the base to a student, as both are made now, and show it."""
        # The trainer that this brings takes a while to load.
        from workbench.diffusion.judging.handing_over import judged_hand_over  # noqa: PLC0415

        base, students = pair(self.given, self.models)
        if base is None or not students:
            raise traitlets.TraitError("a hand-over needs the models of a teacher and of a student")
        require_known("student", [student], students)
        with self._turn:
            choices, scale, sampling = dict(self.choices), self.scale, dict(explorer.sampling)
        found = judged_hand_over(
            {name: self.given[name] for name in (base, student)},
            {name: self.model(name, scale) for name in (base, student)},
            choices,
            lambda share: job.progress(share, f"{base} and {student}"),
        )
        with self._turn:
            job.progress(1.0)
            explorer.handed = found
            # The code view has the hand-over from here: the notebook has no other name for it.
            bare = re.sub(r", hand_over=[\w.]+", "", explorer.source)
            explorer.source = f"{bare}, hand_over={name_in_notebook(explorer, 'explorer')}.handed"
            with explorer.hold_sync():
                self.publish_hand_over(explorer, {"sampling": sampling, "adapter_scale": scale})
                explorer.selection = {"switch": min(explorer.selection["switch"] or 1, found.steps)}

    def publish_hand_over(self, explorer: "TargetTrajectoryExplorer", made: dict[str, Any] | None = None) -> None:
        """Tell the browser of the hand-over; `made`: under which settings, as it was given where that is unknown."""
        if explorer.handed is None:
            return
        plane = SeedPlane.of(list(explorer.runs.values()))
        content, arrays = handed_content(explorer.handed, explorer.runs, plane)
        if made is None:
            made = explorer.hand_over.get("made", {"sampling": {}, "adapter_scale": 0.0})
        with explorer.hold_sync():
            explorer.hand_over_arrays, explorer.hand_over = arrays, content | {"made": made}


def step_kept(explorer: "TargetTrajectoryExplorer", found: Mapping[str, TargetTrajectories]) -> int | str:
    """The step that keeps the timeline at its noise level when the run that is counted gets another grid."""
    step, name = explorer.selection["step"], explorer.selection["run"]
    if step == "sample" or name not in found:
        return step
    now = levels(explorer.run)[step - 1]
    return min(range(found[name].steps), key=lambda k: abs(levels(found[name])[k] - now)) + 1


def pair(runs: Mapping[str, TargetTrajectories], models: Mapping[str, Denoiser]) -> tuple[str | None, list[str]]:
    """The run that can be the base of a hand-over, and those that can be its students."""
    base = next((name for name in models if runs[name].role == "teacher"), None)
    return base, [name for name in models if runs[name].role == "student"] if base else []
