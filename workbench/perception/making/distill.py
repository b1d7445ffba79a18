"""`distill`: train one speech encoder on what another says; `student_of`: a student copied out of its teacher."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from workbench import models
from workbench.data import Dataset, SoundSplit
from workbench.models import observe
from workbench.models.speech import SpeechEncoder
from workbench.perception.making.contamination import Contamination
from workbench.perception.methods.robust_distiller import RobustDistiller
from workbench.records import TrainingRecord
from workbench.training import Guide, distributed, doors, fit


class Method(Protocol):
    """A signal (`workbench.signals`) that says what the two networks hear."""

    clean_teacher: ClassVar[bool]

    @property
    def contamination(self) -> Contamination | None:
        """What the student hears through."""

    @property
    def student_layers(self) -> tuple[str, ...]:
        """As of any signal."""

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """As of any signal."""

    def bind(self, student: Any, teacher: Any, labels: Tensor, *, generator: torch.Generator) -> nn.Module:
        """As of any signal."""


@dataclass(frozen=True)
class ClippedAdamW:
    """AdamW whose gradient is cut off at a norm; an ``optimizer=`` of `workbench.training.fit`."""

    lr: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 1e-6
    clip: float = 15.0

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        given = list(parameters)
        optimizer = torch.optim.AdamW(given, lr=self.lr, betas=self.betas, weight_decay=self.weight_decay, fused=True)
        optimizer.register_step_pre_hook(lambda *_: _clip(given, self.clip))
        return optimizer


def linear(progress: float) -> float:
    """From 1 to 0 along a line."""
    return 1.0 - progress


def distill(
    teacher: nn.Module | TrainingRecord,
    student: nn.Module,
    data: Dataset,
    method: Method | None = None,
    *,
    epochs: int = 20,
    steps: int | None = None,
    batch_size: int = 24,
    lr: float = 2e-4,
    weight_decay: float = 1e-6,
    clip: float = 15.0,
    warmup: float = 0.07,
    seed: int = 0,
    device: str = "auto",
    name: str = "",
    **options: Any,
) -> TrainingRecord:
    """Train `student` under `method` from `teacher`.

    Parameters
    ----------
    teacher
        A speech encoder, or the record of one; never trained.
    student
        A speech encoder with as many frames, mostly `student_of` the teacher; trained in place, but for its head.
    data
        Sound (`SoundSplit`); labels are not read.
    method
        Default `RobustDistiller`, for a teacher of 12 layers at 16 kHz.
    epochs, steps
        Length of training; `steps` wins where it is given. 200,000 in the paper.
    batch_size, lr, weight_decay, clip, warmup
        AdamW, β = (0.9, 0.98), the gradient's norm cut off at `clip`; the rate rises over the share `warmup` of the
        run and then falls to 0 along a line. Defaults: the paper's.
    seed
        Of order, contaminations, and the heads' weights.
    device
        As for `workbench.training.fit`.
    options
        Others of `workbench.training.fit`: `resume`, `checkpoint`, `progress`, `snapshots`, ….

    Returns
    -------
    TrainingRecord
        Curves: ``train_loss`` and its parts, ``distillation`` and ``enhancement``. What the student can do is found by
        `probe`.

    Raises
    ------
    ValueError
        Names the argument, what it was and what would do.
    """
    chosen: Method = RobustDistiller() if method is None else method
    network = teacher.model if isinstance(teacher, TrainingRecord) else teacher
    _check(network, student, chosen)
    place = distributed.pick(device)
    train = unlabelled(data).to(place)
    network.to(place).eval()
    student.to(place)
    guide = Guide(network, chosen.teacher_layers, data=train)
    share = doors.number("warmup", warmup, least=0)
    doors.number("clip", clip, above=0)
    record = fit(
        student,
        train,
        epochs,
        steps=steps,
        batch_size=batch_size,
        optimizer=ClippedAdamW(doors.number("lr", lr, above=0), weight_decay=weight_decay, clip=clip),
        schedule=linear,
        warmup=min(share, 1.0) * (epochs if steps is None else steps),
        augment=chosen.contamination,
        loss=_bound(chosen, network, student, train, seed),
        layers=chosen.student_layers,
        # `fit` shows a Guide what the student hears; a function it asks by rows, and these are of the clean sounds.
        guide=guide.__call__ if chosen.clean_teacher else guide,
        device=device,
        seed=seed,
        name=name or type(chosen).__name__,
        **options,
    )
    return record.replace(settings=record.settings | {"loss": repr(chosen), "guide": "teacher"}).with_model(student)


def student_of(teacher: nn.Module | TrainingRecord, depth: int = 2, *, seed: int = 0) -> nn.Module:
    """A student with the teacher's convolutions and its first `depth` layers; its head is a fresh one.

    Parameters
    ----------
    teacher
        An encoder made by `workbench.models.build("speech", …)`, or the record of one.
    depth
        1 to the teacher's.

    Examples
    --------
    >>> import workbench as wb
    >>> teacher = wb.models.build("speech", ((4000,), 20), width=16, depth=3)
    >>> student = student_of(teacher, depth=1)
    >>> len(student.blocks), torch.equal(student.blocks[0].wide.weight, teacher.blocks[0].wide.weight)
    (1, True)
    """
    network = teacher.model if isinstance(teacher, TrainingRecord) else teacher
    spec = getattr(network, "spec", None)
    if not isinstance(network, SpeechEncoder) or spec is None:
        raise ValueError(f"teacher is a {type(network).__name__}; it must be made by workbench.models.build('speech')")
    if not 1 <= depth <= len(network.blocks):
        raise ValueError(f"depth is {depth}; it must be in 1..{len(network.blocks)}, the teacher's layers")
    options = {**spec["options"], "depth": depth}
    student = models.build("speech", (spec["shape"], spec["classes"]), seed=seed, **options)
    own = student.state_dict()
    student.load_state_dict(
        own | {name: value for name, value in network.state_dict().items() if name in own and "head." not in name}
    )
    return student.to(next(network.parameters()).device)


def unlabelled(data: Dataset) -> SoundSplit:
    """The training sounds without their classes, so that nothing is scored that was not learned."""
    train = data.train if isinstance(data, Dataset) else data
    if not isinstance(train, SoundSplit):
        raise ValueError(f"data={data!r} is no sound: load 'words', or a folder or zip of WAV files")  # noqa: TRY004
    return dataclasses.replace(train, labels=torch.zeros(len(train), device=train.device), classes=())


def _check(teacher: nn.Module, student: nn.Module, method: Method) -> None:
    for what, network in (("teacher", teacher), ("student", student)):
        if not isinstance(network, SpeechEncoder):
            raise ValueError(  # noqa: TRY004 - one error for all arguments
                f"{what} is a {type(network).__name__}; it must be a speech encoder: workbench.models.build('speech', "
                "data)"
            )
    assert isinstance(teacher, SpeechEncoder)
    assert isinstance(student, SpeechEncoder)
    if teacher is student:
        raise ValueError("student is the teacher itself and has nothing to learn from it: use student_of")
    last = max(int(name.split(".")[1]) + 1 for name in method.teacher_layers if name.startswith("blocks."))
    if last > len(teacher.blocks):
        raise ValueError(f"layers reaches to {last}, but the teacher has {len(teacher.blocks)}: name layers it has")
    if isinstance(method, RobustDistiller) and method.hop != student.hop:
        raise ValueError(f"hop is {method.hop}, but the student has a frame each {student.hop} samples: pass that")


@torch.no_grad()
def _bound(method: Method, teacher: nn.Module, student: nn.Module, train: SoundSplit, seed: int) -> nn.Module:
    some = train.take(slice(0, 2))
    mode = student.training
    student.eval()
    said, told = (
        observe(student, method.student_layers)(some.inputs),
        observe(teacher, method.teacher_layers)(some.inputs),
    )
    student.train(mode)
    return method.bind(said, told, some.labels, generator=torch.Generator().manual_seed(seed))


def _clip(parameters: list[nn.Parameter], most: float) -> None:
    torch.nn.utils.clip_grad_norm_(parameters, most)
