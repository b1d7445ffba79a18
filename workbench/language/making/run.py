"""What a method sees of the run it is part of: the models, examples, random numbers, its memory."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from workbench.data import TextSplit
from workbench.language.making import divergences, sequences
from workbench.language.making.sequences import Sequences
from workbench.training import running


@dataclass(eq=False)
class LanguageRun(running.Run):
    """One run of `distill`, as its method sees it; with all that every `workbench.training.running.Run` has.

    Attributes
    ----------
    student, teacher
        On the run's device; the teacher in eval mode, or None.
    train, corpus
        Examples, and text to be modelled as it is beside them, or None; both on the CPU.
    seed, device, steps, batch
        As given to `distill`.
    """

    student: nn.Module
    teacher: nn.Module | None
    train: TextSplit
    corpus: TextSplit | None
    seed: int
    device: torch.device
    steps: int
    batch: int

    @property
    def epoch_steps(self) -> int:
        """Iterations in which every example is seen once, but for those that fill no batch."""
        return max(1, len(self.train) // self.batch)

    def uniform(self, purpose: str) -> float:
        """A number in 0..1."""
        return float(torch.rand((), generator=self.generator(purpose), dtype=torch.float64))

    def rows(self) -> Tensor:
        """Of this iteration's examples: every epoch has an order of its own."""
        epoch, place = divmod(self.iteration, self.epoch_steps)
        order = torch.randperm(len(self.train), generator=self.generator("order", epoch))
        return order[place * self.batch : (place + 1) * self.batch]

    def examples(self) -> Sequences:
        """This iteration's examples."""
        return sequences.of(self.train, self.rows(), self.device)

    def written(self, purpose: str = "writing") -> Sequences:
        """This iteration's prompts with what the student samples after them, from all tokens at temperature 1.

        Counted in the curve ``generated_tokens``.
        """
        found = sequences.written(
            self.student, self.examples().prompts, self.train.shape[1], generator=self.generator(purpose)
        )
        self.log(generated_tokens=found.tokens)
        return found

    def distillation(self, batch: Sequences, divergence: str, ratio: float, **options: Any) -> Tensor:
        """(1 − ρ) CE + ρ D(teacher, student) over the batch's response tokens; the teacher has no gradient."""
        logits = sequences.response_logits(self.student, batch)
        loss = logits.new_zeros(())
        if ratio < 1:
            loss = loss + (1 - ratio) * sequences.cross_entropy(logits, batch)
        if ratio > 0:
            assert self.teacher is not None  # `distill` has refused
            with torch.no_grad():
                told = sequences.response_logits(self.teacher, batch)
            loss = loss + ratio * divergences.mean(divergence, logits, told, batch.padding, **options)
        return loss
