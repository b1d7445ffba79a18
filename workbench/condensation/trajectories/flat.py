"""A network as a pure function of one flat vector of weights, or of many vectors at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench import models
from workbench.training.stacked_step import lent
from workbench.training.stacking import Stack


class FlatNetwork:
    """One architecture; its weights come from outside, as a vector of shape (P,) or a stack of vectors (K, P).

    The order is that of the parameters of the network, each flattened, as the public code of MTT has it.

    Parameters
    ----------
    network
        Gives architecture, device and dtype.

    Raises
    ------
    ValueError
        The network has buffers (batch norm's running statistics), which a vector of weights does not hold.

    Examples
    --------
    >>> network = models.build("mlp", ((1, 2, 2), 3), width=4, depth=1)
    >>> flat = FlatNetwork(network)
    >>> images = torch.zeros(5, 1, 2, 2)
    >>> torch.equal(flat(flat.vector(network), images), network(images))
    True
    """

    def __init__(self, network: nn.Module) -> None:
        buffers = [name for name, _ in network.named_buffers()]
        if buffers:
            raise ValueError(
                f"the network has the buffer {buffers[0]!r}, which steps on weights alone would leave behind: "
                "use norm='instance', 'group', 'layer' or 'none' instead of 'batch'"
            )
        self.spec: dict[str, Any] | None = getattr(network, "spec", None)
        self._stack = Stack([network])
        self._template = self._stack.template.requires_grad_(False)
        self.shapes = {name: tuple(value.shape[1:]) for name, value in self._stack.state.items()}
        self._sizes = [value[0].numel() for value in self._stack.tensors]
        self._like = self._stack.tensors[0]

    @property
    def size(self) -> int:
        """Number of weights P."""
        return sum(self._sizes)

    def __call__(self, weights: Tensor, inputs: Tensor) -> Tensor:
        """Logits, shape (n, classes) for one vector, (K, n, classes) for K; all see the same inputs (n, ...)."""
        return self._run(weights, inputs) if weights.ndim == 1 else self._over_all(weights, inputs)

    def each(self, weights: Tensor, inputs: Tensor) -> Tensor:
        """Logits (K, n, classes) of K vectors, each on inputs of its own, (K, n, ...)."""
        return torch.vmap(self._run, randomness="different")(weights, inputs)

    def vector(self, source: nn.Module | Mapping[str, Tensor]) -> Tensor:
        """The weights of a network or of its ``state_dict`` as one vector of shape (P,), a copy.

        Raises
        ------
        ValueError
            A weight is missing or has another shape.
        """
        state = source.state_dict() if isinstance(source, nn.Module) else source
        for name, shape in self.shapes.items():
            if name not in state or tuple(state[name].shape) != shape:
                found = tuple(state[name].shape) if name in state else "missing"
                raise ValueError(f"weight {name!r} is {found}; this network needs shape {shape}")
        return torch.cat([state[name].detach().flatten().to(self._like) for name in self.shapes])

    def state(self, weights: Tensor) -> dict[str, Tensor]:
        """The ``state_dict`` that one vector of shape (P,) stands for; a copy."""
        return {name: value.clone() for name, value in zip(self.shapes, self._cut(weights.detach()), strict=True)}

    def fresh(self, seeds: Sequence[int]) -> Tensor:
        """Initial weights as `workbench.models.build` draws them from each seed, shape (K, P)."""
        if self.spec is None:
            raise ValueError("fresh weights need a network that workbench.models.build made: this one has no spec")
        options, size = self.spec["options"], (self.spec["shape"], self.spec["classes"])
        return torch.stack([self.vector(models.build(self.spec["name"], size, seed=s, **options)) for s in seeds])

    def _run(self, weights: Tensor, inputs: Tensor) -> Tensor:
        with lent(self._stack, self._cut(weights)):
            logits: Tensor = self._template(inputs)
        return logits

    def _over_all(self, weights: Tensor, inputs: Tensor) -> Tensor:
        return torch.vmap(self._run, in_dims=(0, None), randomness="different")(weights, inputs)

    def _cut(self, weights: Tensor) -> list[Tensor]:
        if weights.shape != (self.size,):
            raise ValueError(f"weights have shape {tuple(weights.shape)}; this network needs ({self.size},)")
        parts = weights.split(self._sizes)
        return [part.view(shape) for part, shape in zip(parts, self.shapes.values(), strict=True)]
