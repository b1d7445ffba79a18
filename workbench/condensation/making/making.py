"""One run of a method under way: its images, optimizers and history; one step of it, and its state as a record."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from workbench.condensation.making.journal import Journal
from workbench.condensation.making.method import Finishing, Matching, Paced
from workbench.condensation.making.run import Run
from workbench.records import DistilledSet, Provenance
from workbench.training.iterating import NotFiniteError, changed_setting
from workbench.training.learner import copied


class CondensationError(ValueError):
    """A run that cannot go on. `record` holds the last sound state, or None when there is none."""

    def __init__(self, message: str, record: DistilledSet | None = None) -> None:
        super().__init__(message)
        self.record = record


class Making:
    """A method at work.

    Parameters
    ----------
    method, run
        What runs, on what.
    fields
        Fields of the record that stand from the beginning, among them ``settings``.
    journal
        Where the history goes.
    started
        The ``time.perf_counter()`` at which the run began.

    Attributes
    ----------
    done
        Iterations completed.
    """

    def __init__(self, method: Matching, run: Run, fields: dict[str, Any], journal: Journal, started: float) -> None:
        self.method, self.run, self.fields, self.journal, self.started = method, run, fields, journal, started
        self.synthetic = method.start(run)
        self.optimizers = method.optimizers(self.synthetic)
        self._rates = [[group["lr"] for group in one.param_groups] for one in self.optimizers]
        self.done = 0
        self._before = 0.0

    def resume(self, record: DistilledSet) -> None:
        """Set everything to where `record` ended.

        Raises
        ------
        CondensationError
            The record is of another run, or cannot be continued.
        """
        if not record.checkpoint:
            raise CondensationError(
                f"resume={record.name!r} has no checkpoint: only a set as condense returned it can be continued, not a "
                "part of it, a selection, or a run that failed"
            )
        if record.method != self.fields["method"]:
            raise CondensationError(
                f"resume was made by {record.method}, now it is {self.fields['method']}: continue with the same "
                "method, data and seed"
            )
        settings = dict(self.fields["settings"])
        known, now = record.settings.get("train_fingerprint"), settings.pop("train_fingerprint")
        if known:  # what the data hold, not what they are called
            settings.pop("data")
        if known and known != now:
            raise CondensationError(
                f"resume was made from other data: its images or labels differ from these (it was made from "
                f"{record.settings.get('data') or 'data without a name'}): continue with the same method, data and seed"
            )
        if changed := changed_setting(record.settings, settings, but="iterations"):
            raise CondensationError(f"{changed}: continue with the same method, data and seed")
        self._load(record.checkpoint)
        self.journal.continue_from(record)
        self._before = record.provenance.wall_time

    def advance(self) -> float:
        """One iteration; returns the sum of its losses.

        Raises
        ------
        NotFiniteError
            A loss or gradient was not finite. The images are those before the iteration.
        """
        self.run.iteration, self.run.logged = self.done, {}
        if isinstance(self.method, Paced):
            self._pace(self.method.pace(self.run))
        kept = self.synthetic.state()
        values = []
        try:
            for loss in self.method.losses(self.run, self.synthetic):
                self._step(loss)
                values.append(loss.detach())
        except (NotFiniteError, KeyboardInterrupt):
            self.synthetic.load(kept)
            raise
        value = float(torch.stack(values).sum()) if values else math.nan
        self.done += 1
        self.journal.note(value, self.run.logged)
        self.journal.picture(self.done, self.synthetic)
        return value

    def record(self, *, interrupted: bool = False, broken: bool = False) -> DistilledSet:
        """The state as a record; of a run that broke within an iteration, without what continuing it would need."""
        self.journal.close(self.done, self.synthetic)
        return self.so_far(interrupted=interrupted, broken=broken)

    def so_far(self, *, interrupted: bool, broken: bool = False) -> DistilledSet:
        """The same in the middle of a run, for a checkpoint: no picture is added to the history."""
        more = dict(self.method.finish(self.run, self.synthetic)) if isinstance(self.method, Finishing) else {}
        made = Provenance.capture(seed=self.run.seed, device=self.run.device, started=self.started)
        fields = {
            "images": self.synthetic.kept,
            "labels": self.synthetic.labels,
            "view": {key: value for view in self.synthetic.views for key, value in view.spec.items()},
            "source": self.synthetic.source,
            "checkpoint": {} if broken else self._checkpoint(),
            "interrupted": interrupted,
            "provenance": dataclasses.replace(made, wall_time=self._before + made.wall_time),
            **self.journal.fields(),
            **more,
        }
        return DistilledSet(**(self.fields | copied(fields, "cpu")))

    def _pace(self, factor: float) -> None:
        for optimizer, rates in zip(self.optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = factor * rate

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
        for optimizer in self.optimizers:
            optimizer.step()
        self.synthetic.settle()

    def _checkpoint(self) -> dict[str, Any]:
        states = [{str(key): value for key, value in one.state_dict()["state"].items()} for one in self.optimizers]
        return {
            "iteration": self.done,
            "synthetic": self.synthetic.state(),
            "optimizers": states,
            "memory": self.run.memory,
        }

    def _load(self, checkpoint: Mapping[str, Any]) -> None:
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
        for optimizer, state in zip(self.optimizers, checkpoint["optimizers"], strict=True):
            numbered = {int(key): copied(value, "cpu") for key, value in state.items()}
            optimizer.load_state_dict({**optimizer.state_dict(), "state": numbered})
        self.run.memory = copied(checkpoint["memory"], self.run.device)
        self.done = int(checkpoint["iteration"])
