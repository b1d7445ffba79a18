"""Fused mixture scores against the definition in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench.kernels.fused import mixture as fused
from workbench.kernels.fused.distances import Tiles
from workbench.kernels.mixture import mixture_score


@given(
    st.sampled_from([(1, 1, 1), (20, 9, 3), (5, 70, 17), (3, 300, 4)]),
    st.sampled_from([0.0, 0.3]),
    st.booleans(),
    st.booleans(),
)
def test_values_and_gradients(device, shape, spread, split, same):
    n, m, d = shape
    make = torch.Generator().manual_seed(n)
    x, means = torch.randn(n, d, generator=make).to(device), torch.randn(m, d, generator=make).to(device)
    told = {
        "alpha": torch.rand(n, generator=make).to(device),
        "sigma": (torch.rand(n, generator=make) + 0.2).to(device),
    }
    told |= {
        "spread": torch.tensor(spread) if same else spread * torch.rand(m, generator=make).to(device),
        "weights": torch.rand(m, generator=make).to(device),
    }
    up = [torch.randn(*shape, generator=make).to(device) for shape in ((n,), (n, d), (n, d))]
    found = []
    with pytest.MonkeyPatch.context() as patch:
        if split:
            for name in ("FEATURES_FEW", "FEATURES_MANY", "BACK_FEW", "BACK_MANY"):
                patch.setattr(fused, name, Tiles(16, 16, 4))
            patch.setattr(fused, "shares", lambda n, m, tiles: (-(-m // 32), 32))
        for wide in (torch.float32, torch.float64):
            at = x.to(wide).requires_grad_()
            out = mixture_score(at, means.to(wide), **{name: value.to(wide) for name, value in told.items()})
            found.append((*out, *torch.autograd.grad(out, at, [each.to(wide) for each in up])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=2e-5, atol=2e-5 * float(other.detach().abs().max()))


def test_nan_stays_in_its_row_and_the_same_bits(device):
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).to(device)
    runs = [mixture_score(x, x[:9], sigma=0.3) for _ in range(2)]
    assert torch.equal(runs[0].x0, runs[1].x0)
    x[3, 1] = torch.nan
    assert mixture_score(x, x[10:], sigma=0.3).x0.isnan().any(1).nonzero().tolist() == [[3]]
