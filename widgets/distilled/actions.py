"""What the explorer of distilled sets computes on demand: a request's name → a function of the explorer and a `Job`.

The details of a request come from the browser: each is checked here before anything is computed with it.
"""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import nn

from widgets.core.jobs import Job, JobStopped
from widgets.distilled.content import images_at, moments_of
from widgets.distilled.findings import Without
from widgets.distilled.inspector.looks import Attributed
from widgets.distilled.lens import (
    EVALUATOR,
    checked_attribution,
    checked_protocol,
    checked_rows,
    evaluator_made,
    network_name,
)
from widgets.distilled.teaching.content import same_protocol
from workbench.data import Dataset
from workbench.records import DistilledEvaluation, DistilledSet, TrainingRecord
from workbench.training.interrupting import stopping_when

if TYPE_CHECKING:
    from widgets.distilled import DistilledImagesExplorer

MOST_ATTRIBUTED = 64
LIVE_SECONDS = 0.25
"""Curves of a training under way are sent no more often than that."""

_publishing = threading.Lock()


def look(explorer: "DistilledImagesExplorer", job: Job) -> None:
    """Look at every image of a set through a network: loss, nearest real images, and influence if it is asked for."""
    from workbench.condensation import look as look_at  # noqa: PLC0415 - the condensation family takes a while to load

    details = job.details
    name, distilled, _ = _asked_set(explorer, {**details, "iteration": None})
    data = _dataset(explorer)
    influence = details.get("influence") is True
    wanted = details.get("network", EVALUATOR)
    network = _network(explorer, wanted, name, None, job, 0.2)
    _check_takes(network, distilled.images[:1].float(), wanted, len(distilled.classes))

    def watch(share: float) -> None:
        job.progress(0.2 + 0.8 * share, "training without each image" if influence else "looking")

    found = look_at(distilled, data, network, influence=influence, watch=watch, progress=False)
    made = evaluator_made(explorer.training) if wanted == EVALUATOR else ""
    found = found.replace(network=f"{wanted} ({made})" if made else wanted)
    job.progress(1.0)
    with _publishing:
        explorer.known.looks[name] = found
        explorer.publish()


def attribute(explorer: "DistilledImagesExplorer", job: Job) -> None:
    """Attribute some images of a set: which pixels the network's logit hangs on."""
    from workbench import analysis  # noqa: PLC0415 - captum takes a second to load

    details = job.details
    name, distilled, iteration = _asked_set(explorer, details)
    rows = checked_rows(details.get("rows"), len(distilled), "rows")
    if not 1 <= len(rows) <= MOST_ATTRIBUTED:
        raise traitlets.TraitError(f"rows has {len(rows)} images; 1 to {MOST_ATTRIBUTED} can be attributed at once")
    keys = ("method", "target", "baseline", "network")
    choice = checked_attribution(explorer, {**explorer.attribution, **{k: details[k] for k in keys if k in details}})
    made = evaluator_made(explorer.training) if choice["network"] == EVALUATOR else ""
    network = _network(explorer, choice["network"], name, iteration, job)
    images = distilled.images[rows].float()
    _check_takes(network, images[:1], choice["network"], len(distilled.classes))
    target = {"label": distilled.hard_labels[rows], "predicted": None}.get(choice["target"], choice["target"])
    found = []
    for k, row in enumerate(rows):
        job.progress(k / len(rows), f"image {row}")
        # One by one: the noise that stands for absence is then an image's own, whichever others are asked for.
        found.append(
            analysis.attribute(
                network,
                images[k : k + 1],
                target[k : k + 1] if isinstance(target, torch.Tensor) else target,
                choice["method"],
                choice["baseline"] or "mean",
                mean=distilled.mean,
                std=distilled.std,
                rows=torch.tensor([row]),
            )
        )
    job.progress(1.0)
    whole = found[0].replace(
        target=torch.cat([item.target for item in found]),
        values=torch.cat([item.values for item in found]),
        delta=None if found[0].delta is None else torch.cat([item.delta for item in found if item.delta is not None]),
        rows=torch.tensor(rows),
    )
    with _publishing:
        explorer.known.attributions.append(
            Attributed(name, iteration, choice["network"], whole, choice["target"], made)
        )
        explorer.publish()


