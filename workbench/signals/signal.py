"""What a student is told: signals compare a student's outputs with a teacher's, and add up with weights.

    KL(temperature=4) + 0.5 * Hint("stage2", "stage3")

A signal is a small frozen dataclass that is called with (student outputs, teacher outputs, labels). One that needs
trainable parts of its own (a hint's regressor, a projector) makes them in `bind`, which sees the outputs of one batch.
Any other callable with these arguments is one too, alone and in sums:

    KL(4) + 0.5 * CrossEntropy() + (lambda student, teacher, labels: student.logits.square().mean(1))
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from workbench.models import Outputs
from workbench.signals.aliases import hint
from workbench.signals.numbers import number


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

    def __add__(self, other: Any) -> "Signal":
        """Both; `other` is a signal or any callable with a signal's arguments. Adding 0 changes nothing, so that
        ``sum`` works.
        """
        return self._plus(other, after=True)

    def __radd__(self, other: Any) -> "Signal":
        return self._plus(other, after=False)

    def __sub__(self, other: Any) -> "Signal":
        return self + -1.0 * as_signal(other)

    def __rsub__(self, other: Any) -> "Signal":
        return as_signal(other) + -1.0 * self

    def __mul__(self, weight: float) -> "Sum":
        number("weight", weight)
        return Sum(tuple(replace(term, weight=term.weight * weight) for term in _terms(self)))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> "Sum":
        number("divisor", divisor, lambda x: x != 0, "finite and not 0")
        return self * (1 / divisor)

    def __neg__(self) -> "Sum":
        return self * -1.0

    def _plus(self, other: Any, *, after: bool) -> "Signal":
        if isinstance(other, int | float) and other == 0:
            return self
        both = (self, as_signal(other)) if after else (as_signal(other), self)
        return Sum(tuple(term for signal in both for term in _terms(signal)))


@dataclass(frozen=True)
class Term:
    """One weighted signal of a sum."""

    signal: Signal
    weight: float = 1.0

    def __post_init__(self) -> None:
        number("weight", self.weight)


@dataclass(frozen=True)
class Custom(Signal):
    """Any callable as a signal; made by `as_signal`. The parameters of a module are trained with the student.

    Examples
    --------
    >>> as_signal(lambda student, teacher, labels: student.logits.square().mean(1)) + as_signal(max)
    <lambda> + max
    """

    function: Callable[[Outputs, Outputs, Tensor], Tensor]
    static: ClassVar[bool] = False

    @property
    def needs_teacher(self) -> bool:  # type: ignore[override]
        """As the callable says in an attribute of this name; without one it does."""
        return bool(getattr(self.function, "needs_teacher", True))

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        loss = self.function(student, teacher, labels)
        sound = isinstance(loss, Tensor) and loss.shape in ((), (len(student.logits),))
        if not sound:
            what = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
            raise ValueError(f"{self} returned {what}; a signal is a tensor (n,), a loss per example, or ()")
        return loss

    def bind(self, student: Outputs, teacher: Outputs, labels: Tensor, *, generator: torch.Generator) -> nn.Module:  # noqa: ARG002
        return BoundCustom(self)

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)


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

    def __repr__(self) -> str:
        return " + ".join(f"{'' if term.weight == 1 else f'{term.weight:g} * '}{term.signal!r}" for term in self.terms)

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


class BoundCustom(Bound):
    """A callable as a module; what it holds in parameters is its own copy, so that the user's stays as it is."""

    def __init__(self, signal: Custom) -> None:
        super().__init__(signal)
        self.own = copy.deepcopy(signal.function) if isinstance(signal.function, nn.Module) else None

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        return (self.signal if self.own is None else Custom(self.own))(student, teacher, labels)


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


def as_signal(signal: Any) -> Signal:
    """A signal as it is, any other callable as one.

    Raises
    ------
    ValueError
        It is neither; for the name of a method the message says which signal it is.

    Examples
    --------
    >>> as_signal("kl")
    Traceback (most recent call last):
    ValueError: signal is 'kl'; it must be a signal or a function of (student, teacher, labels): use KL(temperature=4)
    """
    if isinstance(signal, Signal):
        return signal
    if isinstance(signal, type) and issubclass(signal, Signal):
        name = signal.__name__
        raise ValueError(f"signal is the class {name}; pass one made of it: {name}(…)")  # noqa: TRY004 - one error for all arguments
    if not callable(signal):
        use = hint(signal) if isinstance(signal, str) else ""
        raise ValueError(  # noqa: TRY004
            f"signal is {signal!r}; it must be a signal or a function of (student, teacher, labels)"
            + (f": use {use}" if use else "")
        )
    return Custom(signal)


def parts(signal: Signal) -> tuple[Signal, ...]:
    """The signals that a sum is made of, or the one by itself.

    Examples
    --------
    >>> parts(as_signal(min) + as_signal(max))
    (min, max)
    """
    return tuple(term.signal for term in _terms(signal))


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
