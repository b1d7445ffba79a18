"""What the explorer of diffusion targets computes on demand: a request's name → a function of the explorer and a `Job`.

The details of a request come from the browser: each is checked before anything is computed with it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import traitlets

from widgets.core.jobs import Job
from widgets.targets.inspector.launches import MOST_LAUNCHES

if TYPE_CHECKING:
    from widgets.targets import TargetTrajectoryExplorer


def resample(explorer: "TargetTrajectoryExplorer", job: Job) -> None:
    """Sample runs again: `sampling` and `adapter_scale` as the traits of these names have them."""
    allowed = ("sampling", "adapter_scale")
    explorer.resampler.resample(explorer, {name: job.details[name] for name in allowed if name in job.details}, job)


def launch(explorer: "TargetTrajectoryExplorer", job: Job) -> None:
    """Launch every model from `noise`, [x, y] or None for fresh noise; of class `class` where there are classes.

    ``{"remove": number}`` takes one launch away, ``{"remove": "all"}`` all of them.
    """
    details, known = job.details, list(explorer.launched)
    if (remove := details.get("remove")) is not None:
        if remove == "all":
            known = []
        elif isinstance(remove, int) and not isinstance(remove, bool) and 0 <= remove < len(known):
            del known[remove]
        else:
            raise traitlets.TraitError(f"remove is {remove!r}; it can be 'all' or 0 to {len(known) - 1}")
    else:
        noise = details.get("noise")
        fresh = 1 + max((item["seed"] for item in known if "seed" in item), default=-1)
        new = {"seed": fresh} if noise is None else {"noise": noise}
        chosen = details.get("class", explorer.launch_class or None)
        known = [*known, new if chosen is None else new | {"class": chosen}][-MOST_LAUNCHES:]
    explorer.resampler.resample(explorer, {"launched": known}, job)


def hand_over(explorer: "TargetTrajectoryExplorer", job: Job) -> None:
    """Sample with every way of sharing the steps of `student` with the base, and measure what comes out."""
    explorer.resampler.sweep(explorer, job.details.get("student"), job)


ACTIONS: dict[str, Callable[["TargetTrajectoryExplorer", Job], Any]] = {
    "samples": resample,
    "launch": launch,
    "hand-over": hand_over,
}
