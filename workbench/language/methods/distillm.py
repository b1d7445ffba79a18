"""DistiLLM: a skewed divergence, and the student's own responses when validation asks for them, each used many times.

    SKL(p, q)  = KL(p ‖ α p + (1 − α) q),   SRKL(p, q) = KL(q ‖ (1 − α) p + α q)
    L = (1 − ρ) CE + ρ D,   D one of the two, as a mean over response tokens

With probability φ a step uses responses that the student wrote: fresh ones with probability φ_s, which falls over the
run, or while the buffer is not full; else a draw from the buffer. φ rises by 0.1 whenever the validation loss has risen
by ε since φ last rose.

Paper 094, Ko et al. 2024, Eq. 2, 3 and Algorithm 1; the order of the cases is that of its code.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from workbench.language.making import divergences
from workbench.language.making.run import LanguageRun
from workbench.language.making.sequences import Sequences

RISE = 0.1
"""By which φ rises."""

REPLAYS = ("decreasing", "constant", "increasing")


class Adaptive(NamedTuple):
    """Where the scheduler stands: φ, and the validation loss at which φ last rose (before training, at first)."""

    phi: float
    previous: float


def scheduled(now: Adaptive, loss: float, epsilon: float) -> Adaptive:
    """The scheduler after an epoch with this validation loss.

    >>> rising = scheduled(Adaptive(0.0, 1.0), 1.1, 0.1)
    >>> rising, scheduled(rising, 1.15, 0.1)
    (Adaptive(phi=0.1, previous=1.1), Adaptive(phi=0.1, previous=1.1))
    """
    if loss >= now.previous + epsilon:
        return Adaptive(min(now.phi + RISE, 1.0), loss)
    return now


def fresh_share(phi: float, at: int, steps: int, replay: str) -> float:
    """φ_s at step `at` (1 … `steps`): the probability of fresh responses once the buffer is full."""
    match replay:
        case "constant":
            return 0.5 * phi
        case "increasing":
            return phi * at / steps
    return phi * (1 - at / steps)


@dataclass(frozen=True)
class DistiLLM:
    """Skewed divergence with an adaptive share of the student's responses, from a buffer.

    Attributes
    ----------
    divergence
        ``"skew reverse"`` or ``"skew"``.
    alpha
        α in 0..1: how much of its first distribution is mixed into its second.
    ratio
        ρ in 0..1: share of the divergence, against cross-entropy with the responses used.
    epsilon
        ε: by how much the validation loss must have risen for φ to rise.
    start
        φ at first, in 0..1.
    capacity
        Responses that the buffer holds; the oldest go first.
    replay
        How the share of fresh ones goes over the run: ``"decreasing"``, ``"constant"`` or ``"increasing"``.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("instructions", n_train=64, n_test=16)
    >>> teacher, student = (wb.models.build("lm", data, width=16, depth=depth) for depth in (2, 1))
    >>> method = DistiLLM(start=0.5, capacity=64)
    >>> record = wb.language.distill(teacher, student, data, method, epochs=2, progress=False)
    >>> record.curves["phi"].tolist()
    [0.5, 0.5]
    """

    divergence: str = "skew reverse"
    alpha: float = 0.1
    ratio: float = 1.0
    epsilon: float = 0.1
    start: float = 0.0
    capacity: int = 1000
    replay: str = "decreasing"
    short: ClassVar[str] = "DistiLLM"
    needs_teacher: ClassVar[bool] = True

    def __post_init__(self) -> None:
        divergences.check(self.divergence, self.ratio, self.alpha)
        if self.divergence not in divergences.SKEWED:
            raise ValueError(
                f"divergence is {self.divergence!r}; it can be {' or '.join(map(repr, divergences.SKEWED))}"
            )
        if self.replay not in REPLAYS:
            raise ValueError(f"replay is {self.replay!r}; it can be {', '.join(map(repr, REPLAYS))}")
        if not 0 <= self.start <= 1 or self.capacity < 1:
            raise ValueError(
                f"start is {self.start} and capacity {self.capacity}; they must lie in 0..1 and be at least 1"
            )

    def begin(self, run: LanguageRun) -> None:
        """Refuse a buffer that could never give a batch."""
        if self.capacity < run.batch:
            raise ValueError(f"capacity is {self.capacity}; a batch of {run.batch} is drawn from the buffer")
        run.memory |= {"phi": self.start, "previous": None, "buffer": {}}

    def validated(self, run: LanguageRun, loss: float) -> None:
        """After each epoch, and once before the first."""
        memory = run.memory
        if memory["previous"] is None:
            memory["previous"] = loss
        else:
            memory["phi"], memory["previous"] = scheduled(
                Adaptive(memory["phi"], memory["previous"]), loss, self.epsilon
            )

    def loss(self, run: LanguageRun) -> Tensor:
        return run.distillation(self.batch(run), self.divergence, self.ratio, alpha=self.alpha)

    def batch(self, run: LanguageRun) -> Sequences:
        """What this step is on: fresh responses, some of the buffer, or the data's."""
        phi, r = run.memory["phi"], run.uniform("whose words")
        if r < fresh_share(phi, run.iteration + 1, run.steps, self.replay) or (
            r < phi and _held(run.memory) < self.capacity
        ):
            batch, source = run.written(), "fresh"
            self._push(run.memory, batch)
        elif r < phi:
            batch, source = self._draw(run), "replayed"
        else:
            batch, source = run.examples(), "data"
        run.log(**{f"{name}_steps": float(name == source) for name in ("fresh", "replayed", "data")})
        return batch

    def curves(self, run: LanguageRun) -> dict[str, float]:
        """Where the scheduler stands, for the record."""
        return {"phi": run.memory["phi"]}

    def _push(self, memory: dict[str, Any], batch: Sequences) -> None:
        """Token ids only: the teacher is asked again whenever they are used."""
        for name, ids in (("prompts", batch.prompts), ("responses", batch.responses)):
            held = memory["buffer"].get(name)
            whole = ids.cpu() if held is None else torch.cat([held, ids.cpu()])
            memory["buffer"][name] = whole[-self.capacity :]

    def _draw(self, run: LanguageRun) -> Sequences:
        """A batch of the buffer, each response with the same probability and none twice."""
        buffer = run.memory["buffer"]
        rows = torch.randperm(len(buffer["prompts"]), generator=run.generator("replay"))[: run.batch]
        return Sequences(buffer["prompts"][rows].to(run.device), buffer["responses"][rows].to(run.device))


def _held(memory: dict[str, Any]) -> int:
    buffer = memory["buffer"]
    return len(buffer["prompts"]) if buffer else 0
