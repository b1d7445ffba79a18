"""Word-level distillation: on the data's responses, the student's next-token distributions follow the teacher's.

    L = (1 − ρ) CE + ρ · mean over response tokens of D(p, q)

D is forward KL in the original (Hinton, Vinyals & Dean 2015; Kim & Rush 2016), here any divergence by its name.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from workbench.language.making import divergences
from workbench.language.making.run import LanguageRun


@dataclass(frozen=True)
class KD:
    """Divergence from the teacher on the data.

    Attributes
    ----------
    divergence
        ``"forward"``, ``"reverse"``, ``"skew"``, ``"skew reverse"``, ``"jensen-shannon"`` or ``"total variation"``.
    ratio
        ρ in 0..1: share of the divergence, against cross-entropy with the data.
    alpha
        Of the skew divergences, in 0..1: how much of its first distribution is mixed into its second.
    """

    divergence: str = "forward"
    ratio: float = 1.0
    alpha: float = 0.1
    short: ClassVar[str] = "KD"
    needs_teacher: ClassVar[bool] = True

    def __post_init__(self) -> None:
        divergences.check(self.divergence, self.ratio, self.alpha)

    def loss(self, run: LanguageRun) -> Tensor:
        options: dict[str, Any] = {"alpha": self.alpha} if self.divergence in divergences.SKEWED else {}
        return run.distillation(run.examples(), self.divergence, self.ratio, **options)
