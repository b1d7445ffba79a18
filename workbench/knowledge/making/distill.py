"""`distill`: train a student on what a teacher's signal tells it.

    L = w · CE(student, labels) + signal(student, teacher, labels)

The teacher is asked in eval mode, never trained, and left in the mode it was found in; what it says about each example
is computed once and looked up (unless augmentation makes the inputs new each time). Trainable parts of the signal are
trained with the student and dropped.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from workbench import training
from workbench.data import Dataset, Split, as_dataset
from workbench.models import Outputs, observe
from workbench.records import TrainingRecord
from workbench.signals.cross_entropy import CrossEntropy
from workbench.signals.kl import KL
from workbench.signals.memory_crd import ROWS, MemoryCRD
from workbench.signals.numbers import at_least_zero
from workbench.signals.signal import Signal, as_signal, parts
from workbench.signals.weighted import Weighted
from workbench.training import doors
from workbench.training.guide import train_split

SignalLike = Signal | Callable[[Outputs, Outputs, torch.Tensor], torch.Tensor]


def distill(
    teacher: nn.Module | TrainingRecord | None,
    student: nn.Module,
    data: Any,
    signal: SignalLike | None = None,
    *,
    labels_weight: float | None = None,
    teacher_data: Dataset | None = None,
    seed: int = 0,
    **options: Any,
) -> TrainingRecord:
    """Train `student` on `data` under `signal` from `teacher`.

    Parameters
    ----------
    teacher
        Any network over the same classes, or the record of one; None for a signal that needs none (`OwnTeacher`).
    student
        The network to train; it is trained in place.
    data
        What the student sees: a `Dataset` or `Split`, or whatever `workbench.data.as_dataset` takes, such as tensors
        ``(x, y)``, a torch data set or loader, or a dict of tensors.
    signal
        What it is told: one signal, a weighted sum, or any callable of (student outputs, teacher outputs, labels) that
        returns a loss per example (n,) or one of the batch (); default ``KL(temperature=4)``.
    labels_weight
        w ≥ 0, the weight of plain cross-entropy with the labels. None: 1, or 0 for a signal that is a whole loss by
        itself (`PLD`, `BornAgain`, any sum with a `CrossEntropy` in it).
    teacher_data
        The same examples in the same order as the teacher sees them, for a teacher of another modality or resolution
        (cross-modal distillation); by default the teacher sees what the student sees.
    seed
        Of batch order, augmentation and the signal's trainable parts.
    options
        As for `workbench.training.fit`: ``epochs`` or ``steps``, ``optimizer``, ``lr``, ``schedule``, ``augment``,
        ``device``, ``name``, ….

    Returns
    -------
    TrainingRecord
        Of the student alone.

    Raises
    ------
    ValueError
        The student is the teacher itself; the signal needs a teacher and there is none; the two networks score
        different classes; an argument is not what it must be, such as the name of a signal.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(200)
    >>> teacher, student = wb.models.build("mlp", data, seed=1), wb.models.build("mlp", data, width=16)
    >>> told = 0.1 * CrossEntropy() + 0.9 * KL(temperature=4)
    >>> record = distill(teacher, student, data, told, steps=20, progress=False)
    >>> record.model is student
    True
    """
    _check_options(distill, options)
    data = as_dataset(data)
    teacher = _network(teacher)
    loss = training_loss(signal, labels_weight)
    _check(teacher, student, loss)
    _check_memories(loss, data)
    with as_found(teacher):
        bound = bind(loss, teacher, student, data, teacher_data=teacher_data, seed=seed)
        guide = _guide(teacher, loss, teacher_data)
        if _with_rows(loss):
            guide = (
                _rows_alone if guide is None else _numbered(guide, data, augmented=options.get("augment") is not None)
            )
        record = training.fit(student, data, loss=bound, layers=loss.student_layers, guide=guide, seed=seed, **options)
    return _told(record, loss)


def distill_many(
    teachers: Sequence[nn.Module | None] | nn.Module | None,
    students: Sequence[nn.Module],
    data: Any,
    signal: SignalLike | None = None,
    *,
    labels_weight: float | None = None,
    seeds: Sequence[int] | None = None,
    **options: Any,
) -> list[TrainingRecord]:
    """`distill` for many students of one architecture, trained as one `workbench.training.Ensemble`.

    Parameters
    ----------
    teachers
        One for all students, or one each.
    students
        Networks of one architecture; trained in place as far as the ensemble does.
    data
        One for all, as for `distill`, or a list of `Dataset` or `Split`, one each, of equal size.
    signal, labels_weight
        As for `distill`.
    seeds
        One per student; default 0, 1, 2, ….
    options
        As for `Ensemble.fit`.

    Returns
    -------
    list of TrainingRecord
        One per student, as `distill` one by one: what the loss depends on is equal up to rounding (see `Ensemble.fit`).

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(200)
    >>> teacher = wb.models.build("mlp", data, seed=1)
    >>> students = [wb.models.build("mlp", data, width=8, seed=seed) for seed in range(3)]
    >>> len(distill_many(teacher, students, data, steps=5, progress=False))
    3
    """
    _check_options(distill_many, options)
    count = len(students)
    each_teacher = [_network(one) for one in _one_each("teachers", teachers, count)]
    apart = isinstance(data, list | tuple) and all(isinstance(one, Dataset | Split) for one in data)
    each_data = _one_each("data", data if apart else as_dataset(data), count)
    seeds = range(count) if seeds is None else seeds
    loss = training_loss(signal, labels_weight)
    for teacher, student in zip(each_teacher, students, strict=True):
        _check(teacher, student, loss)
    if _with_rows(loss):
        raise ValueError(f"{loss} knows every example by its row: distil one student at a time, with distill")
    with as_found(*each_teacher):
        bound = [
            bind(loss, teacher, student, one, seed=seed)
            for teacher, student, one, seed in zip(each_teacher, students, each_data, seeds, strict=True)
        ]
        guides: dict[int, Any] = {id(teacher): _guide(teacher, loss, None) for teacher in each_teacher}
        shared = len(guides) == 1
        records = training.Ensemble(list(students)).fit(
            each_data,
            loss=bound if any(True for _ in bound[0].parameters()) else bound[0],
            layers=loss.student_layers,
            guide=guides[id(each_teacher[0])] if shared else [guides[id(teacher)] for teacher in each_teacher],
            seeds=list(seeds),
            **options,
        )
    return [_told(record, loss) for record in records]


def training_loss(signal: SignalLike | None = None, labels_weight: float | None = None) -> Signal:
    """The signal with its label term, as `distill` trains on it."""
    wanted = KL(4.0) if signal is None else as_signal(signal)
    weight = (0.0 if wanted.complete else 1.0) if labels_weight is None else labels_weight
    at_least_zero(labels_weight=weight)
    return weight * CrossEntropy() + wanted if weight else wanted


def bind(
    signal: Signal,
    teacher: nn.Module | None,
    student: nn.Module,
    data: Dataset | Split,
    *,
    teacher_data: Dataset | None = None,
    seed: int = 0,
    batch: int = 8,
) -> nn.Module:
    """The signal as a module, its trainable parts made for this pair of networks; neither network is changed.

    Raises
    ------
    ValueError
        The two networks do not score the same number of classes.
    """
    train = data.train if isinstance(data, Dataset) else data
    examples = train.take(torch.arange(min(batch, len(train))))
    seen = examples if teacher_data is None else teacher_data.train.take(torch.arange(len(examples)))
    of_student = look(student, signal.student_layers, examples.inputs)
    of_teacher = None if teacher is None else look(teacher, signal.teacher_layers, seen.inputs)
    if of_teacher is not None and of_teacher.logits.shape != of_student.logits.shape:
        raise ValueError(
            f"teacher scores {of_teacher.logits.shape[1]} classes and student {of_student.logits.shape[1]}: "
            "both must score the classes of data"
        )
    if _with_rows(signal):
        of_teacher = of_teacher or Outputs(of_student.logits.new_zeros(len(examples), 0))
        of_teacher = Outputs(of_teacher.logits, {**of_teacher.features, ROWS: torch.arange(len(examples))})
    generator = torch.Generator().manual_seed(seed)
    return signal.bind(of_student, of_teacher, examples.labels, generator=generator)  # type: ignore[arg-type]


@torch.no_grad()
def look(network: nn.Module, layers: tuple[str, ...], inputs: torch.Tensor) -> Outputs:
    """Outputs in eval mode (batch statistics stay as they are), where the inputs lie; the mode is put back afterwards.

    The two networks need not be on one device, and what is made for them is made on the CPU.
    """
    own = next(network.parameters(), inputs)
    with as_found(network):
        placed = inputs.to(own) if inputs.is_floating_point() else inputs.to(own.device)  # token ids stay integers
        seen = observe(network.eval(), layers)(placed)
        there = {name: each.to(inputs.device) for name, each in seen.features.items()}
        return Outputs(seen.logits.to(inputs.device), there)


@contextmanager
def as_found(*networks: nn.Module | None) -> Iterator[None]:
    """Put back the mode, training or eval, of every part of the networks, whatever happens meanwhile."""
    modes = [(part, part.training) for network in networks if network is not None for part in network.modules()]
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _check_options(call: Callable[..., Any], options: dict[str, Any]) -> None:
    trainer = training.fit if call is distill else training.Ensemble.fit
    own, passed_on = (inspect.signature(each).parameters for each in (call, trainer))
    known = [*own, *(name for name in passed_on if name not in ("self", "model", "loss", "layers", "guide"))]
    doors.check_keywords(call.__name__, options, [name for name in known if name != "options"])


def _guide(teacher: nn.Module | None, loss: Signal, teacher_data: Dataset | None) -> Any:
    if teacher is None or not loss.needs_teacher:
        return None
    guide = training.Guide(teacher, loss.teacher_layers, data=teacher_data)
    # `fit` points a Guide at the student's own inputs; a plain function it takes as it is.
    return guide if teacher_data is None else guide.__call__


def _with_rows(loss: Signal) -> bool:
    """Whether a part of the signal reads which training examples the batch holds."""
    return any(getattr(part, "needs_rows", False) for part in parts(loss))


def _check_memories(loss: Signal, data: Dataset | Split) -> None:
    count = len(train_split(data))
    for part in parts(loss):
        if isinstance(part, MemoryCRD | Weighted) and part.examples != count:
            name = "examples is" if isinstance(part, MemoryCRD) else "the number of weights is"
            raise ValueError(f"{name} {part.examples}, but data has {count} training examples")


def _rows_alone(inputs: torch.Tensor, rows: torch.Tensor) -> Outputs:
    """The guide of a signal that needs no teacher: the batch's rows."""
    return Outputs(inputs.new_zeros(len(inputs), 0), {ROWS: rows})


