"""The record of a trained diffusion model: a teacher's network, or a student's with the few steps it is used with."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor, nn

from workbench import models
from workbench.records.base import Record


@dataclass(frozen=True, eq=False, kw_only=True)
class DiffusionModel(Record):
    """What `workbench.diffusion.distill` leaves behind; ``workbench.diffusion.denoiser(record)`` is the model in it.

    Attributes
    ----------
    name
        What the model is called in legends.
    method
        The short name of the method that trained it, such as ``"TDD"``.
    network
        What `workbench.models.build` needs to build the network; None for one of the user's own.
    state
        Its weights, a ``state_dict``: of the moving average where one was kept.
    kind
        What the network says of a state: see `workbench.diffusion.sampling.predictions.read`; or ``"signal"`` and
        ``"signal velocity"``, for a network that takes the initial noise and a time (BOOT).
    schedule
        Name and parameters of the noise schedule.
    shape
        Of one example.
    classes
        Class names; empty: it takes no condition.
    times
        The times it is used with, falling, float64, shape (steps + 1,); None: any, as with a teacher.
    sampler
        The rule it is used with, a name of `workbench.diffusion.sampling.sampling.RULES`.
    sampling
        Parameters of that rule, such as ``{"gamma": 0.3}``; empty: its own.
    mean, std
        How examples become pictures: ``raw = x * std + mean``, raw in 0..1, shape (channels, 1, 1); None: points.
    curves
        The loss of each network and what else was followed, by name, shape (iterations,).
    settings
        The method's hyperparameters and the arguments of the run, as plain values.
    checkpoint
        What continuing the run needs; empty if it cannot be continued.
    interrupted
        True when the run was stopped before its last iteration; everything reached is kept.
    """

    name: str = ""
    method: str
    network: dict[str, Any] | None
    state: dict[str, Tensor]
    kind: str = "velocity"
    schedule: dict[str, Any]
    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    times: Tensor | None = None
    sampler: str = "ddim"
    sampling: dict[str, Any] = field(default_factory=dict)
    mean: Tensor | None = None
    std: Tensor | None = None
    curves: dict[str, Tensor] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    checkpoint: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False

    layout: ClassVar[Mapping[str, str]] = {
        "times": "real _",
        "mean": "float _ 1 1",
        "std": "float _ 1 1",
        "curves": "number iterations_",
    }

    def __post_init__(self) -> None:
        if self.times is not None and (
            self.times.ndim != 1 or len(self.times) < 2 or not bool((self.times.diff() < 0).all())
        ):
            raise ValueError(f"times are {self.times.tolist()}; at least two are needed, each smaller than the last")

    @property
    def steps(self) -> int | None:
        """How many steps it is used with; None: any number."""
        return None if self.times is None else len(self.times) - 1

    @property
    def iterations(self) -> int:
        """Training iterations completed."""
        return max((len(curve) for curve in self.curves.values()), default=0)

    @property
    def role(self) -> str:
        """``"teacher"`` without times of its own, else ``"student"``: as `TargetTrajectories` has it."""
        return "teacher" if self.times is None else "student"

    def build(self, network: nn.Module | None = None) -> nn.Module:
        """A fresh network with these weights, in eval mode.

        Parameters
        ----------
        network
            One of the same architecture, with any weights; it is copied. Needed only where the record was opened from a
            file and its network is none that `workbench.models.build` knows.

        Raises
        ------
        TypeError
            It is needed, and there is none.
        ValueError
            The weights do not fit into it.
        """
        live: nn.Module | None = self.__dict__.get("_network") if network is None else network
        if network is None and self.network is not None:
            made = models.from_spec(self.network)
        elif live is not None:
            made = copy.deepcopy(live)
        else:
            raise TypeError(
                f"the record {self.name or self.method!r} holds the weights of a network that workbench.models.build "
                "does not know: pass network= one of the same architecture, your own module, or of a diffusers "
                "pipeline what from_diffusers(pipeline) gives"
            )
        self._check_fits(made)
        dtype = next((value.dtype for value in self.state.values() if value.is_floating_point()), torch.float32)
        made.to(dtype).load_state_dict(self.state)
        return made.eval()

    def _check_fits(self, network: nn.Module) -> None:
        """Refuse a network into which the weights do not fit, by the name of one."""
        there = network.state_dict()
        for name, value in self.state.items():
            if name in there and there[name].shape != value.shape:
                raise ValueError(
                    f"network has {name} of shape {tuple(there[name].shape)}, the record's is {tuple(value.shape)}: "
                    "pass one of the same architecture and sizes"
                )
        missing, beyond = sorted(self.state.keys() - there.keys()), sorted(there.keys() - self.state.keys())
        if missing or beyond:
            what = f"no {missing[0]!r}, which the record has" if missing else f"{beyond[0]!r}, which the record lacks"
            raise ValueError(
                f"network, a {type(network).__name__}, has {what}: pass one of the same architecture, and of a "
                "diffusers pipeline what from_diffusers(pipeline) gives"
            )

    def with_network(self, network: nn.Module) -> "DiffusionModel":
        """This record with a network of the user's own attached, so that `build` works in this process."""
        object.__setattr__(self, "_network", network)
        return self

    def summary(self) -> str:
        size = sum(value.numel() for value in self.state.values())
        kind = (self.network or {}).get("name", "network")
        what = f"{self.steps} steps by {self.sampler}" if self.steps else "any number of steps"
        stopped = ", interrupted" if self.interrupted else ""
        return (
            f"{self.name or self.method}: {kind} of {size:,} weights for {what}, "
            f"{self.iterations:,} iterations{stopped}, {self.provenance.wall_time:.1f} s on {self.provenance.device}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per iteration: `iteration`, from 1, and the curves."""
        frame = pd.DataFrame({key: value.numpy() for key, value in self.curves.items()})
        frame.insert(0, "iteration", range(1, len(frame) + 1))
        return frame
