"""How far an evaluation is: what its progress bar shows and what who watches it is told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from tqdm.auto import tqdm

from workbench.condensation.judging.teaching import Taught
from workbench.training.evaluating import Scores


@dataclass(frozen=True)
class Moment:
    """Where an evaluation stands, as its `watch` is told.

    Attributes
    ----------
    network
        The architecture in training.
    trained_on
        What its networks are being trained on, such as ``("distilled", "random")``.
    step, steps
        Optimizer steps done, and in all.
    share
        Of the whole evaluation's work, in 0..1.
    accuracy, confidence
        Curves so far by what was trained on, shape (seeds, points); NaN where not yet.
    """

    network: str
    trained_on: tuple[str, ...]
    step: int
    steps: int
    share: float
    accuracy: dict[str, Tensor]
    confidence: dict[str, Tensor]


class Account:
    """The progress of an evaluation: a bar over all optimizer steps, and a `Moment` for who watches.

    Parameters
    ----------
    work
        Optimizer steps of each stack of training sets, of one architecture.
    architectures
        How many.
    bar, watch
        What is told.
    """

    def __init__(
        self,
        work: Mapping[tuple[str, ...], int],
        architectures: int,
        bar: "tqdm[Any]",
        watch: Callable[[Moment], None] | None,
    ) -> None:
        self.work, self.bar, self.watch = work, bar, watch
        self.total, self.done = max(1, sum(work.values()) * architectures), 0
        bar.total = self.total
        self.reached: dict[str, Taught] = {}

    def teller(self, network: str, names: tuple[str, ...]) -> Callable[[Taught, int, Scores], None]:
        """What `teach` is to call while it trains this stack."""

        def tell(taught: Taught, step: int, scores: Scores) -> None:  # noqa: ARG001 - what teach tells
            done = self.done + float((~taught.accuracy.isnan()).double().mean()) * self.work[names]
            self.bar.n = round(done)
            self.bar.refresh()
            if self.watch is not None:
                seen = {**self.reached, **taught.apart(names)}
                self.watch(
                    Moment(
                        network=network,
                        trained_on=names,
                        step=step,
                        steps=taught.steps[-1],
                        share=done / self.total,
                        accuracy={key: one.accuracy.clone() for key, one in seen.items()},
                        confidence={key: one.confidence.clone() for key, one in seen.items()},
                    )
                )

        return tell
