"""One network as the loop trains it: its batches, its step, its state."""

import contextlib
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from workbench.data import Split
from workbench.models import Outputs, observe
from workbench.training import distributed, evaluating, losses, optimizers, randomness
from workbench.training.augment import Augment, at_step
from workbench.training.evaluating import Scores
from workbench.training.guide import Guide, GuideFunction
from workbench.training.history import State
from workbench.training.plan import Plan

CURVES = dict.fromkeys(("train_loss", "train_accuracy", "test_loss", "test_accuracy", "learning_rate"))


@dataclass
class Batches:
    """The batches of one run: which rows each step sees, cut out of the training split and augmented."""

    split: Split
    plan: Plan
    augment: Augment | None
    seed: int
    _sweep: int = -1
    _order: Tensor | None = None

    def rows(self, at: int) -> Tensor:
        """Positions in the split that step `at` sees, on the split's device."""
        sweep = at // self.plan.pass_steps
        if self._order is None or sweep != self._sweep:
            self._order = self.plan.order(self.seed, sweep).to(self.split.inputs.device)
            self._sweep = sweep
        start, stop = self.plan.bounds(at)
        return self._order[start:stop]

    def __call__(self, at: int) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, labels and rows of step `at`."""
        rows = self.rows(at)
        inputs = self.split.inputs[rows]
        if self.augment is not None:
            draws = randomness.generator(self.seed, randomness.AUGMENT, at, inputs.device)
            inputs = at_step(self.augment, at)(inputs, draws)
        return inputs, self.split.labels[rows], rows


class Step(nn.Module):
    """Network and loss as one module, so that DistributedDataParallel sees the parameters of both."""

    def __init__(self, model: nn.Module, loss: losses.Loss, layers: str | Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.observer = observe(model, layers)

    def forward(self, inputs: Tensor, labels: Tensor, guide: Outputs | None) -> tuple[Tensor, Tensor]:
        outputs = self.observer(inputs)
        return losses.reduced(self.loss(outputs, guide, labels)), outputs.logits.detach()


class Single:
    """Trains one network; see `workbench.training.loop.Learner`."""

    members = 1

    def __init__(
        self,
        model: nn.Module,
        loss: losses.Loss,
        batches: Batches,
        test: Split | None,
        *,
        layers: str | Sequence[str],
        guide: GuideFunction | None,
        optimizer: str | optimizers.OptimizerFactory,
        lr: float,
        weight_decay: float,
        momentum: float,
        amp: bool,
        device: torch.device,
    ) -> None:
        self.model = model
        self.loss = loss
        self.batches = batches
        self.test = test
        self.device = device
        self.classes = len(batches.split.classes)
        self.done = 0
        self.updating = False
        augmented = batches.augment is not None
        self.guide = guide.on(batches.split, augmented=augmented) if isinstance(guide, Guide) else guide
        self.body = Step(model, loss, layers)
        self.optimizer = optimizers.make(
            optimizer,
            (parameter for parameter in self.body.parameters() if parameter.requires_grad),
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
        )
        self.schedule = optimizers.Rates(self.optimizer)
        self.precision = Precision(device, enabled=amp)
        self.world = distributed.world()
        self.call: nn.Module = distributed.wrap(self.body, self.world)

    def step(self, at: int, factor: float) -> tuple[dict[str, Tensor], int]:
        if not self.call.training or not self.model.training:
            self.call.train()
        randomness.seed_layers(self.batches.seed, at, self.device)
        inputs, labels, rows = self.batches(at)
        total = len(rows)
        share = 1.0
        if self.world.size > 1:
            mine = self.world.part(total)
            inputs, labels, rows = inputs[mine], labels[mine], rows[mine]
            share = len(rows) * self.world.size / total  # DDP averages over processes; batches may be of unequal size
        if self.guide is None:
            guide = None
        else:
            with torch.no_grad(), self.precision.context():
                guide = self.guide(inputs, rows)
        with self.precision.context():
            loss, logits = self.call(inputs, labels, guide)
        self.optimizer.zero_grad(set_to_none=True)
        self.precision.backward(loss * share if share != 1.0 else loss)
        self.schedule.set(factor)
        self.updating = True
        self.precision.update(self.optimizer)
        self.done += 1
        self.updating = False
        means = {"train_loss": loss.detach().view(1)}
        if self.classes:
            means["train_accuracy"] = losses.hits(logits, labels).mean().view(1)
        for name, value in losses.logged(self.loss, CURVES).items():
            means[name] = value.view(1)
        return means, len(rows)

    def rates(self, factor: float) -> Tensor:
        return torch.tensor([self.schedule.base[0] * factor], dtype=torch.float64)

    def score(self) -> Scores | None:
        if self.test is None:
            return None
        with self.precision.context():
            logits = evaluating.logits_of(self.model, self.test.inputs)
        return evaluating.score(logits[None], self.test.labels[None], self.classes)

    def states(self) -> list[State]:
        return [copied(self.model.state_dict(), "cpu")]

    def capture(self) -> dict[str, Any]:
        captured: dict[str, Any] = {
            "model": copied(self.model.state_dict()),
            "optimizer": copied(self.optimizer.state_dict()),
            "done": self.done,
        }
        if isinstance(self.loss, nn.Module):
            captured["loss"] = copied(self.loss.state_dict())
        if self.precision.scaler is not None:
            captured["scaler"] = dict(self.precision.scaler.state_dict())
        return captured

    def restore(self, captured: dict[str, Any]) -> None:
        self.model.load_state_dict(captured["model"])
        self.optimizer.load_state_dict(captured["optimizer"])
        self.schedule = optimizers.Rates(self.optimizer)
        self.done = captured["done"]
        if isinstance(self.loss, nn.Module) and captured.get("loss"):
            self.loss.load_state_dict(captured["loss"])
        if self.precision.scaler is not None and captured.get("scaler"):
            self.precision.scaler.load_state_dict(captured["scaler"])

    def reduce(self, sums: dict[str, Tensor], count: int) -> tuple[dict[str, Tensor], int]:
        return self.world.add(sums, count)


class Precision:
    """Mixed precision: bfloat16 where the device has it, else float16 with a scaled loss; or nothing at all."""

    def __init__(self, device: torch.device, *, enabled: bool) -> None:
        self.device = device
        self.enabled = enabled
        half = enabled and device.type == "cuda" and not torch.cuda.is_bf16_supported()
        self.dtype = torch.float16 if half else torch.bfloat16
        self.scaler = torch.amp.GradScaler("cuda") if half else None

    def context(self) -> contextlib.AbstractContextManager[Any]:
        if not self.enabled:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def backward(self, loss: Tensor) -> None:
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def update(self, optimizer: torch.optim.Optimizer) -> None:
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()


def copied(value: Any, device: str | torch.device | None = None) -> Any:
    """A nested state with every tensor copied (to `device`, if given)."""
    if isinstance(value, Tensor):
        return value.detach().clone() if device is None else value.detach().to(device, copy=True)
    if isinstance(value, dict):
        return {key: copied(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copied(item, device) for item in value)
    return copy.copy(value)
