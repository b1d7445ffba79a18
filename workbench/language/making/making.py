"""A method at work: one iteration of it, the validation after each epoch, its state as a record."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from workbench.data import TextSplit
from workbench.language.making import sequences
from workbench.language.making.run import LanguageRun
from workbench.records import TrainingRecord
from workbench.training import making, optimizers, randomness, schedules
from workbench.training.iterating import NotFiniteError
from workbench.training.learner import copied
from workbench.training.making import Specified
from workbench.training.resuming import Identity

VALIDATED = 256
"""Examples scored at once."""


@runtime_checkable
class LanguageMethod(Protocol):
    """A frozen dataclass of the paper's hyperparameters; it may also be `Prepared`, `Validated` or `Followed`."""

    short: ClassVar[str]
    needs_teacher: ClassVar[bool]

    def loss(self, run: LanguageRun) -> Tensor:
        """Of this iteration, in which the student makes one step."""


@runtime_checkable
class Prepared(Protocol):
    """A method with something to do, or to refuse, before the first iteration."""

    def begin(self, run: LanguageRun) -> None:
        """Before anything."""


@runtime_checkable
class Validated(Protocol):
    """A method that goes by the student's loss on the held-out examples."""

    def validated(self, run: LanguageRun, loss: float) -> None:
        """After each epoch, and once before the first."""


@runtime_checkable
class Followed(Protocol):
    """A method with curves of its own."""

    def curves(self, run: LanguageRun) -> Mapping[str, float]:
        """Values to keep after each epoch."""


class LanguageError(making.RunError):
    """A run that cannot go on. `record` holds the last sound state, or None when there is none."""

    record: TrainingRecord | None


@dataclasses.dataclass(frozen=True)
class Pace:
    """How the student's weights move: AdamW, the norm of the gradient cut off, the rate along a schedule."""

    lr: float
    weight_decay: float
    clip: float
    schedule: str
    warmup: int


class LanguageMaking(making.Making[LanguageRun, TrainingRecord]):
    """A method at work on its student, which is validated after each epoch.

    Parameters
    ----------
    method, run, fields, started
        As for `workbench.training.making.Making`.
    test
        What is validated on.
    steady
        How the student's weights move.
    corpus_weight
        Of the text that is modelled beside.
    """

    error = LanguageError
    can_go_on = "only a record as distill returned it can be continued"
    alike = "method, models, data and seed"
    advice = "The last finite weights are kept in error.record; a lower lr usually helps"
    sources: ClassVar[Mapping[str, Identity]] = {
        "data_fingerprint": Identity("data", "other data", "its examples differ from these"),
        "teacher_fingerprint": Identity("teacher", "another teacher", "its weights differ from this one's"),
    }

    def __init__(
        self,
        method: LanguageMethod,
        run: LanguageRun,
        test: TextSplit,
        steady: Pace,
        corpus_weight: float,
        fields: dict[str, Any],
        started: float,
    ) -> None:
        self.method, self.test, self.steady, self.corpus_weight = method, test, steady, corpus_weight
        self.parameters = [p for p in run.student.parameters() if p.requires_grad]
        optimizer = optimizers.make(
            "adamw", self.parameters, lr=steady.lr, weight_decay=steady.weight_decay, momentum=0.0
        )
        super().__init__(run, {"student": optimizer}, fields, started)
        self.optimizer = optimizer
        self.rates, self.schedule = optimizers.Rates(optimizer), schedules.resolve(steady.schedule)
        self.curves: dict[str, list[float]] = {}
        self.sums: dict[str, float] = {}
        if isinstance(method, Prepared):
            method.begin(run)

    def begin(self) -> None:
        self._tell(self._validate()[0])

    def load(self, record: TrainingRecord) -> None:
        kept = record.checkpoint
        self.run.student.load_state_dict({name: value.to(self.run.device) for name, value in kept["student"].items()})
        making.unpack(self.optimizer, kept["optimizer"])
        self.rates = optimizers.Rates(self.optimizer)  # loading has put other groups in the place of its own
        self.sums = dict(kept["sums"])
        self.curves = {name: curve.tolist() for name, curve in record.curves.items()}

    def iteration(self) -> float:
        """Its loss; where that or its gradient is not finite the student has not made the step."""
        run = self.run
        run.student.train()
        with randomness.fenced(run.device):
            randomness.seed_layers(run.seed, self.done, run.device)
            loss = self.method.loss(run)
            if run.corpus is not None and self.corpus_weight:
                loss = loss + self.corpus_weight * sequences.corpus_loss(run.student, self._corpus(run.corpus))
        self.optimizer.zero_grad()
        loss.backward()
        size = torch.nn.utils.clip_grad_norm_(self.parameters, self.steady.clip)
        value = float(loss.detach())
        if not math.isfinite(value) or not math.isfinite(float(size)):
            raise NotFiniteError("student's gradient" if math.isfinite(value) else "loss of the student")
        self.rates.set(schedules.factor(self.schedule, self.done, run.steps, self.steady.warmup))
        self.optimizer.step()
        return value

    def note(self, loss: float) -> None:
        for name, more in {"train_loss": loss, **self.run.logged}.items():
            self.sums[name] = self.sums.get(name, 0.0) + more
        if self.done % self.run.epoch_steps == 0 or self.done == self.run.steps:
            self._epoch()

    def state(self) -> dict[str, Any]:
        return {
            "student": dict(self.run.student.state_dict()),
            "optimizer": making.packed(self.optimizer),
            "sums": self.sums,
        }

    def so_far(self, *, interrupted: bool, broken: bool = False) -> TrainingRecord:
        student = self.run.student
        return TrainingRecord(
            curves={name: torch.tensor(curve, dtype=torch.float64) for name, curve in self.curves.items()},
            state=copied(dict(student.state_dict()), "cpu"),
            spec=student.spec if isinstance(student, Specified) else None,
            checkpoint={} if broken else self.checkpoint(),
            interrupted=interrupted,
            provenance=self.provenance(),
            **self.fields,
        ).with_model(student)

    def _epoch(self) -> None:
        steps = (self.done - 1) % self.run.epoch_steps + 1
        loss, right = self._validate()
        self._tell(loss)
        values = {"train_loss": self.sums.pop("train_loss") / steps, "test_loss": loss, "test_accuracy": right}
        values |= self.sums
        values |= self.method.curves(self.run) if isinstance(self.method, Followed) else {}
        # What nothing was added to in an epoch, tokens written say, is 0 of it.
        making.note(self.curves, values, len(self.curves.get("train_loss", ())), missing=0.0)
        self.sums = {}

    def _tell(self, loss: float) -> None:
        if isinstance(self.method, Validated):
            self.method.validated(self.run, loss)

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
