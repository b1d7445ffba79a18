"""How a TargetTrajectoryExplorer explains itself."""

from typing import TYPE_CHECKING, Any

from widgets.core.explaining import Step, named, number, share

if TYPE_CHECKING:
    from widgets.targets import TargetTrajectoryExplorer


def steps(explorer: "TargetTrajectoryExplorer") -> list[Step]:
    """What a point is, how beliefs begin and when they decide, what a student does in fewer calls, handing over."""
    runs = explorer.runs
    clock = max(runs, key=lambda name: runs[name].steps)
    run, images = runs[clock], explorer.content["kind"] == "images"
    view = "strip" if images else "plane"
    part = "strip" if images else "planes"
    calm: dict[str, Any] = {"view": view, "show": "targets", "field": "nothing"}
    curves = explorer.known[clock]
    varied = float(curves["spread"][0] / run.samples.flatten(1).double().var(0, correction=0).sum())
    apart = float(curves["distance"][0])
    nobody = {"run": clock, "seeds": []}
    found = [
        Step(
            part,
            f"{'Each picture' if images else 'Each point'} is what a model believes at a step that one of "
            f"{len(run):,} seeds will become, x̂₀; {named(clock)} makes {run.steps} steps from noise to sample.",
            calm | {"selection": nobody | {"step": (run.steps + 1) // 2}},
        ),
        Step(
            part,
            f"At step 1 there is only noise, and the beliefs are still {number(apart)} away from what "
            f"comes out; their variance is {number(varied)} of that of the samples.",
            calm | {"selection": nobody | {"step": 1}},
        ),
    ]
    commitment = curves["commitment"]
    decided = (commitment >= 0.5).nonzero()
    if bool(commitment.isfinite().all()) and len(decided):
        first = int(decided[0])
        found.append(
            Step(
                "timeline",
                f"{named(clock)} is half decided by step {first + 1} of {run.steps}, t = "
                f"{number(float(run.times[first]))}: its commitment there is {share(float(commitment[first]))}.",
                calm | {"curve": "commitment", "selection": nobody | {"step": first + 1}},
            )
        )
    others = [name for name in runs if name != clock]
    if others:
        fewest = min(others, key=lambda name: runs[name].calls)
        one = runs[fewest]
        found.append(
            Step(
                part,
                f"{named(fewest)} asks its model {one.calls:,} times for a sample, {named(clock)} {run.calls:,} times.",
                calm | {"arrange": "side by side", "selection": nobody | {"step": "sample"}},
            )
        )
    if (handed := explorer.handed) is not None and handed.steps:
        name = next((name for name in ("diversity", "recall", "entropy", "modes") if name in handed.measures), None)
        if name is not None:
            values = handed.measures[name]["switches"]
            found.append(
                Step(
                    "hand-over",
                    f"When {named(handed.base)} makes the first of {handed.steps} steps and {named(handed.student)} "
                    f"the others, {name} goes from {number(float(values[0]))} to {number(float(values[1]))}; all "
                    f"steps made by {named(handed.base)} give {number(float(values[-1]))}.",
                    calm | {"view": "hand-over", "sharing": "first steps", "selection": {"switch": 1}},
                )
            )
    return found
