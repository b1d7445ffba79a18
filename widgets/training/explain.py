"""How a TrainingExplorer explains itself."""

from typing import TYPE_CHECKING

from widgets.core.explaining import Step, named, number, share

if TYPE_CHECKING:
    from widgets.training import TrainingExplorer


def steps(explorer: "TrainingExplorer") -> list[Step]:
    """Which run is best, when it was, what it knows by heart, and what is hard for it."""
    tested = {name: one for name, one in explorer.records.items() if "test_accuracy" in one.curves}
    if not tested:
        return []
    curves = {name: one.curves["test_accuracy"].double() for name, one in tested.items()}
    best = max(curves, key=lambda name: float(curves[name].max()))
    curve, record = curves[best], tested[best]
    peak = int(curve.argmax())
    plain = {"metric": "accuracy", "logarithmic": False, "training_curve": False}
    found = [
        Step(
            "curves",
            f"A curve for each of {len(explorer.records)} runs: its share of right answers on images it has not seen, "
            "epoch by epoch."
            if len(explorer.records) > 1
            else f"The curve of {named(best)}: its share of right answers on images it has not seen, epoch by epoch.",
            plain | {"selection": {"run": None}},
        ),
        Step(
            "timeline",
            f"{named(best)} is best at epoch {peak + 1} of {record.epochs}, with {share(float(curve[peak]))} right"
            + ("." if peak + 1 == record.epochs else f"; after its last epoch it has {share(float(curve[-1]))}."),
            plain | {"selection": {"run": best, "epoch": peak + 1}},
        ),
    ]
    if "train_accuracy" in record.curves:
        own = float(record.curves["train_accuracy"][peak])
        found.append(
            Step(
                "curves",
                f"The thin curve is the training images': there {named(best)} is right on {share(own)} at that epoch, "
                f"{number(100 * (own - float(curve[peak])), 2)} points away from the test images.",
                plain | {"training_curve": True, "selection": {"run": best, "epoch": peak + 1}},
            )
        )
    if record.per_class_accuracy is not None:
        classes = record.per_class_accuracy[peak].double()
        worst, easy = int(classes.argmin()), int(classes.argmax())
        found.append(
            Step(
                "per-class",
                f"At that epoch the hardest class for {named(best)} is {named(record.classes[worst])} "
                f"({share(float(classes[worst]))} right), the easiest {named(record.classes[easy])} "
                f"({share(float(classes[easy]))}).",
                plain | {"selection": {"run": best, "epoch": peak + 1}},
            )
        )
    if (judged := record.calibration) is not None:
        found.append(
            Step(
                "reliability",
                f"After its last epoch {named(best)} is off by {share(float(judged.ece))} on average in how sure it "
                "is: on the diagonal it would be right as often as it says.",
                plain | {"selection": {"run": best}},
                fold="reliability",
            )
        )
    return found
