"""Divergences behind output heads, with the fused kernel writing the gradients over the logits."""

import pytest
import torch

from workbench.kernels import linear_divergence as module
from workbench.kernels.linear_divergence import linear_divergence


@pytest.mark.parametrize("name", ["forward_kl", "jensen_shannon"])
def test_values_and_gradients(device, name, monkeypatch):
    monkeypatch.setitem(module.LOGITS, device.type, 200)
    make = torch.Generator().manual_seed(0)
    h, W, ht, Wt = (torch.randn(*shape, generator=make).to(device) for shape in ((9, 4), (50, 4), (9, 6), (50, 6)))
    found = []
    for dtype in (torch.float32, torch.float64):
        given = [each.to(dtype) for each in (h, W, ht, Wt)]
        given[0].requires_grad_(), given[1].requires_grad_()
        value = linear_divergence(*given, divergence=name)
        found.append((value, *torch.autograd.grad(2 * value, given[:2])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5 * float(other.detach().abs().max()))