def teach(explorer: "DistilledImagesExplorer", job: Job) -> None:
    """Train new networks on a set, or on what is left of it, and test them on real data."""
    details = job.details
    name, distilled, iteration = _asked_set(explorer, details)
    data = _dataset(explorer)
    rows = checked_rows(details.get("without", []), len(distilled), "without")
    if len(rows) >= len(distilled):
        raise traitlets.TraitError(f"without has all {len(rows)} images; leave at least one in")
    keys = ("networks", "seeds", "epochs", "references")
    protocol = checked_protocol({**explorer.training, **{key: details[key] for key in keys if key in details}})
    known = explorer.known
    try:
        if not rows:
            found = _evaluated(explorer, job, name, distilled, data, protocol, (0.0, 1.0))
            with _publishing:
                if not found.interrupted or name not in known.evaluations:
                    known.evaluations[name] = found
                    known.taught[name] = iteration
                    known.without.pop(name, None)
            return
        before = known.evaluations.get(name)
        usable = before is not None and not before.interrupted and known.taught.get(name) == iteration
        half = 1.0 if usable else 0.5
        after = _evaluated(
            explorer, job, name, distilled.without(rows), data, protocol | {"references": False}, (0.0, half)
        )
        if after.interrupted:
            raise JobStopped  # half a training beside a whole one would look like a change
        if before is None or not usable or not same_protocol([before, after]):
            before = _evaluated(explorer, job, name, distilled, data, protocol, (half / 2 if usable else half, 1.0))
            if before.interrupted:
                raise JobStopped
        with _publishing:
            known.evaluations[name] = before
            known.taught[name] = iteration
            known.without[name] = Without(tuple(rows), before, after)
    finally:
        with _publishing:
            explorer.live = {}
            explorer.publish()


ACTIONS: dict[str, Callable[["DistilledImagesExplorer", Job], Any]] = {
    "looks": look,
    "attribution": attribute,
    "training": teach,
}


def perform(explorer: "DistilledImagesExplorer", name: str, job: Job) -> None:
    """Do what a request asks for; a stop is heeded after each step of a training, not only where progress is told."""
    with stopping_when(lambda: job.stopped):
        ACTIONS[name](explorer, job)


# What the actions stand on -------------------------------------------------------------------------------------------


def evaluator(
    explorer: "DistilledImagesExplorer", name: str, iteration: int | None, job: Job, share: float = 0.5
) -> nn.Module:
    """A network trained on a set as `evaluate` trains them, kept while the explorer is open."""
    from workbench.condensation.judging.teaching import Lesson, Recipe, SoftLabels, teach  # noqa: PLC0415
    from workbench.condensation.judging.usable import decoded, fitting  # noqa: PLC0415
    from workbench.models import build  # noqa: PLC0415

    data = _dataset(explorer)
    architecture, epochs = explorer.training["networks"][0], explorer.training["epochs"]
    key = (name, iteration, architecture, epochs)
    networks = explorer.known.networks
    if key not in networks:
        distilled = _at(explorer.sets[name], iteration)
        examples, soft, _ = decoded(fitting(distilled, data))
        network = build(architecture, data)
        recipe = Recipe(epochs=epochs)

        def watch(taught: Any, step: int, scores: Any) -> None:  # noqa: ARG001 - what teach tells
            job.progress(share * step / max(1, taught.steps[-1]), f"training the evaluator, a {architecture}")

        lesson = Lesson(examples, None if soft is None else SoftLabels(soft))
        what = f"the evaluator, a {architecture}"
        taught = teach([network], [lesson], data.test, recipe, seeds=[0], watch=watch, what=what)
        if taught.interrupted:
            raise JobStopped
        networks[key] = network.eval()
    return networks[key]


