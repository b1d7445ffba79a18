"""Generalized knowledge distillation: a share of the steps on what the student writes, the others on the data.

    with probability λ: y ~ q_θ(· | x), else y from the data;   L = mean over tokens of JSD_β(p, q)

Agarwal et al. 2024, Algorithm 1. β weights the teacher, p: JSD_β = β KL(p ‖ m) + (1 − β) KL(q ‖ m), m = βp + (1 − β)q.
Paper 094's code has 1 − β = 0.9.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from workbench.language.making import divergences
from workbench.language.making.run import LanguageRun


@dataclass(frozen=True)
class GKD:
    """A divergence from the teacher, on the student's responses now and then.

    Attributes
    ----------
    share
        λ in 0..1: probability of a step on what the student writes.
    beta
        Of the Jensen–Shannon divergence, strictly between 0 and 1.
    divergence, alpha
        As in `KD`.
    """

    share: float = 0.5
    beta: float = 0.1
    divergence: str = "jensen-shannon"
    alpha: float = 0.1
    short: ClassVar[str] = "GKD"
    needs_teacher: ClassVar[bool] = True

    def __post_init__(self) -> None:
        divergences.check(self.divergence, 1.0, self.alpha)
        if not 0 <= self.share <= 1 or not 0 < self.beta < 1:
            raise ValueError(f"share is {self.share} and beta {self.beta}; they must lie in 0..1, beta strictly")

    def loss(self, run: LanguageRun) -> Tensor:
        options: dict[str, Any] = {"alpha": self.alpha} if self.divergence in divergences.SKEWED else {}
        if self.divergence == "jensen-shannon":
            options = {"beta": self.beta}
        batch = run.written() if run.uniform("whose words") < self.share else run.examples()
        return run.distillation(batch, self.divergence, 1.0, **options)
