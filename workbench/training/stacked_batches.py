"""Batches and teachers of many networks that train side by side, each as the network would have them by itself."""

import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from workbench.data import Split
from workbench.models import Outputs
from workbench.training import randomness
from workbench.training.augment import Augment, Augmentation, at_step
from workbench.training.guide import Guide, GuideFunction
from workbench.training.plan import Plan

_ONE = threading.Lock()


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
            own = at_step(self.augment, at)
            return torch.stack([own(x, g) for x, g in zip(inputs, generators, strict=True)])
        draws = [self.augment.draw(inputs.shape[1:], generator) for generator in generators]
        if not self.augment.separable:
            return torch.vmap(self.augment.apply)(inputs, *map(torch.stack, zip(*draws, strict=True)))
        return self.augment.apply(inputs.flatten(0, 1), *map(torch.cat, zip(*draws, strict=True))).view(inputs.shape)


def stacked_guide(
    each: Sequence[GuideFunction | None], splits: StackedSplits, *, augmented: bool
) -> GuideFunction | None:
    """Guides of all members as one: from inputs (N, B, ...) and rows (N, B) to outputs with the leading axis N."""
    guides = [one for one in each if one is not None]
    if not guides:
        return None
    paired = list(zip(guides, splits.splits, strict=True))
    tables = [one.table(split) if isinstance(one, Guide) and not augmented else None for one, split in paired]
    kept = [table for table in tables if table is not None]
    if len(kept) == len(guides):
        if all(table is kept[0] for table in kept):
            return lambda inputs, rows: kept[0].map(lambda table: table[rows])  # noqa: ARG005
        joined = join(kept, torch.cat)
        return lambda inputs, rows: joined.map(lambda table: table[rows + splits.offsets])  # noqa: ARG005
    live: list[Callable[[Tensor, Tensor], Outputs]] = [
        one.on(split, augmented=augmented) if isinstance(one, Guide) else one for one, split in paired
    ]
    shared = guides[0]
    if isinstance(shared, Guide) and all(one is shared for one in guides):
        return (
            lambda inputs, rows: shared.live(inputs.flatten(0, 1)).map(  # noqa: ARG005
                lambda tensor: tensor.unflatten(0, inputs.shape[:2])
            )
        )
    return lambda inputs, rows: join([one(x, r) for one, x, r in zip(live, inputs, rows, strict=True)], torch.stack)


def one_at_a_time(guide: GuideFunction) -> GuideFunction:
    """A guide for use from several threads: a teacher that is looked into cannot run twice at once."""

    def locked(inputs: Tensor, rows: Tensor) -> Outputs:
        with _ONE:
            return guide(inputs, rows)

    return locked


def join(outputs: Sequence[Outputs], how: Callable[[list[Tensor]], Tensor]) -> Outputs:
    """Outputs of several networks as one, each tensor joined by `how` (``torch.stack`` or ``torch.cat``)."""
    return Outputs(
        how([one.logits for one in outputs]),
        {name: how([one.features[name] for one in outputs]) for name in outputs[0].features},
    )
