"""The forward pass and the loss of N stacked networks, under one ``vmap``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from workbench.models import Observer, Outputs, observe
from workbench.training import losses
from workbench.training.learner import CURVES
from workbench.training.stacked_batches import join
from workbench.training.stacking import Stack

BATCH_VALUES = 2**19
"""Input values, over all members, that are looked at in one forward pass."""


class StackedStep:
    """Losses of N networks on their batches; gradients come from ordinary autograd outside of ``vmap``.

    Differentiating the sum of the members' losses once gives every member its own gradient, because no member's loss
    depends on another's parameters; that is cheaper per step than a ``grad`` transform inside.
    """

    def __init__(self, networks: Stack, loss: losses.Loss | Sequence[nn.Module], layers: str | Sequence[str]) -> None:
        self.networks = networks
        self.observer = observe(networks.template, layers)
        self.loss_stack = loss_stack(loss, len(networks.modules))
        if self.loss_stack is not None:
            self.loss_stack.template.train()
        self.loss: losses.Loss = self.loss_stack.template if self.loss_stack is not None else loss  # type: ignore[assignment]
        # The default losses need no vmap: all members' examples make one long batch.
        self.flat = self.loss in (losses.cross_entropy, losses.mean_squared_error)
        self._vmapped = torch.vmap(self._loss, randomness="different")
        self._layers: tuple[str, ...] = ()
        self._told: tuple[str, ...] | None = None

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Stacked parameters of the networks, then of the losses, in the order that one by one has them."""
        own = list(self.networks.trained.values())
        return own if self.loss_stack is None else [*own, *self.loss_stack.trained.values()]

    def __call__(
        self, inputs: Tensor, labels: Tensor, guide: Outputs | None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Losses (N,), logits (N, B, outputs) and what the losses log, each (N,)."""
        if not self.networks.template.training:
            self.networks.template.train()
        seen = forward(self.networks, self.observer, inputs, per_member=True)
        if self.flat:
            each = self.loss(Outputs(seen.logits.flatten(0, 1)), None, labels.flatten())
            return each.view(labels.shape[:2]).mean(1), seen.logits.detach(), {}
        tensors: list[Tensor] = []
        if self.loss_stack is not None:
            tensors = self.loss_stack.tensors
        self._layers = tuple(seen.features)
        self._told = None if guide is None else tuple(guide.features)
        told = [] if guide is None else [guide.logits, *guide.features.values()]
        loss, logged = self._vmapped(tensors, seen.logits, [*seen.features.values()], labels, told)
        return loss, seen.logits.detach(), logged

    def _loss(
        self, tensors: list[Tensor], logits: Tensor, features: list[Tensor], labels: Tensor, told: list[Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        outputs = Outputs(logits, dict(zip(self._layers, features, strict=True)))
        guide = None if self._told is None else Outputs(told[0], dict(zip(self._told, told[1:], strict=True)))
        if self.loss_stack is None:
            value = self.loss(outputs, guide, labels)
        else:
            with lent(self.loss_stack, tensors):
                value = self.loss(outputs, guide, labels)
        return losses.reduced(value), losses.logged(self.loss, CURVES)


def forward(networks: Stack, observer: Observer, inputs: Tensor, *, per_member: bool) -> Outputs:
    """Outputs of all members with a leading axis N, on inputs (N, B, ...), or (B, ...) for all.

    `observer` looks at ``networks.template``.
    """
    if networks.direct:
        with lent(networks, networks.tensors):
            seen = observer(inputs if per_member else inputs[None])
        members = len(networks.modules)
        return seen if per_member else seen.map(lambda x: x.expand(members, *x.shape[1:]))

    def one(tensors: list[Tensor], x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with lent(networks, tensors):
            seen = observer(x)
        return seen.logits, dict(seen.features)

    run = torch.vmap(one, in_dims=(0, 0 if per_member else None), randomness="different")
    return Outputs(*run(networks.tensors, inputs))


def settle(networks: Stack, inputs: Tensor) -> None:
    """Find out whether the networks run without ``vmap``, on examples (N, B, ...), and let them if so.

    That spares most of the time between operations. It works where the network's own code only calls layers (as MLP and
    ConvNet do) and fails where it indexes or reshapes; so it is tried, and kept only if it gives what ``vmap`` gives.
    """
    device = inputs.device
    networks.set_direct(direct=False)
    if device.type != "cpu" or networks.fixed:
        return
    networks.template.train()
    with torch.no_grad():
        observer = observe(networks.template)
        sure = forward(networks, observer, inputs, per_member=True).logits
        networks.set_direct(direct=True)
        try:
            tried = forward(networks, observer, inputs, per_member=True).logits
            same = tried.shape == sure.shape and torch.allclose(tried, sure, rtol=1e-3, atol=1e-4)
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError):
            same = False
    networks.set_direct(direct=same)


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
) -> Outputs:
    """Outputs of all members with a leading axis N; inputs are shared, (B, ...), or per member, (N, B, ...).

    At most 512 examples at once, and fewer of large ones: features of N networks take N times the memory.
    """
    example = inputs[0, :1] if per_member else inputs[:1]
    batch_size = max(16, min(512, BATCH_VALUES // max(1, len(networks.modules) * example.numel())))
    networks.template.train(training)
    observer = observe(networks.template, layers)
    parts = [
        forward(networks, observer, part, per_member=per_member)
        for part in inputs.split(batch_size, 1 if per_member else 0)
    ]
    return parts[0] if len(parts) == 1 else join(parts, lambda tensors: torch.cat(tensors, 1))
