"""A method at work: one iteration of it, the validation after each epoch, its state as a record."""

import dataclasses
import math
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from workbench.data import TextSplit
from workbench.language.making import sequences
from workbench.language.making.run import Run
from workbench.records import Provenance, TrainingRecord
from workbench.training import optimizers, randomness, schedules
from workbench.training.iterating import NotFiniteError, changed_setting
from workbench.training.learner import copied

VALIDATED = 256
"""Examples scored at once."""


@runtime_checkable
class Method(Protocol):
    """A frozen dataclass of the paper's hyperparameters.

    Further attributes it may have: ``begin(run)``, before anything; ``validated(run, loss)``, after each epoch and once
    before the first; ``curves(run)``, values to keep after each epoch.
    """

    short: ClassVar[str]
    needs_teacher: ClassVar[bool]

    def loss(self, run: Run) -> Tensor:
        """Of this iteration, in which the student makes one step."""


class LanguageError(ValueError):
    """A run that cannot go on. `record` holds the last sound state, or None when there is none."""

    def __init__(self, message: str, record: TrainingRecord | None = None) -> None:
        super().__init__(message)
        self.record = record


@dataclasses.dataclass(frozen=True)
class Pace:
    """How the student's weights move: AdamW, the norm of the gradient cut off, the rate along a schedule."""

    lr: float
    weight_decay: float
    clip: float
    schedule: str
    warmup: int


