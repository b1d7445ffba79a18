"""A method of condensation under way: its images and their history; one iteration of it, and its state as a record."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from workbench.condensation.making.journal import Journal
from workbench.condensation.making.method import Finishing, Matching
from workbench.condensation.making.run import CondensationRun
from workbench.records import DistilledSet
from workbench.training import making
from workbench.training.iterating import NotFiniteError
from workbench.training.learner import copied
from workbench.training.resuming import Identity


class CondensationError(making.RunError):
    """A run that cannot go on. `record` holds the last sound state, or None when there is none."""

    record: DistilledSet | None


class CondensationMaking(making.Making[CondensationRun, DistilledSet]):
    """A method at work on its synthetic images.

    Parameters
    ----------
    method, run, fields, started
        As for `workbench.training.making.Making`.
    journal
        Where the history goes.
    """

    error = CondensationError
    can_go_on = (
        "only a set as condense returned it can be continued, not a part of it, a selection, or a run that failed"
    )
    alike = "method, data and seed"
    advice = "The images before it are kept in error.record; a lower learning rate usually helps"
    lengths = ("iterations",)
    sources: ClassVar[Mapping[str, Identity]] = {
        "train_fingerprint": Identity("data", "other data", "its images or labels differ from these")
    }

    def __init__(
        self, method: Matching, run: CondensationRun, fields: dict[str, Any], journal: Journal, started: float
    ) -> None:
        self.method, self.journal = method, journal
        self.synthetic = method.start(run)
        numbered = {str(number): one for number, one in enumerate(method.optimizers(self.synthetic))}
        super().__init__(run, numbered, fields, started)

    def begin(self) -> None:
        self.journal.picture(0, self.synthetic)

    def check(self, record: DistilledSet) -> None:
        if record.method != self.fields["method"]:
            raise CondensationError(
                f"resume was made by {record.method}, now it is {self.fields['method']}: continue with the same "
                f"{self.alike}"
            )
        super().check(record)

    def iteration(self) -> float:
        """Sum of its losses; where one is not finite the images are again those before the iteration."""
        self.pace(self.method)
        kept = self.synthetic.state()
        values = []
        try:
            for loss in self.method.losses(self.run, self.synthetic):
                self._step(loss)
                values.append(loss.detach())
        except (NotFiniteError, KeyboardInterrupt):
            self.synthetic.load(kept)
            raise
        return float(torch.stack(values).sum()) if values else math.nan

    def note(self, loss: float) -> None:
        self.journal.note(loss, self.run.logged)
        self.journal.picture(self.done, self.synthetic)

    def record(self, *, interrupted: bool = False, broken: bool = False) -> DistilledSet:
        """The state at the end of the run, of which the history has a picture too."""
        self.journal.close(self.done, self.synthetic)
        return self.so_far(interrupted=interrupted, broken=broken)

    def so_far(self, *, interrupted: bool, broken: bool = False) -> DistilledSet:
        more = dict(self.method.finish(self.run, self.synthetic)) if isinstance(self.method, Finishing) else {}
        fields = {
            "images": self.synthetic.kept,
            "labels": self.synthetic.labels,
            "view": {key: value for view in self.synthetic.views for key, value in view.spec.items()},
            "source": self.synthetic.source,
            "interrupted": interrupted,
            "provenance": self.provenance(),
            **self.journal.fields(),
            **more,
        }
        checkpoint = {} if broken else self.checkpoint()
        return DistilledSet(**(self.fields | copied(fields, "cpu") | {"checkpoint": checkpoint}))

    def state(self) -> dict[str, Any]:
        return {
            "synthetic": self.synthetic.state(),
            "optimizers": [making.packed(one) for one in self.optimizers.values()],
        }

    def load(self, record: DistilledSet) -> None:
        checkpoint = record.checkpoint
        parts = ("synthetic", "optimizers", "memory", "iteration")
        missing = [part for part in parts if part not in checkpoint]
        if missing or len(checkpoint["optimizers"]) != len(self.optimizers):
            lacks = missing[0] if missing else "optimizers"
            raise CondensationError(
                f"resume has a checkpoint that lacks {lacks}: it is damaged, and cannot be continued"
            )
        for name, leaf in self.synthetic.state().items():
            held = checkpoint["synthetic"].get(name)
            if held is None or held.shape != leaf.shape:
                found = "none" if held is None else f"shape {tuple(held.shape)}"
                raise CondensationError(
                    f"resume holds {name} of {found}, this run has shape {tuple(leaf.shape)}: it was made from other "
                    "data"
                )
        self.synthetic.load(copied(checkpoint["synthetic"], self.run.device))
        for optimizer, state in zip(self.optimizers.values(), checkpoint["optimizers"], strict=True):
            making.unpack(optimizer, state)
        self.journal.continue_from(record)

    def _step(self, loss: Tensor) -> None:
        """Move all leaves down the gradient of `loss`."""
        if not bool(torch.isfinite(loss)):
            raise NotFiniteError("loss")
        leaves = list(self.synthetic.leaves.values())
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients if gradient is not None):
            raise NotFiniteError("gradient")
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.grad = gradient
        for optimizer in self.optimizers.values():
            optimizer.step()
        self.synthetic.settle()