def _numbered(guide: Any, data: Dataset | Split, *, augmented: bool) -> Any:
    """The guide, which also says the batch's rows."""
    asked = guide.on(train_split(data), augmented=augmented) if isinstance(guide, training.Guide) else guide

    def numbered(inputs: torch.Tensor, rows: torch.Tensor) -> Outputs:
        seen = asked(inputs, rows)
        return Outputs(seen.logits, {**seen.features, ROWS: rows})

    return numbered


def _network(teacher: nn.Module | TrainingRecord | None) -> nn.Module | None:
    return teacher.model if isinstance(teacher, TrainingRecord) else teacher


def _check(teacher: nn.Module | None, student: nn.Module, loss: Signal) -> None:
    for name, network, more in (("teacher", teacher, ", the record of one, or None"), ("student", student, "")):
        if not isinstance(network, nn.Module) and not (network is None and name == "teacher"):
            what = f"the class {network.__name__}" if isinstance(network, type) else repr(network)[:80]
            raise ValueError(f"{name} is {what}; it must be a network (torch.nn.Module){more}")
    if teacher is student:
        raise ValueError("student is the teacher itself and has nothing to learn from it: build a fresh one")
    if teacher is None and loss.needs_teacher:
        raise ValueError(f"teacher is None, but {loss} needs one")


def _told(record: TrainingRecord, loss: Signal) -> TrainingRecord:
    """The record with the signal among its settings."""
    return record.replace(settings=record.settings | {"loss": repr(loss)}).with_model(record.model)


def _one_each(name: str, values: Any, count: int) -> list[Any]:
    if not isinstance(values, Sequence):
        return [values] * count
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} entries for {count} students: give one for all, or one each")
    return list(values)
