"""What a training set teaches: new networks trained from scratch on one or several sets, all of them together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.condensation.judging.stepping import Course, SoftCrossEntropy, follow
from workbench.data import Dataset, Split
from workbench.models import Outputs
from workbench.training import Ensemble, TrainingError, distributed
from workbench.training.evaluating import Scores
from workbench.training.guide import GuideFunction

ACTIVATION_BYTES = 2**30
"""How much the networks that are trained at once may keep of one batch for the way back; the others wait."""


def halfway(progress: float) -> float:
    """The learning rate of the field's protocol: a tenth from half of training on (DC, DM, MTT)."""
    return 1.0 if progress <= 0.5 else 0.1


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How networks are trained on a set; the defaults are those of the public DC, DM and MTT code.

    Attributes
    ----------
    epochs
        Passes over the set.
    steps
        Optimizer steps, which then count instead of `epochs`.
    optimizer, lr, momentum, weight_decay, schedule, batch_size, augment
        As for `workbench.training.fit`.
    points
        Evaluations along training, evenly spaced; the last is at the end.
    """

    epochs: int = 300
    steps: int | None = None
    optimizer: Any = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str | Callable[[float], float] = halfway
    batch_size: int = 256
    augment: Any = None
    points: int = 10

    def length(self, examples: int) -> int:
        """Optimizer steps on so many examples."""
        full, rest = divmod(examples, self.batch_size)
        per_pass = full if rest == 0 or (rest == 1 and full) else full + 1  # as workbench.training.plan counts
        return self.epochs * per_pass if self.steps is None else self.steps

    def options(self, examples: int) -> dict[str, Any]:
        """Arguments of `Ensemble.fit` for a set of so many examples."""
        steps = self.length(examples)
        return {
            "steps": steps,
            "evaluate_every": max(1, -(-steps // max(1, self.points))),
            "optimizer": self.optimizer,
            "lr": self.lr,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
            "schedule": self.schedule,
            "batch_size": self.batch_size,
            "augment": self.augment,
        }


class SoftLabels:
    """Label distributions of a set as a teacher: looked up by the position of the example.

    Parameters
    ----------
    probabilities
        Shape (n, classes), rows summing to one; their logarithms are the logits (−∞ for 0, which softmax undoes).
    """

    def __init__(self, probabilities: Tensor) -> None:
        self.logits = probabilities.log()

    def __call__(self, inputs: Tensor, rows: Tensor) -> Outputs:
        if self.logits.device != inputs.device or self.logits.dtype != inputs.dtype:
            self.logits = self.logits.to(inputs)
        return Outputs(self.logits[rows])


@dataclass(frozen=True)
class Lesson:
    """A training set for one network.

    Attributes
    ----------
    split
        The examples, with hard labels.
    guide
        Soft labels: a function of (inputs, rows), such as `SoftLabels` or a `workbench.training.Guide`; None: the hard
        labels count.
    course
        The very steps to take, instead of a `Recipe`.
    """

    split: Split
    guide: GuideFunction | None = None
    course: Course | None = None

    def steps(self, recipe: Recipe) -> int:
        """Optimizer steps it takes."""
        return recipe.length(len(self.split)) if self.course is None else len(self.course)


@dataclass
class Taught:
    """What N networks learned; rows are in the order of the lessons, NaN for a network not (yet) trained.

    Attributes
    ----------
    steps
        Optimizer steps done at each point.
    accuracy, confidence
        On the test split along training, float64, shape (N, points).
    logits
        Of the networks as they are in the end, shape (N, test examples, classes).
    interrupted
        Whether a run was stopped before its end.
    """

    steps: list[int] = field(default_factory=list)
    accuracy: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    confidence: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    logits: Tensor = field(default_factory=lambda: torch.empty(0, 0, 0))
    interrupted: bool = False

    @property
    def scored(self) -> bool:
        """Every network has been tested at least once."""
        return bool(self.logits.isfinite().all())

    def apart(self, names: Sequence[str]) -> "dict[str, Taught]":
        """Equal shares of the networks, in their order, by name."""
        curves, sure, said = (value.chunk(len(names)) for value in (self.accuracy, self.confidence, self.logits))
        return {name: Taught(self.steps, curves[i], sure[i], said[i], self.interrupted) for i, name in enumerate(names)}


def teach(
    networks: Sequence[nn.Module],
    lessons: Sequence[Lesson],
    test: Split,
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    temperature: float = 1.0,
    loss: Any = None,
    device: Any = "auto",
    watch: Callable[[Taught, int, Scores], None] | None = None,
    what: str = "",
) -> Taught:
    """Train every network on its own lesson and test it: one `Ensemble`, or several where memory would not do.

    Parameters
    ----------
    networks
        Of one architecture; trained in place.
    lessons
        One per network, with equal numbers of examples; a `Course` is one for all, with the first lesson's examples.
    seeds
        Of each network's order of examples and augmentation.
    temperature
        Logit temperature of the soft labels; hard labels beside them are learned under the same loss.
    loss
        Instead of cross-entropy, as for `workbench.training.fit`.
    watch
        Called at each point with what was reached so far, the steps done and the `Scores` of the networks in training.
        Raising KeyboardInterrupt stops the training and keeps it.
    what
        What is trained, for messages.

    Raises
    ------
    TrainingError
        A loss became NaN or infinite.
    """
    N, examples, course = len(networks), len(lessons[0].split), lessons[0].course
    options = recipe.options(examples)
    steps = lessons[0].steps(recipe)
    every = max(1, -(-steps // max(1, recipe.points)))
    taught = Taught(steps=[*range(every, steps, every), steps] if steps else [])
    taught.accuracy = torch.full((N, len(taught.steps)), torch.nan, dtype=torch.float64)
    taught.confidence = taught.accuracy.clone()
    taught.logits = torch.full((N, len(test), len(test.classes)), torch.nan)
    soft = any(lesson.guide is not None for lesson in lessons)
    size = together(networks[0], lessons[0].split.inputs[:1], min(examples, recipe.batch_size))
    for first in range(0, N, size):
        rows = slice(first, min(N, first + size))
        parts = lessons[rows]

        def note(step: int, scores: Scores, rows: slice = rows) -> None:
            point = taught.steps.index(step)
            assert scores.accuracy is not None
            taught.accuracy[rows, point] = scores.accuracy.double()
            taught.confidence[rows, point] = scores.logits.double().softmax(2).amax(2).mean(1)
            taught.logits[rows] = scores.logits.float()
            if watch is not None:
                watch(taught, step, scores)

        if course is not None:
            told = _guide(lessons[0])(lessons[0].split.inputs, torch.arange(examples, device=lessons[0].split.device))
            place = distributed.pick(device)
            if not follow(networks[rows], lessons[0].split, told, course, test, every=every, device=place, note=note):
                taught.interrupted = True
                break
            continue
        try:
            records = Ensemble(networks[rows]).fit(
                [Dataset(what, lesson.split, test) for lesson in parts],
                **options,
                seeds=seeds[rows],
                loss=loss or (SoftCrossEntropy(temperature) if soft else None),
                guide=[_guide(lesson) for lesson in parts] if soft else None,
                device=device,
                progress=False,
                watch=note,
            )
        except TrainingError as error:
            raise TrainingError(f"{what}: {error}", error.records) from None
        if records[0].interrupted:
            taught.interrupted = True
            break
    return taught


def together(network: nn.Module, example: Tensor, batch: int) -> int:
    """How many networks keep at most `ACTIVATION_BYTES` of a batch of so many examples; at least one.

    Counted are the outputs of all layers in a forward pass of one example, shape (1, ...).
    """
    kept = 0

    def count(module: nn.Module, given: Any, output: Any) -> None:  # noqa: ARG001 - a forward hook
        nonlocal kept
        kept += output.numel() * output.element_size() if isinstance(output, Tensor) else 0

    handles = [m.register_forward_hook(count) for m in network.modules() if not any(m.children())]
    training, own = network.training, next(network.parameters())
    try:
        with torch.no_grad():
            network.eval()(example.to(own))
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return max(1, ACTIVATION_BYTES // max(1, kept * batch))


def _guide(lesson: Lesson) -> GuideFunction:
    if lesson.guide is not None:
        return lesson.guide
    return SoftLabels(F.one_hot(lesson.split.labels, len(lesson.split.classes)).to(lesson.split.inputs.dtype))