class Making:
    """A method under way.

    Attributes
    ----------
    done
        Iterations completed.
    """

    def __init__(
        self,
        method: Method,
        run: Run,
        test: TextSplit,
        pace: Pace,
        corpus_weight: float,
        fields: dict[str, Any],
        started: float,
    ) -> None:
        self.method, self.run, self.test, self.pace, self.fields, self.started = (
            method,
            run,
            test,
            pace,
            fields,
            started,
        )
        self.corpus_weight = corpus_weight
        self.parameters = [p for p in run.student.parameters() if p.requires_grad]
        self.optimizer = optimizers.make(
            "adamw", self.parameters, lr=pace.lr, weight_decay=pace.weight_decay, momentum=0.0
        )
        self.rates, self.schedule = optimizers.Rates(self.optimizer), schedules.resolve(pace.schedule)
        self.curves: dict[str, list[float]] = {}
        self.sums: dict[str, float] = {}
        self.done = 0
        self._before = 0.0
        begin = getattr(method, "begin", None)
        if begin is not None:
            begin(run)

    def start(self, record: TrainingRecord | None) -> None:
        """Validate before the first iteration, or set everything to where `record` ended."""
        if record is None:
            self._tell(self._validate()[0])
            return
        if not record.checkpoint:
            raise LanguageError("resume has no checkpoint: only a record as distill returned it can be continued")
        if changed := changed_setting(record.settings, self.fields["settings"], but=""):
            raise LanguageError(f"{changed}: continue with the same method, models, data and seed")
        kept = record.checkpoint
        self.run.student.load_state_dict({name: value.to(self.run.device) for name, value in kept["student"].items()})
        numbered = {int(key): copied(value) for key, value in kept["optimizer"].items()}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": numbered})
        self.rates = optimizers.Rates(self.optimizer)  # loading has put other groups in the place of its own
        self.run.memory = copied(kept["memory"])
        self.sums = dict(kept["sums"])
        self.curves = {name: curve.tolist() for name, curve in record.curves.items()}
        self.done = int(kept["iteration"])
        self._before = record.provenance.wall_time

    def advance(self) -> float:
        """One iteration; returns its loss.

        Raises
        ------
        NotFiniteError
            The loss or its gradient was not finite; the student has not made the step.
        """
        run = self.run
        run.iteration, run.logged = self.done, {}
        run.student.train()
        with randomness.fenced(run.device):
            randomness.seed_layers(run.seed, self.done, run.device)
            loss = self.method.loss(run)
            if run.corpus is not None and self.corpus_weight:
                loss = loss + self.corpus_weight * sequences.corpus_loss(run.student, self._corpus(run.corpus))
        self.optimizer.zero_grad()
        loss.backward()
        size = torch.nn.utils.clip_grad_norm_(self.parameters, self.pace.clip)
        value = float(loss.detach())
        if not math.isfinite(value) or not math.isfinite(float(size)):
            raise NotFiniteError("student's gradient" if math.isfinite(value) else "loss of the student")
        self.rates.set(schedules.factor(self.schedule, self.done, run.steps, self.pace.warmup))
        self.optimizer.step()
        self.done += 1
        for name, more in {"train_loss": value, **run.logged}.items():
            self.sums[name] = self.sums.get(name, 0.0) + more
        if self.done % run.epoch_steps == 0 or self.done == run.steps:
            self._epoch()
        return value

    def record(self, *, interrupted: bool = False, broken: bool = False) -> TrainingRecord:
        """The state as a record; of a run that broke within an iteration, without what continuing it would need."""
        run, student = self.run, self.run.student
        made = Provenance.capture(seed=run.seed, device=run.device, started=self.started)
        state = copied(dict(student.state_dict()), "cpu")
        checkpoint = {
            "iteration": self.done,
            "student": state,
            "optimizer": {
                str(key): copied(value, "cpu") for key, value in self.optimizer.state_dict()["state"].items()
            },
            "memory": copied(run.memory, "cpu"),
            "sums": dict(self.sums),
        }
        return TrainingRecord(
            curves={name: torch.tensor(curve, dtype=torch.float64) for name, curve in self.curves.items()},
            state=state,
            spec=getattr(student, "spec", None),
            checkpoint={} if broken else checkpoint,
            interrupted=interrupted,
            provenance=dataclasses.replace(made, wall_time=self._before + made.wall_time),
            **self.fields,
        ).with_model(student)

    def _epoch(self) -> None:
        steps = (self.done - 1) % self.run.epoch_steps + 1
        loss, right = self._validate()
        self._tell(loss)
        values = {"train_loss": self.sums.pop("train_loss") / steps, "test_loss": loss, "test_accuracy": right}
        values |= self.sums
        curves = getattr(self.method, "curves", None)
        values |= {} if curves is None else curves(self.run)
        epochs = len(self.curves.get("train_loss", ()))
        for name in values.keys() | self.curves.keys():
            # What nothing was added to in an epoch, tokens written say, is 0 of it.
            self.curves.setdefault(name, [0.0] * epochs).append(values.get(name, 0.0))
        self.sums = {}

    def _tell(self, loss: float) -> None:
        validated = getattr(self.method, "validated", None)
        if validated is not None:
            validated(self.run, loss)

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        """Cross-entropy of the held-out responses' tokens, and the share of them that the student finds likeliest."""
        return scores(self.run.student, self.test, self.run.device)

    def _corpus(self, corpus: TextSplit) -> sequences.Sequences:
        rows = torch.randint(len(corpus), (self.run.batch,), generator=self.run.generator("corpus"))
        return sequences.of(corpus, rows, self.run.device)


@torch.no_grad()
def scores(model: torch.nn.Module, split: TextSplit, device: torch.device) -> tuple[float, float]:
    """Mean cross-entropy of the responses' tokens in nats, and the share of them that the model finds likeliest."""
    mode = model.training
    model.eval()
    total = right = 0.0
    count = 0
    for start in range(0, len(split), VALIDATED):
        batch = sequences.of(split, slice(start, start + VALIDATED), device)
        logits, there = sequences.response_logits(model, batch), ~batch.padding
        total += float(sequences.cross_entropy(logits, batch)) * batch.tokens
        right += float((logits.argmax(-1) == batch.responses)[there].sum())
        count += batch.tokens
    model.train(mode)
    return total / count, right / count
