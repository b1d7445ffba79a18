"""The record of a low-rank adapter: a small change of some layers' weights, kept apart from any network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from workbench.records.base import Record


@dataclass(frozen=True, eq=False, kw_only=True)
class Adapter(Record):
    """ΔW = s · (α / r) · B A for each of some layers; s is chosen where it is used (Hu et al. 2022; paper 096, part C).

    Attributes
    ----------
    name
        What it changes, in words.
    down
        A by name of the parameter it acts on (``"hidden.0.weight"``), shape (r, inputs); of a convolution, inputs are
        channels × kernel.
    up
        B, shape (outputs, r).
    rank
        r that was asked for; layers smaller than that have fewer.
    alpha
        α: the size of the change per unit of scale.
    curves
        What was followed while it was trained, such as ``"loss"``, shape (steps,).
    settings
        The arguments it was made with, as plain values.
    """

    name: str = ""
    down: dict[str, Tensor]
    up: dict[str, Tensor]
    rank: int
    alpha: float = 1.0
    curves: dict[str, Tensor] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    layout: ClassVar[Mapping[str, str]] = {
        "down": "real _ _",
        "up": "real _ _",
        "curves": "number _",
    }

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank is {self.rank}; it must be at least 1")
        if set(self.down) != set(self.up):
            odd = sorted(set(self.down) ^ set(self.up))
            raise ValueError(f"down and up must name the same parameters; only one of them has {', '.join(odd[:3])}")
        for key, down in self.down.items():
            if down.ndim != 2 or self.up[key].ndim != 2 or down.shape[0] != self.up[key].shape[1]:
                raise ValueError(
                    f"{key}: A of shape {tuple(down.shape)} and B of {tuple(self.up[key].shape)} have no product; "
                    "(r, inputs) and (outputs, r) are needed"
                )

    def __len__(self) -> int:
        return len(self.down)

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""
        return sum(t.numel() for part in (self.down, self.up) for t in part.values())

    def change(self, name: str, scale: float = 1.0) -> Tensor:
        """ΔW of a parameter, shape (outputs, inputs)."""
        return scale * (self.alpha / self.rank) * (self.up[name] @ self.down[name])

    def check(self) -> None:
        super().check()
        for name, down in self.down.items():
            if self.up[name].dtype != down.dtype:
                raise ValueError(f"{name}: A is {down.dtype}, B {self.up[name].dtype}")

    def summary(self) -> str:
        size = f"rank {self.rank} on {len(self)} layers, {self.parameters:,} numbers"
        return f"adapter {self.name or 'without a name'}: {size}"

    def to_frame(self) -> pd.DataFrame:
        """One row per parameter: its name, shape of ΔW, rank and ‖ΔW‖ at scale 1."""
        return pd.DataFrame(
            [
                {
                    "parameter": name,
                    "outputs": len(self.up[name]),
                    "inputs": down.shape[1],
                    "rank": len(down),
                    "norm": float(torch.linalg.matrix_norm(self.change(name))),
                }
                for name, down in self.down.items()
            ]
        )
