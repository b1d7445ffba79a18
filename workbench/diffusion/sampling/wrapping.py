"""Models in wrappers: under their guidance and on another schedule, where they compute, and with an adapter inside."""

from typing import Any

import torch
from torch import nn

from workbench.diffusion.sampling.denoiser import Denoiser, Guided, NetworkDenoiser, Rescheduled
from workbench.diffusion.sampling.schedules import Schedule
from workbench.models import lora
from workbench.records import Adapter


def plain(model: Denoiser) -> Denoiser:
    """A model without its guidance."""
    return model.model if isinstance(model, Guided) else model


def bare(model: Any) -> Any:
    """The model under its guidance and its changes of schedule."""
    while isinstance(model, (Guided, Rescheduled)):
        model = model.model
    return model


def device_of(model: Denoiser) -> torch.device:
    """Where a model computes."""
    model = bare(model)
    at = next(model.parameters(), None) if isinstance(model, nn.Module) else getattr(model, "means", None)
    return torch.device("cpu") if at is None else at.device


def on_schedule(model: Denoiser, wanted: Schedule) -> Denoiser:
    """The model as one that understands states of this schedule."""
    return model if model.schedule.spec == wanted.spec else Rescheduled(model, wanted)


def takes(model: Denoiser, adapter: Adapter) -> bool:
    """The model has the layers that the adapter changes."""
    model = bare(model)
    if not isinstance(model, NetworkDenoiser):
        return False
    named = dict(model.network.named_parameters())
    return all(
        name in named and tuple(named[name].flatten(1).shape) == (len(adapter.up[name]), down.shape[1])
        for name, down in adapter.down.items()
    )


def adapted(model: Denoiser, adapter: Adapter, scale: float) -> Denoiser:
    """A copy of a model that takes an adapter, with it in its weights; at scale 0 the model itself."""
    if scale == 0:
        return model
    if isinstance(model, Guided):
        return Guided(adapted(model.model, adapter, scale), model.scale)
    if isinstance(model, Rescheduled):
        return Rescheduled(adapted(model.model, adapter, scale), model.schedule)
    assert isinstance(model, NetworkDenoiser)
    return lora.merged(model, adapter, scale)
