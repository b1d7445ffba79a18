"""The forward pass and the loss of N stacked networks, under one ``vmap``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from workbench.models import Outputs, observe
from workbench.training import losses
from workbench.training.learner import CURVES
from workbench.training.stacked_batches import join
from workbench.training.stacking import Stack


class StackedStep:
    """Losses of N networks on their batches; gradients come from ordinary autograd outside of ``vmap``.

    Differentiating the sum of the members' losses once gives every member its own gradient, because no member's loss
    depends on another's parameters; that is cheaper per step than a ``grad`` transform inside.
    """

    def __init__(self, networks: Stack, loss: losses.Loss | Sequence[nn.Module], layers: str | Sequence[str]) -> None:
        self.networks = networks
        self.observer = observe(networks.template, layers)
        self.loss_stack = loss_stack(loss, len(networks.modules))
        self.loss: losses.Loss = self.loss_stack.template if self.loss_stack is not None else loss  # type: ignore[assignment]
        # The default losses need no vmap: all members' examples make one long batch.
        self.flat = self.loss in (losses.cross_entropy, losses.mean_squared_error) and not layers
        self.run = torch.vmap(self._logits if self.flat else self._loss, randomness="different")

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
        if self.flat:
            logits = self.run(self.networks.tensors, inputs)
            each = self.loss(Outputs(logits.flatten(0, 1)), None, labels.flatten())
            return each.view(labels.shape).mean(1), logits.detach(), {}
        loss_tensors: list[Tensor] = []
        if self.loss_stack is not None:
            self.loss_stack.template.train()
            loss_tensors = self.loss_stack.tensors
        told = [] if guide is None else [guide.logits, *guide.features.values()]
        names = () if guide is None else tuple(guide.features)
        self._names = names
        return self.run(self.networks.tensors, loss_tensors, inputs, labels, told)  # type: ignore[no-any-return]

    def _logits(self, tensors: list[Tensor], inputs: Tensor) -> Tensor:
        with lent(self.networks, tensors):
            return self.observer(inputs).logits

    def _loss(
        self,
        tensors: list[Tensor],
        loss_tensors: list[Tensor],
        inputs: Tensor,
        labels: Tensor,
        told: list[Tensor],
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        with lent(self.networks, tensors):
            outputs = self.observer(inputs)
        guide = Outputs(told[0], dict(zip(self._names, told[1:], strict=True))) if told else None
        if self.loss_stack is None:
            value = self.loss(outputs, guide, labels)
        else:
            with lent(self.loss_stack, loss_tensors):
                value = self.loss(outputs, guide, labels)
        return losses.reduced(value), outputs.logits.detach(), losses.logged(self.loss, CURVES)


@contextmanager
def lent(stack: Stack, tensors: list[Tensor]) -> Iterator[None]:
    """The stack's template runs with these tensors inside; `torch.func.functional_call` does the same, more slowly."""
    kept = [store[key] for store, key, _ in stack.slots]
    for store, key, position in stack.slots:
        store[key] = tensors[position]
    try:
        yield
    finally:
        for (store, key, _), value in zip(stack.slots, kept, strict=True):
            store[key] = value


def loss_stack(loss: losses.Loss | Sequence[nn.Module], members: int) -> Stack | None:
    """The losses of all members, stacked, where they have tensors of their own."""
    if isinstance(loss, Sequence):
        if len(loss) != members:
            raise ValueError(f"loss has {len(loss)} entries for {members} networks: give one for all, or one each")
        if not all(isinstance(one, nn.Module) for one in loss):
            raise TypeError("loss is a list, so each entry must be an nn.Module; a plain function is given once")
        return Stack(loss, "loss")
    if isinstance(loss, nn.Module) and any(True for _ in (*loss.parameters(), *loss.buffers())):
        return Stack([loss] * members, "loss")
    return None


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

    def one(tensors: list[Tensor], x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with lent(networks, tensors):
            seen = observer(x)
        return seen.logits, dict(seen.features)

    run: Any = torch.vmap(one, in_dims=(0, 0 if per_member else None), randomness="different")
    axis = 1 if per_member else 0
    parts = [Outputs(*run(networks.tensors, part)) for part in inputs.split(batch_size, axis)]
    return parts[0] if len(parts) == 1 else join(parts, lambda tensors: torch.cat(tensors, 1))
