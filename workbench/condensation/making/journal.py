"""The history of a condensation run: the loss at each iteration, and pictures of the images at some."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from workbench.condensation.making.synthetic import Synthetic
from workbench.records import DistilledSet
from workbench.training.making import note


class Journal:
    """Curves and snapshots while they grow.

    Parameters
    ----------
    snapshots
        How many states of the images to keep, evenly spaced from before the first step to after the last; or at which
        iterations; 0: none.
    last
        The run's last iteration.
    """

    def __init__(self, snapshots: int | Sequence[int], last: int) -> None:
        self.moments = _moments(snapshots, last)
        self.loss: list[float] = []
        self.curves: dict[str, list[float]] = {}
        self.at: list[int] = []
        self.images: list[Tensor] = []
        self.labels: list[Tensor] = []

    def note(self, loss: float, logged: Mapping[str, float]) -> None:
        """Add one iteration; a curve without a value at an iteration has NaN there."""
        note(self.curves, logged, len(self.loss))
        self.loss.append(loss)

    def picture(self, iteration: int, synthetic: Synthetic) -> None:
        """Keep the images if `iteration` is one of the moments."""
        if iteration in self.moments:
            self._keep(iteration, synthetic)

    def close(self, iteration: int, synthetic: Synthetic) -> None:
        """Keep the images at the end of the run too, wherever it ended, unless no snapshots are wanted."""
        if self.moments:
            self._keep(iteration, synthetic)

    def fields(self) -> dict[str, Any]:
        """The fields of `DistilledSet` that tell the history."""
        return {
            "loss": torch.tensor(self.loss),
            "curves": {name: torch.tensor(curve) for name, curve in self.curves.items()},
            "snapshots": torch.stack(self.images) if self.images else None,
            "snapshot_iterations": tuple(self.at),
            "snapshot_labels": torch.stack(self.labels) if self.labels else None,
        }

    def continue_from(self, record: DistilledSet) -> None:
        """Take over the history of an earlier run, all of its snapshots included."""
        self.loss = record.loss.tolist()
        self.curves = {name: curve.tolist() for name, curve in record.curves.items()}
        self.at = list(record.snapshot_iterations)
        self.images = [] if record.snapshots is None else list(record.snapshots)
        self.labels = [] if record.snapshot_labels is None else list(record.snapshot_labels)

    def _keep(self, iteration: int, synthetic: Synthetic) -> None:
        if iteration in self.at:
            return
        self.at.append(iteration)
        greatest = torch.finfo(torch.float16).max
        self.images.append(synthetic.kept.clamp(-greatest, greatest).to(torch.float16).cpu())
        if "label_logits" in synthetic.leaves:
            self.labels.append(synthetic.labels.detach().to(torch.float16).cpu())


def _moments(snapshots: int | Sequence[int], last: int) -> set[int]:
    if not isinstance(snapshots, int):
        wrong = [moment for moment in snapshots if not 0 <= moment <= last]
        if wrong:
            raise ValueError(f"snapshots has iteration {wrong[0]}, outside 0..{last}")
        return set(snapshots)
    if snapshots < 0 or snapshots == 1:
        raise ValueError(f"snapshots is {snapshots}; it can be 0 (none), at least 2 (evenly spaced), or iterations")
    return {round(k * last / (snapshots - 1)) for k in range(snapshots)} if snapshots else set()
