"""How a trained student is judged: accuracy, calibration, and how far it follows its teacher, on the test split."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from workbench.analysis.calibration import calibration
from workbench.data import Split
from workbench.kernels import divergence
from workbench.training.evaluating import logits_of

Measure = Callable[[nn.Module, nn.Module | None, Split], float]
"""A further column: a function of (student, teacher, test split)."""


class StudentMetrics:
    """Metrics of a student on the test split, as columns of a `Comparison`; the teacher's logits are computed once."""

    def __init__(self, test: Split, measures: Mapping[str, Measure] | None = None) -> None:
        self.test = test.to("cpu")
        self.measures = dict(measures or {})
        self._teachers: dict[int, tuple[nn.Module, Tensor]] = {}  # with the teacher, lest another get its id

    def __call__(self, student: nn.Module, teacher: nn.Module | None) -> dict[str, float]:
        s = logits_of(student.cpu(), self.test.inputs)
        shape = calibration(s, self.test.labels)
        accuracy = (s.argmax(1) == self.test.labels).float().mean().item()
        scores = {
            "accuracy": accuracy,
            "nll": shape.nll,
            "ece": shape.ece,
            "confidence gap": s.softmax(1).amax(1).mean().item() - accuracy,
        }
        if teacher is not None:
            teacher.cpu()  # a student's training has taken it back to a GPU; measures have all on the CPU
            if id(teacher) not in self._teachers:
                self._teachers[id(teacher)] = teacher, logits_of(teacher, self.test.inputs)
            t = self._teachers[id(teacher)][1]
            scores |= {
                "agreement": (s.argmax(1) == t.argmax(1)).float().mean().item(),
                "kl to teacher": divergence.forward_kl(s, t).mean().item(),
            }
        return scores | {name: measure(student, teacher, self.test) for name, measure in self.measures.items()}
