"""`evaluate`: how good are new networks that have seen nothing but the distilled images?"""

import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from workbench.condensation.judging.keeping import Kept, check
from workbench.condensation.judging.lessons import course_of, fresh, has_start, soft_labels, stacks_of, with_step_size
from workbench.condensation.judging.progress import Account, Moment
from workbench.condensation.judging.scoring import scored
from workbench.condensation.judging.teaching import Lesson, Recipe, halfway, teach
from workbench.condensation.judging.usable import decoded, fitting, random_real
from workbench.condensation.methods.what_dd_learns import resemblance
from workbench.data import Dataset, fingerprint
from workbench.records import Checkpoint, DistilledEvaluation, DistilledSet, Provenance
from workbench.training import distributed
from workbench.training.fit import plain
from workbench.training.settings import plain_settings


def evaluate(
    distilled: DistilledSet,
    data: Dataset,
    networks: str | Sequence[str] = ("convnet",),
    seeds: int | Sequence[int] = 5,
    epochs: int = 300,
    *,
    labels: str | None = None,
    augment: Any = None,
    references: bool = True,
    teacher: nn.Module | None = None,
    temperature: float = 1.0,
    step_size: bool = False,
    own_start: bool = True,
    optimizer: Any = "sgd",
    lr: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    schedule: str | Callable[[float], float] = halfway,
    batch_size: int = 256,
    loss: Any = None,
    full_epochs: int = 20,
    points: int = 10,
    agreement: bool = False,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    device: str | torch.device = "auto",
    progress: bool = True,
    watch: Callable[[Moment], None] | None = None,
    checkpoint: str | os.PathLike | None = None,
    resume: Checkpoint | str | os.PathLike | None = None,
    name: str = "",
) -> DistilledEvaluation:
    """Train new networks from scratch on a distilled set and test them on real data: the field's protocol.

    All seeds of an architecture, and with them the networks that learn from random real images, are trained as one by
    `workbench.training.Ensemble`. The defaults are those of the public DC, DM and MTT code: SGD at 0.01, momentum 0.9,
    weight decay 5e-4, a tenth of the rate from half of training on, batches of 256.

    Parameters
    ----------
    distilled
        The set. Its images are decoded by its `view`, and renormalised where its constants are not those of `data`.
    data
        The real data: the test split judges, the training split gives the references.
    networks
        One architecture or several, as `workbench.models.build` names them.
    seeds
        How many repetitions, or their seeds.
    epochs
        Passes over the set (1000 in the MTT code, 1800 in DataDAM's).
    labels
        ``"hard"`` or ``"soft"``; by default as the set has them.
    augment
        As for `workbench.training.fit`; ``Siamese()`` is the field's.
    references
        Also train on as many random real images per class, and on all real training examples.
    teacher
        A trained network that labels the images softly, after augmentation where there is one; so that it also labels
        the random real images.
    temperature
        Logit temperature of soft labels.
    step_size
        Train with the learning rate that was learned with the images: one rate for `epochs` under `schedule`; or one
        for each step of plain gradient descent, on the images of that step, as `workbench.condensation.replay` does.
    own_start
        A set made for certain initial weights (its `start`) is learned from those, in the network it was made with;
        other networks, and with False all, start anew from each seed.
    optimizer, lr, momentum, weight_decay, schedule, batch_size, loss
        As for `workbench.training.fit`.
    full_epochs
        Passes over all real data of the networks that learn from them, in batches of at most 64.
    points
        Evaluations along training.
    agreement
        Also say how much the networks predict like ones stopped early on all real data, and like ones trained on
        subsets of it, of the same accuracy (`workbench.condensation.methods.what_dd_learns.resemblance`). Trains some
        forty more networks of each architecture.
    options
        Further arguments of `workbench.models.build` by architecture: ``{"convnet": {"width": 128}}``.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``.
    progress
        Show a progress bar.
    watch
        Called at each point with a `Moment`. Raising KeyboardInterrupt there stops the evaluation and keeps what it
        has, as the notebook's stop button does.
    checkpoint
        A file in which the networks that are finished are kept: after each architecture and, where random real images
        are learned from under another recipe, each kind of set. A killed or stopped evaluation goes on with ``resume=``
        that path.
    resume
        The file of an unfinished evaluation of the same set, data and settings.
    name
        What the set is called in legends; by default its own name.

    Returns
    -------
    DistilledEvaluation
        Mean and interval over seeds, per class, confusion, calibration, curves. If it was stopped, the architectures
        reached so far.

    Raises
    ------
    ValueError
        The set does not fit the data (classes, shape, images that are not finite), or an argument is out of range.
    TrainingError
        The loss became NaN or infinite; the message says of which network.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> tiny = wb.condensation.condense(data, wb.condensation.DistributionMatching(ipc=1), iterations=0, progress=False)
    >>> score = evaluate(tiny, data, "mlp", seeds=3, epochs=100, references=False, progress=False)
    >>> score.accuracy.shape, score.mean() > 0.3
    (torch.Size([1, 3]), True)
    """
    started = time.perf_counter()
    place = distributed.pick(device)
    numbers = check(
        seeds,
        {"epochs": epochs, "full_epochs": full_epochs, "points": points, "batch_size": batch_size},
        {"lr": lr, "temperature": temperature, "momentum": momentum, "weight_decay": weight_decay},
    )
    architectures = (networks,) if isinstance(networks, str) else tuple(networks)
    if not numbers or not architectures:
        raise ValueError(f"networks is {networks!r} and seeds {seeds!r}; at least one of each is needed")
    fitted = fitting(distilled, data)
    examples, probabilities, owner = decoded(fitted)
    kind = labels or ("soft" if distilled.soft or teacher is not None else "hard")
    recipe = Recipe(
        epochs=epochs,
        optimizer=optimizer,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        schedule=schedule,
        batch_size=batch_size,
        augment=augment,
        points=points,
    )
    recipe = with_step_size(recipe, distilled) if step_size else recipe
    course = course_of(distilled, owner) if step_size else None
    if course is not None and not (teacher is augment is loss is None and temperature == 1):
        raise ValueError(
            "step_size=True with a rate for each step repeats the distilled steps: leave out teacher, augment, loss "
            "and temperature"
        )
    own = Lesson(examples, soft_labels(kind, probabilities, teacher, temperature, distilled), course)
    lessons: dict[str, list[Lesson]] = {"distilled": [own] * len(numbers)}
    recipes = {"distilled": recipe}
    if references:
        drawn = [random_real(data.train, fitted.hard_labels, seed) for seed in numbers]
        lessons |= {
            "random": [Lesson(split, None if teacher is None else own.guide) for split in drawn],
            "full": [Lesson(data.train)] * len(numbers),
        }
        like: dict[str, Any] = {"augment": augment, "points": points}
        recipes |= {
            "random": Recipe(epochs=epochs, batch_size=batch_size, **like) if step_size else recipe,
            "full": Recipe(epochs=full_epochs, batch_size=min(64, batch_size), **like),
        }
    stacks = stacks_of(lessons, recipes, alike=temperature == 1 and loss is None)
    work = {names: sum(lessons[n][0].steps(recipes[n]) for n in names) for names in stacks}
    started_from = {a: distilled for a in architectures if own_start and has_start(distilled, a)}
    about = {
        "set": fingerprint(examples), "data": fingerprint(data), "networks": list(architectures), "seeds": numbers,
        "recipes": {key: plain_settings(one) for key, one in recipes.items()}, "labels": kind, "step_size": step_size,
        "temperature": temperature, "options": {key: dict(value) for key, value in (options or {}).items()},
        "own_start": own_start, "loss": plain(loss), "teacher": teacher is not None,
    }  # fmt: skip
    kept = Kept(checkpoint, resume, about, list(stacks), len(architectures))
    results, interrupted = kept.results, False
    with tqdm(desc=name or distilled.name, disable=not progress, leave=False, unit="step") as bar:
        account = Account(work, len(architectures), bar, watch)
        for architecture, names in itertools.product(architectures, stacks):
            reached = account.reached = results.setdefault(architecture, {})
            if kept.has(architecture, names):  # from the run that is continued
                account.done += work[names]
                continue
            taught = teach(
                [
                    fresh(architecture, data, seed, options, started_from if which == "distilled" else {})
                    for which in names
                    for seed in numbers
                ],
                [lesson for which in names for lesson in lessons[which]],
                data.test,
                recipes[names[0]],
                seeds=numbers * len(names),
                temperature=temperature,
                loss=loss if "distilled" in names else None,
                device=place,
                watch=account.teller(architecture, names),
                what=f"{architecture} trained on {' and '.join(names)} images",
            )
            reached |= taught.apart(names)
            account.done += work[names]
            interrupted = taught.interrupted
            if interrupted:
                kept.stopped()
                break
            kept.save()
    complete = [a for a, reached in results.items() if "distilled" in reached and reached["distilled"].scored]
    if not complete:
        raise KeyboardInterrupt("the evaluation was stopped before its first point: there is nothing to keep")
    alike = {}
    if agreement and not interrupted:
        each = [
            resemblance(
                results[a]["distilled"].logits.argmax(2),
                data,
                a,
                images=len(examples),
                seeds=[1_000_000 + seed for seed in numbers],
                options=(options or {}).get(a),
                device=place,
            )
            for a in complete
        ]
        alike = {family: torch.stack([one[family] for one in each]) for family in each[0]}
    return scored(
        {a: results[a] for a in complete},
        data.test,
        numbers,
        name=name or distilled.name or distilled.method,
        images=len(distilled),
        nbytes=distilled.nbytes,
        seconds=distilled.provenance.wall_time,
        interrupted=interrupted,
        agreement=alike,
        settings={
            "labels": kind,
            "epochs": recipe.epochs,
            "steps": own.steps(recipe),
            "optimizer": plain(recipe.optimizer),
            "lr": recipe.lr if course is None else "learned",
            "momentum": recipe.momentum,
            "weight_decay": recipe.weight_decay,
            "schedule": plain(recipe.schedule),
            "batch_size": batch_size,
            "augment": plain(augment),
            "step_size": step_size,
            "temperature": temperature,
            "teacher": teacher is not None,
            "full_epochs": full_epochs,
            "own_start": list(started_from),
            "examples": len(examples),
            "method": distilled.method,
            "data": data.name,
            "options": {key: dict(value) for key, value in (options or {}).items()},
        },
        provenance=Provenance.capture(seed=numbers[0], device=place, started=started),
    )
