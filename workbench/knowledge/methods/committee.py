"""Several teachers as one: a committee's prediction is the mean of its members' class probabilities.

    p̂ = (1 / K) Σ_k softmax(z_k / T)

The committee's logits are T log p̂, so that ``KL(temperature=T)`` compares with exactly p̂ (multi-teacher distillation,
paper 037), and at T = 1 softmax gives the ensemble itself (BAN ensemble, paper 097).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Committee(nn.Module):
    """Mean of the members' soft labels, as a network.

    Parameters
    ----------
    members
        Networks that score the same classes.
    temperature
        T > 0: the temperature at which the members' probabilities are averaged.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> voter = nn.Linear(3, 2)
    >>> same, x = Committee([voter, voter, voter]), torch.randn(5, 3)
    >>> torch.allclose(same(x).softmax(1), voter(x).softmax(1), atol=1e-6)
    True
    """

    def __init__(self, members: Sequence[nn.Module], temperature: float = 1.0) -> None:
        super().__init__()
        if not members:
            raise ValueError("members is empty; a committee needs at least one network")
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}; it must be positive")
        self.members = nn.ModuleList(members)
        self.temperature = temperature

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, classes) whose softmax at temperature T is the members' mean."""
        log_p = torch.stack([self._log_p(member, inputs) for member in self.members])
        return self.temperature * (log_p.logsumexp(0) - math.log(len(self.members)))

    def _log_p(self, member: nn.Module, inputs: Tensor) -> Tensor:
        """Where the inputs lie: members may each have been left on another device."""
        own = next(member.parameters(), inputs)
        return (member(inputs.to(own.device)).to(inputs.device) / self.temperature).log_softmax(-1)
