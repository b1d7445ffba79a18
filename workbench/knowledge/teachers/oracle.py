"""A teacher that can only be asked: it answers questions up to a budget, and shows nothing else of itself.

    oracle = Oracle(network, answers="top-1", budget=1_000)
    oracle(inputs)              # as a network, in `distill`
    oracle.ask(inputs)          # the answers themselves
    oracle.asked, oracle.left   # what it has cost, what is left

What the network is made of stays behind: it is held in a table of this module, so that no attribute of an oracle leads
to it, its parameters, its features or its gradients. A method that works on an oracle is a black-box method.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.training.evaluating import logits_of

Answers = Literal["logits", "probabilities", "top-1"]
ANSWERS: tuple[Answers, ...] = ("logits", "probabilities", "top-1")

CERTAIN = 1e4
"""How far, in logits, a class named by a top-1 answer lies above the others: softmax gives exactly 1 and 0, at any
temperature up to about 50 in float32.
"""


class BudgetError(RuntimeError):
    """An oracle was asked more than its budget allows; it answered nothing of that question."""


class Oracle(nn.Module):
    """A network behind an interface: inputs in, answers out, counted.

    The same input asked again is answered from memory and costs nothing, as a client would keep what it was told; so
    `asked` counts different inputs. Copies of an oracle are the oracle itself: they share its budget.

    Parameters
    ----------
    model
        The network that answers, in eval mode.
    answers
        What it tells: ``"logits"``, ``"probabilities"`` or ``"top-1"``, the best class alone.
    budget
        Different inputs that it answers; None: as many as one likes.

    Raises
    ------
    BudgetError
        A question would go beyond the budget.
    ValueError
        An argument is none of these; or the inputs of a question carry a graph, as if it had a gradient.

    Examples
    --------
    >>> import torch, workbench as wb
    >>> data = wb.data.load("digits")
    >>> oracle = Oracle(wb.models.build("mlp", data), answers="top-1", budget=100)
    >>> oracle.ask(data.train.inputs[:60]).sum(1).unique(), oracle.asked, oracle.left
    (tensor([1.]), 60, 40)
    >>> list(oracle.parameters())
    []
    """

    def __init__(self, model: nn.Module, answers: Answers = "logits", budget: int | None = None) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise ValueError(f"model is {model!r}; it must be a network (torch.nn.Module)")  # noqa: TRY004 - one error for all arguments
        if answers not in ANSWERS:
            raise ValueError(f"answers is {answers!r}; it can be {', '.join(ANSWERS)}")
        if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 0):
            raise ValueError(f"budget is {budget!r}; it must be a number of questions, 0 or more, or None")
        _BEHIND[self] = _Behind(model, answers, budget)
        super().train(False)

    @property
    def answers(self) -> Answers:
        """What it tells."""
        return _BEHIND[self].answers

    @property
    def budget(self) -> int | None:
        """Different inputs that it answers in all."""
        return _BEHIND[self].budget

    @property
    def asked(self) -> int:
        """Different inputs that it has answered."""
        return len(_BEHIND[self].told)

    @property
    def left(self) -> int | None:
        """Different inputs that it would still answer; None: there is no budget."""
        return None if self.budget is None else self.budget - self.asked

    def ask(self, inputs: Tensor) -> Tensor:
        """The answers to inputs (n, *shape), shape (n, classes), without a graph, where the inputs lie.

        Logits, probabilities, or for ``"top-1"`` ones and zeros.

        Raises
        ------
        BudgetError, ValueError
            As the class says.
        """
        if inputs.requires_grad:
            raise ValueError("inputs carry a graph, but an oracle gives no gradients: ask with inputs.detach()")
        behind, names = _BEHIND[self], _names(inputs)
        new = {name: row for row, name in enumerate(names) if name not in behind.told}
        if behind.budget is not None and len(behind.told) + len(new) > behind.budget:
            raise BudgetError(
                f"{len(new)} new questions, but the oracle's budget of {behind.budget} has {self.left} left"
            )
        if new:
            answers = _answers(logits_of(behind.model, inputs[list(new.values())]), behind.answers).cpu()
            behind.told |= dict(zip(new, answers, strict=True))
        if not names:
            return inputs.new_zeros(0, len(next(iter(behind.told.values()), ())))
        return torch.stack([behind.told[name] for name in names]).to(inputs.device)

    def was_asked(self, inputs: Tensor) -> Tensor:
        """Which of the inputs (n, *shape) it has been asked, bool (n,): what left the house."""
        told = _BEHIND[self].told
        return torch.tensor([name in told for name in _names(inputs)], dtype=torch.bool)

    def forward(self, inputs: Tensor) -> Tensor:
        """As a network: logits (n, classes) whose softmax is the answer, for `distill` and whatever takes a teacher."""
        answers = self.ask(inputs)
        match self.answers:
            case "logits":
                return answers
            case "probabilities":
                return answers.clamp(min=torch.finfo(answers.dtype).tiny).log()
        return CERTAIN * (answers - 1)

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 - as torch calls it
        """Nothing changes: what answers is not at hand, and answers in eval mode."""
        return self

    def extra_repr(self) -> str:
        limit = "no budget" if self.budget is None else f"{self.left} of {self.budget} left"
        return f"answers={self.answers!r}, {self.asked} asked, {limit}"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        """An oracle is a service, not a thing to save."""
        raise TypeError("an Oracle cannot be pickled: that would carry its network away; save the network by itself")


@dataclass
class _Behind:
    """What an oracle hides."""

    model: nn.Module
    answers: Answers
    budget: int | None
    told: dict[bytes, Tensor] = field(default_factory=dict)


_BEHIND: WeakKeyDictionary[Oracle, _Behind] = WeakKeyDictionary()


def _answers(logits: Tensor, kind: Answers) -> Tensor:
    match kind:
        case "logits":
            return logits
        case "probabilities":
            return logits.softmax(1)
    return F.one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype)


def _names(inputs: Tensor) -> list[bytes]:
    """A digest of each input: what it is known by."""
    rows = inputs.detach().cpu().contiguous()
    return [hashlib.blake2b(row.numpy().tobytes(), digest_size=16).digest() for row in rows]
