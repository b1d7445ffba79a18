"""What a network says about a batch: its logits, and the features of whichever layers were asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Outputs:
    """Logits and features of one network on one batch.

    Attributes
    ----------
        logits: shape (n, classes).
        features: layer name → that layer's output, first axis n. Keys are ``named_modules()`` names, in network order.
    """

    logits: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Outputs":
        """The same with `change` applied to every tensor (``out.map(Tensor.detach)``)."""
        return Outputs(change(self.logits), {name: change(value) for name, value in self.features.items()})
