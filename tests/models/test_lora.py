"""Low-rank adapters change a network by what they say, nothing at scale 0, and leave it as it was when taken off."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from workbench.diffusion import NetworkDenoiser, RectifiedFlow
from workbench.models import lora
from workbench.records import Adapter
from workbench.records import open as open_record

DOUBLE = torch.float64


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1, groups=2),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(6 * 16, 5),
            nn.SiLU(),
            nn.Linear(5, 3, bias=False),
        ).double()


def batch(n=7, seed=1):
    return torch.randn(n, 2, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def trained(net, rank=2, seed=3):
    """An adapter whose factors are all nonzero."""
    with lora.attach(net, rank=rank, alpha=0.7, seed=seed) as on:
        generator = torch.Generator().manual_seed(seed)
        for part in on.parts.values():
            part.up.data = torch.randn(part.up.shape, generator=generator, dtype=part.up.dtype)
        return Adapter(name="test", **on.factors())


def test_a_new_adapter_and_scale_zero_change_nothing_bit_for_bit():
    net, x = network(), batch()
    before = net(x)
    adapter = trained(net)
    assert bool((net(x) == before).all()), "taken off, the network is what it was"
    with lora.attach(net):
        assert bool((net(x) == before).all())
    with lora.apply(net, adapter) as on:
        assert bool((net(x) - before).abs().max() > 1e-2)
        on.scale = 0
        assert bool((net(x) == before).all())
    assert bool((net(x) == before).all())


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(-3, 3), rank=st.integers(1, 7))
def test_merging_equals_the_hooked_forward_and_the_formula(scale, rank):
    net, x = network(), batch()
    adapter = trained(net, rank)
    with lora.apply(net, adapter, scale):
        hooked, within = net(x), lora.merged(net)
    merged = lora.merged(net, adapter, scale)
    for other in (merged, within):
        assert list(other.state_dict()) == list(net.state_dict())
        assert [p.shape for p in other.parameters()] == [p.shape for p in net.parameters()]
        torch.testing.assert_close(other(x), hooked, atol=1e-12, rtol=1e-12)
    for name, weight in merged.named_parameters():
        change = adapter.change(name, scale) if name in adapter.down else torch.zeros(weight.shape, dtype=DOUBLE)
        expected = net.get_parameter(name) + change.view_as(weight)
        torch.testing.assert_close(weight, expected, atol=1e-13, rtol=1e-13)
        if name in adapter.down:
            assert int(torch.linalg.matrix_rank(change, tol=1e-9)) <= rank


def test_an_adapter_moves_to_another_network_unchanged():
    base, student, x = network(0), network(1), batch()
    adapter = trained(base)
    with lora.apply(student, adapter, 1.5):
        moved = student(x)
    by_hand = copy.deepcopy(student)
    with torch.no_grad():
        for name, weight in by_hand.named_parameters():
            if name in adapter.down:
                weight.add_(1.5 * (0.7 / 2) * (adapter.up[name] @ adapter.down[name]).view_as(weight))
    torch.testing.assert_close(moved, by_hand(x), atol=1e-12, rtol=1e-12)


def test_several_add_up_and_come_off_in_any_order():
    net, x = network(), batch()
    before = net(x)
    a, b = trained(net, seed=3), trained(net, seed=4)
    only_b = lora.merged(net, b, -0.5)(x)
    first, second = lora.apply(net, a), lora.apply(net, b, -0.5)
    torch.testing.assert_close(net(x), lora.merged(lora.merged(net))(x), atol=1e-12, rtol=1e-12)
    first.remove()
    torch.testing.assert_close(net(x), only_b, atol=1e-12, rtol=1e-12)
    second.remove()
    assert bool((net(x) == before).all())
    with pytest.raises(RuntimeError, match="no longer on"):
        second.remove()


def test_merging_one_of_two_leaves_the_other_on():
    net, x = network(), batch()
    a, b = trained(net, seed=3), trained(net, seed=4)
    first, second = lora.apply(net, a), lora.apply(net, b, 0.5)
    both = net(x)
    with first:
        first.remove(merge=True)
    torch.testing.assert_close(net(x), both, atol=1e-12, rtol=1e-12)
    second.remove()
    torch.testing.assert_close(net(x), lora.merged(network(), a)(x), atol=1e-12, rtol=1e-12)


def test_a_copy_taken_off_does_not_break_the_original():
    """Deep copies share the class that torch makes for a parametrised layer."""
    net, x = network(), batch()
    on = lora.attach(net)
    before = net(x)
    lora.merged(net)
    assert bool((net(x) == before).all())
    on.remove()
    assert type(net[3]) is nn.Linear


def test_only_the_factors_are_trained():
    net = network()
    state = copy.deepcopy(net.state_dict())
    with lora.attach(net, rank=2) as on:
        assert {id(p) for p in net.parameters() if p.requires_grad} == {id(p) for p in on.parameters()}
        optimizer = torch.optim.Adam(on.parameters(), lr=0.1)
        for _ in range(3):
            loss = net(batch()).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert all(bool((part.up != 0).any()) for part in on.parts.values())
    assert all(bool((net.state_dict()[name] == value).all()) for name, value in state.items())
    assert all(p.requires_grad for p in net.parameters())


def test_names_are_those_inside_a_denoiser():
    net = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2))
    denoiser = NetworkDenoiser(net, RectifiedFlow(), (2,))
    assert lora.layers(denoiser) == lora.layers(net) == ("0.weight", "1.weight")
    assert lora.layers(net, only="0") == lora.layers(net, without=["1"]) == ("0.weight",)
    copied = lora.merged(denoiser, trained(net))
    assert isinstance(copied, NetworkDenoiser)
    assert not bool((copied.network[0].weight == net[0].weight).all())


def test_an_adapter_comes_back_from_its_file(tmp_path):
    adapter = trained(network())
    back = open_record(adapter.save(tmp_path / "a.safetensors"))
    assert back.summary() == adapter.summary() == "adapter test: rank 2 on 3 layers, 248 numbers"
    assert back.to_frame().equals(adapter.to_frame())
    assert bool((back.change("3.weight") == adapter.change("3.weight")).all())


def test_what_does_not_fit_is_refused():
    net = network()
    with pytest.raises(ValueError, match="rank is 0"):
        lora.attach(net, rank=0)
    with pytest.raises(ValueError, match="leave no linear layer"):
        lora.attach(net, without="*")
    adapter = trained(net)
    with pytest.raises(ValueError, match=r"changes 3.weight by a matrix of 5 × 96.*\(5, 2\).*another architecture"):
        lora.apply(nn.Sequential(net[0], net[1], net[2], nn.Linear(2, 5), net[4], net[5]), adapter)
    with pytest.raises(ValueError, match=r"5.weight, which this network does not have"):
        lora.apply(net[:4], adapter)
    assert type(net[0]) is nn.Conv2d, "a refusal leaves the network as it was"
    with pytest.raises(ValueError, match="only one of them has a"):
        Adapter(down={"a": torch.zeros(1, 2)}, up={}, rank=1)
