"""Many networks as the loop trains them: one ``vmap`` over their stacked state per step."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench.data import Split
from workbench.models import Outputs, observe
from workbench.training import evaluating, losses, randomness
from workbench.training.augment import Augment, Augmentation
from workbench.training.evaluating import Scores
from workbench.training.guide import Guide, GuideFunction
from workbench.training.history import State
from workbench.training.learner import CURVES, Precision
from workbench.training.plan import Plan
from workbench.training.stacked_optimizer import StackedOptimizer
from workbench.training.stacking import Stack


class StackedSplits:
    """One split for all members, or one each of equal size; `gather` cuts each member's rows out."""

    def __init__(self, splits: Sequence[Split]) -> None:
        first = splits[0]
        sizes = sorted({len(split) for split in splits})
        if len(sizes) > 1:
            raise ValueError(
                f"data has training splits of {sizes[0]} to {sizes[-1]} examples: they must be of equal size"
            )
        self.splits = list(splits)
        self.size = len(first)
        self.inputs = self._joined([split.inputs for split in splits])
        self.labels = self._joined([split.labels for split in splits])
        self.offsets = torch.arange(len(splits), device=first.inputs.device)[:, None] * self.size

    @staticmethod
    def _joined(tensors: list[Tensor]) -> Tensor:
        """Shape (n, ...) when all are one tensor, else (N · n, ...)."""
        return tensors[0] if all(tensor is tensors[0] for tensor in tensors) else torch.cat(tensors)

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (N, B, ...) and labels (N, B) at each member's own `rows`, shape (N, B)."""
        placed = rows + self.offsets if len(self.inputs) != self.size or len(self.labels) != self.size else rows
        return (
            self.inputs[placed if len(self.inputs) != self.size else rows],
            self.labels[placed if len(self.labels) != self.size else rows],
        )


