"""The training loop, the same for one network and for a stack: steps, points of the curves, stops and failures."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm.auto import tqdm

from workbench.records import TrainingRecord
from workbench.training.evaluating import Scores
from workbench.training.history import History, State
from workbench.training.interrupting import Interruptible
from workbench.training.plan import Plan

Watch = Callable[[int, Scores], None]
"""Called after each evaluation with the optimizer steps done and the scores of all members."""

CHECK_EVERY = 50  # steps between looks at the loss on an accelerator, where each look waits for the device


class TrainingError(RuntimeError):
    """Training that cannot go on. `record` (for an `Ensemble`, `records`) holds the last state that was sound."""

    def __init__(self, message: str, records: list[TrainingRecord]) -> None:
        super().__init__(message)
        self.records = records

    @property
    def record(self) -> TrainingRecord:
        return self.records[0]


class Learner(Protocol):
    """What the loop trains: N networks, on whatever data, by whatever step."""

    members: int
    device: torch.device
    classes: int  # 0 for regression
    done: int  # optimizer steps taken
    updating: bool  # True while an optimizer step is under way, when weights must not be kept

    def step(self, at: int, factor: float) -> tuple[dict[str, Tensor], int]:
        """Take optimizer step `at`: batch means by curve (``train_loss`` among them), each (N,), and batch size."""

    def rates(self, factor: float) -> Tensor:
        """Learning rates at `factor` times the base rates, shape (N,)."""

    def score(self) -> Scores | None:
        """Scores on the test split; None where there is none."""

    def states(self) -> list[State]:
        """A copy of each network's state on the CPU."""

    def capture(self) -> Any:
        """A copy of everything that training changes."""

    def restore(self, captured: Any) -> None:
        """Go back to what `capture` gave."""

    def reduce(self, sums: dict[str, Tensor], count: int) -> tuple[dict[str, Tensor], int]:
        """Add up sums over the processes that train together."""


class Failure(Exception):  # noqa: N818 - private to this module and its callers; users see TrainingError
    """The loss stopped being a number; the learner is back at `history`."""

    def __init__(self, history: History, step: int, rate: float, member: int, value: float) -> None:
        super().__init__(step)
        self.history, self.step, self.rate, self.member, self.value = history, step, rate, member, value

    def message(self, plan: Plan, member: str = "") -> str:
        """What happened, where, and what to try."""
        return (
            f"loss{member} is {self.value} at step {self.step} of {plan.steps} (learning rate {self.rate:.3g}); "
            f"the record on this error holds the state after step {self.history.step}: "
            "lower lr, use warmup, or look for inputs that are not finite"
        )


@dataclass(frozen=True)
class Keep:
    """When the run's state is written to disk, and by what."""

    due: Callable[[int], bool]
    save: Callable[[History], None]


def run(
    learner: Learner,
    plan: Plan,
    history: History,
    bar: "tqdm[Any]",
    watch: Watch | None = None,
    keep: Keep | None = None,
) -> tuple[History, Scores | None, bool]:
    """Train from ``history.step`` to the plan's last step, or until interrupted.

    `watch` is called after each evaluation; if it raises KeyboardInterrupt, the run ends there as by an interrupt.
    `keep` is asked after each step; what it saves is the state after it, whose loss was finite.

    Returns
    -------
    tuple
        The history reached, the scores at its end, and whether it was interrupted.

    Raises
    ------
    Failure
        The loss became NaN or infinite.
    """
    if history.step == 0 and not history.snapshot_epochs and 0 in plan.snapshot_points:
        _snapshot(learner, history, 0)
    sound = history.copy(), learner.capture()
    scores: Scores | None = None
    pending: list[tuple[int, Tensor]] = []
    every = 1 if learner.device.type == "cpu" else CHECK_EVERY
    interrupted = False
    with Interruptible() as stop:
        try:
            while history.step < plan.steps and not stop.requested:
                at = history.step
                means, count = learner.step(at, plan.factor(at))
                pending.append((at, means["train_loss"]))
                history.add(means, count)
                bar.update()
                point = plan.closes_point(history.step)
                if len(pending) >= every or point is not None:
                    _check(pending, learner, plan, sound)
                if point is not None:
                    scores = _close(learner, plan, history, point)
                    _tell(bar, history)
                    sound = history.copy(), learner.capture()
                if keep is not None and history.step < plan.steps and keep.due(history.step):
                    if pending:
                        _check(pending, learner, plan, sound)
                    keep.save(history)
                if point is not None and watch is not None and scores is not None:
                    watch(history.step, scores)
            interrupted = stop.requested and history.step < plan.steps
        except KeyboardInterrupt:  # a second one, or one that is no signal
            interrupted = history.step < plan.steps
            if learner.updating or learner.done != history.step:
                history, interrupted = sound[0], True
                learner.restore(sound[1])
                pending.clear()
        if pending:
            _check(pending, learner, plan, sound)
        if interrupted or scores is None:
            with contextlib.suppress(KeyboardInterrupt):  # then without scores: no time was given for them
                scores = learner.score()
    return history, scores, interrupted


def _close(learner: Learner, plan: Plan, history: History, point: int) -> Scores | None:
    history.sums, history.count = learner.reduce(history.sums, history.count)
    extra: dict[str, Tensor] = {}
    scores = learner.score() if plan.evaluates(point) else None
    per_class = torch.full((learner.members, learner.classes), torch.nan).double() if learner.classes else None
    if scores is not None:
        extra["test_loss"] = scores.loss
        if scores.accuracy is not None:
            extra["test_accuracy"] = scores.accuracy
            per_class = scores.per_class
    extra["learning_rate"] = learner.rates(plan.factor(history.step - 1))
    history.close(extra, per_class)
    if point in plan.snapshot_points:
        _snapshot(learner, history, point)
    return scores


def _snapshot(learner: Learner, history: History, point: int) -> None:
    history.snapshots.append(learner.states())
    history.snapshot_epochs.append(point)


def _check(pending: list[tuple[int, Tensor]], learner: Learner, plan: Plan, sound: tuple[History, Any]) -> None:
    losses = pending[0][1][None] if len(pending) == 1 else torch.stack([loss for _, loss in pending])
    if math.isfinite(losses.sum().item()):
        pending.clear()
        return
    wrong = (~losses.isfinite()).nonzero()
    if len(wrong) == 0:  # only their sum is too large
        pending.clear()
        return
    row, member = wrong[0].tolist()
    step = pending[row][0]
    rate = float(learner.rates(plan.factor(step))[member])
    learner.restore(sound[1])
    raise Failure(sound[0], step, rate, member, float(losses[row, member]))


def _tell(bar: "tqdm[Any]", history: History) -> None:
    if bar.disable:
        return
    shown = {
        label: f"{history.curves[name][-1].mean():.{digits}f}"
        for name, label, digits in (("train_loss", "loss", 3), ("test_accuracy", "test accuracy", 3))
        if name in history.curves
    }
    bar.set_postfix(shown, refresh=False)


@contextlib.contextmanager
def progress_bar(plan: Plan, start: int, name: str, *, show: bool) -> "Iterator[tqdm[Any]]":
    """A bar over the run's steps: a widget in a notebook, a line in a terminal, nothing when `show` is False."""
    bar = tqdm(total=plan.steps, initial=start, desc=name or "training", unit="step", disable=not show, leave=True)
    try:
        yield bar
    finally:
        bar.close()
