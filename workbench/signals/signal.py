"""What a student is told: signals compare a student's outputs with a teacher's, and add up with weights.

    KL(temperature=4) + 0.5 * Hint("stage2", "stage3")

A signal is a small frozen dataclass that is called with (student outputs, teacher outputs, labels). One that needs
trainable parts of its own (a hint's regressor, a projector) makes them in `bind`, which sees the outputs of one batch.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench.models import Outputs


class Signal:
    """Base of all signals; gives them ``+``, ``weight *`` and binding.

    A subclass is a frozen dataclass with `__call__`, or with `bind` when it has trainable parts. Everything it does is
    plain tensor operations without data-dependent branches, so that it also runs under ``vmap`` (`training.Ensemble`).
    """

    needs_teacher: ClassVar[bool] = True
    """False for a signal that reads only the student and the labels; it may then be called with ``teacher=None``."""

    complete: ClassVar[bool] = False
    """True for a signal that is a whole training loss by itself, to which `distill` adds no label term."""

    static: ClassVar[bool] = True
    """It computes the same every time it is called, so that a GPU may replay it (`workbench.training.replaying`)."""

    @property
    def student_layers(self) -> tuple[str, ...]:
        """The student's layers whose features the signal reads, by ``named_modules()`` name or glob."""
        return ()

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """The teacher's layers whose features the signal reads."""
        return ()

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """The loss: per example, shape (n,), or one number for the batch, shape ()."""
        raise TypeError(f"{type(self).__name__} has trainable parts: bind it to a pair of networks first")

    def bind(self, student: Outputs, teacher: Outputs, labels: Tensor, *, generator: torch.Generator) -> nn.Module:  # noqa: ARG002
        """The signal as a module with the same call; its parameters are trained with the student and then dropped.

        Parameters
        ----------
        student, teacher, labels
            One batch's outputs and labels, for their shapes.
        generator
            Initialises the parameters.
        """
        return Bound(self)

    def __add__(self, other: "Signal") -> "Sum":
        return Sum((*_terms(self), *_terms(other)))

    def __mul__(self, weight: float) -> "Sum":
        return Sum(tuple(replace(term, weight=term.weight * weight) for term in _terms(self)))

    __rmul__ = __mul__


@dataclass(frozen=True)
class Term:
    """One weighted signal of a sum."""

    signal: Signal
    weight: float = 1.0


@dataclass(frozen=True)
class Sum(Signal):
    """Weighted sum of signals; made by ``+`` and ``*``."""

    terms: tuple[Term, ...]

    @property
    def needs_teacher(self) -> bool:  # type: ignore[override]
        return any(term.signal.needs_teacher for term in self.terms)

    @property
    def complete(self) -> bool:  # type: ignore[override]
        return any(term.signal.complete for term in self.terms)

    @property
    def student_layers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for term in self.terms for name in term.signal.student_layers))

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for term in self.terms for name in term.signal.teacher_layers))

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        return _total([term.weight * term.signal(student, teacher, labels) for term in self.terms])

    def bind(self, student: Outputs, teacher: Outputs, labels: Tensor, *, generator: torch.Generator) -> nn.Module:
        return BoundSum(
            [term.weight for term in self.terms],
            [term.signal.bind(student, teacher, labels, generator=generator) for term in self.terms],
        )


class Bound(nn.Module):
    """A signal without trainable parts, as a module."""

    def __init__(self, signal: Callable[[Outputs, Outputs, Tensor], Tensor]) -> None:
        super().__init__()
        self.signal = signal
        self.static = getattr(signal, "static", False)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        return self.signal(student, teacher, labels)


class BoundSum(nn.Module):
    """A weighted sum of bound signals."""

    def __init__(self, weights: list[float], modules: list[nn.Module]) -> None:
        super().__init__()
        self.weights = weights
        self.parts = nn.ModuleList(modules)

    @property
    def logged(self) -> dict[str, Tensor]:
        """What the parts want drawn beside the loss (`workbench.training.fit`)."""
        return {name: value for part in self.parts for name, value in getattr(part, "logged", {}).items()}

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        return _total([w * part(student, teacher, labels) for w, part in zip(self.weights, self.parts, strict=True)])


def _terms(signal: Signal) -> tuple[Term, ...]:
    return signal.terms if isinstance(signal, Sum) else (Term(signal),)


def _total(losses: list[Tensor]) -> Tensor:
    """Sum of per-example and per-batch losses: the latter count for every example."""
    total = losses[0]
    for loss in losses[1:]:
        total = total + loss
    return total


@contextmanager
def seeded(generator: torch.Generator) -> Iterator[None]:
    """Seed torch's own initialisers, which know the global generator only, from `generator`, and put that one back."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(torch.randint(2**31, (), generator=generator, device=generator.device)))
        yield