class StackedBatches:
    """Every member's batch of a step, side by side, as each would have it by itself."""

    def __init__(self, splits: StackedSplits, plan: Plan, augment: Augment | None, seeds: Sequence[int]) -> None:
        self.splits, self.plan, self.augment, self.seeds = splits, plan, augment, list(seeds)
        self._sweep = -1
        self._orders: Tensor = torch.empty(0)

    def __call__(self, at: int) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs (N, B, ...), labels (N, B) and rows (N, B) of step `at`."""
        sweep = at // self.plan.pass_steps
        if sweep != self._sweep:
            orders = torch.stack([self.plan.order(seed, sweep) for seed in self.seeds])
            self._orders, self._sweep = orders.to(self.splits.inputs.device), sweep
        start, stop = self.plan.bounds(at)
        rows = self._orders[:, start:stop]
        inputs, labels = self.splits.gather(rows)
        return self._augmented(inputs, at), labels, rows

    def _augmented(self, inputs: Tensor, at: int) -> Tensor:
        if self.augment is None:
            return inputs
        generators = [randomness.generator(seed, randomness.AUGMENT, at, inputs.device) for seed in self.seeds]
        if not isinstance(self.augment, Augmentation):
            return torch.stack([self.augment(x, g) for x, g in zip(inputs, generators, strict=True)])
        draws = [self.augment.draw(inputs.shape[1:], generator) for generator in generators]
        if not self.augment.separable:
            return torch.vmap(self.augment.apply)(inputs, *map(torch.stack, zip(*draws, strict=True)))
        return self.augment.apply(inputs.flatten(0, 1), *map(torch.cat, zip(*draws, strict=True))).view(inputs.shape)


def stacked_guide(
    guide: GuideFunction | Sequence[GuideFunction] | None, splits: StackedSplits, *, augmented: bool
) -> GuideFunction | None:
    """Guides of all members as one: from inputs (N, B, ...) and rows (N, B) to outputs with the leading axis N."""
    members = len(splits.splits)
    if guide is None:
        return None
    if isinstance(guide, Sequence):
        if len(guide) != members:
            raise ValueError(f"guide has {len(guide)} entries for {members} networks: give one for all, or one each")
        each: list[GuideFunction] = list(guide)
    else:
        each = [guide] * members
    tables = None
    if not augmented and all(isinstance(one, Guide) for one in each):
        tables = [one.table(split) for one, split in zip(each, splits.splits, strict=True)]  # type: ignore[attr-defined]
    if tables is not None and all(table is not None for table in tables):
        if all(table is tables[0] for table in tables):
            return lambda inputs, rows: tables[0].map(lambda table: table[rows])  # type: ignore[union-attr]  # noqa: ARG005
        joined = join([table for table in tables if table is not None], torch.cat)
        return lambda inputs, rows: joined.map(lambda table: table[rows + splits.offsets])  # noqa: ARG005
    live: list[Callable[[Tensor, Tensor], Outputs]] = [
        one.on(split, augmented=augmented) if isinstance(one, Guide) else one
        for one, split in zip(each, splits.splits, strict=True)
    ]
    if all(one is each[0] for one in each) and isinstance(each[0], Guide):
        shared = each[0]
        return (
            lambda inputs, rows: shared.live(inputs.flatten(0, 1)).map(  # noqa: ARG005
                lambda tensor: tensor.unflatten(0, inputs.shape[:2])
            )
        )
    return lambda inputs, rows: join([one(x, r) for one, x, r in zip(live, inputs, rows, strict=True)], torch.stack)


def join(outputs: Sequence[Outputs], how: Callable[[list[Tensor]], Tensor]) -> Outputs:
    """Outputs of several networks as one, each tensor joined by `how` (``torch.stack`` or ``torch.cat``)."""
    return Outputs(
        how([one.logits for one in outputs]),
        {name: how([one.features[name] for one in outputs]) for name in outputs[0].features},
    )


class StackedStep:
    """Losses of N networks on their batches, under ``vmap``; gradients come from ordinary autograd outside of it.

    Differentiating the sum of the members' losses once gives every member its own gradient, because no member's loss
    depends on another's parameters; that is cheaper per step than a ``grad`` transform inside.
    """

    def __init__(self, networks: Stack, loss: losses.Loss | Sequence[nn.Module], layers: str | Sequence[str]) -> None:
        self.networks = networks
        self.observer = observe(networks.template, layers)
        self.loss_stack = _loss_stack(loss, len(networks.modules))
        self.loss: losses.Loss = self.loss_stack.template if self.loss_stack is not None else loss  # type: ignore[assignment]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Stacked parameters of the networks, then of the losses, in the order that one by one has them."""
        own = list(self.networks.trained.values())
        return own if self.loss_stack is None else [*own, *self.loss_stack.trained.values()]

    def __call__(
        self, inputs: Tensor, labels: Tensor, guide: Outputs | None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Losses (N,), logits (N, B, outputs) and what the losses log, each (N,)."""
        self.networks.template.train()
        loss_state: dict[str, Tensor] = {}
        if self.loss_stack is not None:
            self.loss_stack.template.train()
            loss_state = self.loss_stack.state
        told = {} if guide is None else {"logits": guide.logits, **{f"layer {k}": v for k, v in guide.features.items()}}
        run = torch.vmap(self._one, randomness="different")
        return run(self.networks.state, loss_state, inputs, labels, told)  # type: ignore[no-any-return]

    def _one(
        self, state: State, loss_state: State, inputs: Tensor, labels: Tensor, told: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        outputs = self.observer(inputs, state)
        guide = None
        if told:
            guide = Outputs(
                told["logits"], {k.removeprefix("layer "): v for k, v in told.items() if k.startswith("layer ")}
            )
        if loss_state:
            value = torch.func.functional_call(self.loss, loss_state, (outputs, guide, labels))  # type: ignore[arg-type]
        else:
            value = self.loss(outputs, guide, labels)
        return losses.reduced(value), outputs.logits.detach(), losses.logged(self.loss, CURVES)


def _loss_stack(loss: losses.Loss | Sequence[nn.Module], members: int) -> Stack | None:
    if isinstance(loss, Sequence):
        if len(loss) != members:
            raise ValueError(f"loss has {len(loss)} entries for {members} networks: give one for all, or one each")
        if not all(isinstance(one, nn.Module) for one in loss):
            raise TypeError("loss is a list, so each entry must be an nn.Module; a plain function is given once")
        return Stack(loss, "loss")
    if isinstance(loss, nn.Module) and any(True for _ in (*loss.parameters(), *loss.buffers())):
        return Stack([loss] * members, "loss")
    return None


class Stacked:
    """Trains N networks; see `workbench.training.loop.Learner`."""

    def __init__(
        self,
        step: StackedStep,
        batches: StackedBatches,
        tests: Sequence[Split] | None,
        *,
        guide: GuideFunction | None,
        optimizer: StackedOptimizer,
        amp: bool,
        device: torch.device,
    ) -> None:
        self.body = step
        self.networks = step.networks
        self.members = len(self.networks.modules)
        self.batches = batches
        self.tests = tests
        self.guide = guide
        self.optimizer = optimizer
        self.precision = Precision(device, enabled=amp)
        self.device = device
        self.classes = len(batches.splits.splits[0].classes)
        self.done = 0
        self.updating = False

    def step(self, at: int, factor: float) -> tuple[dict[str, Tensor], int]:
        randomness.seed_layers(self.batches.seeds[0], at, self.device)
        inputs, labels, rows = self.batches(at)
        with self.precision.context():
            guide = None
            if self.guide is not None:
                with torch.no_grad():
                    guide = self.guide(inputs, rows)
            loss, logits, logged = self.body(inputs, labels, guide)
        self.optimizer.zero_grad()
        loss.sum().backward()
        self.updating = True
        self.optimizer.step(factor)
        self.done += 1
        self.updating = False
        means = {"train_loss": loss.detach()}
        if self.classes:
            means["train_accuracy"] = (logits.argmax(2) == labels).to(logits.dtype).mean(1)
        means.update(logged)
        return means, rows.shape[1]

    def rates(self) -> Tensor:
        return self.optimizer.rates()

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

    def checkpoint_of(self, member: int) -> dict[str, Any]:
        """What `fit` would have captured of this member."""
        found: dict[str, Any] = {"optimizer": self.optimizer.state_of(member)}
        if self.body.loss_stack is not None:
            found["loss"] = self.body.loss_stack.state_of(member)
        return found

    def reduce(self, sums: dict[str, Tensor], count: int) -> tuple[dict[str, Tensor], int]:
        return sums, count


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return {key: _copied(item) for key, item in value.items()} if isinstance(value, dict) else value


@torch.no_grad()
def outputs(
    networks: Stack,
    inputs: Tensor,
    layers: str | Sequence[str] = (),
    *,
    per_member: bool,
    training: bool = False,
    batch_size: int = 512,
) -> Outputs:
    """Outputs of all members with a leading axis N; inputs are shared, (B, ...), or per member, (N, B, ...)."""
    networks.template.train(training)
    observer = observe(networks.template, layers)

    def one(state: State, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        seen = observer(x, state)
        return seen.logits, dict(seen.features)

    run = torch.vmap(one, in_dims=(0, 0 if per_member else None), randomness="different")
    axis = 1 if per_member else 0
    parts = [Outputs(*run(networks.state, part)) for part in inputs.split(batch_size, axis)]
    return parts[0] if len(parts) == 1 else join(parts, lambda tensors: torch.cat(tensors, 1))