def _network(
    explorer: "DistilledImagesExplorer", wanted: str, name: str, iteration: int | None, job: Job, share: float = 0.5
) -> nn.Module:
    own = explorer.network
    if own is not None and wanted == network_name(own):
        return own.model if isinstance(own, TrainingRecord) else own
    if wanted == EVALUATOR:
        return evaluator(explorer, name, iteration, job, share)
    raise traitlets.TraitError(
        f"network {wanted!r} is known by attributions that were given, and is not here itself: pass it as network="
    )


def _check_takes(network: nn.Module, image: torch.Tensor, name: str, classes: int) -> None:
    """The network takes these images and says something about these classes."""
    from workbench.models import observe  # noqa: PLC0415

    own = next(network.parameters(), image)
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            logits = observe(network)(image.to(own)).logits
    except Exception as error:
        shape = "×".join(map(str, image.shape[1:]))
        raise ValueError(f"network {name!r} does not take images {shape} of this set: {error}") from error
    finally:
        network.train(training)
    if logits.ndim != 2 or logits.shape[1] != classes:
        raise ValueError(
            f"network {name!r} answers with shape {tuple(logits.shape)}; for the {classes} classes of this set it must "
            f"be (n, {classes})"
        )


def _evaluated(
    explorer: "DistilledImagesExplorer",
    job: Job,
    name: str,
    distilled: DistilledSet,
    data: Dataset,
    protocol: dict[str, Any],
    between: tuple[float, float],
) -> DistilledEvaluation:
    from workbench.condensation import evaluate  # noqa: PLC0415

    low, high = between
    told = 0.0

    def watch(moment: Any) -> None:
        nonlocal told
        if job.stopped:
            raise KeyboardInterrupt  # as the notebook's stop button: what was reached is kept
        on = " and ".join(moment.trained_on)
        job.progress(low + (high - low) * moment.share, f"{moment.network} on {on}, step {moment.step:,}")
        if time.monotonic() - told > LIVE_SECONDS:
            told = time.monotonic()
            explorer.live = _live(name, moment)

    try:
        return evaluate(distilled, data, **protocol, progress=False, watch=watch, name=name)
    except KeyboardInterrupt:
        raise JobStopped from None


def _live(name: str, moment: Any) -> dict[str, Any]:
    """Mean curves over the seeds so far; None where not yet."""

    def course(values: torch.Tensor) -> list[float | None]:
        return [None if bool(point.isnan()) else float(point) for point in values.nanmean(0)]

    points = {key: curve.shape[1] for key, curve in moment.accuracy.items()}
    return {
        "set": name,
        "network": moment.network,
        # Shares of each training: sets of different sizes take different numbers of steps.
        "steps": {key: [(k + 1) / count for k in range(count)] for key, count in points.items()},
        "accuracy": {key: course(curve) for key, curve in moment.accuracy.items()},
        "confidence": {key: course(curve) for key, curve in moment.confidence.items()},
    }


def _asked_set(explorer: "DistilledImagesExplorer", details: dict[str, Any]) -> tuple[str, DistilledSet, int | None]:
    """The set a request names, as it was at the iteration it names (None: the final images)."""
    name = details.get("set")
    if name not in explorer.sets:
        raise traitlets.TraitError(f"set is {name!r}; there are {', '.join(map(repr, explorer.sets))}")
    record = explorer.sets[name]
    moments = moments_of(record)
    iteration = details.get("iteration")
    if iteration is None or iteration == moments[-1]:
        return name, record, None
    if iteration not in moments:
        raise traitlets.TraitError(f"iteration is {iteration!r}; the set {name!r} has {', '.join(map(str, moments))}")
    return name, _at(record, iteration), iteration


def _at(record: DistilledSet, iteration: int | None) -> DistilledSet:
    if iteration is None:
        return record
    moment = moments_of(record).index(iteration)
    return record.at(iteration).replace(images=images_at(record, moment))


def _dataset(explorer: "DistilledImagesExplorer") -> Dataset:
    if not isinstance(explorer.dataset, Dataset):
        given = "nothing" if explorer.dataset is None else "a Split"
        raise traitlets.TraitError(
            f"data is {given}; to train and test, open the explorer with a Dataset, which has a train and a test split"
        )
    return explorer.dataset
