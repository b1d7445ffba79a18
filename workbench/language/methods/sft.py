"""Supervised fine-tuning: the student learns the responses of the data, and no teacher.

    L = − mean over response tokens of log q(y_t | x, y_<t)

How teachers are made, and what the other methods start from.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from workbench.language.making import sequences
from workbench.language.making.run import LanguageRun


@dataclass(frozen=True)
class SFT:
    """Cross-entropy of the data's responses.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("instructions", n_train=64, n_test=16)
    >>> record = wb.language.finetune(wb.models.build("lm", data, width=16, depth=1), data, epochs=2, progress=False)
    >>> bool(record.curves["test_loss"][-1] < record.curves["test_loss"][0])
    True
    """

    short: ClassVar[str] = "SFT"
    needs_teacher: ClassVar[bool] = False

    def loss(self, run: LanguageRun) -> Tensor:
        batch = run.examples()
        return sequences.cross_entropy(sequences.response_logits(run.student, batch), batch)
