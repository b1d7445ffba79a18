"""Sequence-level distillation: the student learns what the teacher writes after the data's prompts.

    L = − mean over tokens of log q(ŷ_t | x, ŷ_<t),   ŷ ~ p(· | x), written once before training

Kim & Rush 2016; here ŷ is sampled, as in the comparison of paper 094.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from workbench.language.making import sequences
from workbench.language.making.run import LanguageRun
from workbench.language.making.sequences import Sequences


@dataclass(frozen=True)
class SeqKD:
    """Cross-entropy of the teacher's responses.

    Attributes
    ----------
    temperature, top_p
        How the teacher samples: T > 0 and 0 < p ≤ 1.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    short: ClassVar[str] = "SeqKD"
    needs_teacher: ClassVar[bool] = True

    def loss(self, run: LanguageRun) -> Tensor:
        if "written" not in run.made:
            run.made["written"] = self._write(run)
        prompts = run.examples().prompts
        batch = Sequences(prompts, run.made["written"][run.rows()].to(run.device))
        return sequences.cross_entropy(sequences.response_logits(run.student, batch), batch)

    def _write(self, run: LanguageRun) -> Tensor:
        """The teacher's response to every prompt of the data, (n, R)."""
        assert run.teacher is not None
        generator = run.generator("teacher's writing", 0)
        parts = [
            sequences.written(
                run.teacher, prompts.to(run.device), run.train.shape[1], generator=generator,
                temperature=self.temperature, top_p=self.top_p,
            ).responses
            for prompts in run.train.inputs.split(256)
        ]  # fmt: skip
        return torch.cat(parts).cpu()
