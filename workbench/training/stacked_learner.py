"""Many networks as the loop trains them: one ``vmap`` over their stacked state per step."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench.data import Split
from workbench.models import Outputs
from workbench.records import TrainingRecord
from workbench.training import evaluating, losses, randomness
from workbench.training.evaluating import Scores
from workbench.training.guide import GuideFunction
from workbench.training.history import State
from workbench.training.learner import Precision
from workbench.training.replaying import Recorder, Replayed
from workbench.training.stacked_batches import StackedBatches
from workbench.training.stacked_optimizer import StackedOptimizer
from workbench.training.stacked_step import StackedStep, outputs

GradientRule = Callable[[Sequence[nn.Parameter], Callable[[], None]], None]
"""Changes the gradient of a step before the optimizer sees it, as sharpness-aware training does.

Called with the stacked parameters (N, ...), whose ``.grad`` is that of the step's loss, and a function that puts into
``.grad`` the gradient of the same batch at the parameters' present values. Afterwards the parameters must be what they
were, and ``.grad`` what the optimizer is to use.
"""


class Stacked:
    """Trains N networks; `workbench.training.grouping.Grouped` presents one or several of these to the loop."""

    def __init__(
        self,
        step: StackedStep,
        batches: StackedBatches,
        tests: Sequence[Split] | None,
        *,
        guide: GuideFunction | None,
        rule: GradientRule | None = None,
        optimizer: StackedOptimizer,
        amp: bool,
        device: torch.device,
        recorder: Recorder | None = None,
    ) -> None:
        self.body = step
        self.networks = step.networks
        self.members = len(self.networks.modules)
        self.batches = batches
        self.tests = tests
        self.guide = guide
        self.rule = rule
        self.optimizer = optimizer
        self.precision = Precision(device, enabled=amp)
        self.device = device
        self.classes = len(batches.splits.splits[0].classes)
        self.done = 0
        self.updating = False
        self.replayed = None if recorder is None else Replayed(self._update, recorder)
        if recorder is not None:
            self.optimizer.hold_rates()

    def step(self, at: int, factor: float) -> tuple[dict[str, Tensor], int]:
        randomness.seed_layers(self.batches.seeds[0], at, self.device)
        inputs, labels, rows = self.batches(at)
        with self.precision.context():
            guide = None
            if self.guide is not None:
                with torch.no_grad():
                    guide = self.guide(inputs, rows)
        self.optimizer.set_rates(factor)
        self.updating = True
        means = (self.replayed or self._update)(inputs, labels, guide)
        self.done += 1
        self.updating = False
        return means, rows.shape[1]

    def _update(self, inputs: Tensor, labels: Tensor, guide: Outputs | None) -> dict[str, Tensor]:
        """One optimizer step, and what it tells of the batch: curve → (N,)."""
        with self.precision.context():
            loss, logits, logged = self.body(inputs, labels, guide)
        self.optimizer.zero_grad()
        loss.sum().backward()
        if self.rule is not None:
            self.rule(self.optimizer.stacked, lambda: self._again(inputs, labels, guide))
        self.optimizer.advance()
        means = {"train_loss": loss.detach()}
        if self.classes:
            means["train_accuracy"] = losses.hits(logits, labels).mean(1)
        return means | logged

    def _again(self, inputs: Tensor, labels: Tensor, guide: Outputs | None) -> None:
        """The gradient of the same batch where the parameters are now."""
        with self.precision.context():
            loss, _, _ = self.body(inputs, labels, guide)
        self.optimizer.zero_grad()
        loss.sum().backward()

    def rates(self, factor: float) -> Tensor:
        return self.optimizer.rates(factor)

    def score(self) -> Scores | None:
        if self.tests is None:
            return None
        first = self.tests[0].inputs
        shared = all(test.inputs is first for test in self.tests)
        inputs = first if shared else torch.stack([test.inputs for test in self.tests])
        labels = torch.stack([test.labels for test in self.tests])
        with self.precision.context():
            logits = outputs(self.networks, inputs, per_member=not shared).logits
        return evaluating.score(logits, labels, self.classes)

    def states(self) -> list[State]:
        return [self.networks.state_of(member, "cpu") for member in range(self.members)]

    def capture(self) -> dict[str, Any]:
        loss = self.body.loss_stack
        return {
            "networks": {name: value.detach().clone() for name, value in self.networks.state.items()},
            "losses": {} if loss is None else {name: value.detach().clone() for name, value in loss.state.items()},
            "optimizers": [
                one.state_dict() | {"state": _copied(one.state_dict()["state"])} for one in self.optimizer.each
            ],
            "done": self.done,
        }

    @torch.no_grad()
    def restore(self, captured: dict[str, Any]) -> None:
        for name, value in self.networks.state.items():
            value.copy_(captured["networks"][name])
        if self.body.loss_stack is not None:
            for name, value in self.body.loss_stack.state.items():
                value.copy_(captured["losses"][name])
        for one, state in zip(self.optimizer.each, captured["optimizers"], strict=True):
            one.load_state_dict(state)
        self.done = captured["done"]
        self._moved()

    def checkpoint_of(self, member: int) -> dict[str, Any]:
        """What `fit` would have captured of this member."""
        found: dict[str, Any] = {"optimizer": self.optimizer.state_of(member)}
        if self.body.loss_stack is not None:
            found["loss"] = self.body.loss_stack.state_of(member)
        return found

    def continue_from(self, records: Sequence[TrainingRecord]) -> None:
        """Set every member to where its record stopped."""
        for member, record in enumerate(records):
            self.networks.load(member, record.state)
            if self.body.loss_stack is not None:
                self.body.loss_stack.load(member, record.checkpoint["loss"])
        self.optimizer.load([record.checkpoint["optimizer"] for record in records])
        self.done = records[0].checkpoint["step"]
        self._moved()

    def _moved(self) -> None:
        """The optimizer's state has been replaced, not changed."""
        if self.replayed is not None:
            self.replayed.forget()
            self.optimizer.hold_rates()


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return {key: _copied(item) for key, item in value.items()} if isinstance(value, dict) else value
