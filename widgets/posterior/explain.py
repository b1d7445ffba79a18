"""How a PosteriorExplorer explains itself: a regression, and a classification."""

from typing import TYPE_CHECKING, Any

from widgets.core.explaining import Step, named, number, share

if TYPE_CHECKING:
    from widgets.posterior.classes import ClassificationView
    from widgets.posterior.regression import RegressionView


def regression_steps(view: "RegressionView", explorer: Any) -> list[Step]:
    """The ordinary process, what the next step is fitted to, when to stop, what a step filters, where it ends."""
    approach = "distribution" if explorer.approach == "distribution" else "data"
    path = view.path(explorer, approach)
    output = view.outputs.index(explorer.output)
    calm: dict[str, Any] = {"fan": True, "targets": False, "equivalent": False}
    x, y = named(explorer.feature), named(view.outputs[output])
    found = [
        Step(
            "posterior-0",
            f"Step 1 is an ordinary Gaussian process: the line is its mean of {y} over {x}, the bands are one and two "
            "standard deviations wide on either side.",
            calm | {"fan": False, "selection": {"step": 1, "point": None}},
        )
    ]
    if approach == "data" and path.fitted is not None and path.targets is not None and path.steps > 1:
        first, second = (float(path.targets[t, :, output].double().std()) for t in (0, 1))
        found.append(
            Step(
                "posterior-0",
                f"Step 2 is fitted to what step 1 predicts, not to the data: its targets (hollow) spread by "
                f"{number(second)} where the data spread by {number(first)}.",
                calm | {"targets": True, "selection": {"step": 2, "point": None}},
            )
        )
    train, test = view.errors(explorer, path)
    if test is not None:
        best = int(test.argmin())
        found.append(
            Step(
                "timeline",
                f"The test error is smallest at step {best + 1}: {number(float(test[best]))}, where step 1 has "
                f"{number(float(test[0]))} and step {path.steps} {number(float(test[-1]))}.",
                calm | {"selection": {"step": best + 1, "point": None}},
            )
        )
    elif train is not None and path.steps > 1:
        found.append(
            Step(
                "timeline",
                f"From step 1 to step {path.steps} the error on the training rows goes from {number(float(train[0]))} "
                f"to {number(float(train[-1]))}: each step follows them less."
                if float(train[-1]) > float(train[0])
                else f"From step 1 to step {path.steps} the error on the training rows goes from "
                f"{number(float(train[0]))} to {number(float(train[-1]))}.",
                calm | {"selection": {"step": path.steps, "point": None}},
            )
        )
    if path.filters is not None:
        kept = path.filters
        found.append(
            Step(
                "filter",
                f"A step is a filter: of the largest of {kept.shape[1]} eigen-directions step {path.steps} keeps "
                f"{share(float(kept[-1, 0]))}, of the smallest {share(float(kept[-1, -1]))}; step 1 kept "
                f"{share(float(kept[0, 0]))} and {share(float(kept[0, -1]))}.",
                calm | {"selection": {"step": path.steps, "point": None}},
                fold="filter",
            )
        )
    if path.limit_mean is not None:
        grid = slice(0, view.now.grid)
        means = (path.mean[0, grid, output], path.mean[-1, grid, output], path.limit_mean[grid, output])
        widths = [number(float(one.max() - one.min())) for one in means]
        found.append(
            Step(
                "posterior-0",
                f"Without end the mean would vary by {widths[2]} over {x} (dotted); at step {path.steps} it varies by "
                f"{widths[1]}, at step 1 by {widths[0]}.",
                calm | {"selection": {"step": "limit", "point": None}},
            )
        )
    return found


def classification_steps(view: "ClassificationView") -> list[Step]:
    """What the first step answers, which step to stop at, how sure it is there, and how the boundary moved."""
    variant = view.now.variants[0]
    last, picture = variant.path.steps, "map-0" if len(view.now.axes) == 2 else "line-0"
    where = "test" if view.now.tested else "training"
    calm: dict[str, Any] = {"show": "probability", "fan": False}
    classes = " and ".join(named(name) for name in view.base.classes[:2])
    told = classes if len(view.base.classes) == 2 else f"{len(view.base.classes)} classes"
    found = [
        Step(
            picture,
            f"Colour says how probable step 1 finds {told} at each place; points are the {view.rows():,} training "
            "rows.",
            calm | {"selection": {"step": 1, "point": None}},
        )
    ]
    if last > 1:
        found.append(
            Step(
                picture,
                f"Each of {last} steps learns from the last one's probabilities: the thick line is where step {last} "
                "cannot decide, the thin ones are those of the other steps.",
                calm | {"fan": True, "selection": {"step": last, "point": None}},
            )
        )
    if not variant.judged:
        return found
    losses = [one.nll for one in variant.judged]
    best = losses.index(min(losses))
    judged = variant.judged[best]
    error = 1 - float((judged.accuracy.nan_to_num() * judged.count).sum() / judged.count.sum())
    found += [
        Step(
            "timeline",
            f"On the {where} rows the negative log-likelihood is smallest at step {best + 1}: {number(losses[best])} "
            f"nats, where step 1 has {number(losses[0])} and step {last} {number(losses[-1])}.",
            calm | {"selection": {"step": best + 1, "point": None}},
        ),
        Step(
            "calibration",
            f"There {share(error)} of the answers are wrong, and it is off by {share(float(judged.ece))} on average in "
            f"how sure it is (at step 1 by {share(float(variant.judged[0].ece))}).",
            calm | {"selection": {"step": best + 1, "point": None}},
            fold="calibration",
        ),
    ]
    return found
