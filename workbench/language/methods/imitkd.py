"""ImitKD: the student is told what the teacher would say where the student itself has got to.

    L = mean over tokens of D(p, q) on y ~ q_θ(· | x), sampled anew in every step, without a gradient through it

Lin et al. 2020, “Autoregressive Knowledge Distillation through Imitation Learning”, with forward KL and only the
student's own responses, as paper 094 compares it.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from workbench.language.making import divergences
from workbench.language.making.run import LanguageRun


@dataclass(frozen=True)
class ImitKD:
    """Divergence from the teacher on what the student writes.

    Attributes
    ----------
    divergence, alpha
        As in `KD`.
    """

    divergence: str = "forward"
    alpha: float = 0.1
    short: ClassVar[str] = "ImitKD"
    needs_teacher: ClassVar[bool] = True

    def __post_init__(self) -> None:
        divergences.check(self.divergence, 1.0, self.alpha)

    def loss(self, run: LanguageRun) -> Tensor:
        options: dict[str, Any] = {"alpha": self.alpha} if self.divergence in divergences.SKEWED else {}
        return run.distillation(run.written(), self.divergence, 1.0, **options)
