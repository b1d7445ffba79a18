"""The settings of what stands beside the stage: one seed, the hand-over, and sliders that compute again."""

from typing import Any

import traitlets

PANEL_SETTINGS: tuple[str, ...] = ()
"""Traits of the panels that are part of a view: they are options, and in `.spec()`."""

PANEL_STATE: tuple[str, ...] = ("offer", "launches", "launches_arrays", "hand_over", "hand_over_arrays")
"""Traits of the panels that a page made by `to_html` carries as well."""


class PanelTraits(traitlets.HasTraits):
    """Traits of `TargetTrajectoryExplorer` that its panels live on."""

    offer = traitlets.Dict(help="What can be computed here.").tag(sync=True)
    launches = traitlets.Dict(help="Trajectories from noise that was clicked; see scene.js.").tag(sync=True)
    launches_arrays = traitlets.Dict(help="The arrays that `launches` refers to.").tag(sync=True)
    hand_over = traitlets.Dict(help="What is known of the hand-over from base to student; empty: nothing.").tag(
        sync=True
    )
    hand_over_arrays = traitlets.Dict(help="The arrays that `hand_over` refers to.").tag(sync=True)

    def checked_switch(self, switch: Any) -> int | None:
        """The switch of a selection: after how many steps the base hands over; None where there is no hand-over."""
        if switch is not None:
            raise traitlets.TraitError(f"switch is {switch!r}, but this explorer has no hand-over")
        return None
