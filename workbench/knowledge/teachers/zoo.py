"""A zoo of sources: fitted networks, each with classes of its own, of which only answers and features are read.

    zoo = fitted_zoo(label_spaces(data), "mlp", width=[64], epochs=30)
    zoo[0].says(inputs), zoo[0].features(inputs)

No data of a source are kept, nor is a source ever trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from workbench.data import Dataset
from workbench.training import sources


@dataclass(frozen=True, eq=False)
class Source:
    """A network that was trained on another task.

    Attributes
    ----------
    name
        Of the task.
    network
        Over `classes`; asked in eval mode, never changed.
    classes
        K_s names, which need have nothing to do with those of a target.
    """

    name: str
    network: nn.Module
    classes: tuple[str, ...]

    def says(self, inputs: Tensor) -> Tensor:
        """f_s: probabilities over the source's own classes, (n, K_s), where the inputs lie."""
        return self._run(inputs)[0].softmax(1)

    def features(self, inputs: Tensor) -> Tensor:
        """φ_s: what the last linear layer reads, (n, D)."""
        return self._run(inputs)[1]

    @torch.no_grad()
    def _run(self, inputs: Tensor, batch_size: int = 512) -> tuple[Tensor, Tensor]:
        linear = [module for module in self.network.modules() if isinstance(module, nn.Linear)]
        if not linear:
            raise ValueError(f"the network of source {self.name!r} has no linear layer whose features could be read")
        own = next(self.network.parameters())
        seen: list[Tensor] = []
        handle = linear[-1].register_forward_pre_hook(lambda _, given: seen.append(given[0].flatten(1)))
        modes = [(part, part.training) for part in self.network.modules()]
        try:
            self.network.eval()
            logits = torch.cat([self.network(batch.to(own)) for batch in inputs.split(batch_size)])
        finally:
            handle.remove()
            for part, mode in modes:
                part.training = mode
        if logits.shape[1] != len(self.classes):
            raise ValueError(f"source {self.name!r} scores {logits.shape[1]} classes and names {len(self.classes)}")
        return logits.to(inputs), torch.cat(seen).to(inputs)


def fitted_zoo(
    tasks: Mapping[str, Dataset], network: str, *, seed: int = 0, device: str = "auto", **options: Any
) -> list[Source]:
    """One network for each task, trained once per machine.

    Parameters
    ----------
    tasks
        Data sets by name: other classes, other examples, other views of the same.
    network
        As `workbench.models.build` takes it.
    seed, device
        Of each.
    options
        Of the network (``width``, ``depth``), and of `workbench.training.fit`.

    Examples
    --------
    >>> import workbench as wb
    >>> digits = wb.data.load("digits").subset(100)
    >>> zoo = fitted_zoo(wb.data.label_spaces(digits), "mlp", width=[8], epochs=1)
    >>> [(source.name, len(source.classes)) for source in zoo][:3]
    [('parity', 2), ('at least 5', 2), ('has a loop', 2)]
    """
    built: dict[str, Any] = {name: options.pop(name) for name in ("width", "depth") if name in options}
    found = []
    for name, data in tasks.items():
        record = sources.fitted(
            network, data, seed=seed, options=built, device=device, name=name, evaluate_every=0, **options
        )
        found.append(Source(name, record.model.cpu(), data.classes))
    return found
