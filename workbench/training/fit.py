"""`fit`: train one network on a dataset and keep what happened as a record."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench.analysis.calibration import calibration
from workbench.data import Dataset, Split, as_dataset
from workbench.records import Provenance, TrainingRecord
from workbench.training import augment as augmentations
from workbench.training import distributed, doors, losses, optimizers, plan, randomness, resuming
from workbench.training.checkpoints import Checkpoints, reopened
from workbench.training.evaluating import Scores
from workbench.training.guide import GuideFunction, train_split
from workbench.training.history import History
from workbench.training.learner import Batches, Single
from workbench.training.loop import Failure, Keep, TrainingError, Watch, progress_bar, run


@doors.hinted
def fit(
    model: nn.Module,
    data: Any,
    epochs: int = 20,
    *,
    steps: int | None = None,
    optimizer: str | optimizers.OptimizerFactory = "adam",
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    schedule: str | Callable[[float], float] = "cosine",
    warmup: float = 0,
    batch_size: int = 64,
    augment: str | augmentations.Augment | None = None,
    loss: losses.Loss | None = None,
    layers: str | Sequence[str] = (),
    guide: GuideFunction | None = None,
    amp: bool = False,
    device: str | torch.device = "auto",
    seed: int = 0,
    snapshots: int | str | Sequence[int] = 0,
    evaluate_every: int | None = None,
    resume: TrainingRecord | str | os.PathLike | None = None,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int | None = None,
    progress: bool = True,
    name: str = "",
    watch: Watch | None = None,
) -> TrainingRecord:
    """Train `model` in place on ``data.train`` and evaluate it on ``data.test``.

    An interrupt (the notebook's stop button, Ctrl-C) ends the run after the step under way and returns what was
    reached, with ``interrupted=True``; pass that record as `resume` to go on. Under ``torchrun`` each batch is shared
    out over the processes, and every process returns the same record.

    Parameters
    ----------
    model
        Any network; its output is the logits (n, classes), or has them as ``.logits``.
    data
        `Dataset`, or a `Split` to train on without testing; or whatever `workbench.data.as_dataset` takes: tensors or
        arrays ``(x, y)``, a torch data set or loader, a dict of tensors. Inputs may be token ids.
    epochs, steps
        Passes over ``data.train``; or optimizer steps, which then count instead. With `steps`, the curves have a point
        per `evaluate_every` steps (left out: per pass, at most about twenty in all).
    optimizer
        ``"adam"``, ``"adamw"``, ``"sgd"`` (with `momentum`), or a function from parameters to a
        `torch.optim.Optimizer`, which then decides `lr`, `weight_decay` and `momentum` itself.
    schedule, warmup
        ``"cosine"``, ``"constant"``, ``"step"`` or a function from progress (0..1) to the share of `lr`; before it, the
        rate rises linearly over `warmup` epochs (with `steps`: steps).
    batch_size
        Examples per step, over all processes together.
    augment
        Name or names of augmentations (``"shift+cutout"``), or a function of (inputs, generator).
    loss
        Called as ``loss(outputs, guide, labels)``, returns (n,) or (); parameters of an `nn.Module` are trained with
        the network. What it keeps in an attribute ``logged`` (name → number) becomes a curve. Default: cross-entropy,
        or squared error when the labels are no classes.
    layers
        Layers of `model` whose features the loss sees in ``outputs.features``.
    guide
        Teacher: called without gradients as ``guide(inputs, rows)``, `rows` being positions in ``data.train``; see
        `Guide`.
    amp
        Mixed precision: bfloat16, or float16 with loss scaling on GPUs without it.
    device
        ``"auto"`` (a GPU if there is one), or a torch device. Model and data are moved there.
    seed
        Decides the order of the examples, the augmentation and the draws of layers like dropout; not the weights.
    snapshots
        Keep the weights every so many epochs (and before training), at ``"all"`` epochs, or at the epochs listed; 0:
        never.
    evaluate_every
        Epochs (with `steps`: steps) from one evaluation to the next, NaN between; 0: only at the end. Default: each.
    resume
        Record of a run to continue, or the path of its file. `epochs` or `steps` is the total, and the data must be
        the same. On the CPU the result has the same bits as without the stop.
    checkpoint, checkpoint_every
        File that holds what the run has reached, written every so many epochs (with `steps`: steps; left out: at each
        point of the curves) and at the end. After a crash, pass it as `resume`.
    progress
        Show a progress bar.
    name
        What the run is called in legends.
    watch
        Called after each evaluation with the steps done and the `Scores` on the test split. Raising KeyboardInterrupt
        there ends the run as an interrupt does.

    Returns
    -------
    TrainingRecord
        Its ``model`` is `model`, in eval mode.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of a wrong type; the message names it, what it was and what would do.
    TrainingError
        The loss became NaN or infinite; ``error.record`` is the last sound state.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> record = fit(wb.models.build("mlp", data, width=32), data, epochs=3, lr=0.01, progress=False)
    >>> record.epochs, record.accuracy > 0.9
    (3, True)
    """
    started = time.perf_counter()
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is {model!r}; it must be an nn.Module, such as wb.models.build('mlp', data)")
    device = distributed.pick(device)
    data = as_dataset(data)
    train, test = splits(data)
    seed = doors.whole("seed", seed)
    course = plan.make(
        len(train),
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        schedule=schedule,
        warmup=warmup,
        snapshots=snapshots,
        evaluate_every=evaluate_every,
    )
    lr, warmup = doors.number("lr", lr, above=0), float(warmup)
    weight_decay = doors.number("weight_decay", weight_decay, least=0)
    momentum = doors.number("momentum", momentum, least=0)
    settings = {
        "epochs": None if steps is not None else int(epochs),
        "steps": course.steps,
        "steps_per_point": course.point,
        "optimizer": plain(optimizer),
        "lr": lr,
        "weight_decay": weight_decay,
        "momentum": momentum,
        "schedule": plain(schedule),
        "warmup": warmup,
        "batch_size": course.batch_size,
        "augment": plain(augment),
        "loss": plain(loss),
        "layers": [layers] if isinstance(layers, str) else list(layers),
        "guide": plain(guide),
        "amp": amp,
        "seed": seed,
        "examples": len(train),
        "data": getattr(data, "name", ""),
        **resuming.identity(train, test),
    }
    saved = kept_in(checkpoint, checkpoint_every, course, resuming=resume is not None)
    start = None if resume is None else reopened(resume, TrainingRecord)
    model.to(device)
    if isinstance(loss, nn.Module):
        loss.to(device)
    own = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    train, test = train.to(device, own), None if test is None else test.to(device, own)
    with randomness.fenced(device):
        learner = Single(
            model,
            losses.resolve(loss, train.task),
            Batches(train, course, augmentations.resolve(augment), seed),
            test,
            layers=layers,
            guide=guide,
            optimizer=optimizer,
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            amp=amp,
            device=device,
        )
        history = History(1) if start is None else resuming.continued(learner, start, settings)

        def record(history: History, scores: Scores | None, *, interrupted: bool) -> TrainingRecord:
            return assemble(
                history,
                0,
                scores,
                state=learner.states()[0],
                checkpoint=resuming.state(history, learner.capture()),
                model=model,
                name=name,
                classes=train.classes,
                settings=settings,
                interrupted=interrupted,
                provenance=Provenance.capture(seed=seed, device=device, started=started),
            )

        if learner.world.rank:
            saved = Checkpoints(None)
        keep = Keep(saved.due, lambda at: saved.save(record(at, None, interrupted=True)))
        try:
            with progress_bar(course, history.step, name, show=progress and learner.world.rank == 0) as bar:
                history, scores, interrupted = run(learner, course, history, bar, watch, keep)
        except Failure as failure:
            raise TrainingError(
                failure.message(course), [record(failure.history, learner.score(), interrupted=True)]
            ) from None
        if interrupted and learner.world.rank == 0:
            print(resuming.stopped(history, course))
        made = record(history, scores, interrupted=interrupted)
        saved.save(made)
        return made


def splits(data: Dataset | Split) -> tuple[Split, Split | None]:
    """What to train on and what to test on; no test split where there is none or it is empty."""
    test = data.test if isinstance(data, Dataset) else None
    return train_split(data), test if test is not None and len(test) else None


def kept_in(path: str | os.PathLike | None, every: int | None, course: plan.Plan, *, resuming: bool) -> Checkpoints:
    """The file of a run's checkpoints; `path` and `every` as the arguments of `fit`."""
    if path is None and every is not None:
        raise ValueError(f"checkpoint_every is {every!r}, but no checkpoint is written: pass checkpoint= a path")
    saved = Checkpoints(path, 1 if every is None else every, resuming=resuming)
    if every is None:
        saved.every = course.point
    elif not course.in_steps:
        saved.every *= course.pass_steps
    return saved


def plain(value: Any) -> Any:
    """A setting as a record keeps it: as it is when plain, else by name."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, nn.Module) and type(value).__repr__ is nn.Module.__repr__:
        return type(value).__name__
    return getattr(value, "__name__", None) or repr(value)


def assemble(
    history: History,
    member: int,
    scores: Scores | None,
    *,
    state: dict[str, Tensor],
    model: nn.Module,
    **rest: Any,
) -> TrainingRecord:
    """The record of one of the networks that a history tells of."""
    shape = None
    if scores is not None and scores.accuracy is not None and scores.logits[member].isfinite().all():
        shape = calibration(scores.logits[member], scores.labels[member])
    return TrainingRecord(
        **history.of(member), calibration=shape, state=state, spec=getattr(model, "spec", None), **rest
    ).with_model(model)
