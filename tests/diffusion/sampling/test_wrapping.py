"""Models in wrappers: what is inside, where it computes, and an adapter in its weights."""

import torch
from torch import nn

from workbench.diffusion import Guided, NetworkDenoiser, RectifiedFlow, Rescheduled, VPCosine, ring
from workbench.diffusion.sampling.wrapping import adapted, bare, device_of, on_schedule, plain, takes
from workbench.models import lora
from workbench.records import Adapter


class Net(nn.Module):
    """A small network of a state and its time."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first, self.last = nn.Linear(3, 16), nn.Linear(16, 2)
        for parameter in self.parameters():
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)

    def forward(self, x, t):
        return self.last(self.first(torch.cat([x, t[:, None]], 1)).tanh())


def network():
    return NetworkDenoiser(Net().requires_grad_(False), RectifiedFlow(), (2,))


def adapter_for(model):
    with lora.attach(model, rank=2) as on:
        for part in on.parts.values():
            part.up.data = torch.randn(part.up.shape, generator=torch.Generator().manual_seed(7))
        return Adapter(name="some", **on.factors())


def test_what_is_inside():
    model = ring(classes=2)
    wrapped = Guided(Rescheduled(model, VPCosine()), 2.0)
    assert bare(wrapped) is model
    assert plain(wrapped) is wrapped.model
    assert plain(model) is model
    assert device_of(wrapped) == torch.device("cpu")
    assert device_of(Rescheduled(network(), VPCosine())) == torch.device("cpu")
    assert on_schedule(model, model.schedule) is model
    assert on_schedule(model, VPCosine()).schedule.spec == VPCosine().spec


def test_an_adapter_goes_in_whatever_the_model_is_wrapped_in():
    model = network()
    adapter = adapter_for(model)
    x, t = torch.randn(5, 2, generator=torch.Generator().manual_seed(1)), torch.tensor(0.5)
    expected = lora.merged(model, adapter, -1.5)(x, t, None).x0
    assert torch.equal(adapted(model, adapter, -1.5)(x, t, None).x0, expected)
    moved = adapted(Rescheduled(model, VPCosine()), adapter, -1.5)
    assert torch.equal(moved(x, t, None).x0, Rescheduled(lora.merged(model, adapter, -1.5), VPCosine())(x, t, None).x0)
    assert adapted(model, adapter, 0) is model


def test_only_models_with_its_layers_take_an_adapter():
    model = network()
    adapter = adapter_for(model)
    assert takes(Rescheduled(model, VPCosine()), adapter)
    assert not takes(ring(), adapter)
    assert not takes(model, adapter.replace(down={name: torch.ones(2, 9) for name in adapter.down}))
