"""What a sampler asks: a state and a time go in, x̂₀ and ε̂ come out. Networks, guidance and changes of schedule."""

from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from workbench.diffusion.sampling.predictions import Prediction, read
from workbench.diffusion.sampling.schedules import Schedule, along


@runtime_checkable
class Denoiser(Protocol):
    """Anything that can be sampled from: an exact teacher, a network, a guided or rescheduled one."""

    @property
    def schedule(self) -> Schedule:
        """The schedule whose states it understands."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
        """The prediction at states x, (n, ...), time t, () or (n,), for classes `condition`, (n,); −1 or None: any."""


class NetworkDenoiser(nn.Module):
    """A network as a denoiser.

    Parameters
    ----------
    network
        Called as ``network(x, t)`` or, with `classes`, as ``network(x, t, condition)``; t has shape (n,).
    schedule
        Of the states it was trained on.
    shape
        Of one example.
    kind
        What it predicts; see `workbench.diffusion.sampling.predictions.read`.
    classes
        Number of classes it knows; 0: it takes no condition.
    """

    adapts: ClassVar[str] = "network"
    """The attribute that low-rank adapters act on; see `workbench.models.lora`."""

    def __init__(
        self, network: nn.Module, schedule: Schedule, shape: tuple[int, ...], kind: str = "velocity", classes: int = 0
    ) -> None:
        super().__init__()
        self.network = network
        self.schedule = schedule
        self.shape = tuple(shape)
        self.kind = kind
        self.classes = classes

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
        times = t.to(x).expand(len(x)) if t.ndim == 0 else t.to(x)
        return read(self.output(x, times, condition), self.kind, x, t, self.schedule)

    def output(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """The network's own output, for losses in its own terms; t has shape (n,)."""
        if not self.classes:
            if condition is not None and bool((condition >= 0).any()):
                raise ValueError("condition was given, but this network was built without classes")
            return self._fitting(self.network(x, t), x)
        chosen = torch.full((len(x),), -1, device=x.device) if condition is None else condition.expand(len(x))
        return self._fitting(self.network(x, t, chosen), x)

    @staticmethod
    def _fitting(out: Tensor, x: Tensor) -> Tensor:
        """The output, if it has the shape of the state: another would be broadcast into plausible samples."""
        if not isinstance(out, Tensor) or out.shape != x.shape:
            told = tuple(out.shape) if isinstance(out, Tensor) else f"a {type(out).__name__}"
            raise ValueError(f"the network answers a state of shape {tuple(x.shape)} with {told}; it must be the same")
        return out


class Guided:
    """Classifier-free guidance: ε̂ = ε̂_∅ + w (ε̂_c − ε̂_∅), the same for x̂₀; w = 1 is no guidance (Ho & Salimans 2022)."""

    def __init__(self, model: Denoiser, scale: float) -> None:
        if getattr(model, "classes", 0) == 0:
            raise ValueError("guidance needs a model with classes and an unconditional branch; this one has no classes")
        self.model = model
        self.scale = scale

    @property
    def schedule(self) -> Schedule:
        return self.model.schedule

    @property
    def shape(self) -> tuple[int, ...]:
        return self.model.shape

    @property
    def classes(self) -> int:
        return getattr(self.model, "classes", 0)

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
        told = self.model(x, t, condition)
        if condition is None or self.scale == 1:
            return told
        free = self.model(x, t, None)
        return Prediction(*(f + self.scale * (c - f) for f, c in zip(free, told, strict=True)))


class Rescheduled:
    """A denoiser on another schedule: the state is taken to the time of equal noise, asked there, and brought back."""

    def __init__(self, model: Denoiser, schedule: Schedule) -> None:
        self.model = model
        self.schedule = schedule

    @property
    def shape(self) -> tuple[int, ...]:
        return self.model.shape

    @property
    def classes(self) -> int:
        return getattr(self.model, "classes", 0)

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
        there, scale = self.schedule.match(t, self.model.schedule)
        return self.model(along(scale, x) * x, there, condition)
