"""The settings of what stands beside the stage: one seed, the hand-over, launches, and sliders that sample again."""

from typing import Any

import traitlets

from widgets.core.checks import require_known
from widgets.core.listening import Listening
from widgets.targets.resampler import Resampler
from workbench.diffusion import Denoiser
from workbench.records import Adapter, HandOver, TargetTrajectories

PANEL_STATE: tuple[str, ...] = (
    "offer",
    "launches",
    "launches_arrays",
    "hand_over",
    "hand_over_arrays",
)
"""Traits of the panels that a page made by `to_html` carries as well."""

_COMPUTED = ("sampling", "adapter_scale", "launched")


class PanelTraits(Listening):
    """Traits of `TargetTrajectoryExplorer` that its panels live on."""

    sampling = traitlets.Dict(help="What differs from how the runs were given: run → sampler, steps, guidance.").tag(
        sync=True, setting=True
    )
    adapter_scale = traitlets.Float(0.0, help="How strongly the adapter acts on every model that takes it.").tag(
        sync=True, setting=True
    )
    tuned = traitlets.Unicode(help="The run that the sliders are about.").tag(sync=True, setting=True)
    sharing = traitlets.Enum(
        ["first steps", "one step"], "first steps", help="What the base makes: the first steps, or only one."
    ).tag(sync=True, setting=True)
    launched: traitlets.List = traitlets.List(help="Launches: of noise [x, y] or of a seed, and of a class.").tag(
        sync=True, setting=True
    )
    launch_class = traitlets.Unicode("", help="The class that a click asks for; empty: any.").tag(
        sync=True, setting=True
    )
    offer = traitlets.Dict(help="What can be computed here.").tag(sync=True)
    launches = traitlets.Dict(help="Trajectories from noise that was clicked; see explorer.js.").tag(sync=True)
    launches_arrays = traitlets.Dict(help="The arrays that `launches` refers to.").tag(sync=True)
    hand_over = traitlets.Dict(help="What is known of the hand-over from base to student; empty: nothing.").tag(
        sync=True
    )
    hand_over_arrays = traitlets.Dict(help="The arrays that `hand_over` refers to.").tag(sync=True)

    _runs: dict[str, TargetTrajectories]
    models: dict[str, Denoiser]
    handed: HandOver | None
    adapter: Adapter | None

    def __init__(self, *, adapter: Adapter | None = None, **options: Any) -> None:
        if adapter is not None and not isinstance(adapter, Adapter):
            raise TypeError(f"adapter is a {type(adapter).__name__}; workbench.records.Adapter is needed")
        self.adapter = adapter
        shape = tuple(next(iter(self._runs.values())).samples.shape[1:])
        if self.handed is not None and tuple(self.handed.noise.shape[1:]) != shape:
            raise ValueError(
                f"hand_over has examples of shape {tuple(self.handed.noise.shape[1:])}, the runs of {shape}: they do "
                "not belong together"
            )
        self.resampler = Resampler(self._runs, self.models, adapter)
        # A selection may name steps that are there only once the runs are made as `sampling` says.
        late = {name: options.pop(name) for name in (*_COMPUTED, "selection") if name in options}
        super().__init__(**options)
        me: Any = self
        self.offer = self.resampler.offer()
        self.resampler.publish_hand_over(me)
        self._listening = True
        for name, value in late.items():
            setattr(self, name, value)

    @property
    def hands_over(self) -> bool:
        """The hand-over is what is seen."""
        view: str = getattr(self, "view")  # noqa: B009 - a trait of the explorer
        return view == "hand-over" and self.handed is not None

    # Checks ---------------------------------------------------------------------------------------------------------

    @traitlets.default("tuned")
    def _first_tuned(self) -> str:
        return next(iter(self.models), "")

    @traitlets.validate("tuned")
    def _valid_tuned(self, proposal: Any) -> str:
        if proposal.value:
            require_known("tuned", [proposal.value], list(self._runs))
        return proposal.value

    @traitlets.validate("sampling")
    def _valid_sampling(self, proposal: Any) -> dict[str, Any]:
        return self.resampler.checked_sampling(proposal.value)

    @traitlets.validate("adapter_scale")
    def _valid_scale(self, proposal: Any) -> float:
        return self.resampler.checked_scale(proposal.value)

    @traitlets.validate("launch_class")
    def _valid_class(self, proposal: Any) -> str:
        if proposal.value:
            require_known("launch_class", [proposal.value], self.resampler.offer()["launch_classes"])
        return proposal.value

    @traitlets.validate("launched")
    def _valid_launched(self, proposal: Any) -> list[Any]:
        return self.resampler.checked_launches(proposal.value)

    @traitlets.observe(*_COMPUTED)
    def _asked(self, change: Any) -> None:
        """Set from Python, not by a request: computed at once."""
        if not self._listening:
            return
        with self.or_back(change):
            me: Any = self
            self.resampler.resample(me, {})

    def checked_switch(self, switch: Any) -> int | None:
        """The switch of a selection: how many steps, or which, the base makes; None where there is no hand-over."""
        if self.handed is None:
            if switch is not None:
                raise traitlets.TraitError(f"switch is {switch!r}, but this explorer has no hand-over")
            return None
        if switch is None:
            return self.first_switch()
        if isinstance(switch, bool) or not isinstance(switch, int) or not 0 <= switch <= self.handed.steps:
            raise traitlets.TraitError(f"switch is {switch!r}; it can be 0 (the student alone) to {self.handed.steps}")
        return switch

    def first_switch(self) -> int | None:
        """The switch of a selection that says nothing about it: the base makes the first step (paper 096)."""
        return None if self.handed is None else 1
