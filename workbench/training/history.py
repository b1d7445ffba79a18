"""What a run collects on its way: sums over the steps since the last point, the curves' points, and snapshots."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]


@dataclass
class History:
    """Curves and snapshots of N networks while they train.

    Attributes
    ----------
    members
        N.
    step
        Optimizer steps done.
    count
        Examples seen since the last point.
    sums
        Sums over those examples by curve name, each of shape (N,).
    curves
        One tensor of shape (N,) per point, by curve name.
    per_class
        One tensor of shape (N, classes) per point.
    snapshots
        One list of N states per snapshot.
    snapshot_epochs
        The point of each snapshot.
    """

    members: int
    step: int = 0
    count: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    curves: dict[str, list[Tensor]] = field(default_factory=dict)
    per_class: list[Tensor] = field(default_factory=list)
    snapshots: list[list[State]] = field(default_factory=list)
    snapshot_epochs: list[int] = field(default_factory=list)

    def add(self, means: dict[str, Tensor], count: int) -> None:
        """Add one step's means over its `count` examples, each of shape (N,)."""
        for name, value in means.items():
            total = value.detach().double() * count
            self.sums[name] = self.sums[name] + total if name in self.sums else total
        self.count += count
        self.step += 1

    def close(self, extra: dict[str, Tensor], per_class: Tensor | None) -> None:
        """Make a point of the sums and of `extra`, each of shape (N,), and start anew."""
        done = len(next(iter(self.curves.values()), []))
        means = {name: (total / self.count).cpu() for name, total in self.sums.items()}
        for name, value in {**means, **extra}.items():
            self.curves.setdefault(name, [torch.full((self.members,), torch.nan).double()] * done).append(value)
        for points in self.curves.values():
            if len(points) == done:  # a curve that got no value this time
                points.append(torch.full((self.members,), torch.nan).double())
        if per_class is not None:
            self.per_class.append(per_class)
        self.sums, self.count = {}, 0

    def copy(self) -> "History":
        """The same at this moment; later points do not reach it."""
        return History(
            self.members,
            self.step,
            self.count,
            dict(self.sums),
            {name: list(points) for name, points in self.curves.items()},
            list(self.per_class),
            list(self.snapshots),
            list(self.snapshot_epochs),
        )

    @classmethod
    def joined(cls, parts: "list[History]") -> "History":
        """The histories of single networks that are at the same step as one."""
        first = parts[0]
        return cls(
            members=len(parts),
            step=first.step,
            count=first.count,
            sums={name: torch.cat([part.sums[name] for part in parts]) for name in first.sums},
            curves={
                name: [torch.cat(point) for point in zip(*(part.curves[name] for part in parts), strict=True)]
                for name in first.curves
            },
            per_class=[torch.cat(point) for point in zip(*(part.per_class for part in parts), strict=True)],
            snapshots=[
                [state for moment in moments for state in moment]
                for moments in zip(*(part.snapshots for part in parts), strict=True)
            ],
            snapshot_epochs=first.snapshot_epochs,
        )

    def of(self, member: int) -> dict[str, Any]:
        """The fields of a `TrainingRecord` that the history of one network fills."""
        return {
            "curves": {
                name: torch.stack([point[member] for point in points]) if points else torch.zeros(0)
                for name, points in self.curves.items()
            },
            "per_class_accuracy": (
                torch.stack([point[member] for point in self.per_class]) if self.per_class else None
            ),
            "snapshots": {
                name: torch.stack([moment[member][name] for moment in self.snapshots])
                for name in (self.snapshots[0][member] if self.snapshots else {})
            },
            "snapshot_epochs": tuple(self.snapshot_epochs),
        }
