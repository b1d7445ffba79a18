"""Training by a fixed course: the very steps that distilled images were made for, taken by many networks at once."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.data import Split
from workbench.models import Outputs
from workbench.training import Ensemble, TrainingError
from workbench.training.evaluating import Scores, score
from workbench.training.interrupting import Interruptible


@dataclass(frozen=True)
class SoftCrossEntropy:
    """T² · cross-entropy of the student's distribution with the guide's, both at logit temperature T (Hinton 2015)."""

    temperature: float = 1.0

    def __call__(self, outputs: Outputs, guide: Outputs | None, labels: Tensor) -> Tensor:  # noqa: ARG002 - a `Loss`
        assert guide is not None
        T = self.temperature
        return T**2 * F.cross_entropy(outputs.logits / T, (guide.logits / T).softmax(-1), reduction="none")


@dataclass(frozen=True)
class Course:
    """Steps of plain gradient descent.

    Attributes
    ----------
    rates
        The learning rate of each.
    rows
        The examples that each sees.
    """

    rates: Sequence[float]
    rows: Sequence[Tensor]

    def __len__(self) -> int:
        return len(self.rates)


def follow(
    networks: Sequence[nn.Module],
    split: Split,
    labels: Outputs,
    course: Course,
    test: Split,
    *,
    every: int,
    device: torch.device,
    note: Callable[[int, Scores], None],
) -> bool:
    """Train all networks, in place, on one set by a course.

    Parameters
    ----------
    networks
        Of one architecture.
    split
        The examples.
    labels
        The logarithms of their label distributions, logits (m, classes).
    course
        The steps.
    test
        What the networks are scored on.
    every
        Steps from one scoring to the next; the last step is always scored.
    device
        Where to compute.
    note
        Told each scoring. If it raises KeyboardInterrupt, training ends there.

    Returns
    -------
    bool
        Whether the course was completed.

    Raises
    ------
    TrainingError
        A loss became NaN or infinite.
    """
    N = len(networks)
    ensemble = Ensemble([network.to(device) for network in networks])
    ensemble.prepare(loss=SoftCrossEntropy(), optimizer="sgd", lr=1.0, momentum=0.0)
    own = next(networks[0].parameters()).dtype
    split, test = split.to(device, own), test.to(device, own)
    said = labels.logits.to(split.inputs)
    with Interruptible() as stop:
        try:
            for n, (rate, rows) in enumerate(zip(course.rates, course.rows, strict=True), start=1):
                x, y, told = (value[rows.to(device)] for value in (split.inputs, split.labels, said))
                guide = Outputs(told.expand(N, *told.shape))
                loss = ensemble.step(x.expand(N, *x.shape), y.expand(N, -1), guide, factor=rate)
                if not math.isfinite(float(loss.sum())):
                    raise TrainingError(
                        f"loss is {float(loss.sum())} at step {n} of {len(course)} (learning rate {rate:.3g}): the "
                        "learned step sizes are for the network and the kind of start the images were made with",
                        [],
                    )
                if n % every == 0 or n == len(course):
                    logits = ensemble.outputs(test.inputs, per_member=False).logits
                    note(n, score(logits, test.labels.expand(N, -1), len(test.classes)))
                if stop.requested and n < len(course):
                    return False
        except KeyboardInterrupt:
            return False
        finally:
            for member in range(N):
                ensemble.member(member)
    return True
